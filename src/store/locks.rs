//! Locks between processes: an `flock` on a file that says who holds it and for what.
//!
//! The kernel drops the lock with its holder, so a killed process never leaves one behind.
//!
//! Whoever holds a lock of a store also holds a share of the lock on the whole store. What needs
//! the store to itself takes that one alone.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use crate::event::Events;
use crate::host::{HostError, files};

/// Name of the lock on the whole store.
const WHOLE: &str = "whole-store";

/// Who holds a lock, and for what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Busy {
    /// Process id of the holder; 0 where it has not said so yet.
    pub pid: u32,
    /// What it is doing: "building stage 10-system of two-node".
    pub doing: String,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            0 => write!(f, "another labbuild is {}", self.doing),
            pid => write!(f, "another labbuild (process {pid}) is {}", self.doing),
        }
    }
}

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    /// The share of the whole store that comes with it.
    _share: Option<File>,
}

impl Store {
    /// Takes the lock `name`, or says who holds it.
    pub fn try_lock(&self, name: &str, doing: &str) -> Result<Result<Lock, Busy>, StoreError> {
        let lock = match try_lock_file(&self.lock_path(name), doing)? {
            Ok(lock) => lock,
            Err(busy) => return Ok(Err(busy)),
        };
        let share = self.try_share()?;
        Ok(share.map(|share| Lock { _share: Some(share), ..lock }))
    }

    /// Takes the whole store, or says who is at work in it. Nobody gets a lock of this store
    /// until it is dropped.
    pub fn try_lock_whole(&self, doing: &str) -> Result<Result<Lock, Busy>, StoreError> {
        match try_lock_file(&self.lock_path(WHOLE), doing)? {
            Ok(lock) => Ok(Ok(lock)),
            // Those who hold a share have written their names into locks of their own.
            Err(other) => Ok(Err(self.holders()?.into_iter().next().unwrap_or(other))),
        }
    }

    /// A share of the whole store, or who has it alone.
    fn try_share(&self) -> Result<Result<File, Busy>, StoreError> {
        let path = self.lock_path(WHOLE);
        let mut file = open(&path)?;
        Ok(match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(file),
            Err(_) => Err(read_holder(&mut file)),
        })
    }

    /// Who holds locks of this store just now, without the one on the whole.
    fn holders(&self) -> Result<Vec<Busy>, StoreError> {
        let mut holders = Vec::new();
        for name in super::list_names(&self.locks_dir())? {
            let name = name.strip_suffix(".lock").filter(|name| *name != WHOLE);
            let Some(path) = name.map(|name| self.lock_path(name)) else { continue };
            let mut file = File::open(&path).map_err(HostError::file("open lock", &path))?;
            if flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
                holders.push(read_holder(&mut file));
            }
        }
        Ok(holders)
    }

    fn locks_dir(&self) -> PathBuf {
        self.root().join("locks")
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.locks_dir().join(format!("{name}.lock"))
    }

    /// Whether a process holds the lock `name` just now.
    pub fn is_locked(&self, name: &str) -> bool {
        let path = self.lock_path(name);
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
    let mut file = open(path)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(Err(read_holder(&mut file)));
    }
    write_holder(&mut file, doing).map_err(HostError::file("write lock", path))?;
    Ok(Ok(Lock { _file: file, _share: None }))
}

fn open(path: &Path) -> Result<File, HostError> {
    if let Some(dir) = path.parent() {
        files::create_dir(dir)?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(HostError::file("open lock", path))
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

    #[test]
    fn the_whole_store_and_a_part_of_it_exclude_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let one = store.try_lock("lab-a", "building a").unwrap().unwrap();
        let two = store.try_lock("lab-b", "building b").unwrap().unwrap();
        drop(one);
        let busy = store.try_lock_whole("freeing").unwrap().unwrap_err();
        assert_eq!(busy.doing, "building b");
        drop(two);
        let whole = store.try_lock_whole("freeing").unwrap().unwrap();
        // One that nobody ever took before is refused as well.
        let busy = store.try_lock("lab-new", "building new").unwrap().unwrap_err();
        assert_eq!((busy.pid, busy.doing.as_str()), (std::process::id(), "freeing"));
        drop(whole);
        assert!(store.try_lock("lab-new", "building new").unwrap().is_ok());
    }

    #[test]
    fn a_holder_without_a_name_gets_no_process_id() {
        let busy = Busy { pid: 0, doing: "at work".into() };
        assert_eq!(busy.to_string(), "another labbuild is at work");
    }
}
