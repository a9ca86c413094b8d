//! Checks: a command, and whether everything that was expected of it holds.

use std::time::Instant;

use regex::RegexBuilder;

use crate::backend::agent::{AgentError, ExecRequest, ExecResult, Outcome};
use crate::event::Event;
use crate::recipe::{Check, Expect, Secrecy};

use super::error::{CheckFailure, CheckReason, Mismatch, Reason};
use super::mask::Mask;
use super::scope::{Scope, StepContext};

/// Carries out `check` on the machine of `ctx`, with its retries; `timeout` counts for each.
///
/// A check passes only by its expectation: one that cannot be run has failed. Emits
/// [`Event::Output`] and [`Event::Check`].
pub async fn check(ctx: &StepContext, check: &Check) -> Result<(), CheckFailure> {
    let start = Instant::now();
    ctx.note(&format!("check: {} ({})", check.name, check.at));
    let result = try_often(ctx, check).await;
    if let Err(e) = &result {
        ctx.note(&format!("failed: {}", e.reason));
    }
    ctx.events.emit(Event::Check {
        machine: ctx.agent.machine().to_owned(),
        check: check.name.clone(),
        ok: result.is_ok(),
        elapsed: start.elapsed(),
    });
    result
}

async fn try_often(ctx: &StepContext, check: &Check) -> Result<(), CheckFailure> {
    let mut tries = 1;
    loop {
        let scope = Scope::new(ctx, check.timeout, Mask::new(&Secrecy::Open));
        let Err(reason) = try_once(&scope, check).await else { return Ok(()) };
        let gone = matches!(reason, CheckReason::Agent(AgentError::Gone { .. }));
        if gone || tries > check.retry.times {
            return Err(CheckFailure {
                machine: ctx.agent.machine().to_owned(),
                check: check.name.clone(),
                at: check.at.clone(),
                reason,
                tries,
                output: scope.tail(),
            });
        }
        tries += 1;
        tokio::time::sleep(check.retry.delay).await;
    }
}

async fn try_once(scope: &Scope<'_>, check: &Check) -> Result<(), CheckReason> {
    let result = match scope.exec(ExecRequest::script(&check.run)).await {
        Ok(result) => result,
        Err(Reason::Agent(e)) => return Err(CheckReason::Agent(e)),
        // What `exec` cannot give.
        Err(_) => return Err(CheckReason::TimedOut(check.timeout)),
    };
    let status = match result.outcome {
        Outcome::Exited(status) => status,
        Outcome::TimedOut(_) => return Err(CheckReason::TimedOut(check.timeout)),
    };
    let mismatches = compare(&check.expect, status, &result);
    if mismatches.is_empty() { Ok(()) } else { Err(CheckReason::Unexpected(mismatches)) }
}

/// Every way in which a result is not as expected.
fn compare(expect: &Expect, status: i32, result: &ExecResult) -> Vec<Mismatch> {
    let mut found = Vec::new();
    if status != expect.status {
        found.push(Mismatch::Status { expected: expect.status, got: status });
    }
    if result.stdout.is_cut() && looks_at_output(expect) {
        found.push(Mismatch::TooLong(result.stdout.total));
        return found;
    }
    compare_output(expect, &result.stdout.text(), &mut found);
    found
}

fn looks_at_output(expect: &Expect) -> bool {
    let Expect { status: _, stdout_contains, stdout_lacks, stdout_is, stdout_matches } = expect;
    let some = !stdout_contains.is_empty() || !stdout_lacks.is_empty();
    some || stdout_is.is_some() || stdout_matches.is_some()
}

fn compare_output(expect: &Expect, got: &str, found: &mut Vec<Mismatch>) {
    let lacking = expect.stdout_contains.iter().filter(|text| !got.contains(text.as_str()));
    found.extend(lacking.map(|text| Mismatch::Lacks(text.clone())));
    let unwanted = expect.stdout_lacks.iter().filter(|text| got.contains(text.as_str()));
    found.extend(unwanted.map(|text| Mismatch::Contains(text.clone())));
    if let Some(expected) = expect.stdout_is.as_deref().map(str::trim)
        && expected != got.trim()
    {
        let (expected, got) = (expected.to_owned(), got.trim().to_owned());
        found.push(Mismatch::Differs { expected, got });
    }
    if let Some(pattern) = &expect.stdout_matches {
        match RegexBuilder::new(pattern).multi_line(true).build() {
            Ok(regex) if regex.is_match(got) => {}
            Ok(_) => found.push(Mismatch::NoMatch(pattern.clone())),
            Err(e) => found.push(Mismatch::BadPattern(e.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::agent::Captured;

    fn result(stdout: &str) -> ExecResult {
        let bytes = stdout.as_bytes().to_vec();
        let total = bytes.len() as u64;
        let stdout = Captured { bytes, total };
        ExecResult { outcome: Outcome::Exited(0), stdout, stderr: Captured::default() }
    }

    fn nothing() -> Expect {
        Expect {
            status: 0,
            stdout_contains: vec![],
            stdout_lacks: vec![],
            stdout_is: None,
            stdout_matches: None,
        }
    }

    #[test]
    fn everything_given_must_hold() {
        let expect = Expect {
            status: 2,
            stdout_contains: vec!["via".into(), "dev".into()],
            stdout_lacks: vec!["linkdown".into(), "default".into()],
            stdout_is: Some("default via 10.0.0.1".into()),
            stdout_matches: Some("^via".into()),
        };
        let got = result("default via 172.16.251.11 dev ens37\n");
        insta::assert_snapshot!(
            compare(&expect, 0, &got)
                .iter()
                .map(Mismatch::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        );
    }

    #[test]
    fn what_holds_is_not_mentioned() {
        let expect = Expect {
            stdout_contains: vec!["two".into()],
            stdout_lacks: vec!["four".into()],
            stdout_is: Some("one\ntwo\nthree\n\n".into()),
            stdout_matches: Some("^t[a-z]+$".into()),
            ..nothing()
        };
        assert_eq!(compare(&expect, 0, &result("  one\ntwo\nthree\n")), []);
        assert_eq!(compare(&nothing(), 0, &result("anything")), []);
    }

    #[test]
    fn output_whose_beginning_is_missing_proves_nothing() {
        let mut got = result("end");
        got.stdout.total = 5 << 20;
        let expect = Expect { stdout_lacks: vec!["error".into()], ..nothing() };
        assert_eq!(compare(&expect, 0, &got), [Mismatch::TooLong(5 << 20)]);
        assert_eq!(compare(&nothing(), 0, &got), []);
    }

    #[test]
    fn a_bad_pattern_is_a_failure() {
        let expect = Expect { stdout_matches: Some("(".into()), ..nothing() };
        assert!(matches!(compare(&expect, 0, &result("("))[..], [Mismatch::BadPattern(_)]));
    }
}
