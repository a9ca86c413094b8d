//! One try of a step or check on one machine: its time, its output, its way to the guest.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::agent::{Agent, ExecRequest, ExecResult, Outcome};
use crate::event::{Event, Events};

use super::error::Reason;
use super::mask::Mask;
use super::os::GuestOs;

/// How many lines of output an error carries.
const TAIL: usize = 20;

/// The full log of a lab's steps. Cheap to clone.
#[derive(Clone)]
pub struct Log(Arc<Mutex<dyn Write + Send>>);

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    /// Everything goes to `to`, line by line.
    pub fn new(to: impl Write + Send + 'static) -> Self {
        Log(Arc::new(Mutex::new(to)))
    }

    fn line(&self, machine: &str, line: &str) {
        let mut to = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written must not end the step that it is about.
        let _ = writeln!(to, "{machine} | {line}");
    }
}

/// Where steps and checks are carried out, and who hears of it.
#[derive(Debug, Clone)]
pub struct StepContext {
    /// The guest; its machine name is the recipe's.
    pub agent: Agent,
    /// What the guest runs.
    pub os: &'static GuestOs,
    /// Who hears of steps, output and checks.
    pub events: Events,
    /// Where all output is written down.
    pub log: Option<Log>,
}

impl StepContext {
    /// Writes a line of our own into the log.
    pub(super) fn note(&self, text: &str) {
        if let Some(log) = &self.log {
            log.line(self.agent.machine(), text);
        }
    }
}

/// One try.
pub(super) struct Scope<'a> {
    pub(super) ctx: &'a StepContext,
    pub(super) timeout: Duration,
    mask: Mask,
    start: Instant,
    tail: Mutex<VecDeque<String>>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(ctx: &'a StepContext, timeout: Duration, mask: Mask) -> Self {
        Scope { ctx, timeout, mask, start: Instant::now(), tail: Mutex::default() }
    }

    pub(super) fn agent(&self) -> &Agent {
        &self.ctx.agent
    }

    /// What is left of the time.
    pub(super) fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.start.elapsed())
    }

    /// Runs a command in what is left of the time; its output is heard, logged and remembered.
    pub(super) async fn exec(&self, request: ExecRequest) -> Result<ExecResult, Reason> {
        let request = request.timeout(self.left());
        Ok(self.agent().exec(request, |_, line| self.heard(line)).await?)
    }

    /// As [`exec`](Self::exec); whatever is not success is the reason of a failure.
    pub(super) async fn must(&self, request: ExecRequest) -> Result<ExecResult, Reason> {
        let result = self.exec(request).await?;
        match result.outcome {
            Outcome::Exited(0) => Ok(result),
            Outcome::Exited(status) => Err(Reason::Exit(status)),
            Outcome::TimedOut(_) => Err(Reason::TimedOut(self.timeout)),
        }
    }

    /// Asks the guest something whose answer is not the step's output.
    pub(super) async fn ask(&self, request: ExecRequest) -> Result<ExecResult, Reason> {
        let request = request.timeout(self.left().max(Duration::from_secs(30)));
        Ok(self.agent().exec(request, |_, _| {}).await?)
    }

    fn heard(&self, line: &str) {
        let Some(line) = self.mask.apply(line) else { return };
        let machine = self.agent().machine();
        self.ctx.note(&line);
        self.ctx.events.emit(Event::Output { machine: machine.to_owned(), line: line.clone() });
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line);
    }

    /// The last lines heard.
    pub(super) fn tail(self) -> Vec<String> {
        self.tail.into_inner().unwrap_or_else(PoisonError::into_inner).into()
    }
}
