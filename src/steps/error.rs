//! Why a step failed or a check did not hold, with all that a reader needs to go there.

use std::fmt;
use std::time::Duration;

use crate::backend::agent::AgentError;
use crate::host::HostError;
use crate::recipe::Place;

/// What happened to a step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Its command failed.
    #[error("{}", status(*.0))]
    Exit(i32),
    /// Its time was over; what it ran was ended.
    #[error("not done after {}, ended", span(*.0))]
    TimedOut(Duration),
    /// The guest could not be reached, or would not.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// A file of the recipe could not be read.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The guest is not as the step needs it.
    #[error("{0}")]
    Refused(String),
}

/// A step that failed on a machine.
#[derive(Debug)]
pub struct StepError {
    /// The machine.
    pub machine: String,
    /// The step's name.
    pub step: String,
    /// Where it is written.
    pub at: Place,
    /// What happened.
    pub reason: Reason,
    /// How often it was tried.
    pub tries: u32,
    /// Its last lines of output, without what is secret in it.
    pub output: Vec<String>,
    /// What was found out afterwards (state and journal of a unit), by title.
    pub findings: Vec<(String, Vec<String>)>,
    /// Whether output was withheld because the step is secret as a whole.
    pub secret: bool,
}

impl std::error::Error for StepError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StepError { machine, step, at, reason, .. } = self;
        write!(f, "{at}: step `{step}` failed on {machine}{}: {reason}", tried(self.tries))?;
        if self.secret {
            f.write_str(
                "\n  its output, and what its services wrote, is withheld: the step is secret; with \
                 `secret: values` only the values of its variables are",
            )?;
        }
        write_lines(f, &self.output)?;
        for (title, lines) in &self.findings {
            write!(f, "\n  {title}:")?;
            write_lines(f, lines)?;
        }
        Ok(())
    }
}

/// One way in which a check was not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// Another exit status.
    Status {
        /// What was expected.
        expected: i32,
        /// What it was.
        got: i32,
    },
    /// Standard output lacks this text.
    Lacks(String),
    /// Standard output contains this text.
    Contains(String),
    /// Standard output is something else.
    Differs {
        /// What was expected.
        expected: String,
        /// What it was.
        got: String,
    },
    /// Standard output does not match this regular expression.
    NoMatch(String),
    /// The regular expression cannot be read.
    BadPattern(String),
    /// There was more output than can be judged.
    TooLong(u64),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Status { expected, got } => {
                write!(f, "expected {}, got {}", status(*expected), status(*got))
            }
            Mismatch::Lacks(text) => write!(f, "standard output lacks {text:?}"),
            Mismatch::Contains(text) => write!(f, "standard output contains {text:?}"),
            Mismatch::Differs { expected, got } => write_difference(f, expected, got),
            Mismatch::NoMatch(pattern) => write!(f, "standard output does not match /{pattern}/"),
            Mismatch::BadPattern(why) => write!(f, "not a regular expression: {why}"),
            Mismatch::TooLong(total) => {
                write!(f, "standard output is too long to be judged ({total} bytes)")
            }
        }
    }
}

/// The first line that differs, of both.
fn write_difference(f: &mut fmt::Formatter<'_>, expected: &str, got: &str) -> fmt::Result {
    let (mut wanted, mut given) = (expected.lines(), got.lines());
    let mut line = 1;
    loop {
        match (wanted.next(), given.next()) {
            (Some(a), Some(b)) if a == b => line += 1,
            (a, b) => {
                let show = |l: Option<&str>| l.map_or("(nothing)".to_owned(), |l| format!("{l:?}"));
                write!(f, "standard output differs")?;
                if expected.lines().count().max(got.lines().count()) > 1 {
                    write!(f, " from line {line}")?;
                }
                return write!(f, "\n    expected {}\n    got      {}", show(a), show(b));
            }
        }
    }
}

/// Why a check did not pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckReason {
    /// Not as expected, in one or more ways.
    #[error("{}", .0.iter().map(Mismatch::to_string).collect::<Vec<_>>().join("; "))]
    Unexpected(Vec<Mismatch>),
    /// Its time was over.
    #[error("not done after {}, ended", span(*.0))]
    TimedOut(Duration),
    /// It could not be run, or the guest could not be reached.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// A check that did not pass on a machine.
