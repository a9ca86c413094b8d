//! What a lab remembers between commands: `labs/<name>/lab.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::expose::Exposed;
use crate::digest::LayerId;
use crate::plan::Topology;
use crate::store::{Store, StoreError, read_json, write_json};

/// Version of the record.
const FORMAT: u32 = 1;

/// One lab, as left by the last command that changed it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Version of the record.
    pub format: u32,
    /// Name of the lab (its folder).
    pub name: String,
    /// What it was made from: a recipe's folder or a folder of images.
    pub source: PathBuf,
    /// The hypervisor it runs on; `None`: a libvirtd of its own.
    pub connect: Option<String>,
    /// Its hardware.
    pub topology: Topology,
    /// Where each machine runs.
    pub machines: BTreeMap<String, MachineRecord>,
    /// How far it is.
    pub state: State,
    /// `kvm` or `tcg`, and why.
    pub accelerator: (String, String),
    /// Networks by their names in libvirt.
    pub networks: BTreeMap<String, String>,
    /// Ports that the host offers.
    #[serde(default)]
    pub exposed: Vec<Exposed>,
}

/// One machine of a lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MachineRecord {
    /// Name of its libvirt domain.
    pub domain: String,
    /// The overlay it writes to.
    pub overlay: PathBuf,
    /// The stored layer under it; none when it stands on images.
    pub layer: Option<LayerId>,
    /// The file under its first overlay; records of older versions do not say it.
    #[serde(default)]
    pub backing: Option<PathBuf>,
}

/// How far a lab is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum State {
    /// Machines are being started.
    Starting,
    /// A stage is being built.
    Building {
        /// The stage.
        stage: String,
    },
    /// A step or check failed; the machines are as it left them.
    Failed {
        /// The stage.
        stage: String,
        /// `file:line` and name of the step or check.
        at: String,
    },
    /// Everything asked for is done.
    Up {
        /// The last stage; none for a lab without stages.
        stage: Option<String>,
        /// The snapshot the machines stand on.
        snapshot: Option<LayerId>,
    },
}

impl State {
    /// One word or two for tables.
    pub fn summary(&self) -> String {
        match self {
            State::Starting => "starting".into(),
            State::Building { stage } => format!("building {stage}"),
            State::Failed { stage, .. } => format!("failed in {stage}"),
            State::Up { stage: Some(stage), .. } => format!("at {stage}"),
            State::Up { stage: None, .. } => "up".into(),
        }
    }
}

impl Record {
    /// A new record.
    pub fn new(name: &str, source: &Path, connect: Option<String>, topology: Topology) -> Self {
        Record {
            format: FORMAT,
            name: name.to_owned(),
            source: source.to_owned(),
            connect,
            topology,
            machines: BTreeMap::new(),
            state: State::Starting,
            accelerator: (String::new(), String::new()),
            networks: BTreeMap::new(),
            exposed: Vec::new(),
        }
    }

    /// The record of a lab, if it has one.
    pub fn read(store: &Store, name: &str) -> Result<Option<Self>, StoreError> {
        let path = path(store, name);
        if !path.exists() {
            return Ok(None);
        }
        let record: Record = read_json(&path)?;
        if record.format > FORMAT {
            return Err(StoreError::TooNew { path, found: record.format });
        }
        Ok(Some(record))
    }

    /// Writes the record.
    pub fn write(&self, store: &Store) -> Result<(), StoreError> {
        Ok(write_json(&path(store, &self.name), self)?)
    }

    /// Whether anything of the lab can be on its hypervisor. The names of things are recorded
    /// before the first of them is made there.
    pub fn has_begun(&self) -> bool {
        !self.networks.is_empty() || self.machines.values().any(|m| !m.domain.is_empty())
    }

    /// Records a new state.
    pub fn set_state(&mut self, store: &Store, state: State) -> Result<(), StoreError> {
        self.state = state;
        self.write(store)
    }
}

fn path(store: &Store, name: &str) -> PathBuf {
    store.lab_dir(name).join("lab.json")
}
