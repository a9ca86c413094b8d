//! Work folders: where things are made before they are stored.
//!
//! Each is locked by its maker. One whose lock is free belongs to a dead process and is swept.

use std::path::{Path, PathBuf};

use super::{Lock, Store, StoreError, locks::try_lock_file};
use crate::host::files;

/// A private folder on the store's file system; removed when dropped.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    // Released after `Drop` has removed the folder.
    _lock: Lock,
}

impl WorkDir {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // What cannot be removed now is swept when the store is opened next.
        let _ = files::remove(&self.path);
    }
}

impl Store {
    /// A new work folder.
    pub fn work_dir(&self, doing: &str) -> Result<WorkDir, StoreError> {
        let parent = self.root().join("work");
        files::create_dir(&parent)?;
        // The lock comes first and lies beside the folder: a sweeper never sees a folder without.
        let name = format!("{}-{:08x}", std::process::id(), rand_suffix());
        let lock = try_lock_file(&parent.join(format!("{name}.lock")), doing)?
            .map_err(StoreError::Busy)?;
        let path = parent.join(name);
        files::create_dir(&path)?;
        Ok(WorkDir { path, _lock: lock })
    }

    /// Removes work folders of dead processes. Faults are left for the next time.
    pub(super) fn sweep_work_dirs(&self) {
        let parent = self.root().join("work");
        for name in super::list_names(&parent).unwrap_or_default() {
            let Some(stem) = name.strip_suffix(".lock") else { continue };
            let lock_path = parent.join(&name);
            if let Ok(Ok(_lock)) = try_lock_file(&lock_path, "sweeping") {
                let gone = files::remove(&parent.join(stem));
                if gone.is_ok() {
                    let _ = files::remove(&lock_path);
                }
            }
        }
    }
}

/// Distinct within a process and, with the process id, within a machine.
fn rand_suffix() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.subsec_nanos());
    nanos ^ (NEXT.fetch_add(1, Ordering::Relaxed) << 24)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_dead_makers_folder_is_swept_and_a_live_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let live = store.work_dir("testing").unwrap();
        let dead = store.root().join("work/1-dead");
        std::fs::create_dir_all(dead.join("sub")).unwrap();
        std::fs::write(store.root().join("work/1-dead.lock"), "{}").unwrap();
        Store::open(dir.path()).unwrap();
        assert!(live.path().exists());
        assert!(!dead.exists());
    }
}
