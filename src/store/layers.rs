//! Layers: read-only qcow2 overlays, each in a folder named after its [`LayerId`].
//!
//! `layers/<id>/disk.qcow2` names its backing file relatively (`../<parent>/disk.qcow2`), so a
//! store can be moved. Base disks are layers without a parent.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{FORMAT, Store, StoreError, WorkDir, read_json, write_json};
use crate::digest::{Digest, LayerId};
use crate::host::{Cmd, HostError, files};

/// File name of a layer's disk.
const DISK: &str = "disk.qcow2";

/// What is written beside a layer's disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayerMeta {
    /// Store format.
    pub format: u32,
    /// What made it.
    pub id: LayerId,
    /// The layer below; none for a base.
    pub parent: Option<LayerId>,
    /// SHA-256 of `disk.qcow2`.
    pub digest: Digest,
    /// Size of `disk.qcow2` in bytes.
    pub size: u64,
    /// What it is, for people: "base of controller", "controller after 10-system".
    pub title: String,
}

/// A stored layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its description.
    pub meta: LayerMeta,
    /// Its disk.
    pub disk: PathBuf,
}

impl Store {
    fn layers_dir(&self) -> PathBuf {
        self.root().join("layers")
    }

    /// Whether a layer is stored; reads nothing but the directory.
    pub fn has_layer(&self, id: &LayerId) -> bool {
        self.layers_dir().join(id.to_string()).join("layer.json").exists()
    }

    /// What is written beside a stored layer's disk, or `None`.
    pub(super) fn layer_meta(&self, id: &LayerId) -> Result<Option<LayerMeta>, StoreError> {
        let path = self.layers_dir().join(id.to_string()).join("layer.json");
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(read_json(&path)?))
    }

    /// A stored layer, or `None`.
    pub fn layer(&self, id: &LayerId) -> Result<Option<Layer>, StoreError> {
        let Some(meta) = self.layer_meta(id)? else { return Ok(None) };
        let disk = self.layers_dir().join(id.to_string()).join(DISK);
        let size = fs::metadata(&disk).map_err(HostError::file("read", &disk))?.len();
        if size != meta.size {
            let reason = format!("{} bytes long, {} were stored", size, meta.size);
            return Err(StoreError::Damaged { path: disk, reason });
        }
        Ok(Some(Layer { meta, disk }))
    }

    /// All stored layers.
    pub fn layers(&self) -> Result<Vec<Layer>, StoreError> {
        let ids = super::list_names(&self.layers_dir())?;
        let mut layers = Vec::new();
        for id in ids.iter().filter_map(|name| name.parse().ok()) {
            layers.extend(self.layer(&id)?);
        }
        Ok(layers)
    }

    /// Stores `disk`, a file in `work`, as layer `id` on top of `parent`. A layer that is
    /// already there wins: same inputs, same meaning.
    pub async fn put_layer(
        &self,
        id: LayerId,
        parent: Option<LayerId>,
        title: String,
        work: &WorkDir,
        disk: &Path,
    ) -> Result<Layer, StoreError> {
        if let Some(layer) = self.layer(&id)? {
            return Ok(layer);
        }
        let staged = work.path().join(format!("layer-{}", id.short()));
        files::create_dir(&staged)?;
        let target = staged.join(DISK);
        fs::rename(disk, &target).map_err(HostError::file("move", disk))?;
        if let Some(parent) = parent {
            rebase_relative(&target, &parent).await?;
        }
        let meta = seal_layer(id, parent, title, &target).await?;
        write_json(&staged.join("layer.json"), &meta)?;
        self.publish_layer(&staged, &id)
    }

    fn publish_layer(&self, staged: &Path, id: &LayerId) -> Result<Layer, StoreError> {
        let dir = self.layers_dir();
        files::create_dir(&dir)?;
        let target = dir.join(id.to_string());
        match files::rename_durably(staged, &target) {
            // Another process stored the same layer in the meantime.
            Err(_) if target.join("layer.json").exists() => files::remove(staged)?,
            done => done?,
        }
        self.layer(id)?.ok_or_else(|| StoreError::Damaged {
            path: target,
            reason: "vanished while it was stored".into(),
        })
    }

    /// Removes a layer.
    pub fn remove_layer(&self, id: &LayerId) -> Result<(), StoreError> {
        Ok(files::remove(&self.layers_dir().join(id.to_string()))?)
    }
}

/// Points a layer's backing file at its parent's place in the store, without reading data.
async fn rebase_relative(disk: &Path, parent: &LayerId) -> Result<(), HostError> {
    let backing = format!("../{parent}/{DISK}");
    Cmd::new("qemu-img")
        .args(["rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", &backing])
        .arg(disk)
        .run()
        .await
        .map(drop)
}

/// Makes the disk durable and read-only, and describes it.
async fn seal_layer(
    id: LayerId,
    parent: Option<LayerId>,
    title: String,
    disk: &Path,
) -> Result<LayerMeta, StoreError> {
    let path = disk.to_owned();
    let described = tokio::task::spawn_blocking(move || {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444))?;
        let file = fs::File::open(&path)?;
        file.sync_all()?;
        Ok((Digest::of_reader(&file)?, file.metadata()?.len()))
    });
    let (digest, size) = described
        .await
        .unwrap_or_else(|e| Err(std::io::Error::other(e)))
        .map_err(HostError::file("store", disk))?;
    Ok(LayerMeta { format: FORMAT, id, parent, digest, size, title })
}
