//! What can be removed: layers that no wanted snapshot and no running lab stands on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Store, StoreError};
use crate::digest::LayerId;
use crate::host::files;

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

/// Kinds of garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GarbageKind {
    /// A snapshot that a newer one of the same stage has replaced.
    Snapshot,
    /// A layer that nothing kept stands on.
    Layer,
    /// Images of a snapshot that was replaced.
    Images,
}

impl Store {
    /// Everything that can go: for each recipe and stage the newest snapshot is kept, and all
    /// that `in_use` (layers under running labs) stands on.
    pub fn garbage(&self, in_use: &[LayerId]) -> Result<Vec<Garbage>, StoreError> {
        let (kept, old): (Vec<_>, Vec<_>) = {
            let mut seen = BTreeSet::new();
            self.snapshots()?
                .into_iter()
                .partition(|s| seen.insert((s.lab.clone(), s.stage.clone())))
        };
        let mut garbage = Vec::new();
        for snapshot in &old {
            let path = self.root().join("snapshots").join(format!("{}.json", snapshot.id));
            let title = format!("{} after {}, replaced", snapshot.lab, snapshot.stage);
            garbage.push(Garbage {
                kind: GarbageKind::Snapshot,
                title,
                size: disk_usage(&path),
                path,
            });
        }
        let kept_ids: BTreeSet<LayerId> = kept.iter().map(|s| s.id).collect();
        for images in self
            .images()?
            .into_iter()
            .filter(|i| !kept_ids.contains(&i.id) && !in_use.contains(&i.id))
        {
            let title = format!("images of snapshot {}", images.id.short());
            garbage.push(Garbage {
                kind: GarbageKind::Images,
                title,
                size: disk_usage(&images.dir),
                path: images.dir,
            });
        }
        let roots =
            kept.iter().flat_map(|s| s.machines.values().copied()).chain(in_use.iter().copied());
        let live = self.with_parents(roots)?;
        for layer in self.layers()?.into_iter().filter(|l| !live.contains(&l.meta.id)) {
            let path = layer.disk.parent().map(Path::to_owned).unwrap_or_default();
            garbage.push(Garbage {
                kind: GarbageKind::Layer,
                title: layer.meta.title,
                size: disk_usage(&path),
                path,
            });
        }
        Ok(garbage)
    }

    pub(super) fn with_parents(
        &self,
        roots: impl IntoIterator<Item = LayerId>,
    ) -> Result<BTreeSet<LayerId>, StoreError> {
        let mut live = BTreeSet::new();
        for root in roots {
            let mut next = Some(root);
            while let Some(id) = next.filter(|id| live.insert(*id)) {
                next = self.layer_meta(&id)?.and_then(|meta| meta.parent);
            }
        }
        Ok(live)
    }

    /// Removes one thing found by [`garbage`](Self::garbage).
    pub fn discard(&self, garbage: &Garbage) -> Result<(), StoreError> {
        Ok(files::remove(&garbage.path)?)
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
