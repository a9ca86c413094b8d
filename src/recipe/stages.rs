//! Stages: steps and checks whose machines and ids exist, in an order that can be run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::actions;
use super::leaf::MachineName;
use super::model::{Check, Expect, Place, Retry, Secrecy, Stage, Step};
use super::near;
use super::number::Int;
use super::order::{self, Task};
use super::raw;
use super::shape::{At, Either, OneOrMore};
use super::source::Report;

const STEP_TIMEOUT: Duration = Duration::from_secs(600);
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// What stages refer to.
pub(super) struct Surroundings<'a> {
    /// The recipe's folder.
    pub dir: &'a Path,
    /// All machines by name, whole or not; nothing where `lab.yaml` could not be read.
    pub machines: Option<&'a [String]>,
    /// What `secret: values` hides of each step, by where the step begins.
    pub values: &'a BTreeMap<Place, Vec<String>>,
}

/// The stage, as far as it is whole; what is wrong with the rest is reported.
pub(super) fn read(
    name: &str,
    raw: &raw::Stage,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Stage> {
    let steps: Vec<&raw::Step> =
        raw.steps.iter().flat_map(|steps| &steps.value).map(|step| &step.value.0).collect();
    let checks = raw.checks.iter().flat_map(|checks| &checks.value);
    check_ids(&steps, report);
    check_order(&steps, around, report);
    let read_steps = steps.iter().filter_map(|raw| step(raw, around, report)).collect();
    let checks = checks.filter_map(|raw| check(&raw.value.0, around, report)).collect();
    Some(Stage {
        name: name.to_owned(),
        title: raw.title.as_ref()?.value.0.clone(),
        steps: read_steps,
        checks,
        at: raw.at.clone(),
    })
}

fn id_of(step: &raw::Step) -> Option<&str> {
    step.id.as_ref().map(|id| id.value.0.as_str())
}

fn check_ids(steps: &[&raw::Step], report: &mut Report) {
    for (i, step) in steps.iter().enumerate() {
        let Some(id) = &step.id else { continue };
        let twin = steps[..i].iter().filter_map(|step| step.id.as_ref());
        if let Some(twin) = twin.into_iter().find(|twin| twin.value == id.value) {
            let message = format!("two steps have the id `{}`", id.value.0);
            let help = format!("the first one is on {}", twin.at.seen_from(&id.at));
            report.fault(&id.at, message, help);
        }
    }
}

fn check_order(steps: &[&raw::Step], around: &Surroundings<'_>, report: &mut Report) {
    let tasks: Vec<Task> = steps.iter().map(|step| task(step, steps, around, report)).collect();
    order::check(&tasks, report);
}

fn task(
    step: &raw::Step,
    steps: &[&raw::Step],
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Task {
    let ids = steps.iter().filter_map(|step| id_of(step));
    let mut after = Vec::new();
    for (id, at) in step.after.iter().flat_map(At::each) {
        match steps.iter().position(|step| id_of(step) == Some(&id.0)) {
            Some(index) => after.push((index, at.clone())),
            None => {
                let help = near::suggestion(&id.0, "ids of this stage", ids.clone())
                    .unwrap_or_else(|| "no step of this stage has an id".to_owned());
                report.fault(at, format!("no step of this stage has the id `{}`", id.0), help);
            }
        }
    }
    let name = step.name.as_ref().map(|name| name.value.0.as_str());
    let label = id_of(step).or(name).unwrap_or("a step").to_owned();
    let names: Vec<String> =
        step.machine.iter().flat_map(At::each).map(|(m, _)| m.0.clone()).collect();
    Task { label, machines: expand(names, around), after }
}

/// `all` becomes every machine.
fn expand(names: Vec<String>, around: &Surroundings<'_>) -> Vec<String> {
    match around.machines {
        Some(machines) if names.iter().any(|name| name == "all") => machines.to_vec(),
        _ => names,
    }
}

fn step(raw: &raw::Step, around: &Surroundings<'_>, report: &mut Report) -> Option<Step> {
    let action = actions::read(raw, around.dir, report);
    let machines = machines(raw.machine.as_ref(), around, report);
    let timeout = timeout(raw.timeout.as_ref(), STEP_TIMEOUT, report);
    let after = raw.after.iter().flat_map(At::each).map(|(id, _)| id.0.clone()).collect();
    if let (Some(at_boot), None) = (&raw.at_boot, &raw.wait_for) {
        let help = "leave it out: what other steps do is stored and not done again";
        report.fault(&at_boot.at, "only a `wait-for` step can be `at-boot`", help);
    }
    Some(Step {
        name: raw.name.as_ref()?.value.0.clone(),
        id: id_of(raw).map(str::to_owned),
        machines: machines?,
        after,
        action: action?,
        timeout,
        retry: retry(raw.retry.as_ref()),
        secret: secrecy(raw, around),
        at_boot: raw.at_boot.as_ref().is_some_and(|at_boot| at_boot.value),
        at: raw.at.clone(),
    })
}

fn secrecy(raw: &raw::Step, around: &Surroundings<'_>) -> Secrecy {
    match raw.secret.as_ref().map(|secret| &secret.value) {
        None | Some(Either::Short(false)) => Secrecy::Open,
        Some(Either::Short(true)) => Secrecy::Whole,
        Some(Either::Long(raw::ValuesOnly)) => {
            // What is not known cannot be hidden by itself.
            around.values.get(&raw.at).map_or(Secrecy::Whole, |v| Secrecy::Values(v.clone()))
        }
    }
}

fn check(raw: &raw::Check, around: &Surroundings<'_>, report: &mut Report) -> Option<Check> {
    let machines = machines(raw.machine.as_ref(), around, report);
    let timeout = timeout(raw.timeout.as_ref(), CHECK_TIMEOUT, report);
    let run = &raw.run.as_ref()?.value.0;
    Some(Check {
        name: raw.name.as_ref().map_or_else(|| first_line(run), |name| name.value.0.clone()),
        machines: machines?,
        run: run.clone(),
        expect: expect(raw.expect.as_ref().map(|expect| &expect.value)),
        timeout,
        retry: retry(raw.retry.as_ref()),
        at: raw.at.clone(),
    })
}

fn first_line(script: &str) -> String {
    let line = script.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or_default().to_owned()
}

fn machines(
    given: Option<&At<OneOrMore<MachineName>>>,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for (MachineName(name), at) in given?.each() {
        check_machine(name, at, around, report);
        if names.contains(name) {
            report.fault(at, format!("`{name}` is named twice"), "once is enough");
        }
        names.push(name.clone());
    }
    Some(expand(names, around))
}

fn check_machine(name: &str, at: &Place, around: &Surroundings<'_>, report: &mut Report) {
    let Some(machines) = around.machines else { return };
    if name != "all" && !machines.iter().any(|machine| machine == name) {
        let known = machines.iter().map(String::as_str).chain(["all"]);
        let help = near::suggestion(name, "machines", known);
        report.push(at, format!("there is no machine `{name}`"), help);
    }
}

fn timeout(given: Option<&At<Duration>>, default: Duration, report: &mut Report) -> Duration {
    let Some(At { value, at }) = given else { return default };
    if value.is_zero() {
        let help = format!("leave it out for {} seconds", default.as_secs());
        report.fault(at, "nothing can be done in no time", help);
    }
    *value
}

fn retry(given: Option<&At<Either<Int<1, 1000>, raw::Retry>>>) -> Retry {
    let (times, delay) = match given.map(|given| &given.value) {
        None => return Retry::NEVER,
        Some(Either::Short(times)) => (Some(times.0), None),
        Some(Either::Long(long)) => {
            (long.times.as_ref().map(|times| times.value.0), long.delay.as_ref())
        }
    };
    Retry {
        times: times.map_or(0, |times| times as u32),
        delay: delay.map_or(RETRY_DELAY, |delay| delay.value),
    }
}

fn expect(raw: Option<&raw::Expect>) -> Expect {
    let texts = |given: Option<&At<OneOrMore<super::leaf::Script>>>| -> Vec<String> {
        given.into_iter().flat_map(At::each).map(|(text, _)| text.0.clone()).collect()
    };
    let pattern = raw.and_then(|raw| raw.stdout_matches.as_ref());
    Expect {
        status: raw.and_then(|raw| raw.status.as_ref()).map_or(0, |it| it.value.0 as i32),
        stdout_contains: texts(raw.and_then(|raw| raw.stdout_contains.as_ref())),
        stdout_lacks: texts(raw.and_then(|raw| raw.stdout_lacks.as_ref())),
        stdout_is: raw.and_then(|raw| raw.stdout_is.as_ref()).map(|it| it.value.0.clone()),
        stdout_matches: pattern.map(|it| it.value.0.clone()),
    }
}
