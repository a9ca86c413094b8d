//! What can go wrong with a lab's own libvirtd, each with what to do about it.

use std::path::{Path, PathBuf};

use super::needs::Need;
use crate::host::HostError;

/// Why a sandbox did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// Something that the machine must have is not there.
    #[error("this machine cannot run a lab yet:{}", listed(.0))]
    Needs(Vec<Need>),
    /// A keeper already lives in this folder.
    #[error("a lab already runs in {}", .root.display())]
    Running {
        /// Folder of the lab.
        root: PathBuf,
    },
    /// The libvirtd of the lab did not come up.
    #[error("the lab's own libvirt did not start: {reason}\n  log: {}{tail}", .log.display())]
    Start {
        /// What was seen.
        reason: String,
        /// The keeper's log.
        log: PathBuf,
        /// Last lines of the log, ready to print.
        tail: String,
    },
    /// The keeper would not end.
    #[error("the lab in {} did not end: {reason}", .root.display())]
    Stop {
        /// Folder of the lab.
        root: PathBuf,
        /// What was seen.
        reason: String,
    },
    /// The folder for sockets cannot be used.
    #[error("the folder for sockets {} cannot be used: {reason}", .dir.display())]
    Runtime {
        /// The folder.
        dir: PathBuf,
        /// Why, and what would be right.
        reason: String,
    },
    /// A connection into the lab, or a forwarded port, could not be made.
    #[error("{doing}: {reason}")]
    Network {
        /// What was being done ("forward port 2222 to 172.16.251.11:22").
        doing: String,
        /// The lab's words.
        reason: String,
    },
    /// A system call failed.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// A host command or file failed.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl SandboxError {
    /// For `map_err` on system calls.
    pub(super) fn system<E: Into<std::io::Error>>(
        doing: impl Into<String>,
    ) -> impl FnOnce(E) -> SandboxError {
        let doing = doing.into();
        move |source| SandboxError::System { doing, source: source.into() }
    }

    /// A failed start, with the last lines of the keeper's log.
    pub(super) fn start(reason: impl Into<String>, log: &Path) -> Self {
        let text = std::fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(15)..]
            .iter()
            .map(|line| format!("\n  | {line}"))
            .collect();
        SandboxError::Start { reason: reason.into(), log: log.to_owned(), tail }
    }
}

fn listed(needs: &[Need]) -> String {
    needs
        .iter()
        .map(|need| format!("\n  - {}\n    mend it with: {}", need.what, need.remedy))
        .collect()
}
