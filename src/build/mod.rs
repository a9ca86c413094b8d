//! Runs a plan: bases, stages, snapshots, seals. The only room that makes something new.

mod bases;
mod freeze;
mod install;
mod locking;
mod schedule;
mod seal;
mod session;
mod stage;

pub use bases::ensure_bases;
pub use seal::{refresh_manifest, seal};
pub use session::{Options, Outcome, forget_from, up, wait_until_ready};

use std::ffi::OsString;
use std::path::PathBuf;

use crate::backend::BackendError;
use crate::backend::agent::AgentError;
use crate::base::BaseError;
use crate::bundle::BundleError;
use crate::event::Events;
use crate::host::HostError;
use crate::lab::LabError;
use crate::plan::PlanError;
use crate::steps::{CheckFailure, StepError};
use crate::store::{Store, StoreError};

/// What every part of a build needs.
#[derive(Clone)]
pub struct Env {
    /// The store.
    pub store: Store,
    /// Where events go.
    pub events: Events,
    /// This program and its leading arguments, for helpers that run it again.
    pub self_exe: Vec<OsString>,
}

/// Why a build ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A step failed; the machines run on.
    #[error(transparent)]
    Step(Box<StepError>),
    /// Checks failed; the machines run on.
    #[error("{}", join(.0))]
    Checks(Vec<CheckFailure>),
    /// The packages to be had are not the locked ones.
    #[error("{machine}: the packages to be had differ from labbuild.lock:\n  {}\n  run without --locked to lock anew", .difference.join("\n  "))]
    LockMoved {
        /// The machine.
        machine: String,
        /// `- bash 5.2-1` and `+ bash 5.2-2` lines.
        difference: Vec<String>,
    },
    /// The lock does not say what bases consist of, and was to.
    #[error("{} does not say what every base consists of:\n  {}\n  run `labbuild up` without --locked: it writes the lock; commit that with the recipe", .lock.display(), .open.join("\n  "))]
    NotLocked {
        /// The lock file.
        lock: PathBuf,
        /// Which bases, and why.
        open: Vec<String>,
    },
    /// The recipe's plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Making a base.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// A running lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The hypervisor.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A guest agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Manifests and images.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A machine did not power off by itself: its image would be that of a crashed machine.
    #[error("{0} did not shut down cleanly; no image is made of it")]
    Unclean(String),
    /// There is nothing to make images of.
    #[error("the recipe has no stages: there is nothing to make images of")]
    NoStages,
    /// A fault of labbuild itself.
    #[error("a fault in labbuild itself: {0}")]
    Internal(String),
}

impl From<StepError> for BuildError {
    fn from(error: StepError) -> Self {
        BuildError::Step(Box::new(error))
    }
}

fn join(failures: &[CheckFailure]) -> String {
    let texts: Vec<String> = failures.iter().map(ToString::to_string).collect();
    texts.join("\n\n")
}
