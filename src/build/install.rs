//! A base that an installer fills: where its machine runs, and how it reaches its packages.
//!
//! The machine that installs is the machine of the lab: same hardware, same interfaces. It is alone,
//! so the one network it leaves by gets a router and a name server at the address where it will
//! look for them later, be that another machine's. All others lead nowhere.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{BuildError, Env};
use crate::backend::{Backend, Boot, Clock, DomainSpec, NetworkMode, NetworkSpec, blocking};
use crate::base::{self, Installation, Installer, Interface, WayOut};
use crate::host::{HostError, files};
use crate::lab::{self, Ground, StartOptions};
use crate::plan::{MachinePlan, Plan, TopologyMachine, TopologyNetwork, TopologyNic, uuid};
use crate::recipe::{Bytes, Machine, Network, NetworkKind, Nic};
use crate::sandbox::{BoundSandbox, Sandbox, SandboxOptions, Shown, UPLINK_DNS, runtime_dir};
use crate::store::{Lock, WorkDir};

/// One installation, ready to run on its own.
pub struct Install {
    lab: String,
    definition: Installer,
    machine: TopologyMachine,
    /// The networks that the machine has interfaces on.
    networks: Vec<TopologyNetwork>,
    way_out: Option<WayOut>,
    answers: String,
    disk: Bytes,
    start: StartOptions,
}

impl Install {
    pub fn new(
        plan: &Plan,
        machine: &MachinePlan,
        definition: &Installer,
        start: &StartOptions,
    ) -> Result<Install, BuildError> {
        let missing = || BuildError::Internal(format!("machine {} vanished", machine.name));
        let declared =
            plan.lab.machines.iter().find(|m| m.name == machine.name).ok_or_else(missing)?;
        let hardware = plan.topology.machine(&machine.name).ok_or_else(missing)?.clone();
        let used = |n: &&TopologyNetwork| hardware.nics.iter().any(|nic| nic.network == n.name);
        Ok(Install {
            lab: plan.lab.name.clone(),
            definition: definition.clone(),
            networks: plan.topology.networks.iter().filter(used).cloned().collect(),
            way_out: way_out(declared, plan),
            answers: machine.kickstart.as_ref().ok_or_else(missing)?.text.clone(),
            disk: declared.disk,
            start: start.clone(),
            machine: hardware,
        })
    }

    /// What is pinned of it, for the lock.
    pub fn pinned(&self) -> BTreeMap<String, String> {
        self.definition.pinned()
    }

    /// Installs in `work`; gives back the disk. Dropping the future leaves nothing running.
    pub async fn run(&self, env: &Env, work: &WorkDir) -> Result<PathBuf, BuildError> {
        let mut place = Place::open(env, &self.start, work.path()).await?;
        let log = env.store.install_log(&self.lab, &self.machine.name);
        let ground = self.ground();
        let networks = self.networks(&ground, place.uplink());
        let wish = self.wish(&ground, log);
        let (definition, events) = (&self.definition, &env.events);
        let made = async {
            place.make(&networks).await?;
            let backend = place.backend.clone();
            Ok(base::install(definition, &wish, backend, work.path(), events).await?.disk)
        };
        let made: Result<PathBuf, BuildError> = made.await;
        let closed = place.close().await;
        let disk = made?;
        closed?;
        Ok(disk)
    }

    /// Names that no lab has on a libvirtd that others use too.
    fn ground(&self) -> Ground {
        match &self.start.connect {
            None => Ground::Own { uplink: true },
            Some(_) => {
                Ground::Shared { lab: format!("{}-install-{}", self.lab, self.machine.name) }
            }
        }
    }

    fn networks(&self, ground: &Ground, uplink: bool) -> Vec<NetworkSpec> {
        let spec = |network: &TopologyNetwork| NetworkSpec {
            name: ground.name(&network.name),
            uuid: uuid(&["install", &self.lab, &self.machine.name, &network.name]),
            mode: self.mode(network, uplink),
            prefix: network.prefix,
            bridge: None,
        };
        self.networks.iter().map(spec).collect()
    }

    fn mode(&self, network: &TopologyNetwork, uplink: bool) -> NetworkMode {
        let leaves_here = |way: &&WayOut| {
            let nic = self.machine.nics.iter().find(|nic| nic.name == way.interface);
            nic.is_some_and(|nic| nic.network == network.name)
        };
        match self.way_out.as_ref().filter(leaves_here) {
            None => NetworkMode::Isolated,
            Some(way) => NetworkMode::Nat {
                gateway: way.gateway,
                dns_forwarder: uplink.then_some(UPLINK_DNS),
            },
        }
    }

    fn wish(&self, ground: &Ground, log: PathBuf) -> Installation {
        let nothing_yet = PathBuf::new();
        let domain = ground.domain(&self.machine, nothing_yet, log, Clock::Host, true);
        let interface =
            |nic: &TopologyNic| Interface { name: nic.name.clone(), mac: nic.mac.clone() };
        let memory_mib = self.machine.memory_mib.max(self.definition.memory.mebibytes());
        Installation {
            machine: self.machine.name.clone(),
            answers: self.answers.clone(),
            disk: self.disk,
            interfaces: self.machine.nics.iter().map(interface).collect(),
            way_out: self.way_out.clone(),
            domain: DomainSpec { memory_mib, boot: Boot::Disk, ..domain },
        }
    }
}

