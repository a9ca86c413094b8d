//! What a command in the guest is, and what comes of it.

use std::time::Duration;

use super::lines::Captured;

/// What to run.
#[derive(Clone, PartialEq, Eq)]
pub enum Program {
    /// A program and its arguments. The guest's agent writes them into its journal: nothing
    /// secret here.
    Argv(Vec<String>),
    /// A script for `bash -euo pipefail`, in a file of its own.
    Script(String),
    /// A script for `bash -euo pipefail` and its arguments, `$1` and on. The arguments, not the
    /// script, come into the guest's journal.
    ScriptWith(String, Vec<String>),
}

/// A command for the guest. It starts with an environment of its own (`PATH`, `HOME`, `LANG`
/// and few more), not with the agent's.
#[derive(Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// What to run.
    pub program: Program,
    /// Its standard input; nothing without it.
    pub stdin: Option<Vec<u8>>,
    /// Variables on top of the usual ones.
    pub env: Vec<(String, String)>,
    /// How long it may take; then its session is ended.
    pub timeout: Duration,
    /// Where it starts; the user's home without it.
    pub cwd: Option<String>,
    /// Who runs it; root without it.
    pub user: Option<String>,
}

impl std::fmt::Debug for ExecRequest {
    /// Neither script nor input nor variables: any of them may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecRequest").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl ExecRequest {
    /// A program with arguments.
    pub fn argv(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::of(Program::Argv(words.into_iter().map(Into::into).collect()))
    }

    /// A bash script.
    pub fn script(text: impl Into<String>) -> Self {
        Self::of(Program::Script(text.into()))
    }

    /// A bash script with arguments.
    pub fn script_with(
        text: impl Into<String>,
        args: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let args = args.into_iter().map(Into::into).collect();
        Self::of(Program::ScriptWith(text.into(), args))
    }

    fn of(program: Program) -> Self {
        ExecRequest {
            program,
            stdin: None,
            env: Vec::new(),
            timeout: Duration::from_secs(60),
            cwd: None,
            user: None,
        }
    }

    /// How long it may take (one minute without this).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Bytes for its standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// One environment variable; never seen on a command line or in a journal.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Where it starts.
    pub fn cwd(mut self, dir: impl Into<String>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Who runs it.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    pub(super) fn script_text(&self) -> &str {
        match &self.program {
            Program::Argv(_) => "",
            Program::Script(text) | Program::ScriptWith(text, _) => text,
        }
    }

    pub(super) fn words(&self, nonce: &str) -> Vec<String> {
        let bash = || ["bash", "-euo", "pipefail"].map(String::from).to_vec();
        let file = format!("/run/labbuild/{nonce}/script");
        match &self.program {
            Program::Argv(words) => words.clone(),
            Program::Script(_) => [bash(), vec![file]].concat(),
            Program::ScriptWith(_, args) => [bash(), vec![file], args.clone()].concat(),
        }
    }

    pub(super) fn variables(&self) -> Vec<String> {
        let usual = [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "USER=root",
            "LOGNAME=root",
            "SHELL=/bin/bash",
            "LANG=C.UTF-8",
            "TERM=dumb",
        ];
        let own = self.env.iter().map(|(name, value)| format!("{name}={value}"));
        usual.map(String::from).into_iter().chain(own).collect()
    }
}

/// Which of a command's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// By itself, with this status (128 + n: by signal n).
    Exited(i32),
    /// It was ended because its time was over.
    TimedOut(Duration),
}

/// A command that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecResult {
    /// How it ended.
    pub outcome: Outcome,
    /// What it wrote to standard output.
    pub stdout: Captured,
    /// What it wrote to standard error.
    pub stderr: Captured,
}

impl ExecResult {
    /// Whether it ended with status 0 in time.
    pub fn success(&self) -> bool {
        self.outcome == Outcome::Exited(0)
    }
}
