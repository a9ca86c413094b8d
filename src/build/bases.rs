//! Making the bases of all machines, at once, and keeping the lock file true.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use super::install::Install;
use super::locking::{self, Entries};
use super::{BuildError, Env};
use crate::base::{self, Definition, DiskIds, KickstartFile, NicName};
use crate::digest::LayerId;
use crate::event::Event;
use crate::lab::StartOptions;
use crate::plan::{LockedBase, MachinePlan, Plan, TopologyNic, derive, uuid};
use crate::recipe::Machine;

/// The stored base of every machine; those that are missing are made. `locked`: refuse packages
/// other than the lock names, before anything is made where it names none. `start`: where machines
/// run that an installer fills.
pub async fn ensure_bases(
    env: &Env,
    plan: &mut Plan,
    locked: bool,
    start: &StartOptions,
) -> Result<BTreeMap<String, LayerId>, BuildError> {
    if locked {
        locking::demand(plan)?;
    }
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
        if let Some(locked) = made.locked {
            plan.lock.machines.insert(made.machine.clone(), locked);
        }
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

/// Everything that making one base needs, so that it can run on its own.
struct Job {
    env: Env,
    machine: String,
    request: Request,
    asked: MachineKey,
    previous: Option<LockedBase>,
    entries: Entries,
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
        let (env, entries) = (env.clone(), Entries::of(plan));
        Ok(Job { env, machine: machine.name.clone(), request, asked, previous, entries, locked })
    }

    /// One at a time makes a base. It is in the lock file before the next is let in, who looks there.
    async fn make(mut self) -> Result<Made, BuildError> {
        let doing = format!("making the base of {}", self.machine);
        let lock_name = format!("base-{}", self.asked.inputs.short());
        let _lock = self.env.store.lock(&lock_name, &doing, &self.env.events).await?;
        // With --locked holds what the lock said when that was asked for, and it stays as it is.
        if !self.locked {
            let now = self.entries.read(&self.machine, &self.asked.inputs)?;
            self.previous = now.or(self.previous);
        }
        let made = match self.already_made() {
            Some(made) => made,
            None => self.make_anew(&doing).await?,
        };
        if let Some(locked) = made.locked.as_ref().filter(|_| !self.locked) {
            self.entries.write(&self.env.store, &self.machine, locked).await?;
        }
        Ok(made)
    }

    async fn make_anew(&self, doing: &str) -> Result<Made, BuildError> {
        let work = self.env.store.work_dir(doing)?;
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
        Ok(Made { machine: self.machine.clone(), id, locked })
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
        program: env.self_exe.first().cloned().unwrap_or_default().into(),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::backend::{AccelChoice, Clock};
    use crate::digest::Digest;
    use crate::event::Events;
    use crate::plan::{LOCK_FILE, LockFile};
    use crate::store::Store;

    const LAB: &str = "\
schema: 1
name: locked
title: Locked
base: mine
stages: [10-all.yaml]
networks:
  bridged: { kind: bridged, subnet: 192.168.0.0/24, gateway: 192.168.0.1 }
machines:
  one:
    memory: 1 GiB
    disk: 10 GiB
    kickstart: one.ks
    nics: [{ name: ens33, network: bridged, address: 192.168.0.11 }]
";
    const STAGE: &str = "title: All\nsteps: [{ name: Nothing, machine: one, run: 'true' }]\n";
    const KICKSTART: &str = "lang en_US.UTF-8\nkeyboard us\ntimezone Etc/UTC --utc\n\
                             rootpw secret\nclearpart --all\npart / --size=1 --grow\n\
                             %packages\n%end\n";
    /// Packages of which there are none: whoever begins a bootstrap fails.
    const BASE: &str = "\
kind: bootstrap
title: Nothing
suite: nothing
architecture: amd64
variant: important
time: 2026-11-01T00:00:00Z
sources: [\"deb http://127.0.0.1:9 nothing main\"]
packages: []
";

    /// A recipe and a store.
    struct Ground {
        root: tempfile::TempDir,
        env: Env,
    }

    impl Ground {
        fn new(events: Events) -> Ground {
            let root = tempfile::tempdir().unwrap();
            let files = [
                ("lab.yaml", LAB),
                ("10-all.yaml", STAGE),
                ("one.ks", KICKSTART),
                ("mine.yaml", BASE),
            ];
            fs::create_dir(root.path().join("lab")).unwrap();
            for (name, text) in files {
                fs::write(root.path().join("lab").join(name), text).unwrap();
            }
            let store = Store::open(&root.path().join("store")).unwrap();
            Ground { root, env: Env { store, events, self_exe: vec!["false".into()] } }
        }

        fn recipe(&self) -> PathBuf {
            self.root.path().join("lab")
        }

        fn plan(&self) -> Plan {
            Plan::load(&self.recipe(), &BTreeMap::new()).unwrap()
        }

        /// What another process does that makes the base: stores it, and locks what is in it.
        async fn store_base(&self, answer: &LockedBase) -> LayerId {
            let machine = &self.plan().machines[0];
            let id = machine.base_id(Some(answer)).unwrap();
            let work = self.env.store.work_dir("a test").unwrap();
            let disk = work.path().join("made.qcow2");
            fs::write(&disk, "a disk").unwrap();
            let title = "base of one".to_owned();
            self.env.store.put_layer(id, None, title, &work, &disk).await.unwrap();
            id
        }

        fn lock(&self, answer: &LockedBase) {
            let machines = [("one".to_owned(), answer.clone())].into();
            let text = LockFile { machines, ..LockFile::default() }.to_text();
            fs::write(self.recipe().join(LOCK_FILE), text).unwrap();
        }

        fn locked_now(&self) -> Option<LockedBase> {
            LockFile::read(&self.recipe()).unwrap().machines.remove("one")
        }

        fn base_lock(&self) -> String {
            format!("base-{}", self.plan().machines[0].inputs.short())
        }
    }

    fn answer(inputs: Digest) -> LockedBase {
        LockedBase { inputs, packages: [("bash 1 amd64".to_owned(), "00".repeat(32))].into() }
    }

    fn start() -> StartOptions {
        StartOptions {
            connect: None,
            accel: AccelChoice::Auto,
            clock: Clock::Host,
            unsafe_cache: false,
            self_exe: vec!["false".into()],
            begun: crate::lab::Begun::default(),
        }
    }

    async fn locked_error(ground: &Ground) -> String {
        let made = ensure_bases(&ground.env, &mut ground.plan(), true, &start()).await;
        made.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn locked_without_a_lock_fails_before_anything_is_made() {
        let ground = Ground::new(Events::none());
        let said = locked_error(&ground).await;
        assert!(said.contains("lab/labbuild.lock does not say"), "{said}");
        assert!(said.contains("base of one: it is not in the lock"), "{said}");
        assert!(said.contains("`labbuild up` without --locked"), "{said}");
        ground.lock(&answer(Digest::of("another kickstart")));
        let said = locked_error(&ground).await;
        assert!(said.contains("base of one: its definition, kickstart, packages or"), "{said}");
        for folder in ["work", "locks", "layers"] {
            assert!(!ground.env.store.root().join(folder).exists(), "{folder}");
        }
    }

    #[tokio::test]
    async fn locked_takes_the_base_that_the_lock_names() {
        let ground = Ground::new(Events::none());
        let answer = answer(ground.plan().machines[0].inputs);
        ground.lock(&answer);
        let id = ground.store_base(&answer).await;
        let bases = ensure_bases(&ground.env, &mut ground.plan(), true, &start()).await.unwrap();
        assert_eq!(bases["one"], id);
    }

    #[tokio::test]
    async fn a_second_build_takes_the_base_that_the_first_one_made() {
        let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let ground = Ground::new(Events::new(move |event| drop(said.send(event))));
        let answer = answer(ground.plan().machines[0].inputs);
        let store = &ground.env.store;
        let first = store.try_lock(&ground.base_lock(), "making the base").unwrap().unwrap();
        let mut plan = ground.plan();
        let start = start();
        let second = ensure_bases(&ground.env, &mut plan, false, &start);
        let first = async {
            // The second one waits, and has read no lock.
            let event = heard.recv().await.unwrap();
            assert!(matches!(&event, Event::Notice { text } if text.contains("waiting for it")));
            let id = ground.store_base(&answer).await;
            ground.lock(&answer);
            drop(first);
            id
        };
        let (bases, id) = tokio::join!(second, first);
        assert_eq!(bases.unwrap()["one"], id);
        assert_eq!(plan.lock.machines["one"], answer);
    }

    #[tokio::test]
    async fn the_next_in_line_is_let_in_when_the_lock_file_is_written() {
        let ground = Ground::new(Events::none());
        let plan = ground.plan();
        let answer = answer(plan.machines[0].inputs);
        ground.store_base(&answer).await;
        let (previous, machine) = (Some(answer.clone()), &plan.machines[0]);
        let job = Job::new(&ground.env, &plan, machine, previous, false, &start()).unwrap();
        let store = &ground.env.store;
        let turn = job.entries.turn(store).await.unwrap();
        let job = tokio::spawn(job.make());
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(store.is_locked(&ground.base_lock()));
        assert_eq!(ground.locked_now(), None);
        drop(turn);
        job.await.unwrap().unwrap();
        assert!(!store.is_locked(&ground.base_lock()));
        assert_eq!(ground.locked_now(), Some(answer));
    }
}
