//! From a recipe to what must be made: machines with their bases, stages with their identities,
//! what of it is stored, and why the rest is not. Reads files and the store; changes nothing.

mod context;
mod identity;
mod lockfile;
mod readiness;
mod topology;
mod topology_check;
pub mod trust;

pub use identity::layer_id;
pub use lockfile::{BadLock, FILE as LOCK_FILE, LockFile, LockedBase};
pub use readiness::{Readiness, Wait, plain};
pub use topology::{Topology, TopologyMachine, TopologyNetwork, TopologyNic, derive, uuid};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::base::{self, Definition};
use crate::digest::{Digest, LayerId};
use crate::host::foreign;
use crate::kickstart::{self, Kickstart};
use crate::recipe::{self, Action, Faults, InstallWhen, Lab, Machine};
use crate::store::{Input, Snapshot, Store, StoreError};

/// Why no plan could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The recipe is not valid.
    #[error(transparent)]
    Recipe(#[from] recipe::LoadError),
    /// A kickstart is not valid.
    #[error(transparent)]
    Kickstart(#[from] Faults),
    /// A base image definition is missing.
    #[error(
        "{at}: machine {machine} wants base `{base}`, but there is no {base}.yaml in images/ beside the recipe or in one of the three folders above it"
    )]
    NoDefinition {
        /// Where the machine is declared.
        at: String,
        /// The machine.
        machine: String,
        /// The base it names.
        base: String,
    },
    /// A base image definition, or a kickstart, is not a file of the folder it was found in.
    #[error("{at}: machine {machine}: {message}\n  {help}")]
    Astray {
        /// Where the machine is declared.
        at: String,
        /// The machine.
        machine: String,
        /// What is wrong.
        message: String,
        /// What would be right.
        help: String,
    },
    /// A machine whose base is made by a kickstart has none.
    #[error(
        "{at}: machine {machine} has a base that is made by a kickstart and needs `kickstart: FILE.ks`"
    )]
    NoKickstart {
        /// Where the machine is declared.
        at: String,
        /// The machine.
        machine: String,
    },
    /// A base image definition is not valid.
    #[error(transparent)]
    Base(#[from] base::BaseError),
    /// The lock file cannot be read.
    #[error(transparent)]
    Lock(#[from] BadLock),
    /// A file could not be read.
    #[error(transparent)]
    Host(#[from] crate::host::HostError),
    /// There is no stage of that name.
    #[error("there is no stage `{name}`; the stages are {}", .known.join(", "))]
    NoStage {
        /// The name given.
        name: String,
        /// The stages there are.
        known: Vec<String>,
    },
}

/// A recipe with everything decided that can be decided without running anything.
#[derive(Debug)]
pub struct Plan {
    /// The recipe.
    pub lab: Lab,
    /// Its hardware.
    pub topology: Topology,
    /// Its machines' bases, in the recipe's order.
    pub machines: Vec<MachinePlan>,
    /// Its stages, in order.
    pub stages: Vec<StagePlan>,
    /// What the lock file says.
    pub lock: LockFile,
}

/// How one machine's disk begins.
#[derive(Debug)]
pub struct MachinePlan {
    /// The machine.
    pub name: String,
    /// Its base image definition.
    pub definition: Definition,
    /// Its kickstart, rendered and read; none on a disk base.
    pub kickstart: Option<Rendered>,
    /// Packages that its stages want installed in the base.
    pub packages: Vec<String>,
    /// Digest of everything asked of the base.
    pub inputs: Digest,
}

/// A kickstart for one machine.
#[derive(Debug)]
pub struct Rendered {
    /// Name of the template.
    pub file: String,
    /// The answer file.
    pub text: String,
    /// Its commands.
    pub commands: Kickstart,
}

/// One stage.
#[derive(Debug)]
pub struct StagePlan {
    /// Its name.
    pub name: String,
    /// Its inputs apart from the state it starts from.
    pub inputs: Vec<Input>,
}

/// A stage with its identity known.
#[derive(Debug, Clone)]
pub struct Target {
    /// The snapshot's id.
    pub id: LayerId,
    /// Name of the stage.
    pub stage: String,
    /// All inputs, the state it starts from included.
    pub inputs: Vec<Input>,
}

impl Plan {
    /// Reads a recipe and all it refers to.
    pub fn load(path: &Path, overrides: &BTreeMap<String, String>) -> Result<Plan, PlanError> {
        let mut lab = recipe::load(path, overrides)?;
        let topology = Topology::of(&lab);
        let lock = LockFile::read(&lab.dir)?;
        let definitions = load_definitions(&lab)?;
        install_in_guest_without_bootstrap(&mut lab, &definitions);
        let mut faults = Vec::new();
        let mut machines = Vec::new();
        for machine in &lab.machines {
            let definition = definitions[&machine.base].clone();
            match plan_machine(&lab, &topology, machine, definition) {
                Err(PlanError::Kickstart(more)) => faults.extend(more.0),
                planned => machines.push(planned?),
            }
        }
        if !faults.is_empty() {
            faults.dedup();
            return Err(Faults(faults).into());
        }
        let mut stages = Vec::new();
        for stage in &lab.stages {
            let inputs = identity::stage_inputs(stage, &topology)?;
            stages.push(StagePlan { name: stage.name.clone(), inputs });
        }
        Ok(Plan { stages, topology, machines, lock, lab })
    }

    /// The time that machines see while they are built, in seconds since 1970: the latest of
    /// their bases' times.
    pub fn build_time(&self) -> Option<u64> {
        self.machines.iter().map(|m| m.definition.time()).max()
    }

    /// Where the lock file is.
    pub fn lock_path(&self) -> PathBuf {
        self.lab.dir.join(LOCK_FILE)
    }

    /// Ids of all bases, if the lock answers for all of them.
    pub fn bases(&self) -> Option<BTreeMap<String, LayerId>> {
        let known = self.machines.iter().map(|m| {
            let locked = self.lock.slice(&m.name, &m.inputs);
            Some((m.name.clone(), m.base_id(locked)?))
        });
        known.collect()
    }

    /// Every stage with its identity, given the bases.
    pub fn targets(&self, bases: &BTreeMap<String, LayerId>) -> Vec<Target> {
        let mut before: Vec<Input> = bases
            .iter()
            .map(|(m, id)| identity::input(&format!("base of {m}"), &json!(id)))
            .collect();
        let mut targets = Vec::new();
        for stage in &self.stages {
            let inputs = [before, stage.inputs.clone()].concat();
            let id = identity::id_of("stage", &inputs);
            before = vec![identity::input(&format!("state after {}", stage.name), &json!(id))];
            targets.push(Target { id, stage: stage.name.clone(), inputs });
        }
        targets
    }

    /// The stages up to the one at index `to` and with it; all without `to`.
    pub fn targets_to(&self, bases: &BTreeMap<String, LayerId>, to: Option<usize>) -> Vec<Target> {
        let mut targets = self.targets(bases);
        targets.truncate(to.map_or(usize::MAX, |index| index + 1));
        targets
    }

    /// Position of a stage given by its name, its name without the leading number, or its
    /// number.
    pub fn stage_index(&self, wanted: &str) -> Result<usize, PlanError> {
        let matches = |name: &str| {
            let (number, rest) = name.split_once('-').unwrap_or((name, name));
            name == wanted || rest == wanted || number == wanted
        };
        self.stages.iter().position(|s| matches(&s.name)).ok_or_else(|| PlanError::NoStage {
            name: wanted.to_owned(),
            known: self.stages.iter().map(|s| s.name.clone()).collect(),
        })
    }
}

impl MachinePlan {
    /// What its kickstart says that means nothing on this base: where, and the sentence.
    pub fn notices(&self) -> Vec<(String, String)> {
        // An installer carries out all of it.
        let bootstrap = matches!(self.definition, Definition::Bootstrap(_));
        let Some(rendered) = self.kickstart.as_ref().filter(|_| bootstrap) else {
            return Vec::new();
        };
        let said = kickstart::notices(&rendered.commands).into_iter();
        said.map(|(line, text)| (format!("{} line {line}", rendered.file), text)).collect()
    }

    /// What a user must fill in before the base can be made.
    pub fn awaited(&self) -> Option<String> {
        match &self.definition {
            Definition::Installer(installer) => installer.awaited(),
            Definition::Bootstrap(_) | Definition::Disk(_) => None,
        }
    }

    /// The id of this machine's base; a bootstrap base has one only with its lock slice, an
    /// installer only when its files are pinned.
    pub fn base_id(&self, locked: Option<&LockedBase>) -> Option<LayerId> {
        base_id(&self.definition, &self.inputs, locked)
    }
}

/// The id of a base, from what is asked of it and the lock slice that answers.
pub fn base_id(
    definition: &Definition,
    inputs: &Digest,
    locked: Option<&LockedBase>,
) -> Option<LayerId> {
    let lock = match definition {
        Definition::Bootstrap(_) => locked?.digest().to_string(),
        Definition::Installer(installer) if installer.awaited().is_some() => return None,
        Definition::Installer(_) | Definition::Disk(_) => String::new(),
    };
    let asked = identity::input("asked", &json!(inputs));
    Some(identity::id_of("base", &[asked, identity::input("lock", &json!(lock))]))
}

/// The newest stored snapshot of `target`'s stage in this lab, and what has changed since.
pub fn why_not_stored(
    store: &Store,
    lab: &str,
    target: &Target,
) -> Result<Option<Vec<String>>, StoreError> {
    let of_stage = |s: &Snapshot| s.lab == lab && s.stage == target.stage;
    let last = store.snapshots()?.into_iter().find(of_stage);
    Ok(last.map(|snapshot| identity::changes(&snapshot.inputs, &target.inputs)))
}

fn load_definitions(lab: &Lab) -> Result<BTreeMap<String, Definition>, PlanError> {
    let mut definitions = BTreeMap::new();
    for machine in &lab.machines {
        if definitions.contains_key(&machine.base) {
            continue;
        }
        let file = format!("{}.yaml", machine.base);
        let found = recipe::find_beside(&lab.dir, "images", &file);
        let path =
            found.map_err(|why| astray(machine, why))?.ok_or_else(|| PlanError::NoDefinition {
                at: machine.at.to_string(),
                machine: machine.name.clone(),
                base: machine.base.clone(),
            })?;
        definitions.insert(machine.base.clone(), base::load_definition(&path)?);
    }
    Ok(definitions)
}

fn astray(machine: &Machine, (message, help): recipe::Astray) -> PlanError {
    PlanError::Astray { at: machine.at.to_string(), machine: machine.name.clone(), message, help }
}

/// Only a bootstrap can be given packages before it boots: elsewhere, `packages` steps install.
fn install_in_guest_without_bootstrap(lab: &mut Lab, definitions: &BTreeMap<String, Definition>) {
    let on_disk: Vec<String> = lab
        .machines
        .iter()
        .filter(|m| !matches!(definitions[&m.base], Definition::Bootstrap(_)))
        .map(|m| m.name.clone())
        .collect();
    let steps = lab.stages.iter_mut().flat_map(|s| &mut s.steps);
    for step in steps.filter(|s| s.machines.iter().any(|m| on_disk.contains(m))) {
        if let Action::Packages { when, .. } = &mut step.action {
            *when = InstallWhen::InGuest;
        }
    }
}

fn plan_machine(
    lab: &Lab,
    topology: &Topology,
    machine: &Machine,
    definition: Definition,
) -> Result<MachinePlan, PlanError> {
    let kickstart = match &definition {
        Definition::Bootstrap(_) | Definition::Installer(_) => {
            Some(render_kickstart(lab, topology, machine, &definition)?)
        }
        Definition::Disk(_) => None,
    };
    let packages = base_packages(lab, &machine.name);
    let hardware = topology.machine(&machine.name);
    let asked = json!({
        "meaning": "labbuild base 1",
        "definition": definition_identity(&definition),
        "kickstart": kickstart.as_ref().map(|k| &k.text),
        "packages": packages,
        "hardware": hardware.map(|m| json!([m.uuid, m.disk_bytes, m.nics])),
    });
    let inputs = Digest::of(asked.to_string());
    Ok(MachinePlan { name: machine.name.clone(), definition, kickstart, packages, inputs })
}

/// What of a definition decides the disk: everything of a bootstrap, what an installer boots, the
/// bytes of a disk.
fn definition_identity(definition: &Definition) -> serde_json::Value {
    match definition {
        Definition::Bootstrap(bootstrap) => json!(bootstrap),
        Definition::Installer(installer) => installer.identity(),
        Definition::Disk(disk) => json!(disk.sha256),
    }
}

fn render_kickstart(
    lab: &Lab,
    topology: &Topology,
    machine: &Machine,
    definition: &Definition,
) -> Result<Rendered, PlanError> {
    let missing =
        || PlanError::NoKickstart { at: machine.at.to_string(), machine: machine.name.clone() };
    let file = machine.kickstart.clone().ok_or_else(missing)?;
    let text = template(&lab.dir, &file).map_err(|why| astray(machine, why))?;
    let dir = lab.dir.clone();
    let read = move |name: &str| {
        template(&dir, name).map_err(|(message, help)| format!("{message}: {help}"))
    };
    let context = context::context(lab, topology, machine);
    let text = kickstart::render(&text.ok_or_else(missing)?, &file, &context, read.clone())?;
    let mut include = |name: &str| {
        let template = read(name)?.ok_or_else(|| format!("there is no {name} in kickstart/"))?;
        kickstart::render(&template, name, &context, read.clone()).map_err(|e| e.to_string())
    };
    let commands = match definition {
        Definition::Installer(_) => {
            let reading = kickstart::read(&text, &file, &mut |_| Ok(String::new()));
            base::check_answers(reading, &text, &file)?
        }
        // What a bootstrap could not carry out is said here, early.
        _ => kickstart::read(&text, &file, &mut include).for_bootstrap()?,
    };
    Ok(Rendered { file, text, commands })
}

/// The text of a kickstart template; `None` where there is none.
fn template(dir: &Path, name: &str) -> Result<Option<String>, recipe::Astray> {
    let Some(path) = recipe::find_beside(dir, "kickstart", name)? else { return Ok(None) };
    let unreadable = |e: std::io::Error| (format!("`{name}` cannot be read"), e.to_string());
    foreign::text(&path, foreign::limits::TEXT).map(Some).map_err(unreadable)
}

/// Packages that the stages want in the base of a machine, sorted, each once.
fn base_packages(lab: &Lab, machine: &str) -> Vec<String> {
    let steps = lab.stages.iter().flat_map(|s| &s.steps);
    let mut names: Vec<String> = steps
        .filter(|s| s.machines.iter().any(|m| m == machine))
        .filter_map(|s| match &s.action {
            Action::Packages { install, when: InstallWhen::InBase } => Some(install.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    names.sort();
    names.dedup();
    names
}
