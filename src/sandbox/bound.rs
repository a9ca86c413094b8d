//! A sandbox that lives no longer than the process that started it: for work of which nothing may
//! be left, whatever ends it.
//!
//! The keeper's standard input is a pipe that this process holds. End of file, which the kernel
//! sees to even after SIGKILL, ends the keeper and all it keeps.

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Child;

use super::error::SandboxError;
use super::state::Process;
use super::{Sandbox, state};
use crate::host::{Cmd, files};

/// How long a drop waits for the kernel to end what was killed.
const KILLED: Duration = Duration::from_secs(5);

/// A sandbox, and the only hold on its life. Dropping it kills everything inside and waits until
/// that is gone.
#[derive(Debug)]
pub struct BoundSandbox {
    sandbox: Sandbox,
    keeper: Child,
    stopped: bool,
}

impl BoundSandbox {
    pub(super) fn new(sandbox: Sandbox, keeper: Child) -> Self {
        BoundSandbox { sandbox, keeper, stopped: false }
    }

    /// The sandbox.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Ends it in good order; returns when nothing of it is left but its folder.
    pub async fn stop(mut self) -> Result<(), SandboxError> {
        Sandbox::end(&self.sandbox.layout.root).await?;
        self.stopped = true;
        Ok(files::remove(&self.sandbox.layout.runtime)?)
    }

    /// Kills the keeper; the kernel ends the namespaces with it.
    fn kill(&mut self) {
        let init = Process::open(self.sandbox.init);
        let _ = self.keeper.start_kill();
        let deadline = Instant::now() + KILLED;
        let lives = || state::is_held(&self.sandbox.layout.lock()).unwrap_or(false);
        let inside = || init.as_ref().is_some_and(|init| !init.has_ended());
        while (lives() || inside()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for BoundSandbox {
    fn drop(&mut self) {
        if self.stopped {
            return;
        }
        self.kill();
        // A folder that stays is empty of everything that lives.
        let _ = files::remove(&self.sandbox.layout.runtime);
    }
}

/// Starts a keeper that ends with the pipe held in the child's handle.
pub(super) fn spawn(keeper: Cmd, log: File) -> Result<Child, SandboxError> {
    let copy = log.try_clone().map_err(SandboxError::system("open the keeper's log"))?;
    Ok(keeper.start(Stdio::piped(), log.into(), copy.into())?)
}
