//! Locks between processes: an `flock` on a file that says who holds it and for what.
//!
//! The kernel drops the lock with its holder, so a killed process never leaves one behind.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::event::Events;
use crate::host::{HostError, files};

/// Who holds a lock, and for what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Busy {
    /// Process id of the holder.
    pub pid: u32,
    /// What it is doing: "building stage 10-system of two-node".
    pub doing: String,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another labbuild (process {}) is {}", self.pid, self.doing)
    }
}

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Store {
    /// Takes the lock `name`, or says who holds it.
    pub fn try_lock(&self, name: &str, doing: &str) -> Result<Result<Lock, Busy>, StoreError> {
        try_lock_file(&self.root().join("locks").join(format!("{name}.lock")), doing)
    }

    /// Whether a process holds the lock `name` just now.
    pub fn is_locked(&self, name: &str) -> bool {
        let path = self.root().join("locks").join(format!("{name}.lock"));
        let held = |file: File| flock(&file, FlockOperation::NonBlockingLockShared).is_err();
        File::open(path).is_ok_and(held)
    }

    /// Takes the lock `name`; while another process holds it, says so once and waits.
    pub async fn lock(&self, name: &str, doing: &str, events: &Events) -> Result<Lock, StoreError> {
        let mut said = false;
        loop {
            match self.try_lock(name, doing)? {
                Ok(lock) => return Ok(lock),
                Err(busy) if !said => {
                    events.notice(format!("{busy}; waiting for it"));
                    said = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
}

/// Takes the lock file at `path`, or says who holds it.
pub fn try_lock_file(path: &Path, doing: &str) -> Result<Result<Lock, Busy>, StoreError> {
    if let Some(dir) = path.parent() {
        files::create_dir(dir)?;
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(HostError::file("open lock", path))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(Err(read_holder(&mut file)));
    }
    write_holder(&mut file, doing).map_err(HostError::file("write lock", path))?;
    Ok(Ok(Lock { _file: file }))
}

fn read_holder(file: &mut File) -> Busy {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    // The holder may be between taking the lock and writing its name.
    serde_json::from_str(&text)
        .unwrap_or(Busy { pid: 0, doing: "at work on the same thing".into() })
}

fn write_holder(file: &mut File, doing: &str) -> std::io::Result<()> {
    let holder = Busy { pid: std::process::id(), doing: doing.to_owned() };
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(serde_json::to_string(&holder)?.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let first = try_lock_file(&path, "building").unwrap().unwrap();
        let busy = try_lock_file(&path, "other").unwrap().unwrap_err();
        assert_eq!((busy.pid, busy.doing.as_str()), (std::process::id(), "building"));
        drop(first);
        assert!(try_lock_file(&path, "other").unwrap().is_ok());
    }
}