#[derive(Debug)]
pub struct CheckFailure {
    /// The machine.
    pub machine: String,
    /// The check's name.
    pub check: String,
    /// Where it is written.
    pub at: Place,
    /// Why.
    pub reason: CheckReason,
    /// How often it was tried.
    pub tries: u32,
    /// Its last lines of output.
    pub output: Vec<String>,
}

impl std::error::Error for CheckFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CheckFailure { machine, check, at, reason, .. } = self;
        write!(f, "{at}: check `{check}` failed on {machine}{}: {reason}", tried(self.tries))?;
        write_lines(f, &self.output)
    }
}

fn tried(times: u32) -> String {
    if times > 1 { format!(" (tried {times} times)") } else { String::new() }
}

fn write_lines(f: &mut fmt::Formatter<'_>, lines: &[String]) -> fmt::Result {
    lines.iter().try_for_each(|line| write!(f, "\n  | {line}"))
}

fn status(code: i32) -> String {
    match code {
        129..=192 => format!("exit status {code} (signal {})", code - 128),
        _ => format!("exit status {code}"),
    }
}

fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, s) => format!("{s} s"),
        (m, 0) => format!("{m} min"),
        (m, s) => format!("{m} min {s} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step_error(reason: Reason) -> StepError {
        StepError {
            machine: "compute1".into(),
            step: "Leave through the controller".into(),
            at: Place { file: "recipes/two-node/10-system.yaml".into(), line: 14, column: 5 },
            reason,
            tries: 1,
            output: vec!["PING 192.168.0.1".into(), "Destination Host Prohibited".into()],
            findings: Vec::new(),
            secret: false,
        }
    }

    fn check_failure(mismatches: Vec<Mismatch>) -> String {
        CheckFailure {
            machine: "controller".into(),
            check: "MariaDB answers".into(),
            at: Place { file: "recipes/two-node/10-system.yaml".into(), line: 40, column: 5 },
            reason: CheckReason::Unexpected(mismatches),
            tries: 3,
            output: vec!["ERROR 2002 (HY000)".into()],
        }
        .to_string()
    }

    #[test]
    fn a_failed_command() {
        insta::assert_snapshot!(step_error(Reason::Exit(1)));
    }

    #[test]
    fn a_signal_a_deadline_a_lost_guest() {
        insta::assert_snapshot!(step_error(Reason::Exit(137)));
        insta::assert_snapshot!(step_error(Reason::TimedOut(Duration::from_secs(90))));
        let machine = "compute1".to_owned();
        insta::assert_snapshot!(step_error(AgentError::Gone { machine: machine.clone() }.into()));
        let silent = Duration::from_secs(95);
        let reason = "Guest agent is not responding".to_owned();
        insta::assert_snapshot!(step_error(AgentError::Silent { machine, silent, reason }.into()));
    }

    #[test]
    fn a_secret_step_says_nothing_but_that() {
        let error = StepError { secret: true, output: vec![], ..step_error(Reason::Exit(1)) };
        insta::assert_snapshot!(error);
    }

    #[test]
    fn a_service_with_its_journal() {
        let findings = vec![
            ("systemctl status mariadb".into(), vec!["Active: failed (Result: exit-code)".into()]),
            ("last lines of its journal".into(), vec!["[ERROR] Can't create PID file".into()]),
        ];
        let error = StepError { findings, tries: 3, output: vec![], ..step_error(Reason::Exit(1)) };
        insta::assert_snapshot!(error);
    }

    #[test]
    fn checks_show_what_was_expected() {
        let differs = |expected: &str, got: &str| Mismatch::Differs {
            expected: expected.into(),
            got: got.into(),
        };
        insta::assert_snapshot!(check_failure(vec![
            Mismatch::Status { expected: 0, got: 1 },
            Mismatch::Lacks("via 172.16.251.11".into()),
        ]));
        insta::assert_snapshot!(check_failure(vec![differs("active", "inactive")]));
        insta::assert_snapshot!(check_failure(vec![differs("a\nb\nc", "a\nb")]));
        insta::assert_snapshot!(check_failure(vec![differs("a\nb", "a\tx\nb")]));
    }
}
