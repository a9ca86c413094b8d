//! The keeper: the one process that a sandbox's life hangs on. It makes the namespaces, gives
//! them their way out, forwards ports, and ends when any part ends; when it is killed, the
//! kernel ends the parts.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixListener;
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdin};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::closed;
use super::control::Control;
use super::error::SandboxError;
use super::init;
use super::layout::Layout;
use super::needs::{is_root, program, search_path};
use super::shown::{self, Shown};
use super::state::{self, Process, State};
use crate::host::ids::{Range, Subordinate};
use crate::host::{Cmd, files};

/// What a keeper is to keep, as its arguments say it.
#[derive(Debug)]
pub(super) struct Plan {
    pub layout: Layout,
    pub uplink: bool,
    pub shown: Vec<Shown>,
    /// Program and leading arguments that lead back here.
    pub self_exe: Vec<OsString>,
}

impl Plan {
    /// The arguments after the word `keeper`.
    pub fn to_args(&self) -> Vec<OsString> {
        let uplink = if self.uplink { "uplink" } else { "closed" };
        let mut args: Vec<OsString> = vec![
            self.layout.root.clone().into(),
            self.layout.runtime.clone().into(),
            uplink.into(),
            self.shown.len().to_string().into(),
        ];
        args.extend(self.shown.iter().map(|shown| shown.to_word().into()));
        args.extend(self.self_exe.iter().cloned());
        args
    }

    fn from_args(args: impl IntoIterator<Item = OsString>) -> Option<Plan> {
        let mut args = args.into_iter();
        let layout = Layout { root: args.next()?.into(), runtime: args.next()?.into() };
        let uplink = args.next()? == "uplink";
        let count = args.next()?.to_str()?.parse().ok()?;
        let word = |word: OsString| Shown::from_word(word.to_str()?);
        let shown: Option<Vec<Shown>> = args.by_ref().take(count).map(word).collect();
        let self_exe: Vec<OsString> = args.collect();
        (!self_exe.is_empty()).then_some(Plan { layout, uplink, shown: shown?, self_exe })
    }
}

