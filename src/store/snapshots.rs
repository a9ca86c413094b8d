//! Snapshots: which layers of all machines belong together after a stage.
//!
//! The manifest is written last. A stage is stored when, and only when, its manifest is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, read_json, write_json};
use crate::digest::{Digest, LayerId};
use crate::host::{HostError, files};

/// One labelled input of a stage, kept so that a later plan can say what changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// For people: "step `SNAT of the management network`".
    pub label: String,
    /// Digest of its value.
    pub digest: Digest,
}

/// The stored state of a whole lab after one stage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// Store format.
    pub format: u32,
    /// Hash of everything that led here.
    pub id: LayerId,
    /// Name of the recipe.
    pub lab: String,
    /// Name of the stage.
    pub stage: String,
    /// Top layer of every machine.
    pub machines: BTreeMap<String, LayerId>,
    /// The machines' clock at the end of the stage, in seconds since 1970. A build that goes on
    /// from here starts no earlier: what the stage wrote is never of the future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<u64>,
    /// What the stage was made from.
    pub inputs: Vec<Input>,
}

impl Store {
    fn snapshots_dir(&self) -> PathBuf {
        self.root().join("snapshots")
    }

    fn snapshot_path(&self, id: &LayerId) -> PathBuf {
        self.snapshots_dir().join(format!("{id}.json"))
    }

    /// A stored snapshot whose layers are all there, or `None`.
    pub fn snapshot(&self, id: &LayerId) -> Result<Option<Snapshot>, StoreError> {
        let path = self.snapshot_path(id);
        if !path.exists() {
            return Ok(None);
        }
        let snapshot: Snapshot = read_json(&path)?;
        let complete = snapshot.machines.values().all(|layer| self.has_layer(layer));
        Ok(complete.then_some(snapshot))
    }

    /// Stores a snapshot; its layers must be stored already.
    pub fn put_snapshot(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        Ok(write_json(&self.snapshot_path(&snapshot.id), snapshot)?)
    }

    /// Forgets a snapshot; its layers become garbage unless another needs them.
    pub fn remove_snapshot(&self, id: &LayerId) -> Result<(), StoreError> {
        Ok(files::remove(&self.snapshot_path(id))?)
    }

    /// All stored snapshots, newest first.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
        let mut found: Vec<(SystemTime, Snapshot)> = Vec::new();
        for name in super::list_names(&self.snapshots_dir())? {
            let path = self.snapshots_dir().join(name);
            let time = path.metadata().and_then(|m| m.modified());
            found.push((time.map_err(HostError::file("read", &path))?, read_json(&path)?));
        }
        found.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        Ok(found.into_iter().map(|(_, snapshot)| snapshot).collect())
    }
}
