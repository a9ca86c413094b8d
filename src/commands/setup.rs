//! What most commands begin with: the store, the build environment, how machines are started,
//! and what the errors of the core mean to a caller.

use std::ffi::OsString;
use std::path::Path;

use crate::backend::{AccelChoice, BackendError, Clock};
use crate::base::BaseError;
use crate::build::{BuildError, Env};
use crate::bundle::{BundleError, MANIFEST, SUMS};
use crate::cli::{Accel, Variables};
use crate::commands::{Context, Failure};
use crate::lab::{self, Begun, LabError, Running, StartOptions};
use crate::plan::{Plan, PlanError};
use crate::recipe::LoadError;
use crate::store::{Busy, Lock, Store, StoreError};

impl Context {
    /// The store, opened.
    pub fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.store_dir()?)?)
    }

    /// What a build needs.
    pub fn env(&self) -> Result<Env, Failure> {
        Ok(Env { store: self.store()?, events: self.events.clone(), self_exe: self_exe()? })
    }

    /// How machines of running labs are started.
    pub fn start_options(&self) -> Result<StartOptions, Failure> {
        Ok(StartOptions {
            connect: self.globals.connect.clone(),
            accel: self.accel(),
            clock: Clock::Host,
            unsafe_cache: false,
            self_exe: self_exe()?,
            begun: Begun::default(),
        })
    }

    /// The accelerator asked for.
    pub fn accel(&self) -> AccelChoice {
        match self.globals.accel {
            Accel::Auto => AccelChoice::Auto,
            Accel::Kvm => AccelChoice::Kvm,
            Accel::Tcg => AccelChoice::Tcg,
        }
    }

    /// A running lab: the one named, or the only one.
    pub async fn running(&self, name: Option<&str>) -> Result<Running, Failure> {
        let store = self.store()?;
        let name = lab::choose(&store, name)?;
        Ok(Running::open(&store, &name, self.accel()).await?)
    }
}

/// This program, with the arguments that make it a helper of its own.
fn self_exe() -> Result<Vec<OsString>, Failure> {
    let exe = std::env::current_exe()
        .map_err(|e| Failure::environment(format!("cannot tell where labbuild itself is: {e}")))?;
    Ok(vec![exe.into(), "internal".into()])
}

/// Reads a recipe and plans it.
pub fn load_plan(path: &Path, variables: &Variables) -> Result<Plan, Failure> {
    Ok(Plan::load(path, &variables.values()?)?)
}

/// Whether a folder holds exported images.
pub fn is_images(dir: &Path) -> bool {
    dir.join(MANIFEST).is_file() && dir.join(SUMS).is_file()
}

/// The lock on one lab; a command that would change it does not wait for another.
pub fn lock_lab(store: &Store, name: &str, doing: &str) -> Result<Lock, Failure> {
    let taken = store.try_lock(&format!("lab-{name}"), &format!("{doing} lab {name}"))?;
    taken.map_err(busy)
}

fn busy(busy: Busy) -> Failure {
    let hint = match busy.pid {
        0 => "wait for it".to_owned(),
        pid => format!("wait for it, or end it:  kill {pid}"),
    };
    Failure::conflict(busy).hint(hint)
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        match error {
            StoreError::Busy(holder) => busy(holder),
            StoreError::Host(host) => host.into(),
            other => Failure::failed(other),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Failure {
        match error {
            LoadError::Faults(faults) => faults.into(),
            other => Failure::usage(other),
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Failure {
        match error {
            PlanError::Recipe(e) => e.into(),
            PlanError::Kickstart(faults) => faults.into(),
            PlanError::Base(e) => e.into(),
            PlanError::Host(e) => e.into(),
            other => Failure::usage(other),
        }
    }
}

impl From<BaseError> for Failure {
    fn from(error: BaseError) -> Failure {
        match error {
            BaseError::Faults(faults) => faults.into(),
            BaseError::Host(e) => e.into(),
            BaseError::Backend(e) => e.into(),
            other => Failure::failed(other),
        }
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Failure {
        match error {
            BackendError::Host(e) => e.into(),
            BackendError::Conflict(text) => Failure::conflict(text),
            other => Failure::failed(other),
        }
    }
}

impl From<LabError> for Failure {
    fn from(error: LabError) -> Failure {
        match error {
            LabError::Backend(e) => e.into(),
            LabError::Sandbox(e) => Failure::environment(e).hint("labbuild doctor"),
            LabError::Store(e) => e.into(),
            LabError::Host(e) => e.into(),
            LabError::NotRunning(_) => Failure::failed(error).hint("labbuild status"),
            LabError::NoRecord(ref name) => {
                let hint = format!("labbuild down {name}    (clears it away)");
                Failure::failed(error).hint(hint)
            }
            LabError::Unknown { .. } | LabError::NoMachine { .. } => Failure::usage(error),
            other => Failure::failed(other),
        }
    }
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Failure {
        match error {
            BundleError::Store(e) => e.into(),
            BundleError::Host(e) => e.into(),
            BundleError::NotImages(_) | BundleError::Occupied(_) => Failure::usage(error),
            other => Failure::failed(other),
        }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Failure {
        match error {
            BuildError::Plan(e) => e.into(),
            BuildError::Base(e) => e.into(),
            BuildError::Lab(e) => e.into(),
            BuildError::Backend(e) => e.into(),
            BuildError::Store(e) => e.into(),
            BuildError::Bundle(e) => e.into(),
            BuildError::Host(e) => e.into(),
            other => Failure::failed(other),
        }
    }
}
