//! What each action of a recipe does in a guest, and whether a check holds there.
//!
//! [`perform`] and [`check()`] carry one step or check out on one machine, with its retries, its
//! time and live output; a failure carries all that a reader needs to go there. [`identity`] is
//! what of a step determines the layer it makes.

mod actions;
mod check;
mod edit;
mod error;
mod findings;
mod identity;
pub mod ini;
mod mask;
mod os;
mod scope;

use std::time::{Duration, Instant};

use crate::event::Event;
use crate::recipe::{Secrecy, Step};

pub use check::check;
pub use error::{CheckFailure, CheckReason, Mismatch, Reason, StepError};
pub use identity::{check_identity, identity};
pub use os::{GuestOs, PackageManager, UnknownOs};
pub use scope::{Log, StepContext};

use mask::Mask;
use scope::Scope;

/// What a step may take beyond its time to be ended in the guest, before it is dropped.
const TO_END: Duration = Duration::from_secs(60);

/// Carries out `step` on the machine of `ctx`. `timeout` counts for each try.
///
/// Emits [`Event::StepStarted`], [`Event::Output`] (as far as it is not secret) and
/// [`Event::StepFinished`]. Dropping the future ends what runs in the guest.
pub async fn perform(ctx: &StepContext, step: &Step) -> Result<(), StepError> {
    let start = Instant::now();
    let machine = ctx.agent.machine().to_owned();
    ctx.note(&format!("step: {} ({})", step.name, step.at));
    let (name, at) = (step.name.clone(), step.at.to_string());
    ctx.events.emit(Event::StepStarted { machine: machine.clone(), step: name, at });
    let result = try_often(ctx, step).await;
    if let Err(e) = &result {
        ctx.note(&format!("failed: {}", e.reason));
    }
    let (step, ok) = (step.name.clone(), result.is_ok());
    ctx.events.emit(Event::StepFinished { machine, step, ok, elapsed: start.elapsed() });
    result
}

async fn try_often(ctx: &StepContext, step: &Step) -> Result<(), StepError> {
    let mut tries = 1;
    loop {
        match try_once(ctx, step).await {
            Ok(()) => return Ok(()),
            Err(e) if tries > step.retry.times || is_final(&e.reason) => {
                let findings = findings::gather(ctx, step, &e.reason).await;
                return Err(StepError { tries, findings, ..e });
            }
            Err(e) => ctx.note(&format!("try {tries} failed: {}", e.reason)),
        }
        tries += 1;
        tokio::time::sleep(step.retry.delay).await;
    }
}

/// Trying again cannot help.
fn is_final(reason: &Reason) -> bool {
    use crate::backend::agent::AgentError;
    matches!(reason, Reason::Host(_) | Reason::Agent(AgentError::Gone { .. }))
}

async fn try_once(ctx: &StepContext, step: &Step) -> Result<(), StepError> {
    let scope = Scope::new(ctx, step.timeout, Mask::new(&step.secret));
    let work = actions::carry_out(&scope, &step.action);
    let reason = match tokio::time::timeout(step.timeout + TO_END, work).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(reason)) => reason,
        Err(_) => Reason::TimedOut(step.timeout),
    };
    Err(StepError {
        machine: ctx.agent.machine().to_owned(),
        step: step.name.clone(),
        at: step.at.clone(),
        reason,
        tries: 1,
        output: scope.tail(),
        findings: Vec::new(),
        secret: step.secret == Secrecy::Whole,
    })
}
