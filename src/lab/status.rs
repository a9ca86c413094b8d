//! What a lab looks like right now.

use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use super::expose::Exposed;
use super::record::{Record, State};
use super::{LabError, Running};
use crate::backend::AccelChoice;
use crate::store::{Store, StoreError, disk_usage};

/// How long a hypervisor may take to answer where other labs are to be shown too.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// One lab.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Name of its recipe.
    pub recipe: String,
    /// How far it is: "at 10-system", "failed in 10-system at …", "unknown".
    pub state: String,
    /// Why its state is unknown.
    pub unknown_because: Option<String>,
    /// `file:line` and name of what failed.
    pub failed_at: Option<String>,
    /// Whether any of its machines runs; false too where that is unknown.
    pub running: bool,
    /// Its libvirt URI, while it runs.
    pub uri: Option<String>,
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// Why.
    pub accelerator_reason: String,
    /// Its machines.
    pub machines: Vec<MachineStatus>,
    /// Ports that the host offers; none while the lab does not run.
    pub exposed: Vec<ExposedStatus>,
}

/// One exposed port.
#[derive(Debug, Serialize)]
pub struct ExposedStatus {
    /// Its name.
    pub name: String,
    /// The machine that it leads to.
    pub machine: String,
    /// The machine's port.
    pub port: u16,
    /// A URL, or address and port.
    pub location: String,
    /// Whether it is a port of 127.0.0.1 that is forwarded; else it is the machine's own address.
    pub forwarded: bool,
    /// The host that reaches it, where that is not this one.
    pub host: Option<String>,
}

/// One machine.
#[derive(Debug, Serialize)]
pub struct MachineStatus {
    /// Its name.
    pub name: String,
    /// Whether it runs; false too where that is unknown.
    pub running: bool,
    /// `nic address` pairs; a nic without an address says `-`.
    pub addresses: Vec<(String, String)>,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Bytes that its overlays occupy on the host.
    pub overlay_bytes: u64,
}

/// The state of a lab; asks the hypervisor when one runs.
pub async fn status(store: &Store, name: &str) -> Result<Status, LabError> {
    let Some(record) = Record::read(store, name)? else {
        return Err(match store.lab_dir(name).exists() {
            true => LabError::NoRecord(name.to_owned()),
            false => LabError::Unknown { name: name.to_owned(), known: store.lab_names()? },
        });
    };
    of_record(store, record).await
}

