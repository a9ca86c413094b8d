//! Running copies: start, find again, look at, stop.
//!
//! A lab is a folder `labs/<name>` in the store: its record, its overlays, its logs and its
//! libvirtd. Several labs of one recipe can be up at once, with the same addresses.

mod expose;
mod fingerprint;
mod record;
mod start;
mod status;
mod stop;
mod wiring;

pub use expose::{Exposed, expose};
pub use fingerprint::{Fingerprint, fingerprint};
pub use record::{MachineRecord, Record, State};
pub use start::{Backing, Begun, StartOptions, connect, start, uplink_possible};
pub use status::{ExposedStatus, MachineStatus, Status, status, status_of_all};
pub use stop::{discard, stop};
pub use wiring::Ground;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::backend::agent::Agent;
use crate::backend::{Backend, BackendError, Guest};
use crate::host::HostError;
use crate::sandbox::{Sandbox, SandboxError};
use crate::store::{Store, StoreError};

/// What went wrong with a lab.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// There is no lab of that name.
    #[error("there is no lab `{name}`{}", list(.known))]
    Unknown {
        /// The name given.
        name: String,
        /// Labs there are.
        known: Vec<String>,
    },
    /// All that is there of the lab is a folder.
    #[error("lab `{0}` was never started: a folder is all that is there of it")]
    NoRecord(String),
    /// The lab is there but its machines are not running.
    #[error("lab `{0}` is not running")]
    NotRunning(String),
    /// There is no machine of that name.
    #[error("lab `{lab}` has no machine `{machine}`; it has {}", .known.join(", "))]
    NoMachine {
        /// The lab.
        lab: String,
        /// The name given.
        machine: String,
        /// Machines there are.
        known: Vec<String>,
    },
    /// Something in a guest failed.
    #[error("{machine}: {reason}")]
    Guest {
        /// The machine.
        machine: String,
        /// What failed.
        reason: String,
    },
    /// The hypervisor failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The guest agent failed.
    #[error(transparent)]
    Agent(#[from] crate::backend::agent::AgentError),
    /// The lab's libvirtd failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host failed.
    #[error(transparent)]
    Host(#[from] HostError),
}

fn list(labs: &[String]) -> String {
    match labs {
        [] => "; none is there (`labbuild up RECIPE` makes one)".into(),
        labs => format!("; there are {}", labs.join(", ")),
    }
}

/// A lab whose machines run.
pub struct Running {
    /// What is known of it.
    pub record: Record,
    /// Its libvirtd, when it has one of its own.
    pub sandbox: Option<Sandbox>,
    /// The connection.
    pub backend: Arc<dyn Backend>,
    /// Its machines.
    pub guests: BTreeMap<String, Arc<dyn Guest>>,
}

impl Running {
    /// The guest agent of a machine.
    pub fn agent(&self, machine: &str) -> Result<Agent, LabError> {
        Ok(Agent::new(self.guest(machine)?.clone()))
    }

    /// A machine.
    pub fn guest(&self, machine: &str) -> Result<&Arc<dyn Guest>, LabError> {
        self.guests.get(machine).ok_or_else(|| LabError::NoMachine {
            lab: self.record.name.clone(),
            machine: machine.to_owned(),
            known: self.guests.keys().cloned().collect(),
        })
    }
}

/// Chooses the lab that a command means: the one named, or the only one there is.
pub fn choose(store: &Store, name: Option<&str>) -> Result<String, LabError> {
    let known = store.lab_names()?;
    match (name, known.as_slice()) {
        (Some(name), _) if known.iter().any(|k| k == name) => Ok(name.to_owned()),
        (None, [only]) => Ok(only.clone()),
        (name, _) => Err(LabError::Unknown { name: name.unwrap_or("(give --name)").into(), known }),
    }
}
