//! The guest agent as an async, typed client: run, read, write, freeze, reboot, shut down.
//!
//! Everything goes through [`Guest::agent`], one command at a time, so it works over a remote
//! libvirt too and needs neither network nor ssh. A command's output is written to files under
//! `/run/labbuild` in the guest and followed from there, because one agent reply carries 2 MiB
//! at most and because nothing may ever block the guest.

mod exec;
mod files;
mod lines;
mod power;
mod request;
mod tail;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use qapi::qga::{QgaCommand, guest_ping};
use tokio::sync::Mutex;

use super::{BackendError, Guest};
use wire::Reply;

pub use files::FileMeta;
pub use lines::{Captured, Lines};
pub use power::Shutdown;
pub use request::{ExecRequest, ExecResult, Outcome, Program, Stream};

/// How long one agent call may take; an emulated guest under load is slow to answer.
const CALL: Duration = Duration::from_secs(30);

/// What went wrong between labbuild and a guest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The machine is no longer running.
    #[error("{machine} is no longer running")]
    Gone {
        /// The machine.
        machine: String,
    },
    /// The machine runs, its agent does not answer.
    #[error("the guest agent of {machine} has not answered for {} s: {reason}", .silent.as_secs())]
    Silent {
        /// The machine.
        machine: String,
        /// For how long.
        silent: Duration,
        /// libvirt's words.
        reason: String,
    },
    /// The agent answered with an error.
    #[error("the guest agent of {machine} refused {command}: {reason}")]
    Refused {
        /// The machine.
        machine: String,
        /// The agent command.
        command: String,
        /// The agent's words.
        reason: String,
    },
    /// The agent answered with something that is no answer.
    #[error("the guest agent of {machine} answered {command} with something else: {reason}")]
    Garbage {
        /// The machine.
        machine: String,
        /// The agent command.
        command: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A command could not be started in the guest.
    #[error("{reason} ({machine})")]
    NotStarted {
        /// The machine.
        machine: String,
        /// Why.
        reason: String,
    },
    /// The command was lost: the guest rebooted, or its agent was restarted, while it ran.
    #[error("{machine} lost the command: the guest rebooted or its agent was restarted meanwhile")]
    Lost {
        /// The machine.
        machine: String,
    },
    /// Something did not happen in time.
    #[error("{machine} {what} within {} s", .after.as_secs())]
    Late {
        /// The machine.
        machine: String,
        /// "did not reboot".
        what: String,
        /// The time it had.
        after: Duration,
    },
    /// A file in the guest is not as it must be.
    #[error("{path} on {machine}: {reason}")]
    File {
        /// The machine.
        machine: String,
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The hypervisor failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// A typed client of one guest's agent. Cheap to clone; clones take turns.
#[derive(Clone)]
pub struct Agent {
    guest: Arc<dyn Guest>,
    machine: Arc<str>,
    /// libvirt carries one agent command at a time per domain; waiting here is fair and
    /// blocks no thread.
    turn: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Agent({})", self.machine)
    }
}

impl Agent {
    /// A client for the agent of `guest`.
    pub fn new(guest: Arc<dyn Guest>) -> Self {
        let machine = guest.machine().into();
        Agent { guest, machine, turn: Arc::default() }
    }

    /// The machine's name in the recipe.
    pub fn machine(&self) -> &str {
        &self.machine
    }

    /// Asks for a sign of life.
    pub async fn ping(&self, timeout: Duration) -> Result<(), AgentError> {
        self.call_within(guest_ping {}, timeout).await.map(drop)
    }

    /// Waits until the agent answers, `deadline` at most; a machine that stops meanwhile is
    /// [`AgentError::Gone`] at once.
    pub async fn wait_ready(&self, deadline: Duration) -> Result<(), AgentError> {
        let start = Instant::now();
        loop {
            let left = deadline.saturating_sub(start.elapsed());
            match self.ping(left.clamp(Duration::from_secs(1), Duration::from_secs(5))).await {
                Err(AgentError::Silent { .. }) if start.elapsed() < deadline => {}
                Err(AgentError::Silent { machine, reason, .. }) => {
                    return Err(AgentError::Silent { machine, silent: start.elapsed(), reason });
                }
                done => return done,
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Whether the domain runs.
    async fn is_running(&self) -> Result<bool, AgentError> {
        Ok(self.blocking(|guest| guest.is_running()).await?)
    }

    async fn call<C: QgaCommand + 'static>(&self, command: C) -> Result<C::Ok, AgentError> {
        self.call_within(command, CALL).await
    }

    async fn call_within<C: QgaCommand + 'static>(
        &self,
        command: C,
        timeout: Duration,
    ) -> Result<C::Ok, AgentError> {
        let text = wire::encode(&command)
            .map_err(|e| self.garbage(C::NAME, format!("unwritable: {e}")))?;
        let turn = self.turn.clone().lock_owned().await;
        let reply = self.blocking(move |guest| {
            // Held to the end of the call, even when nobody waits for it any more.
            let _turn = turn;
            guest.agent(&text, timeout)
        });
        match reply.await {
            Ok(reply) => self.understood::<C>(&reply),
            Err(e) => Err(self.explain(e, C::NAME, timeout).await),
        }
    }

    fn understood<C: QgaCommand>(&self, reply: &str) -> Result<C::Ok, AgentError> {
        match wire::decode::<C>(reply) {
            Reply::Done(value) => Ok(value),
            Reply::Refused(reason) => Err(self.refused(C::NAME, reason)),
            Reply::Garbage(reason) => Err(self.garbage(C::NAME, reason)),
        }
    }

    /// An agent that does not answer: is it the agent, or is the whole machine gone?
    async fn explain(&self, e: BackendError, command: &str, waited: Duration) -> AgentError {
        match e {
            BackendError::AgentRefused { reason, .. } => self.refused(command, reason),
            BackendError::AgentAbsent { reason, .. } => match self.is_running().await {
                Ok(false) => self.gone(),
                _ => AgentError::Silent { machine: self.name(), silent: waited, reason },
            },
            other => match self.is_running().await {
                Ok(false) => self.gone(),
                _ => AgentError::Backend(other),
            },
        }
    }

    /// Makes a blocking call on a thread for such.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Guest) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let guest = self.guest.clone();
        match tokio::task::spawn_blocking(move || call(&*guest)).await {
            Ok(result) => result,
            Err(e) => Err(BackendError::Call {
                doing: format!("call the hypervisor about {}", self.machine),
                reason: e.to_string(),
            }),
        }
    }

    fn name(&self) -> String {
        self.machine.to_string()
    }

    fn gone(&self) -> AgentError {
        AgentError::Gone { machine: self.name() }
    }

    fn refused(&self, command: &str, reason: String) -> AgentError {
        AgentError::Refused { machine: self.name(), command: command.to_owned(), reason }
    }

    fn garbage(&self, command: &str, reason: String) -> AgentError {
        AgentError::Garbage { machine: self.name(), command: command.to_owned(), reason }
    }
}

/// A name that no other run of anything has.
fn nonce() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}