/// The whole life of a keeper; `args` are those after the word `keeper`, as
/// [`Sandbox::start`](super::Sandbox::start) wrote them. Standard error is its log.
pub fn keeper_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(plan) = Plan::from_args(args) else {
        say("this is an internal command of labbuild");
        return ExitCode::from(2);
    };
    match keep(&plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// One line for the log.
pub(super) fn say(text: &str) {
    // Nobody is left to be told when the log cannot be written.
    let _ = writeln!(std::io::stderr(), "labbuild: {text}");
}

fn keep(plan: &Plan) -> Result<(), SandboxError> {
    // Away from the terminal whose command started it; a session leader already is.
    let _ = rustix::process::setsid();
    std::env::set_current_dir("/").map_err(SandboxError::system("go to /"))?;
    // One thread: the kernel ends children when the *thread* that started them ends.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SandboxError::system("start the event loop"))?;
    runtime.block_on(async {
        let lock = take_lock(&plan.layout).await?;
        // The process that started a bound sandbox holds the other end; else there is none.
        let life = init::parents_pipe();
        let bound = life.is_some();
        let result = keep_running(plan, life).await;
        tidy(&plan.layout, bound);
        drop(lock);
        result
    })
}

async fn take_lock(layout: &Layout) -> Result<File, SandboxError> {
    // Patience, because looking at the lock takes it for a moment.
    let path = layout.lock();
    let lock = state::lock(&path, Duration::from_secs(1)).await?;
    let lock = lock.ok_or_else(|| SandboxError::Running { root: layout.root.clone() })?;
    state::sign(&lock, &path)?;
    Ok(lock)
}

/// Nobody comes back to a bound sandbox: its folder for sockets goes altogether.
fn tidy(layout: &Layout, bound: bool) {
    let state = files::remove(&layout.state()).map_err(SandboxError::from);
    let runtime = match bound {
        true => files::remove(&layout.runtime).map_err(SandboxError::from),
        false => layout.clear_runtime(),
    };
    for problem in [state.err(), runtime.err()].into_iter().flatten() {
        say(&problem.to_string());
    }
}

async fn keep_running(plan: &Plan, life: Option<pipe::Receiver>) -> Result<(), SandboxError> {
    let mut term = signal(SignalKind::terminate()).map_err(SandboxError::system("take SIGTERM"))?;
    let starter = init::gone(life);
    tokio::pin!(starter);
    let mut parts = tokio::select! {
        _ = term.recv() => return Ok(()),
        () = &mut starter => return Ok(()),
        parts = Parts::start(plan) => parts?,
    };
    let state = State::new(parts.init.pid, &plan.layout.runtime, plan.uplink);
    state.write(&plan.layout.state())?;
    let why = tokio::select! {
        _ = term.recv() => "asked to end".to_owned(),
        () = &mut starter => "the process that started this has ended".to_owned(),
        why = parts.first_to_end() => why,
    };
    say(&why);
    parts.end().await;
    Ok(())
}

/// Everything that a keeper keeps. Dropping it kills what still lives.
struct Parts {
    init: Init,
    slirp: Option<Child>,
    control: tokio::task::JoinHandle<()>,
}

impl Parts {
    async fn start(plan: &Plan) -> Result<Parts, SandboxError> {
        let init = Init::start(plan).await?;
        let slirp = match plan.uplink {
            true => Some(start_slirp(&plan.layout, init.pid).await?),
            false => None,
        };
        let socket = UnixListener::bind(plan.layout.control_socket())
            .map_err(SandboxError::system("listen for requests"))?;
        let control = tokio::spawn(Control::new(plan.layout.relay_socket()).serve(socket));
        Ok(Parts { init, slirp, control })
    }

    async fn first_to_end(&mut self) -> String {
        let slirp = async {
            match &mut self.slirp {
                Some(slirp) => slirp.wait().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = self.init.child.wait() => ended("the lab's namespaces", status),
            status = slirp => ended("slirp4netns, the lab's way out,", status),
        }
    }

    /// Asks the lab's first process, which asks all others; then the kernel makes sure.
    async fn end(mut self) {
        self.control.abort();
        if let Some(process) = Process::open(self.init.pid.as_raw_nonzero().get()) {
            process.signal(Signal::TERM);
        }
        if timeout(Duration::from_secs(6), self.init.child.wait()).await.is_err() {
            say("the lab did not end by itself");
            let _ = self.init.child.kill().await;
        }
        if let Some(slirp) = &mut self.slirp {
            let _ = slirp.kill().await;
        }
    }
}

fn ended(what: &str, status: std::io::Result<std::process::ExitStatus>) -> String {
    match status {
        Ok(status) => format!("{what} ended ({status})"),
        Err(e) => format!("{what} cannot be waited for: {e}"),
    }
}

/// The namespaces and their first process.
struct Init {
    /// `unshare`, the parent of the first process.
    child: Child,
    /// The first process, as the host numbers it.
    pid: Pid,
    /// Closed when the keeper ends, however it ends; the first process watches it.
    _life: Option<ChildStdin>,
}

impl Init {
    async fn start(plan: &Plan) -> Result<Init, SandboxError> {
        let listing = Cmd::new(program("ip")?).args(["-o", "-4", "address"]).run().await?;
        let host = closed::addresses(&listing.text());
        let handed_in = shown::hand_in(&plan.layout, &plan.shown)?;
        let own = plan.self_exe.first().map(PathBuf::from).unwrap_or_default();
        let (program, _held) = shown::program(&own)?;
        let command = unshare(plan, &program, &handed_in.words, &host)?;
        let mut child = command.start(Stdio::piped(), Stdio::piped(), Stdio::inherit())?;
        let life = child.stdin.take();
        wait_until_up(&mut child).await?;
        let parent = child.id().and_then(|id| Pid::from_raw(id as i32));
        let pid = parent.and_then(child_of).ok_or_else(|| SandboxError::System {
            doing: "find the lab's first process".to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        })?;
        Ok(Init { child, pid, _life: life })
    }
}

/// `setpriv` lets the kernel end the program when the keeper ends.
fn bound_to_keeper(name: &str) -> Result<Cmd, SandboxError> {
    Ok(Cmd::new(program("setpriv")?)
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program(name)?)
        .env("PATH", search_path()))
}

/// `host`: addresses of this host, which the lab is not to reach.
fn unshare(
    plan: &Plan,
    own: &str,
    shown: &[String],
    host: &[Ipv4Addr],
) -> Result<Cmd, SandboxError> {
    Ok(bound_to_keeper("unshare")?
        .args(user_namespace()?)
        .args(["--net", "--mount", "--propagation", "private"])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(own)
        .args(plan.self_exe.iter().skip(1))
        .arg("sandbox-init")
        .arg(&plan.layout.root)
        .arg(&plan.layout.runtime)
        .args(shown)
        .args(host.iter().map(ToString::to_string)))
}

/// An ordinary user is root inside; root is not: only subordinate ids are there.
fn user_namespace() -> Result<Vec<String>, SandboxError> {
    if !is_root() {
        return Ok(["--user", "--map-root-user", "--map-auto"].map(str::to_owned).to_vec());
    }
    let ids = Subordinate::of_caller()?;
    let map = |range: Range| format!("{},0,{}", range.first, range.count);
    Ok(vec![
        "--user".to_owned(),
        format!("--map-users={}", map(ids.users)),
        format!("--map-groups={}", map(ids.groups)),
        "--setuid=0".to_owned(),
        "--setgid=0".to_owned(),
    ])
}

/// The first process says one line when mounts and loopback stand.
async fn wait_until_up(child: &mut Child) -> Result<(), SandboxError> {
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        let read = BufReader::new(stdout).read_line(&mut line).await;
        read.map_err(SandboxError::system("listen to the lab's first process"))?;
    }
    match line.trim() {
        init::UP => Ok(()),
        _ => Err(SandboxError::System {
            doing: "make the lab's namespaces".to_owned(),
            source: std::io::Error::other(ended("its first process", child.wait().await)),
        }),
    }
}

