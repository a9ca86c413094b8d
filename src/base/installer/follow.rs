//! Starts the machine, follows its console while it installs, and ends it, whatever happens.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::console::Console;
use super::definition::Installer;
use super::watch::{Trouble, Watch};
use crate::backend::{Backend, BackendError, DomainSpec, Guest, blocking};
use crate::base::BaseError;
use crate::base::progress::Task;
use crate::event::{Event, Events};
use crate::host::HostError;

/// How often the console is looked at.
const TICK: Duration = Duration::from_millis(200);

/// After trouble the console may go on for so long (a traceback has many lines) …
const AFTERMATH: Duration = Duration::from_secs(10);

/// … but no longer than until it is quiet for so long.
const QUIET: Duration = Duration::from_secs(2);

/// Boots the installer and returns when the machine is installed, has failed, or hangs. Nothing
/// runs any more then.
pub(super) async fn run(
    definition: &Installer,
    spec: &DomainSpec,
    backend: Arc<dyn Backend>,
    events: &Events,
    task: &Task,
) -> Result<(), BaseError> {
    task.say("starting the installer", None);
    let (starter, wish) = (backend.clone(), spec.clone());
    let guest = Running(blocking(move || starter.start_domain(&wish)).await?);
    let mut follower = Follower {
        log: Log::new(&spec.console_log),
        console: Console::default(),
        watch: Watch::new(definition.driver, definition.stall, Instant::now()),
        machine: spec.machine.clone(),
        heard: Instant::now(),
    };
    let outcome = follower.until_the_end(&guest.0, events, task).await?;
    guest.end().await?;
    outcome.map_err(|trouble| follower.error(&trouble, &spec.console_log))
}

/// A machine that does not outlive the wait for it, even where the wait is given up.
struct Running(Arc<dyn Guest>);

impl Running {
    async fn end(&self) -> Result<(), BackendError> {
        let guest = self.0.clone();
        blocking(move || guest.destroy()).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is fine, and a connection that is lost has ended it.
        let _ = self.0.destroy();
    }
}

struct Follower {
    log: Log,
    console: Console,
    watch: Watch,
    machine: String,
    heard: Instant,
}

impl Follower {
    /// Follows until the machine has ended or there is trouble.
    async fn until_the_end(
        &mut self,
        guest: &Arc<dyn Guest>,
        events: &Events,
        task: &Task,
    ) -> Result<Result<(), Trouble>, BaseError> {
        let mut since: Option<(Trouble, Instant)> = None;
        loop {
            // Asked first, so that the last words of a machine that has ended are still read.
            let lives = is_running(guest).await?;
            self.take(events, task)?;
            let now = Instant::now();
            if since.is_none() {
                since = self.watch.trouble(now).map(|trouble| (trouble, now));
            }
            match &since {
                Some((trouble, noticed)) if !lives || self.has_been_heard_out(*noticed, now) => {
                    return Ok(Err(trouble.clone()));
                }
                None if !lives => return Ok(self.watch.ended()),
                _ => sleep(TICK).await,
            }
        }
    }

    fn has_been_heard_out(&self, noticed: Instant, now: Instant) -> bool {
        now.duration_since(noticed) >= AFTERMATH || now.duration_since(self.heard) >= QUIET
    }

    /// Takes what is new on the console.
    fn take(&mut self, events: &Events, task: &Task) -> Result<(), HostError> {
        let bytes = self.log.read()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        self.heard = now;
        for line in self.console.feed(&bytes) {
            if let Some(progress) = self.watch.line(&line, now) {
                task.say(&progress, None);
            }
            events.emit(Event::Output { machine: self.machine.clone(), line });
        }
        self.watch.unfinished(&self.console.unfinished(), now);
        Ok(())
    }

    fn error(&self, trouble: &Trouble, log: &Path) -> BaseError {
        BaseError::Installation {
            machine: self.machine.clone(),
            reason: trouble.to_string(),
            help: trouble.help(),
            log: log.to_owned(),
            tail: self.watch.last_lines(),
        }
    }
}

async fn is_running(guest: &Arc<dyn Guest>) -> Result<bool, BackendError> {
    let guest = guest.clone();
    blocking(move || guest.is_running()).await
}

/// So much is read before it is looked at, in bytes: an installer may print without end.
const AT_ONCE: u64 = 4 << 20;

/// The file that the console is written to, read as it grows.
struct Log {
    path: PathBuf,
    file: Option<File>,
}

impl Log {
    fn new(path: &Path) -> Log {
        Log { path: path.to_owned(), file: None }
    }

    /// What is new; nothing while the file is not there.
    fn read(&mut self) -> Result<Vec<u8>, HostError> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Ok(file) => Some(file),
                Err(e) if e.kind() == ErrorKind::NotFound => None,
                Err(e) => return Err(HostError::file("follow", &self.path)(e)),
            };
        }
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            let read = file.take(AT_ONCE).read_to_end(&mut bytes);
            read.map_err(HostError::file("follow", &self.path))?;
        }
        if bytes.is_empty() && self.was_begun_anew() {
            self.file = None;
        }
        Ok(bytes)
    }

    /// A file that has become too large is renamed, and one of the same name begun.
    fn was_begun_anew(&self) -> bool {
        let Some(Ok(followed)) = self.file.as_ref().map(File::metadata) else { return false };
        let same = |there: Metadata| (there.dev(), there.ino()) == (followed.dev(), followed.ino());
        std::fs::metadata(&self.path).is_ok_and(|there| !same(there))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_is_read_from_before_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.log");
        let mut log = Log::new(&path);
        assert!(log.read().unwrap().is_empty());
        let mut file = File::create(&path).unwrap();
        for part in ["one\n", "two"] {
            file.write_all(part.as_bytes()).unwrap();
            assert_eq!(log.read().unwrap(), part.as_bytes());
        }
        assert!(log.read().unwrap().is_empty());
        std::fs::rename(&path, dir.path().join("console.log.0")).unwrap();
        std::fs::write(&path, "three\n").unwrap();
        assert!(log.read().unwrap().is_empty());
        assert_eq!(log.read().unwrap(), b"three\n");
    }
}