/// The states of all labs; folders without a record are none. A lab that cannot be asked does not
/// hide the others: its state is unknown.
pub async fn status_of_all(store: &Store) -> Result<Vec<Status>, StoreError> {
    let mut asking = JoinSet::new();
    for name in store.lab_names()? {
        let store = store.clone();
        asking.spawn(async move { status_if_known(&store, &name, ANSWER_LIMIT).await });
    }
    let mut all: Vec<Status> = asking.join_all().await.into_iter().flatten().collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// The state of a lab, whatever is the matter with it; none without a record.
async fn status_if_known(store: &Store, name: &str, limit: Duration) -> Option<Status> {
    let record = match Record::read(store, name) {
        Ok(record) => record?,
        Err(error) => return Some(unreadable(name, &error)),
    };
    let because = match tokio::time::timeout(limit, of_record(store, record.clone())).await {
        Ok(Ok(status)) => return Some(status),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("its hypervisor has not answered for {} s", limit.as_secs()),
    };
    Some(unknown(describe(store, record, None), because))
}

async fn of_record(store: &Store, record: Record) -> Result<Status, LabError> {
    if !record.has_begun() {
        return Ok(describe(store, record, None));
    }
    let running = match Running::open(store, &record.name, AccelChoice::Auto).await {
        Ok(running) => Some(running),
        Err(LabError::NotRunning(_)) => None,
        Err(other) => return Err(other),
    };
    Ok(describe(store, record, running.as_ref()))
}

fn unknown(status: Status, because: String) -> Status {
    Status { state: "unknown".to_owned(), unknown_because: Some(because), ..status }
}

/// All that can be said of a lab whose record cannot be read.
fn unreadable(name: &str, error: &StoreError) -> Status {
    let status = Status {
        name: name.to_owned(),
        recipe: String::new(),
        state: String::new(),
        unknown_because: None,
        failed_at: None,
        running: false,
        uri: None,
        accelerator: String::new(),
        accelerator_reason: String::new(),
        machines: Vec::new(),
        exposed: Vec::new(),
    };
    unknown(status, error.to_string())
}

fn describe(store: &Store, record: Record, running: Option<&Running>) -> Status {
    let runs = |machine: &str| running.is_some_and(|r| r.guests.contains_key(machine));
    let machines: Vec<MachineStatus> = record
        .topology
        .machines
        .iter()
        .map(|m| MachineStatus {
            name: m.name.clone(),
            running: runs(&m.name),
            addresses: m
                .nics
                .iter()
                .map(|n| (n.name.clone(), n.address.map_or("-".to_owned(), |a| a.to_string())))
                .collect(),
            cpus: m.cpus,
            memory_mib: m.memory_mib,
            overlay_bytes: overlay_bytes(store, &record.name, &m.name),
        })
        .collect();
    let any = machines.iter().any(|m| m.running);
    let exposed = record.exposed.iter().filter(|_| any);
    let exposed = exposed.map(|port| exposed_status(port, record.connect.as_deref())).collect();
    let failed_at = match &record.state {
        State::Failed { at, .. } => Some(at.clone()),
        _ => None,
    };
    Status {
        state: state(store, &record, any),
        unknown_because: None,
        failed_at: failed_at.filter(|_| any),
        running: any,
        uri: running.filter(|_| any).map(|r| r.backend.uri().to_owned()),
        recipe: record.topology.lab.clone(),
        name: record.name,
        accelerator: record.accelerator.0,
        accelerator_reason: record.accelerator.1,
        machines,
        exposed,
    }
}

fn exposed_status(port: &Exposed, connect: Option<&str>) -> ExposedStatus {
    ExposedStatus {
        name: port.name.clone(),
        machine: port.machine.clone(),
        port: port.to.port(),
        location: port.location(),
        forwarded: port.host_port.is_some(),
        host: connect.and_then(remote_host).map(str::to_owned),
    }
}

/// The host in a libvirt URI; none in one of this machine's own daemons.
fn remote_host(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    let host =
        host.rsplit_once(':').filter(|(_, after)| port(after)).map_or(host, |(host, _)| host);
    (!host.is_empty()).then_some(host)
}

/// How far the lab is; a build whose builder is gone was interrupted.
fn state(store: &Store, record: &Record, running: bool) -> String {
    let at_work = store.is_locked(&format!("lab-{}", record.name));
    match (&record.state, running, at_work) {
        (State::Building { stage }, true, false) => format!("interrupted in {stage}"),
        (State::Starting, true, false) => "interrupted while starting".to_owned(),
        (state, true, _) => state.summary(),
        (State::Starting, false, true) => "starting".to_owned(),
        (_, false, _) => "down".to_owned(),
    }
}

fn overlay_bytes(store: &Store, lab: &str, machine: &str) -> u64 {
    let disks = store.lab_dir(lab).join("disks");
    let Ok(entries) = std::fs::read_dir(&disks) else { return 0 };
    let prefix = format!("{machine}-");
    let own = |e: &std::fs::DirEntry| e.file_name().to_string_lossy().starts_with(&prefix);
    entries.flatten().filter(own).map(|e| disk_usage(&e.path())).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use super::*;
    use crate::plan::Topology;

    #[tokio::test]
    async fn a_hypervisor_that_never_answers_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let socket = dir.path().join("silent");
        let silent = UnixListener::bind(&socket).unwrap();
        let uri = format!("qemu+unix:///system?socket={}", socket.display());
        let topology = Topology {
            lab: "pair".into(),
            title: "Pair".into(),
            networks: vec![],
            machines: vec![],
        };
        let mut record = Record::new("far", Path::new("/recipe"), Some(uri), topology);
        record.networks.insert("hostonly".into(), "labbuild-far-hostonly".into());
        record.write(&store).unwrap();
        let limit = Duration::from_millis(300);
        let status = status_if_known(&store, "far", limit).await.unwrap();
        assert_eq!((status.name.as_str(), status.state.as_str()), ("far", "unknown"));
        let because = status.unknown_because.unwrap();
        assert!(because.contains("has not answered"), "{because}");
        // Ends libvirt's call too.
        drop(silent);
    }

    #[test]
    fn a_uri_names_another_host_or_this_one() {
        let host = remote_host;
        assert_eq!(host("qemu+ssh://root@lab.example.org:22/system"), Some("lab.example.org"));
        assert_eq!(host("qemu+tls://lab.example.org/system"), Some("lab.example.org"));
        assert_eq!(host("qemu:///system"), None);
        assert_eq!(host("qemu+unix:///system?socket=/run/x"), None);
    }
}