/// The only child of a process.
fn child_of(parent: Pid) -> Option<Pid> {
    let parent = parent.as_raw_nonzero().get();
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        (parent_in(&stat)? == parent).then(|| Pid::from_raw(pid))?
    })
}

/// The parent in a `/proc/<pid>/stat`; the name before it may hold spaces and brackets.
fn parent_in(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

async fn start_slirp(layout: &Layout, init: Pid) -> Result<Child, SandboxError> {
    let socket = layout.slirp_socket();
    // Its working folder, since the folders above may be closed to the ids that it has.
    let name = socket.file_name().unwrap_or_default();
    let mut child = slirp(init)?
        .dir(&layout.runtime)
        .args(["--configure", "--mtu=1500", "--disable-host-loopback"])
        // It speaks with guests: confined to an empty file tree, few system calls, no capability.
        .args(["--enable-sandbox", "--enable-seccomp"])
        .arg(format!("--cidr={}", super::UPLINK))
        .arg("--api-socket")
        .arg(name)
        .args(slirp_target(init))
        .arg("tap0")
        .start(Stdio::null(), Stdio::inherit(), Stdio::inherit())?;
    // Its socket appears when the interface stands.
    let appears = wait_for(&socket);
    tokio::select! {
        () = appears => Ok(child),
        status = child.wait() => Err(SandboxError::System {
            doing: "start the lab's way out".to_owned(),
            source: std::io::Error::other(ended("slirp4netns", status)),
        }),
    }
}

/// Root's gives root up: it gets the ids of the lab, and the network of the host.
fn slirp(init: Pid) -> Result<Cmd, SandboxError> {
    if !is_root() {
        return bound_to_keeper("slirp4netns");
    }
    Ok(Cmd::new(program("nsenter")?)
        .arg(format!("--target={init}"))
        .args(["--user", "--setuid=0", "--setgid=0", "--"])
        .arg(program("setpriv")?)
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program("slirp4netns")?)
        .env("PATH", search_path()))
}

/// Where it has entered the lab's user namespace already, only the network is left to enter.
fn slirp_target(init: Pid) -> Vec<String> {
    match is_root() {
        false => vec![init.to_string()],
        true => vec!["--netns-type=path".to_owned(), format!("/proc/{init}/ns/net")],
    }
}

pub(super) async fn wait_for(path: &Path) {
    let path: PathBuf = path.to_owned();
    while !path.exists() {
        sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn arguments_say_the_whole_plan() {
        let plan = Plan {
            layout: Layout { root: "/lab root".into(), runtime: "/run/x".into() },
            uplink: true,
            shown: vec![Shown::to_read("/a:b=c"), Shown::to_write("/d")],
            self_exe: vec!["/bin/labbuild".into(), "internal".into()],
        };
        let back = Plan::from_args(plan.to_args()).unwrap();
        assert_eq!(format!("{back:?}"), format!("{plan:?}"));
        assert!(Plan::from_args(["/lab".into(), "/run".into(), "uplink".into()]).is_none());
    }

    #[test]
    fn the_parent_is_found_behind_a_strange_name() {
        assert_eq!(parent_in("12 (a) b (c)) S 7 12 12 0"), Some(7));
    }
}
