//! What the core tells the outside world: typed events, the only way from a build to the screen.
//!
//! The core emits through [`Events`]; bars, plain lines and `--json` are listeners in `ui`.
//! Nothing here formats for people, and nothing in the core knows who listens.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

/// One thing that happened. Serialised with a `kind` tag as one line of `--json` output.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// Something worth one line that needs no action ("kickstart: selinux means nothing on Debian").
    Notice {
        /// The sentence.
        text: String,
    },
    /// Something that went on but deserves attention.
    Warning {
        /// The sentence.
        text: String,
    },
    /// Which hypervisor drives the machines, said once per run.
    Backend {
        /// libvirt URI.
        uri: String,
        /// `kvm` or `tcg`.
        accelerator: String,
        /// Why this accelerator.
        reason: String,
    },
    /// A piece of long work began (a base image, a seal, an export). `task` is unique while it runs.
    TaskStarted {
        /// Handle of the task, e.g. `base/controller`.
        task: String,
        /// What it does, for people.
        title: String,
        /// The machine it belongs to, when it belongs to one.
        machine: Option<String>,
    },
    /// Progress of a task: a phase, and how far where that is known.
    TaskProgress {
        /// Handle of the task.
        task: String,
        /// What it is doing now.
        message: String,
        /// Done and total, in the task's own unit, where known.
        fraction: Option<(u64, u64)>,
    },
    /// A task ended.
    TaskFinished {
        /// Handle of the task.
        task: String,
        /// Whether it did what it set out to do.
        ok: bool,
        /// How long it took.
        #[serde(rename = "elapsed_seconds", serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// A machine's state changed (`starting`, `booting`, `ready`, `stopping`, `stopped`).
    Machine {
        /// Name of the machine.
        machine: String,
        /// Its new state.
        state: String,
    },
    /// A stage began; `index` counts from 1.
    StageStarted {
        /// Name of the stage (its file without `.yaml`).
        stage: String,
        /// Its title.
        title: String,
        /// Position among the lab's stages, from 1.
        index: usize,
        /// How many stages the lab has.
        of: usize,
    },
    /// A stage did not run because its layers are stored.
    StageReused {
        /// Name of the stage.
        stage: String,
        /// Position among the lab's stages, from 1.
        index: usize,
        /// How many stages the lab has.
        of: usize,
    },
    /// A stage passed its checks and its layers are stored.
    StageFinished {
        /// Name of the stage.
        stage: String,
        /// How long it took.
        #[serde(rename = "elapsed_seconds", serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// A step began on a machine.
    StepStarted {
        /// Machine it runs on.
        machine: String,
        /// Name of the step.
        step: String,
        /// `file:line` of the step.
        at: String,
    },
    /// A line that a step wrote.
    Output {
        /// Machine it came from.
        machine: String,
        /// The line, without its newline.
        line: String,
    },
    /// A step ended.
    StepFinished {
        /// Machine it ran on.
        machine: String,
        /// Name of the step.
        step: String,
        /// Whether it did what it set out to do.
        ok: bool,
        /// How long it took.
        #[serde(rename = "elapsed_seconds", serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// A check was carried out.
    Check {
        /// Machine it ran on.
        machine: String,
        /// Name of the check.
        check: String,
        /// Whether the expectation held.
        ok: bool,
        /// How long it took.
        #[serde(rename = "elapsed_seconds", serialize_with = "seconds")]
        elapsed: Duration,
    },
    /// The command's result, for `--json`: the last event of a successful run.
    Result {
        /// Whatever the command has to say, as JSON.
        value: serde_json::Value,
    },
}

fn seconds<S: serde::Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_f64((d.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// Where events go. Cheap to clone; every part of the core holds one.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    /// Sends every event to `listener`.
    pub fn new(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Events(Arc::new(listener))
    }

    /// Nobody listens.
    pub fn none() -> Self {
        Events::new(|_| {})
    }

    /// Emits one event.
    pub fn emit(&self, event: Event) {
        (self.0)(event);
    }

    /// Emits a [`Event::Notice`].
    pub fn notice(&self, text: impl Into<String>) {
        self.emit(Event::Notice { text: text.into() });
    }

    /// Emits a [`Event::Warning`].
    pub fn warning(&self, text: impl Into<String>) {
        self.emit(Event::Warning { text: text.into() });
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}
