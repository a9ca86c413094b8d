//! Making the bases of all machines, at once, and keeping the lock file true.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use super::install::Install;
use super::{BuildError, Env};
use crate::base::{self, Definition, DiskIds, KickstartFile, NicName};
use crate::digest::LayerId;
use crate::event::Event;
use crate::host::files;
use crate::lab::StartOptions;
use crate::plan::{LockFile, LockedBase, MachinePlan, Plan, TopologyNic, derive, uuid};
use crate::recipe::Machine;

/// The stored base of every machine; those that are missing are made. `locked`: refuse packages
/// other than the lock names. `start`: where machines run that an installer fills.
pub async fn ensure_bases(
    env: &Env,
    plan: &mut Plan,
    locked: bool,
    start: &StartOptions,
) -> Result<BTreeMap<String, LayerId>, BuildError> {
    let mut bases = BTreeMap::new();
    let mut making = JoinSet::new();
    for machine in &plan.machines {
        let slice = plan.lock.slice(&machine.name, &machine.inputs);
        match machine.base_id(slice).filter(|id| env.store.has_layer(id)) {
            Some(id) => {
                bases.insert(machine.name.clone(), id);
            }
            None => {
                let job = Job::new(env, plan, machine, slice.cloned(), locked, start)?;
                making.spawn(job.make());
            }
        }
    }
    while let Some(made) = making.join_next().await {
        let made = made.map_err(|e| BuildError::Internal(e.to_string()))??;
        remember(plan, &made)?;
        bases.insert(made.machine, made.id);
    }
    Ok(bases)
}

/// A base that was made.
struct Made {
    machine: String,
    id: LayerId,
    locked: Option<LockedBase>,
}

/// Writes what was installed, or booted to install, into the lock file.
fn remember(plan: &mut Plan, made: &Made) -> Result<(), BuildError> {
    let Some(locked) = &made.locked else { return Ok(()) };
    plan.lock.machines.insert(made.machine.clone(), locked.clone());
    let known: Vec<&String> = plan.machines.iter().map(|m| &m.name).collect();
    let LockFile { machines, .. } = &mut plan.lock;
    machines.retain(|name, _| known.contains(&name));
    Ok(files::write_atomic(&plan.lock_path(), plan.lock.to_text().as_bytes())?)
}

/// Everything that making one base needs, so that it can run on its own.
struct Job {
    env: Env,
    machine: String,
    request: Request,
    asked: MachineKey,
    previous: Option<LockedBase>,
    locked: bool,
}

/// What is asked for.
enum Request {
    Bootstrap(Box<(base::Bootstrap, base::Request)>),
    Install(Box<Install>),
    Disk(base::Disk),
}

/// What names the result.
struct MachineKey {
    definition: Definition,
    inputs: crate::digest::Digest,
}

impl Job {
    fn new(
        env: &Env,
        plan: &Plan,
        machine: &MachinePlan,
        previous: Option<LockedBase>,
        locked: bool,
        start: &StartOptions,
    ) -> Result<Job, BuildError> {
        let request = match &machine.definition {
            Definition::Installer(definition) => {
                Request::Install(Box::new(Install::new(plan, machine, definition, start)?))
            }
            Definition::Disk(disk) => Request::Disk(disk.clone()),
            Definition::Bootstrap(definition) => {
                let request = bootstrap_request(env, plan, machine)?;
                Request::Bootstrap(Box::new((definition.as_ref().clone(), request)))
            }
        };
        let asked = MachineKey { definition: machine.definition.clone(), inputs: machine.inputs };
        let env = env.clone();
        Ok(Job { env, machine: machine.name.clone(), request, asked, previous, locked })
    }

