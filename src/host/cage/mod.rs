//! The cage: the one place where foreign code runs on this host (maintainer scripts, `%post`, and
//! the tools that carry them out), and where strangers' archives are fetched.
//!
//! Inside are only subordinate ids of the caller: neither the caller nor root has an id there, so no
//! file of theirs can be written, and none read that is not open to everybody. The file tree is one of
//! its own ([`View`](super::view::View)): programs, the job's `in` folder, a scratch folder. PID, IPC,
//! UTS and mount namespaces are its own; the network is too, without any way out, unless the cage is for
//! fetching. New privileges and system calls that only reach into the kernel are refused; time, processes
//! and sizes of files are bounded; the kernel ends everything inside when labbuild ends.
//!
//! Nothing is handed in but a *job folder*, by being its working folder: the folders above it may be
//! closed to the ids inside. What is handed out is read as a stranger's.
//!
//! The chain is `bash` → `setpriv` → `prlimit` → `unshare` → `labbuild internal cage` → the program.
//! The shell closes files that were left open, `setpriv` lets the kernel end `unshare` when labbuild
//! dies, and the cage's first process ends with `unshare`.

mod filter;
mod inside;
mod proof;
mod results;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::ids::{Range, Subordinate};
use super::{Cmd, HostError, files};

pub use inside::cage_main;
pub use proof::{Proof, probe_main, prove};

/// The job's folder of inputs, as the cage sees it.
pub const IN: &str = "/in";
/// The scratch folder inside.
pub const WORK: &str = "/scratch";
/// Regular files in this folder inside are handed out.
pub const OUT: &str = "/scratch/out";
/// labbuild itself, inside.
pub const SELF: &str = "/labbuild";

/// Closes every file but the three standard ones, whoever left it open, and goes on as the command that
/// follows. A shell does it, because Rust's library offers no safe way to close what it has not opened.
const CLOSE_FILES: &str = "for fd in /proc/$$/fd/*; do
    n=${fd##*/}; if [ \"$n\" -gt 2 ]; then eval \"exec $n<&-\"; fi
done; exec \"$@\"";

/// More than any build has at once; a fork bomb ends here.
const PROCESSES: u64 = 8192;
/// Below this much free space, a scratch folder on disk ends the job.
const RESERVE: u64 = 1 << 30;

/// What a cage may do.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whether it has the host's network: for fetching only.
    pub network: bool,
    /// Size of the scratch folder in memory, in MiB; `None`: it is on disk, in the job folder.
    pub memory_mib: Option<u64>,
    /// The largest file that can be written, in bytes.
    pub largest_file: u64,
    /// How long the job may take.
    pub time: Duration,
    /// `SOURCE_DATE_EPOCH` inside.
    pub epoch: u64,
}

/// A job for the cage.
#[derive(Debug)]
pub struct Cage {
    job: PathBuf,
    rules: Rules,
}

impl Cage {
    /// Makes the job folder; `program` is labbuild.
    pub fn new(job: &Path, program: &Path, rules: Rules) -> Result<Self, HostError> {
        files::create_dir(job)?;
        open_to_all(job, 0o755)?;
        let own = job.join("labbuild");
        fs::copy(program, &own).map_err(HostError::file("copy", program))?;
        open_to_all(&own, 0o755)?;
        for (name, mode) in [("in", 0o755), ("scratch", 0o777)] {
            files::create_dir(&job.join(name))?;
            open_to_all(&job.join(name), mode)?;
        }
        for name in ["stdout", "out.tar"] {
            let path = job.join(name);
            File::create(&path).map_err(HostError::file("create", &path))?;
            open_to_all(&path, 0o666)?;
        }
        Ok(Cage { job: job.to_owned(), rules })
    }

    /// A file of inputs; `name` may hold folders.
    pub fn input(&self, name: &str, bytes: &[u8]) -> Result<(), HostError> {
        let path = self.input_path(name)?;
        fs::write(&path, bytes).map_err(HostError::file("write", &path))?;
        open_to_all(&path, 0o644)
    }

    /// A file of inputs that is another name of one on the same file system, or else a copy. It must be
    /// the caller's: what belongs to the ids inside could be written there.
    pub fn input_link(&self, name: &str, from: &Path) -> Result<(), HostError> {
        let path = self.input_path(name)?;
        if fs::hard_link(from, &path).is_err() {
            fs::copy(from, &path).map_err(HostError::file("copy", from))?;
        }
        open_to_all(&path, 0o644)
    }

