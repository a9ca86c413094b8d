//! What a reader wants to know besides the output, once a step has failed: the state of its
//! services, and what they wrote last.

use std::time::Duration;

use crate::backend::agent::ExecRequest;
use crate::recipe::{Action, Condition, Step};

use super::error::Reason;
use super::mask::Mask;
use super::scope::{Scope, StepContext};

const SERVICE_STATE: &str = include_str!("scripts/service-state.sh");
const FAILED_UNITS: &str = include_str!("scripts/failed-units.sh");

/// Where no unit is named, so many that have failed are shown; the others are named.
const SHOWN: usize = 3;

/// Titles, and the lines under each.
pub(super) type Findings = Vec<(String, Vec<String>)>;

/// Looks at the units behind a failed step. Nothing of a step that is secret as a whole: a service
/// may well write down what it was told. What cannot be found out is left out.
pub(super) async fn gather(ctx: &StepContext, step: &Step, reason: &Reason) -> Findings {
    let mask = Mask::new(&step.secret);
    if matches!(mask, Mask::Closed) || !matches!(reason, Reason::Exit(_) | Reason::TimedOut(_)) {
        return Vec::new();
    }
    // The step's own time is over; each question has half a minute.
    let scope = Scope::new(ctx, Duration::ZERO, Mask::new(&step.secret));
    let mut findings = match units(&step.action) {
        None => return Vec::new(),
        Some(names) if names.is_empty() => of_failed_units(&scope).await,
        Some(names) => of_units(&scope, names.iter().map(|name| ctx.os.unit(name))).await,
    };
    let shown = |line: String| mask.apply(&line);
    for (_, lines) in &mut findings {
        *lines = std::mem::take(lines).into_iter().filter_map(shown).collect();
    }
    findings
}

/// The units that an action is about: none where units do not matter, an empty list where any may
/// be the reason.
fn units(action: &Action) -> Option<Vec<&str>> {
    match action {
        Action::Service { names, .. } => Some(names.iter().map(String::as_str).collect()),
        Action::WaitFor { condition: Condition::Unit(unit), services } => {
            Some(services.iter().chain([unit]).map(String::as_str).collect())
        }
        Action::WaitFor { condition: _, services } => {
            Some(services.iter().map(String::as_str).collect())
        }
        _ => None,
    }
}

async fn of_failed_units(scope: &Scope<'_>) -> Findings {
    let Ok(result) = scope.ask(ExecRequest::script(FAILED_UNITS)).await else { return Vec::new() };
    let text = result.stdout.text();
    let failed: Vec<&str> = text.split_whitespace().collect();
    let (shown, others) = failed.split_at(failed.len().min(SHOWN));
    let mut findings = of_units(scope, shown.iter().copied()).await;
    if !others.is_empty() {
        findings.push(("failed too".to_owned(), vec![others.join(" ")]));
    }
    findings
}

async fn of_units<'a>(scope: &Scope<'_>, units: impl Iterator<Item = &'a str>) -> Findings {
    let mut findings = Vec::new();
    for unit in units {
        let request = ExecRequest::script_with(SERVICE_STATE, [unit]);
        // What cannot be found out must not hide the failure itself.
        let Ok(result) = scope.ask(request).await else { break };
        findings.extend(split(unit, &result.stdout.text()));
    }
    findings
}

/// State and journal of a unit, out of what the script prints.
fn split(unit: &str, text: &str) -> Findings {
    let (state, journal) = text.split_once("\n--\n").unwrap_or((text, ""));
    let lines = |text: &str| text.trim().lines().map(str::to_owned).collect::<Vec<_>>();
    let mut found = vec![
        (format!("systemctl status {unit}"), lines(state)),
        (format!("last lines of the journal of {unit}"), lines(journal)),
    ];
    found.retain(|(_, lines)| !lines.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_journal_are_told_apart_and_nothing_is_not_shown() {
        let found = split("x", "Active: failed\n\n--\nno such file\n-- \nexit\n");
        assert_eq!(found[0], ("systemctl status x".into(), vec!["Active: failed".into()]));
        assert_eq!(found[1].1, ["no such file", "-- ", "exit"]);
        assert_eq!(split("x", "Unit x could not be found.\n\n--\n").len(), 1);
    }

    #[test]
    fn a_wait_is_about_its_unit_its_services_or_anything_that_failed() {
        let wait = |condition, services: &[&str]| Action::WaitFor {
            condition,
            services: services.iter().map(|s| (*s).to_owned()).collect(),
        };
        let port = || Condition::Port { host: "127.0.0.1".into(), port: 9292 };
        assert_eq!(units(&wait(Condition::Unit("a".into()), &[])), Some(vec!["a"]));
        assert_eq!(units(&wait(port(), &["b", "c"])), Some(vec!["b", "c"]));
        assert_eq!(units(&wait(port(), &[])), Some(vec![]));
        assert_eq!(units(&Action::Run { script: "true".into() }), None);
    }
}
