//! The host: child processes and files. The only place that spawns.

pub mod cage;
mod command;
pub mod files;
pub mod foreign;
pub mod ids;
pub mod qcow2;
pub mod url;
pub mod view;

pub use command::{Cmd, Output};

use std::io;
use std::path::{Path, PathBuf};

/// What went wrong on the host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// A program is not installed.
    #[error(
        "`{program}` is not installed (`labbuild doctor` says how to install it)\n  command: {command}"
    )]
    Missing {
        /// The program.
        program: String,
        /// The full command line.
        command: String,
    },
    /// A program ended with a failure.
    #[error("`{program}` {status}\n  command: {command}{}", last_lines(.stderr))]
    Failed {
        /// The program.
        program: String,
        /// "ended with exit status 3", "was ended by signal 9".
        status: String,
        /// The full command line.
        command: String,
        /// The last of what it wrote to standard error.
        stderr: String,
    },
    /// A file operation failed.
    #[error("cannot {doing} {}: {source}", .path.display())]
    File {
        /// "read", "write", "rename", …
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl HostError {
    /// For `map_err`: `fs::read(p).map_err(HostError::file("read", p))`.
    pub fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HostError {
        let path = path.to_owned();
        move |source| HostError::File { doing, path, source }
    }
}

fn last_lines(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().filter(|l| !l.trim().is_empty()).collect();
    let tail = &lines[lines.len().saturating_sub(15)..];
    tail.iter().map(|l| format!("\n  | {l}")).collect()
}
