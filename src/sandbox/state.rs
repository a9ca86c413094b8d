//! Who keeps a sandbox alive: a lock that the keeper holds for its life, and a small file that
//! says which processes belong to it. The lock decides; a process number alone is never believed.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::error::SandboxError;
use super::layout::Layout;
use crate::host::{HostError, files};

/// Version of the state file's format.
const FORMAT: u32 = 1;

/// How often a lock is looked at while waiting for it.
const TICK: Duration = Duration::from_millis(20);

/// What a keeper says about itself once everything stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    format: u32,
    /// First process of the lab's namespaces, as the host numbers it.
    pub init: i32,
    /// The folder for sockets.
    pub runtime: PathBuf,
    /// Whether the lab has a way out.
    pub uplink: bool,
}

impl State {
    pub fn new(init: Pid, runtime: &Path, uplink: bool) -> Self {
        let init = init.as_raw_nonzero().get();
        State { format: FORMAT, init, runtime: runtime.to_owned(), uplink }
    }

    pub fn write(&self, path: &Path) -> Result<(), SandboxError> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        Ok(files::write_atomic(path, &text)?)
    }

    /// The state in `path`; `None` while there is none.
    pub fn read(path: &Path) -> Result<Option<State>, SandboxError> {
        let bytes = match fs::read(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(HostError::file("read", path))?,
        };
        let unreadable = |reason: String| HostError::File {
            doing: "understand",
            path: path.to_owned(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, reason),
        };
        let state: State = serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?;
        if state.format > FORMAT {
            return Err(unreadable("it was written by a newer labbuild".to_owned()).into());
        }
        Ok(Some(state))
    }
}

/// Takes the lock, waiting for at most `patience`; `None` when someone else keeps it.
pub(super) async fn lock(path: &Path, patience: Duration) -> Result<Option<File>, SandboxError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(HostError::file("open", path))?;
    let deadline = Instant::now() + patience;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => sleep(TICK).await,
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(e) => return Err(HostError::file("lock", path)(e.into()).into()),
        }
    }
}

/// Writes this process's number into the lock it holds, for [`Keeper::find`].
pub(super) fn sign(mut lock: &File, path: &Path) -> Result<(), SandboxError> {
    let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(written.map_err(HostError::file("write", path))?)
}

/// Whether somebody holds the lock.
pub(super) fn is_held(path: &Path) -> Result<bool, SandboxError> {
    let file = match File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(HostError::file("open", path))?,
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(e) => Err(HostError::file("look at the lock", path)(e.into()).into()),
    }
}

/// A handle on a process that stays with that process, whatever becomes of its number.
pub(super) struct Process(OwnedFd);

impl Process {
    /// The process with this number, if there is one.
    pub fn open(pid: i32) -> Option<Process> {
        pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok().map(Process)
    }

    /// Sends a signal; a process that has ended is fine.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.0, signal);
    }

    /// Waits until it has ended; false when it has not by then.
    pub async fn ended(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while !self.has_ended() {
            if Instant::now() > deadline {
                return false;
            }
            sleep(TICK).await;
        }
        true
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }
}

/// The keeper that holds the lock of a sandbox, as seen by others.
pub(super) struct Keeper {
    process: Process,
    /// First process of the namespaces, where the keeper got that far. When it has ended, so has
    /// everything inside: the kernel sees to that.
    init: Option<Process>,
}

impl Keeper {
    /// The keeper of this sandbox, if one lives.
    pub fn find(layout: &Layout) -> Result<Option<Keeper>, SandboxError> {
        let path = layout.lock();
        if !is_held(&path)? {
            return Ok(None);
        }
        let pid = files::read_text(&path)?.trim().parse().unwrap_or(0);
        let process = Process::open(pid);
        let init = State::read(&layout.state())?.and_then(|state| Process::open(state.init));
        // Only if the lock is still held now were the numbers those of a living keeper.
        let process = process.filter(|_| is_held(&path).unwrap_or(false));
        Ok(process.map(|process| Keeper { process, init }))
    }

    /// Ends it and everything it keeps: first by asking.
    pub async fn end(&self, patience: Duration) -> bool {
        self.process.signal(Signal::TERM);
        if !self.process.ended(patience).await {
            self.process.signal(Signal::KILL);
        }
        let keeper = self.process.ended(patience).await;
        match &self.init {
            Some(init) => init.ended(patience).await && keeper,
            None => keeper,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_lock_is_seen_while_it_is_held_and_no_longer() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("keeper.lock");
        assert!(!is_held(&path).unwrap());
        let held = lock(&path, Duration::ZERO).await.unwrap().unwrap();
        assert!(is_held(&path).unwrap());
        assert!(lock(&path, Duration::from_millis(50)).await.unwrap().is_none());
        drop(held);
        assert!(!is_held(&path).unwrap());
    }

    #[test]
    fn a_newer_state_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("keeper.json");
        assert!(State::read(&path).unwrap().is_none());
        fs::write(&path, r#"{"format":2,"init":1,"runtime":"/r","uplink":true}"#).unwrap();
        let error = State::read(&path).unwrap_err().to_string();
        assert!(error.contains("newer labbuild"), "{error}");
    }

    #[tokio::test]
    async fn a_stale_number_in_a_free_lock_is_not_a_keeper() {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout { root: temp.path().into(), runtime: temp.path().into() };
        fs::write(layout.lock(), "1\n").unwrap();
        assert!(Keeper::find(&layout).unwrap().is_none());
    }
}
