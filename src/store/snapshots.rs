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

    pub(super) fn snapshot_path(&self, id: &LayerId) -> PathBuf {
        self.snapshots_dir().join(format!("{id}.json"))
    }

    /// A stored snapshot whose layers are all there, down to the bases, or `None`.
    pub fn snapshot(&self, id: &LayerId) -> Result<Option<Snapshot>, StoreError> {
        let path = self.snapshot_path(id);
        if !path.exists() {
            return Ok(None);
        }
        let snapshot: Snapshot = read_json(&path)?;
        let needed = self.with_parents(snapshot.machines.values().copied())?;
        let complete = needed.iter().all(|layer| self.has_layer(layer));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::FORMAT;

    fn id(number: u8) -> LayerId {
        format!("{number:064x}").parse().unwrap()
    }

    /// A base, a layer on it, one on that, and a snapshot of the last.
    async fn three_layers(store: &Store) -> Snapshot {
        let work = store.work_dir("testing").unwrap();
        for number in 1..=3 {
            let disk = work.path().join("disk.qcow2");
            let create = crate::host::Cmd::new("qemu-img").args(["create", "-q", "-f", "qcow2"]);
            create.arg(&disk).arg("1M").run().await.unwrap();
            let parent = (number > 1).then(|| id(number - 1));
            store.put_layer(id(number), parent, "a layer".into(), &work, &disk).await.unwrap();
        }
        let snapshot = Snapshot {
            format: FORMAT,
            id: id(9),
            lab: "pair".into(),
            stage: "10-first".into(),
            machines: BTreeMap::from([("one".into(), id(3))]),
            clock: None,
            inputs: Vec::new(),
        };
        store.put_snapshot(&snapshot).unwrap();
        snapshot
    }

    #[tokio::test]
    async fn a_snapshot_is_stored_when_every_layer_down_to_the_base_is() {
        for missing in 1..=3 {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(dir.path()).unwrap();
            let snapshot = three_layers(&store).await;
            assert!(store.snapshot(&snapshot.id).unwrap().is_some());
            store.remove_layer(&id(missing)).unwrap();
            assert!(store.snapshot(&snapshot.id).unwrap().is_none(), "without layer {missing}");
        }
    }
}