/// The interface that the machine leaves by: one with a gateway of its own, else the first with an
/// address on a network that has one.
fn way_out(machine: &Machine, plan: &Plan) -> Option<WayOut> {
    let router = |network: &str| {
        let bridged = |n: &&Network| n.name == network && n.kind == NetworkKind::Bridged;
        plan.lab.networks.iter().find(bridged)?.gateway
    };
    let of = |nic: &Nic, gateway: Ipv4Addr| {
        let network = plan.lab.networks.iter().find(|n| n.name == nic.network)?;
        let (interface, address) = (nic.name.clone(), nic.address?);
        Some(WayOut { interface, address, netmask: network.subnet.netmask(), gateway })
    };
    let own = machine.nics.iter().find_map(|nic| of(nic, nic.gateway?));
    own.or_else(|| machine.nics.iter().find_map(|nic| of(nic, router(&nic.network)?)))
}

/// Where an installation runs.
struct Place {
    backend: Arc<dyn Backend>,
    /// Networks made on somebody else's libvirtd; those on one of its own end with it.
    networks: Vec<String>,
    /// A libvirtd of its own, where none was named. Last, so that the connection ends first.
    sandbox: Option<BoundSandbox>,
    /// On somebody else's libvirtd, installations take turns: they may have the same addresses.
    _turn: Option<Lock>,
}

impl Place {
    async fn open(env: &Env, start: &StartOptions, work: &Path) -> Result<Place, BuildError> {
        let (turn, sandbox, uri) = match &start.connect {
            Some(uri) => {
                let lock = env.store.lock("install", "installing a base", &env.events).await?;
                (Some(lock), None, uri.clone())
            }
            None => {
                let sandbox = start_sandbox(env, start, work).await?;
                let uri = sandbox.sandbox().uri();
                (None, Some(sandbox), uri)
            }
        };
        let backend = lab::connect(&uri, start.accel, &env.events).await?;
        Ok(Place { backend, networks: Vec::new(), sandbox, _turn: turn })
    }

    async fn make(&mut self, networks: &[NetworkSpec]) -> Result<(), BuildError> {
        for spec in networks {
            if self.sandbox.is_none() {
                self.networks.push(spec.name.clone());
            }
            let (backend, spec) = (self.backend.clone(), spec.clone());
            blocking(move || backend.ensure_network(&spec)).await?;
        }
        Ok(())
    }

    fn uplink(&self) -> bool {
        self.sandbox.as_ref().is_some_and(|sandbox| sandbox.sandbox().has_uplink())
    }

    /// Leaves nothing behind, and says what could not be removed.
    async fn close(mut self) -> Result<(), BuildError> {
        while let Some(name) = self.networks.last().cloned() {
            let backend = self.backend.clone();
            blocking(move || backend.remove_network(&name)).await?;
            self.networks.pop();
        }
        let sandbox = self.sandbox.take();
        // The connection ends before the libvirtd that it leads to.
        drop(self);
        match sandbox {
            Some(sandbox) => Ok(sandbox.stop().await.map_err(lab::LabError::from)?),
            None => Ok(()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for name in &self.networks {
            // Interrupted: nobody is left to be told.
            let _ = self.backend.remove_network(name);
        }
    }
}

async fn start_sandbox(
    env: &Env,
    start: &StartOptions,
    work: &Path,
) -> Result<BoundSandbox, BuildError> {
    let root = work.join("libvirt");
    files::create_dir(&root)?;
    let logs = env.store.install_logs();
    files::create_dir(&logs)?;
    let root = root.canonicalize().map_err(HostError::file("find", &root))?;
    let options = SandboxOptions {
        runtime: runtime_dir(&root).map_err(lab::LabError::from)?,
        root,
        self_exe: start.self_exe.clone(),
        uplink: lab::uplink_possible(&env.events).await,
        shown: vec![Shown::to_write(work), Shown::to_write(logs)],
        events: env.events.clone(),
    };
    Ok(Sandbox::start_bound(options).await.map_err(lab::LabError::from)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_machine_leaves_as_it_will_when_it_is_installed() {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/two-node");
        let plan = Plan::load(&recipe, &BTreeMap::new()).unwrap();
        let way = |name: &str| {
            let machine = plan.lab.machines.iter().find(|m| m.name == name).unwrap();
            let way = way_out(machine, &plan).unwrap();
            (way.interface, way.gateway.to_string(), way.netmask.to_string())
        };
        let mask = || "255.255.255.0".to_owned();
        assert_eq!(way("controller"), ("ens33".to_owned(), "192.168.0.1".to_owned(), mask()));
        // Through another machine, which is not there yet: a router stands in at its address.
        assert_eq!(way("compute1"), ("ens37".to_owned(), "172.16.251.11".to_owned(), mask()));
    }
}
