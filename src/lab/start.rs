//! Starting a lab: overlays, libvirtd, networks, domains, and the wait until all have booted.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use super::record::{MachineRecord, Record};
use super::wiring::{Ground, say_bridged};
use super::{LabError, Running};
use crate::backend::agent::{Agent, AgentError};
use crate::backend::{
    AccelChoice, AcceleratorKind, Backend, Clock, Guest, LibvirtBackend, blocking, check_bridge,
};
use crate::digest::LayerId;
use crate::event::{Event, Events};
use crate::host::{Cmd, HostError, files};
use crate::plan::Topology;
use crate::sandbox::{self, Need, Sandbox, SandboxOptions, Shown, runtime_dir};
use crate::store::Store;

/// An emulated guest on a loaded host may take minutes to boot.
const BOOT_LIMIT: Duration = Duration::from_secs(420);

/// Whether this run has begun to change a lab. Until then whatever runs under the lab's name is not
/// of its making, and no end of this run may touch it.
#[derive(Debug, Clone, Default)]
pub struct Begun(Arc<AtomicBool>);

impl Begun {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a lab is started.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// A libvirtd to use instead of one of the lab's own.
    pub connect: Option<String>,
    /// Accelerator wanted.
    pub accel: AccelChoice,
    /// Clock at power-on.
    pub clock: Clock,
    /// Flushes go no further than the page cache (builds).
    pub unsafe_cache: bool,
    /// This program, for the processes that keep a libvirtd.
    pub self_exe: Vec<OsString>,
    /// Set by [`start`].
    pub begun: Begun,
}

/// What a machine's overlay stands on.
#[derive(Debug, Clone)]
pub struct Backing {
    /// A qcow2 file that nobody writes to.
    pub file: PathBuf,
    /// Its layer, when it is one of the store.
    pub layer: Option<LayerId>,
}

/// Starts the machines of `record` on fresh overlays over `backings` and waits until all of
/// them answer. Whatever ran under this name before is stopped and its overlays are removed.
pub async fn start(
    store: &Store,
    mut record: Record,
    backings: &BTreeMap<String, Backing>,
    options: &StartOptions,
    events: &Events,
) -> Result<Running, LabError> {
    options.begun.set();
    super::stop(store, &record.name).await?;
    let dir = store.lab_dir(&record.name);
    // The record comes first: whatever cuts this short, the lab can be looked at and ended.
    record.machines = machine_records(&dir, &record.topology, backings);
    record.write(store)?;
    make_overlays(&dir, &record).await?;
    let sandbox = match &options.connect {
        Some(_) => None,
        None => Some(start_sandbox(store, &dir, options, events).await?),
    };
    let uri = match (&options.connect, &sandbox) {
        (Some(uri), _) => uri.clone(),
        (None, Some(sandbox)) => sandbox.uri(),
        (None, None) => unreachable!("one of the two was made above"),
    };
    let backend = connect(&uri, options.accel, events).await?;
    record.accelerator = accelerator(backend.as_ref());
    let ground = ground_of(&record, sandbox.as_ref());
    name_domains(&ground, &mut record);
    record.write(store)?;
    make_networks(&ground, &backend, &record, events).await?;
    let guests = start_domains(&ground, &backend, &record, &dir, options, events).await?;
    let running = Running { record, sandbox, backend, guests };
    wait_until_booted(&running, events).await?;
    Ok(running)
}

/// Whose libvirtd the lab runs on.
fn ground_of(record: &Record, sandbox: Option<&Sandbox>) -> Ground {
    match record.connect {
        None => Ground::Own { uplink: sandbox.is_some_and(Sandbox::has_uplink) },
        Some(_) => Ground::Shared { lab: record.name.clone() },
    }
}

fn name_domains(ground: &Ground, record: &mut Record) {
    for (machine, entry) in &mut record.machines {
        entry.domain = ground.name(machine);
    }
    let names = record.topology.networks.iter().map(|n| (n.name.clone(), ground.name(&n.name)));
    record.networks = names.collect();
}

