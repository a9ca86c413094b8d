//! What a command that did not succeed says to the one who called it: a reason, which decides
//! the exit code, a message, and what helps.

use std::fmt;

use serde_json::Value;

use crate::host::HostError;
use crate::recipe::{Fault, Faults};
use crate::ui::Report;

/// The reason behind an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// What was asked for failed.
    Failed,
    /// Wrong usage, or something written wrongly.
    Usage,
    /// This machine lacks something.
    Environment,
    /// Somebody else holds what is needed.
    Conflict,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// A command run for the user ended so; nothing is left to be said.
    Passed(u8),
}

impl Reason {
    /// The exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Reason::Failed => 1,
            Reason::Usage => 2,
            Reason::Environment => 3,
            Reason::Conflict => 4,
            Reason::Interrupted => 130,
            Reason::Passed(code) => code,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Reason::Failed => "failed",
            Reason::Usage => "usage",
            Reason::Environment => "environment",
            Reason::Conflict => "conflict",
            Reason::Interrupted => "interrupted",
            Reason::Passed(_) => "status",
        }
    }
}

/// Why a command did not succeed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Decides the exit code.
    pub reason: Reason,
    /// What is wrong; may have several lines.
    pub message: String,
    /// What helps.
    pub hints: Vec<String>,
    /// The same for programs, where there is more than words.
    pub data: Option<Box<Value>>,
}

impl Failure {
    /// A failure for this reason.
    pub fn new(reason: Reason, message: impl fmt::Display) -> Failure {
        let message = message.to_string();
        Failure { reason, message, hints: Vec::new(), data: None }
    }

    /// What was asked for failed.
    pub fn failed(message: impl fmt::Display) -> Failure {
        Failure::new(Reason::Failed, message)
    }

    /// Wrong usage, or something written wrongly.
    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure::new(Reason::Usage, message)
    }

    /// This machine lacks something.
    pub fn environment(message: impl fmt::Display) -> Failure {
        Failure::new(Reason::Environment, message)
    }

    /// Somebody else holds what is needed.
    pub fn conflict(message: impl fmt::Display) -> Failure {
        Failure::new(Reason::Conflict, message)
    }

    /// Ctrl-C or SIGTERM.
    pub fn interrupted() -> Failure {
        Failure::new(Reason::Interrupted, "interrupted")
    }

    /// The exit status of a command that was run for the user, unless it is 0.
    pub fn pass(status: i32) -> Result<(), Failure> {
        match u8::try_from(status) {
            Ok(0) => Ok(()),
            Ok(code) => Err(Failure::new(Reason::Passed(code), "")),
            Err(_) => Err(Failure::failed(format!("the command ended with status {status}"))),
        }
    }

    /// With one more thing that helps.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hints.push(hint.into());
        self
    }

    /// How it is shown; `None` where there is nothing to say.
    pub fn report(&self) -> Option<Report> {
        if let Reason::Passed(_) = self.reason {
            return None;
        }
        Some(Report {
            reason: self.reason.word(),
            exit_code: self.reason.exit_code(),
            message: self.message.clone(),
            hints: self.hints.clone(),
            data: self.data.as_deref().cloned().unwrap_or(Value::Null),
        })
    }
}

/// A missing program is the machine's fault, everything else the task's.
impl From<HostError> for Failure {
    fn from(error: HostError) -> Failure {
        match &error {
            HostError::Missing { .. } => Failure::environment(&error)
                .hint("labbuild doctor    (what is missing, and the command that installs it)"),
            _ => Failure::failed(&error),
        }
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Failure {
        let count = count(faults.0.len(), "fault");
        let mut failure = Failure::usage(format!("{count}\n\n{faults}"));
        failure.data = Some(Box::new(faults.0.iter().map(fault_json).collect()));
        failure
    }
}

/// A fault as data.
pub fn fault_json(fault: &Fault) -> Value {
    serde_json::json!({
        "file": &*fault.at.file,
        "line": fault.at.line,
        "column": fault.at.column,
        "text": fault.text,
        "message": fault.message,
        "help": fault.help,
    })
}

/// `1 fault`, `2 faults`.
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_exit_code_3() {
        let missing = HostError::Missing { program: "x".into(), command: "x -y".into() };
        let failure = Failure::from(missing);
        assert_eq!(failure.reason.exit_code(), 3);
        assert!(failure.hints[0].starts_with("labbuild doctor"));
    }

    #[test]
    fn a_status_passes_through_without_a_word() {
        assert!(Failure::pass(0).is_ok());
        let seven = Failure::pass(7).unwrap_err();
        assert_eq!(seven.reason.exit_code(), 7);
        assert!(seven.report().is_none());
    }
}
