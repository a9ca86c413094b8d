//! The store: every layer, image, download and running lab, and every path under one folder.
//!
//! A thing appears in the store by a rename and never changes afterwards, so a reader needs no
//! lock and a crash leaves nothing half-made. What is being made lives in a [`WorkDir`], which
//! vanishes with its process (at the latest when the store is opened next).

mod gc;
mod images;
mod layers;
mod locks;
mod snapshots;
mod work;

pub use gc::{Garbage, GarbageKind, InUse, disk_usage};
pub use images::StoredImages;
pub use layers::{Layer, LayerMeta};
pub use locks::{Busy, Lock};
pub use snapshots::{Input, Snapshot};
pub use work::WorkDir;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::host::{HostError, files};

/// Version of everything that is written into a store. A newer one is refused.
pub const FORMAT: u32 = 1;

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder was written by a newer labbuild.
    #[error("{} has format {found}; this labbuild reads up to {FORMAT}. Use a newer labbuild, or another --store", .path.display())]
    TooNew {
        /// The store.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// A file of the store cannot be understood.
    #[error("{} is damaged: {reason}\n  remove it and run the command again", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process holds a lock.
    #[error("{0}")]
    Busy(Busy),
    /// A host file operation failed.
    #[error(transparent)]
    Host(#[from] HostError),
}

#[derive(Serialize, Deserialize)]
struct FormatFile {
    format: u32,
}

/// One store on disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store at `root`, making it if there is none, and removes what dead processes
    /// left in it.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        files::create_dir(root)?;
        // Disks and what machines were told are in it, and other users are on this host.
        files::close(root)?;
        let root = root.canonicalize().map_err(HostError::file("find", root))?;
        let store = Store { root };
        store.check_format()?;
        store.sweep_work_dirs();
        Ok(store)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let path = self.root.join("format.json");
        if !path.exists() {
            return Ok(write_json(&path, &FormatFile { format: FORMAT })?);
        }
        let FormatFile { format } = read_json(&path)?;
        if format > FORMAT {
            return Err(StoreError::TooNew { path: self.root.clone(), found: format });
        }
        Ok(())
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Folder of a running or stopped lab.
    pub fn lab_dir(&self, name: &str) -> PathBuf {
        self.root.join("labs").join(name)
    }

    /// Names of all labs that have a folder.
    pub fn lab_names(&self) -> Result<Vec<String>, StoreError> {
        list_names(&self.root.join("labs"))
    }

    /// Folders with disks that machines may stand on.
    pub fn folders_to_stand_on(&self) -> Vec<PathBuf> {
        ["layers", "images", "imported"].iter().map(|name| self.root.join(name)).collect()
    }

    /// Folder of what installers printed.
    pub fn install_logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// What an installer printed on its console: kept, whatever came of it, until the next time.
    pub fn install_log(&self, lab: &str, machine: &str) -> PathBuf {
        self.root.join("logs").join(format!("{lab}-{machine}.install.log"))
    }

    /// Folder of downloaded distribution packages, kept between builds.
    pub fn package_cache(&self) -> PathBuf {
        self.root.join("packages")
    }

    /// Folder of downloads by digest.
    pub fn downloads(&self) -> PathBuf {
        self.root.join("downloads")
    }
}

/// Names of the entries of a folder, sorted; none if there is no folder.
fn list_names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(HostError::file("list", dir)(e).into()),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    Ok(names)
}

/// Reads a JSON file of the store.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let text = files::read_text(path)?;
    serde_json::from_str(&text)
        .map_err(|e| StoreError::Damaged { path: path.to_owned(), reason: e.to_string() })
}

/// Writes a JSON file of the store, whole or not at all.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), HostError> {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    files::write_atomic(path, text.as_bytes())
}
