//! The first process of a lab's namespaces: it arranges the mounts, runs libvirtd, opens the
//! door into the network, reaps what others leave behind, and ends everything when told to.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, set_parent_process_death_signal, wait,
};
use tokio::io::AsyncReadExt;
use tokio::net::UnixListener;
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::time::{Instant, timeout_at};

use super::error::SandboxError;
use super::keeper::{say, wait_for};
use super::layout::Layout;
use super::needs::{program, search_path};
use super::{closed, relay, shown};
use crate::host::Cmd;

/// What it says on standard output when mounts and loopback stand.
pub(super) const UP: &str = "up";

/// How long guests and daemons have to end after SIGTERM before the kernel ends them.
const PATIENCE: Duration = Duration::from_secs(4);

/// The whole life of the lab's first process; `args` are those after the word `sandbox-init`.
pub fn init_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(root), Some(runtime)) = (args.next(), args.next()) else {
        say("this is an internal command of labbuild");
        return ExitCode::from(2);
    };
    let words: Vec<String> = args.filter_map(|word| word.into_string().ok()).collect();
    let (shown, host) = words.into_iter().partition(|word| word.contains('='));
    match live(&Layout { root: root.into(), runtime: runtime.into() }, &Given { shown, host }) {
        Ok(why) => {
            say(why);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// What the keeper hands in.
struct Given {
    /// Trees to show.
    shown: Vec<String>,
    /// The host's addresses.
    host: Vec<String>,
}

fn live(layout: &Layout, given: &Given) -> Result<&'static str, SandboxError> {
    // Mounting over the host's folders anywhere but in namespaces of our own would be a disaster.
    if std::process::id() != 1 {
        return Err(SandboxError::System {
            doing: "start inside the lab".to_owned(),
            source: std::io::Error::other("this is not the first process of a namespace"),
        });
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SandboxError::system("start the event loop"))?
        .block_on(run(layout, given))
}

async fn run(layout: &Layout, given: &Given) -> Result<&'static str, SandboxError> {
    // dnsmasq reads what libvirt writes as a user of its own; the folder above is closed to others.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // Becoming another user has cleared what `unshare --kill-child` asked for.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(SandboxError::system("end with the keeper"))?;
    shown::enter(layout, &given.shown)?;
    Cmd::new(program("ip")?).args(["link", "set", "lo", "up"]).run().await?;
    let host: Vec<Ipv4Addr> = given.host.iter().filter_map(|word| word.parse().ok()).collect();
    closed::close(&host).await?;
    keep_bridges_plain();
    let mut signals = Signals::new()?;
    let door = UnixListener::bind(layout.relay_socket())
        .map_err(SandboxError::system("open the door into the lab's network"))?;
    let _logs = start_virtlogd().await?;
    let daemon = start_libvirtd()?;
    writeln!(std::io::stdout(), "{UP}").map_err(SandboxError::system("say that the lab is up"))?;
    tokio::spawn(relay::serve(door));
    let why = signals.until_the_end(&daemon).await;
    end_all(&mut signals).await;
    Ok(why)
}

/// Frames between two machines on one bridge are not the firewall's business; where the host has
/// `br_netfilter` loaded (Docker does that), new namespaces start with the opposite.
fn keep_bridges_plain() {
    for table in ["iptables", "ip6tables", "arptables"] {
        let _ = fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{table}"), "0");
    }
}

/// Writes what guests print, so that a file begins anew before it fills the disk. libvirtd does not start
/// a machine without it.
async fn start_virtlogd() -> Result<Child, SandboxError> {
    let daemon = Cmd::new(program("virtlogd")?)
        .args(["--pid-file", "/run/libvirt/virtlogd.pid"])
        .env("PATH", search_path())
        .start(Stdio::null(), Stdio::null(), Stdio::inherit())?;
    let there = timeout_at(Instant::now() + PATIENCE, wait_for(Layout::log_socket())).await;
    there.map_err(|_| SandboxError::System {
        doing: "wait for virtlogd".to_owned(),
        source: std::io::ErrorKind::TimedOut.into(),
    })?;
    Ok(daemon)
}

fn start_libvirtd() -> Result<Child, SandboxError> {
    let daemon = Cmd::new(program("libvirtd")?)
        .args(["--pid-file", "/run/libvirt/libvirtd.pid"])
        .env("PATH", search_path());
    Ok(daemon.start(Stdio::null(), Stdio::null(), Stdio::inherit())?)
}

/// What the first process listens to.
struct Signals {
    term: Stream,
    child: Stream,
    /// The keeper holds the other end: end of file means that it is gone.
    keeper: Option<pipe::Receiver>,
}

impl Signals {
    fn new() -> Result<Signals, SandboxError> {
        let take = |kind| signal(kind).map_err(SandboxError::system("take signals"));
        Ok(Signals {
            term: take(SignalKind::terminate())?,
            child: take(SignalKind::child())?,
            keeper: parents_pipe(),
        })
    }

    /// Reaps until there is a reason to end.
    async fn until_the_end(&mut self, daemon: &Child) -> &'static str {
        let daemon = daemon.id().and_then(|id| Pid::from_raw(id as i32));
        let keeper = gone(self.keeper.take());
        tokio::pin!(keeper);
        loop {
            tokio::select! {
                _ = self.term.recv() => return "the lab was asked to end",
                () = &mut keeper => return "the keeper is gone",
                _ = self.child.recv() => {}
            }
            if reap().contains(&daemon) {
                return "libvirtd ended; its log is log/libvirtd.log";
            }
        }
    }
}

/// Standard input, where it is a pipe: whoever started this process holds the other end.
pub(super) fn parents_pipe() -> Option<pipe::Receiver> {
    let stdin: OwnedFd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).ok()?;
    pipe::Receiver::from_file(stdin.into()).ok()
}

/// Returns when the other end of a pipe is closed; never where there is none.
pub(super) async fn gone(parent: Option<pipe::Receiver>) {
    match parent {
        Some(mut pipe) => while pipe.read_u8().await.is_ok() {},
        None => std::future::pending().await,
    }
}

/// Reaps every child that has ended, whoever started it.
fn reap() -> Vec<Option<Pid>> {
    let mut reaped = Vec::new();
    while let Ok(Some((pid, _))) = wait(WaitOptions::NOHANG) {
        reaped.push(Some(pid));
    }
    reaped
}

/// Asks all others to end, so that QEMU writes out what it holds, and waits for them a while.
/// The kernel kills whoever is left when this process ends.
async fn end_all(signals: &mut Signals) {
    for pid in others() {
        let _ = kill_process(pid, Signal::TERM);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        reap();
        if others().is_empty() || timeout_at(deadline, signals.child.recv()).await.is_err() {
            return;
        }
    }
}

/// Every other process of this namespace.
fn others() -> Vec<Pid> {
    let entries = fs::read_dir(Path::new("/proc")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != 1)
        .filter_map(Pid::from_raw)
        .collect()
}
