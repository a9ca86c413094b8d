//! Packages whose own script fails while they are installed.

use std::fmt;

use super::scripts::last_lines;
use crate::host::HostError;

/// How dpkg begins what it says then; the package follows.
const ERROR: &str = "dpkg: error processing package ";

/// The first of a package's scripts that failed, and what was said about it.
#[derive(Debug, PartialEq)]
pub(super) struct ScriptFailure {
    pub(super) package: String,
    reason: String,
    output: String,
}

impl ScriptFailure {
    /// Nothing where apt failed for another reason.
    pub(super) fn of(error: &HostError) -> Option<Self> {
        match error {
            HostError::Failed { stderr, .. } => Self::in_output(stderr),
            _ => None,
        }
    }

    fn in_output(stderr: &str) -> Option<Self> {
        let lines: Vec<&str> = stderr.lines().collect();
        let at = lines.iter().position(|l| l.starts_with(ERROR))?;
        let package = lines[at].strip_prefix(ERROR)?.split(' ').next()?;
        let begin = format!("Setting up {package} ");
        let begin = lines[..at].iter().rposition(|l| l.starts_with(&begin));
        Some(ScriptFailure {
            package: package.to_owned(),
            reason: lines.get(at + 1).map(|l| l.trim().to_owned()).unwrap_or_default(),
            output: lines[begin.map_or(0, |line| line + 1)..at].join("\n"),
        })
    }
}

impl fmt::Display for ScriptFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScriptFailure { package, reason, output } = self;
        write!(f, "`{package}` could not be installed: {reason}; {}", last_lines(output))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SAID: &str = "\
Setting up python3-django-horizon (3:23.0.0-5) ...
Setting up openstack-dashboard (3:23.0.0-5) ...
Collecting and compressing static files...
CommandError: An error occurred during rendering a.html
dpkg: error processing package openstack-dashboard (--configure):
 installed openstack-dashboard package post-installation script subprocess returned error exit status 1
Setting up glance (2:25.1.0-2) ...
Errors were encountered while processing:
 openstack-dashboard
E: Sub-process /usr/bin/dpkg returned an error code (1)
";

    #[test]
    fn the_script_and_what_it_said_are_shown() {
        let failure = ScriptFailure::in_output(SAID).unwrap();
        insta::assert_snapshot!(failure, @r"
        `openstack-dashboard` could not be installed: installed openstack-dashboard package post-installation script subprocess returned error exit status 1; its last output:
           | Collecting and compressing static files...
           | CommandError: An error occurred during rendering a.html
        ");
    }

    #[test]
    fn other_failures_are_none_of_a_script() {
        assert_eq!(ScriptFailure::in_output("E: Unable to fetch some archives\n"), None);
        assert_eq!(ScriptFailure::in_output(""), None);
    }

    #[test]
    fn a_beginning_that_was_cut_off_is_no_obstacle() {
        let cut = &SAID[SAID.find("CommandError").unwrap()..];
        let failure = ScriptFailure::in_output(cut).unwrap();
        assert_eq!(failure.output, "CommandError: An error occurred during rendering a.html");
    }
}
