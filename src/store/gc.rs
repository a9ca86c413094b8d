//! What can be removed: layers and images that no wanted snapshot and no lab stands on.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Snapshot, Store, StoreError, StoredImages};
use crate::digest::LayerId;
use crate::host::{HostError, files};

/// One thing that can be removed.
#[derive(Debug, Clone)]
pub struct Garbage {
    /// What it is.
    pub kind: GarbageKind,
    /// What it is, for people.
    pub title: String,
    /// Bytes on disk.
    pub size: u64,
    /// What is removed.
    pub path: PathBuf,
}

impl Garbage {
    fn new(kind: GarbageKind, title: String, path: PathBuf) -> Garbage {
        Garbage { kind, title, size: disk_usage(&path), path }
    }
}

/// Kinds of garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GarbageKind {
    /// A snapshot that a newer one of the same stage has replaced.
    Snapshot,
    /// A layer that nothing kept stands on.
    Layer,
    /// Images of a snapshot that was replaced, or from elsewhere.
    Images,
}

/// What labs need, running or not, whatever else is kept.
#[derive(Debug, Clone, Default)]
pub struct InUse {
    /// Layers that machines stand on.
    pub layers: Vec<LayerId>,
    /// Files that machines stand on: disks of images.
    pub files: Vec<PathBuf>,
}

impl Store {
    /// Everything that can go: for each recipe and stage the newest snapshot is kept, and all
    /// that labs stand on. It is true for as long as nobody else is at work in the store
    /// ([`try_lock_whole`](Self::try_lock_whole)): what is being made has no snapshot yet.
    pub fn garbage(&self, in_use: &InUse) -> Result<Vec<Garbage>, StoreError> {
        let mut seen = BTreeSet::new();
        let (kept, old): (Vec<_>, Vec<_>) = self
            .snapshots()?
            .into_iter()
            .partition(|s| seen.insert((s.lab.clone(), s.stage.clone())));
        let mut garbage: Vec<Garbage> = old.iter().map(|s| self.old_snapshot(s)).collect();
        garbage.extend(self.idle_images(&kept, in_use)?);
        garbage.extend(self.idle_layers(&kept, in_use)?);
        Ok(garbage)
    }

    fn old_snapshot(&self, snapshot: &Snapshot) -> Garbage {
        let title = format!("{} after {}, replaced", snapshot.lab, snapshot.stage);
        Garbage::new(GarbageKind::Snapshot, title, self.snapshot_path(&snapshot.id))
    }

    fn idle_images(&self, kept: &[Snapshot], in_use: &InUse) -> Result<Vec<Garbage>, StoreError> {
        let used = |dir: &Path| in_use.files.iter().any(|file| file.starts_with(dir));
        let is_idle = |images: &StoredImages| {
            !used(&images.dir) && !kept.iter().any(|snapshot| snapshot.id == images.id)
        };
        let of_snapshots = self.images()?.into_iter().filter(is_idle).map(|images| {
            let title = format!("images of snapshot {}", images.id.short());
            Garbage::new(GarbageKind::Images, title, images.dir)
        });
        // Whoever handed them out has them still.
        let imported = self.all_imported()?.into_iter().filter(|dir| !used(dir));
        let imported = imported.map(|dir| {
            let title = "images from elsewhere that no lab stands on".to_owned();
            Garbage::new(GarbageKind::Images, title, dir)
        });
        Ok(of_snapshots.chain(imported).collect())
    }

    fn idle_layers(&self, kept: &[Snapshot], in_use: &InUse) -> Result<Vec<Garbage>, StoreError> {
        let of_snapshots = kept.iter().flat_map(|s| s.machines.values());
        let live = self.with_parents(of_snapshots.chain(&in_use.layers).copied())?;
        let idle = self.layers()?.into_iter().filter(|l| !live.contains(&l.meta.id)).map(|layer| {
            let path = layer.disk.parent().map(Path::to_owned).unwrap_or_default();
            Garbage::new(GarbageKind::Layer, layer.meta.title, path)
        });
        Ok(idle.collect())
    }

    /// These layers and all below them, stored or not.
    pub(super) fn with_parents(
        &self,
        roots: impl IntoIterator<Item = LayerId>,
    ) -> Result<BTreeSet<LayerId>, StoreError> {
        let mut all = BTreeSet::new();
        for root in roots {
            let mut next = Some(root);
            while let Some(id) = next.filter(|id| all.insert(*id)) {
                next = self.layer_meta(&id)?.and_then(|meta| meta.parent);
            }
        }
        Ok(all)
    }

    /// Removes one thing found by [`garbage`](Self::garbage).
    pub fn discard(&self, garbage: &Garbage) -> Result<(), StoreError> {
        // Out of the way in one step: a removal that is cut short leaves nothing half there.
        let work = self.work_dir("freeing")?;
        let away = work.path().join("garbage");
        match fs::rename(&garbage.path, &away) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(HostError::file("remove", &garbage.path))?,
        }
        Ok(files::remove(&away)?)
    }
}

/// Bytes that a file or folder occupies (blocks, not length: overlays are sparse).
pub fn disk_usage(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    let below: u64 = match fs::read_dir(path) {
        Ok(entries) if meta.is_dir() => entries.flatten().map(|e| disk_usage(&e.path())).sum(),
        _ => 0,
    };
    meta.blocks() * 512 + below
}