/// The machines that have something to stand on; none has a domain yet.
fn machine_records(
    dir: &Path,
    topology: &Topology,
    backings: &BTreeMap<String, Backing>,
) -> BTreeMap<String, MachineRecord> {
    let records = topology.machines.iter().filter_map(|machine| {
        let backing = backings.get(&machine.name)?;
        let record = MachineRecord {
            domain: String::new(),
            overlay: dir.join("disks").join(format!("{}-0.qcow2", machine.name)),
            layer: backing.layer,
            backing: Some(backing.file.clone()),
        };
        Some((machine.name.clone(), record))
    });
    records.collect()
}

async fn make_overlays(dir: &Path, record: &Record) -> Result<(), HostError> {
    let disks = dir.join("disks");
    files::remove(&disks)?;
    files::create_dir(&disks)?;
    files::create_dir(&dir.join("log"))?;
    for machine in &record.topology.machines {
        let Some(entry) = record.machines.get(&machine.name) else { continue };
        let Some(backing) = &entry.backing else { continue };
        make_overlay(&entry.overlay, backing, machine.disk_bytes).await?;
    }
    Ok(())
}

/// An empty qcow2 overlay on top of `backing`.
async fn make_overlay(overlay: &Path, backing: &Path, bytes: u64) -> Result<(), HostError> {
    let create = Cmd::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]);
    create.arg(backing).arg(overlay).arg(bytes.to_string()).run().await.map(drop)
}

/// What machines stand on, and where they write.
fn shown(store: &Store, dir: &Path) -> Vec<Shown> {
    let read = store.folders_to_stand_on().into_iter().map(Shown::to_read);
    read.chain(["disks", "log"].map(|name| Shown::to_write(dir.join(name)))).collect()
}

async fn start_sandbox(
    store: &Store,
    dir: &Path,
    options: &StartOptions,
    events: &Events,
) -> Result<Sandbox, LabError> {
    let root = dir.join("libvirt");
    let options = SandboxOptions {
        runtime: runtime_dir(&root)?,
        root,
        self_exe: options.self_exe.clone(),
        uplink: uplink_possible(events).await,
        shown: shown(store, dir),
        events: events.clone(),
    };
    Ok(Sandbox::start(options).await?)
}

/// A lab builds and runs without a way out; it only has none then.
pub async fn uplink_possible(events: &Events) -> bool {
    let without = sandbox::missing(false).await;
    let lacking: Vec<Need> =
        sandbox::missing(true).await.into_iter().filter(|need| !without.contains(need)).collect();
    for need in &lacking {
        let (what, remedy) = (&need.what, &need.remedy);
        events.warning(format!("the lab gets no way out: {what}; mend it with: {remedy}"));
    }
    lacking.is_empty()
}

/// Connects to a libvirtd and says which accelerator drives its machines.
pub async fn connect(
    uri: &str,
    accel: AccelChoice,
    events: &Events,
) -> Result<Arc<dyn Backend>, LabError> {
    let target = uri.to_owned();
    let backend = blocking(move || LibvirtBackend::connect(&target, accel)).await?;
    let (accelerator, reason) = accelerator(&backend);
    events.emit(Event::Backend { uri: uri.to_owned(), accelerator, reason });
    Ok(Arc::new(backend))
}

/// The accelerator's name, and why it is this one.
fn accelerator(backend: &dyn Backend) -> (String, String) {
    let chosen = backend.accelerator();
    let kind = match chosen.kind {
        AcceleratorKind::Kvm => "kvm",
        AcceleratorKind::Tcg => "tcg",
    };
    (kind.to_owned(), chosen.reason.clone())
}

async fn make_networks(
    ground: &Ground,
    backend: &Arc<dyn Backend>,
    record: &Record,
    events: &Events,
) -> Result<(), LabError> {
    for network in &record.topology.networks {
        let spec = ground.network(network, check_bridge);
        if let (Ground::Shared { .. }, Some(text)) = (ground, say_bridged(&spec, &record.topology))
        {
            events.notice(text);
        }
        let backend = backend.clone();
        blocking(move || backend.ensure_network(&spec)).await?;
    }
    Ok(())
}

