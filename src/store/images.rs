//! Sealed images: one folder per snapshot, with a disk per machine and a manifest.
//!
//! Images that came from elsewhere are kept apart, by the digest of their manifest: the snapshot
//! that they name is only what somebody says.
//!
//! What the manifest says is `bundle`'s business; the store only keeps the folder whole.

use std::path::{Path, PathBuf};

use super::{Store, StoreError};
use crate::digest::{Digest, LayerId};
use crate::host::files;

/// A folder of sealed images.
#[derive(Debug, Clone)]
pub struct StoredImages {
    /// The snapshot they were sealed from.
    pub id: LayerId,
    /// The folder: `manifest.json` and the disks it names.
    pub dir: PathBuf,
}

impl Store {
    fn images_dir(&self) -> PathBuf {
        self.root().join("images")
    }

    fn imported_dir(&self) -> PathBuf {
        self.root().join("imported")
    }

    /// The folder of images that were taken in with this manifest, or `None`.
    pub fn imported(&self, manifest: &Digest) -> Option<PathBuf> {
        let dir = self.imported_dir().join(manifest.to_string());
        dir.join("manifest.json").exists().then_some(dir)
    }

    /// Every folder of images that was taken in.
    pub fn all_imported(&self) -> Result<Vec<PathBuf>, StoreError> {
        let names = super::list_names(&self.imported_dir())?;
        Ok(names.iter().filter_map(|name| self.imported(&name.parse().ok()?)).collect())
    }

    /// Stores a finished folder of images from elsewhere, in place of what is there.
    pub fn put_imported(&self, manifest: &Digest, staged: &Path) -> Result<PathBuf, StoreError> {
        files::create_dir(&self.imported_dir())?;
        let target = self.imported_dir().join(manifest.to_string());
        files::remove(&target)?;
        files::rename_durably(staged, &target)?;
        Ok(target)
    }

    /// Images sealed from a snapshot, or `None`.
    pub fn images_of(&self, id: &LayerId) -> Option<StoredImages> {
        let dir = self.images_dir().join(id.to_string());
        dir.join("manifest.json").exists().then_some(StoredImages { id: *id, dir })
    }

    /// All sealed images.
    pub fn images(&self) -> Result<Vec<StoredImages>, StoreError> {
        let names = super::list_names(&self.images_dir())?;
        Ok(names.iter().filter_map(|n| self.images_of(&n.parse().ok()?)).collect())
    }

    /// Stores a finished folder of images; one that is already there wins.
    pub fn put_images(&self, id: &LayerId, staged: &Path) -> Result<StoredImages, StoreError> {
        files::create_dir(&self.images_dir())?;
        let target = self.images_dir().join(id.to_string());
        match files::rename_durably(staged, &target) {
            Err(_) if target.join("manifest.json").exists() => files::remove(staged)?,
            done => done?,
        }
        Ok(StoredImages { id: *id, dir: target })
    }

    /// Removes the images of a snapshot.
    pub fn remove_images(&self, id: &LayerId) -> Result<(), StoreError> {
        Ok(files::remove(&self.images_dir().join(id.to_string()))?)
    }
}