    fn input_path(&self, name: &str) -> Result<PathBuf, HostError> {
        let path = self.job.join("in").join(name);
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            files::create_dir(folder)?;
            open_to_all(folder, 0o755)?;
        }
        Ok(path)
    }

    /// What the program wrote to its standard output.
    pub fn stdout(&self) -> PathBuf {
        self.job.join("stdout")
    }

    /// Runs a program of the cage to its end, handing over each line of its standard error.
    pub async fn run(
        &self,
        program: &[impl AsRef<str>],
        on_line: impl FnMut(&str),
    ) -> Result<(), HostError> {
        let command = self.command(program)?;
        let line = command.line();
        let run = command.run_into(Stdio::null(), on_line);
        tokio::select! {
            ended = run => ended.map_err(|error| named(error, program)),
            () = tokio::time::sleep(self.rules.time) => Err(self.given_up(line, format!(
                "was ended: it took longer than {} minutes", self.rules.time.as_secs() / 60
            ))),
            () = self.disk_is_full() => Err(self.given_up(line, format!(
                "was ended: less than {} MiB are free in {}", RESERVE >> 20, self.job.display()
            ))),
        }
    }

    fn given_up(&self, command: String, status: String) -> HostError {
        HostError::Failed { program: "cage".to_owned(), status, command, stderr: String::new() }
    }

    /// Returns when a job whose scratch folder is on disk leaves too little of it.
    async fn disk_is_full(&self) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let free = rustix::fs::statvfs(&self.job).map_or(u64::MAX, |s| s.f_bavail * s.f_frsize);
            if free < RESERVE {
                return;
            }
        }
    }

    fn command(&self, program: &[impl AsRef<str>]) -> Result<Cmd, HostError> {
        let ids = Subordinate::of_caller()?;
        let network: &[&str] = if self.rules.network { &[] } else { &["--net"] };
        // Only what fetches is told how.
        let proxies = inside::PROXIES.iter().filter(|_| self.rules.network);
        let proxies = proxies.filter_map(|name| Some((name, std::env::var_os(name)?)));
        let bash = Cmd::new("bash").only_path();
        Ok(proxies
            .fold(bash, |command, (name, value)| command.env(name, value))
            .dir(&self.job)
            .args(["-c", CLOSE_FILES, "cage", "setpriv", "--pdeathsig", "KILL", "--", "prlimit"])
            .arg(format!("--nproc={PROCESSES}:{PROCESSES}"))
            .arg(format!("--fsize={0}:{0}", self.rules.largest_file))
            .args(["--core=0:0", "unshare", "--user"])
            .arg(format!("--map-users={}", mapping(ids.users)))
            .arg(format!("--map-groups={}", mapping(ids.groups)))
            .args(["--setuid", "0", "--setgid", "0", "--mount", "--propagation", "private"])
            .args(["--pid", "--ipc", "--uts", "--fork", "--kill-child"])
            .args(network)
            .args(["--", "./labbuild", "internal", "cage"])
            .args(inside::arguments(&self.rules))
            .args(program.iter().map(AsRef::as_ref)))
    }

    /// Takes what was handed out into `dir`: regular files, `limit` bytes in all.
    pub fn take_results(&self, dir: &Path, limit: u64) -> Result<(), HostError> {
        results::unpack(&self.job.join("out.tar"), dir, limit)
    }
}

/// What failed is the program inside, not the first of the chain that leads there.
fn named(error: HostError, words: &[impl AsRef<str>]) -> HostError {
    match error {
        HostError::Failed { status, command, stderr, .. } => {
            let word = words.first().map_or("cage", AsRef::as_ref);
            let program = word.rsplit('/').next().unwrap_or_default().to_owned();
            HostError::Failed { program, status, command, stderr }
        }
        other => other,
    }
}

/// Outer, inner, count: the order of util-linux 2.38, which newer ones still take with commas.
fn mapping(range: Range) -> String {
    format!("{},0,{}", range.first, range.count)
}

/// For the ids inside, to which the caller's files are a stranger's.
fn open_to_all(path: &Path, mode: u32) -> Result<(), HostError> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(HostError::file("set the mode of", path))
}