    async fn make(self) -> Result<Made, BuildError> {
        let doing = format!("making the base of {}", self.machine);
        let lock_name = format!("base-{}", self.asked.inputs.short());
        let _lock = self.env.store.lock(&lock_name, &doing, &self.env.events).await?;
        if let Some(made) = self.already_made() {
            return Ok(made);
        }
        let work = self.env.store.work_dir(&doing)?;
        let (disk, locked) = match &self.request {
            Request::Disk(definition) => {
                let made = base::disk(definition, &self.machine, work.path(), &self.env.events);
                (made.await?.disk, None)
            }
            Request::Install(install) => {
                let disk = install.run(&self.env, &work).await?;
                (disk, Some(LockedBase { inputs: self.asked.inputs, packages: install.pinned() }))
            }
            Request::Bootstrap(both) => {
                let (definition, request) = both.as_ref();
                let built =
                    base::bootstrap(definition, request, work.path(), &self.env.events).await?;
                (built.disk, Some(self.lock_slice(&built.packages)?))
            }
        };
        let id =
            self.id(locked.as_ref()).ok_or_else(|| BuildError::Internal("no base id".into()))?;
        let title = format!("base of {}", self.machine);
        self.env.store.put_layer(id, None, title, &work, &disk).await?;
        Ok(Made { machine: self.machine, id, locked })
    }

    /// Another process may have made it while this one waited for the lock.
    fn already_made(&self) -> Option<Made> {
        let locked = self.previous.clone();
        let id = self.id(locked.as_ref()).filter(|id| self.env.store.has_layer(id))?;
        Some(Made { machine: self.machine.clone(), id, locked })
    }

    fn id(&self, locked: Option<&LockedBase>) -> Option<LayerId> {
        crate::plan::base_id(&self.asked.definition, &self.asked.inputs, locked)
    }

    /// What was installed, held against what the lock says.
    fn lock_slice(&self, packages: &[base::LockedPackage]) -> Result<LockedBase, BuildError> {
        let line = |p: &base::LockedPackage| {
            let digest = p.sha256.map_or_else(|| "unknown".to_owned(), |d| d.to_string());
            (format!("{} {} {}", p.name, p.version, p.architecture), digest)
        };
        let found =
            LockedBase { inputs: self.asked.inputs, packages: packages.iter().map(line).collect() };
        let difference = match &self.previous {
            Some(previous) => previous.difference(&found),
            None => Vec::new(),
        };
        if difference.is_empty() {
            return Ok(found);
        }
        let machine = self.machine.clone();
        if self.locked {
            return Err(BuildError::LockMoved { machine, difference });
        }
        let text = format!(
            "{machine}: the mirror has moved on since labbuild.lock was written; locked anew:\n  {}",
            difference.join("\n  ")
        );
        self.env.events.emit(Event::Warning { text });
        Ok(found)
    }
}

fn bootstrap_request(
    env: &Env,
    plan: &Plan,
    machine: &MachinePlan,
) -> Result<base::Request, BuildError> {
    let missing = || BuildError::Internal(format!("machine {} vanished", machine.name));
    let declared: &Machine =
        plan.lab.machines.iter().find(|m| m.name == machine.name).ok_or_else(missing)?;
    let hardware = plan.topology.machine(&machine.name).ok_or_else(missing)?;
    let rendered = machine.kickstart.as_ref().ok_or_else(missing)?;
    let nic = |n: &TopologyNic| NicName { name: n.name.clone(), mac: n.mac.clone() };
    let mut hook = env.self_exe.clone();
    hook.push("customize".into());
    Ok(base::Request {
        machine: machine.name.clone(),
        salt: format!("{}/{}", plan.lab.name, machine.name),
        disk: declared.disk,
        nics: hardware.nics.iter().map(nic).collect(),
        kickstart: KickstartFile {
            name: rendered.file.clone(),
            text: rendered.text.clone(),
            commands: rendered.commands.clone(),
        },
        extra_packages: machine.packages.clone(),
        ids: disk_ids(&plan.lab.name, &machine.name),
        hook,
        deb_cache: Some(env.store.package_cache()),
        in_memory: true,
    })
}

/// Names that make a machine's disk its own, and the same in every build.
fn disk_ids(lab: &str, machine: &str) -> DiskIds {
    let label = derive(&["disk label", lab, machine]);
    let b = label.bytes();
    DiskIds {
        machine_id: derive(&["machine-id", lab, machine]).to_string()[..32].to_owned(),
        root_uuid: uuid(&["root file system", lab, machine]),
        hash_seed: uuid(&["hash seed", lab, machine]),
        label_id: u32::from_be_bytes([b[0], b[1], b[2], b[3]]),
    }
}