async fn start_domains(
    ground: &Ground,
    backend: &Arc<dyn Backend>,
    record: &Record,
    dir: &Path,
    options: &StartOptions,
    events: &Events,
) -> Result<BTreeMap<String, Arc<dyn Guest>>, LabError> {
    let mut starting = JoinSet::new();
    for machine in &record.topology.machines {
        let Some(entry) = record.machines.get(&machine.name) else { continue };
        let log = dir.join("log").join(format!("{}.console.log", machine.name));
        files::remove(&log)?;
        let spec =
            ground.domain(machine, entry.overlay.clone(), log, options.clock, options.unsafe_cache);
        announce(events, &machine.name, "starting");
        let (backend, name) = (backend.clone(), machine.name.clone());
        starting.spawn(async move { (name, blocking(move || backend.start_domain(&spec)).await) });
    }
    let mut guests = BTreeMap::new();
    while let Some(started) = starting.join_next().await {
        if let Ok((name, guest)) = started {
            guests.insert(name, guest?);
        }
    }
    Ok(guests)
}

/// Waits until every machine's agent answers and its services have been started.
async fn wait_until_booted(running: &Running, events: &Events) -> Result<(), LabError> {
    let mut waiting = JoinSet::new();
    for name in running.guests.keys() {
        announce(events, name, "booting");
        let (agent, events) = (running.agent(name)?, events.clone());
        waiting.spawn(async move { boot(&agent, &events).await });
    }
    while let Some(booted) = waiting.join_next().await {
        if let Ok(result) = booted {
            result?;
        }
    }
    Ok(())
}

/// A machine whose agent never answers is an error. One that does not come to an end of starting
/// its services can be looked into, and is left running with a warning.
async fn boot(agent: &Agent, events: &Events) -> Result<(), AgentError> {
    let name = agent.machine();
    agent.wait_ready(BOOT_LIMIT).await?;
    announce(events, name, "starting services");
    match agent.wait_booted(BOOT_LIMIT).await {
        Ok(state) if state == "degraded" => events.notice(format!(
            "{name} has booted with failed services: `systemctl --failed` in it names them"
        )),
        Ok(_) => {}
        Err(AgentError::Late { .. }) => events.warning(format!(
            "{name} is still starting services after {} min: `systemctl list-jobs` in it says which",
            BOOT_LIMIT.as_secs() / 60
        )),
        Err(other) => return Err(other),
    }
    announce(events, name, "ready");
    Ok(())
}

fn announce(events: &Events, machine: &str, state: &str) {
    events.emit(Event::Machine { machine: machine.to_owned(), state: state.to_owned() });
}

impl Running {
    /// Finds a lab whose machines run, from another process.
    pub async fn open(store: &Store, name: &str, accel: AccelChoice) -> Result<Running, LabError> {
        let not_running = || LabError::NotRunning(name.to_owned());
        let record = Record::read(store, name)?.ok_or_else(not_running)?;
        let sandbox = match &record.connect {
            Some(_) => None,
            None => Some(Sandbox::open(&sandbox_root(store, name)).await?.ok_or_else(not_running)?),
        };
        let uri = record.connect.clone().or(sandbox.as_ref().map(Sandbox::uri));
        let uri = uri.ok_or_else(not_running)?;
        let backend: Arc<dyn Backend> =
            Arc::new(blocking(move || LibvirtBackend::connect(&uri, accel)).await?);
        let mut guests = BTreeMap::new();
        for (machine, entry) in &record.machines {
            let (backend, domain, machine) =
                (backend.clone(), entry.domain.clone(), machine.clone());
            let name = machine.clone();
            if let Some(guest) = blocking(move || backend.find_domain(&domain, &name)).await? {
                guests.insert(machine, guest);
            }
        }
        Ok(Running { record, sandbox, backend, guests })
    }
}

/// Folder of a lab's own libvirtd.
pub(super) fn sandbox_root(store: &Store, name: &str) -> PathBuf {
    store.lab_dir(name).join("libvirt")
}
