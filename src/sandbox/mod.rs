//! A libvirtd of the lab's own, in namespaces of its own: the host is left alone, two labs can
//! have the same addresses, and ending the namespaces ends the lab.
//!
//! A *keeper* process outlives the command that started it. It makes the namespaces, in which a
//! first process arranges the mounts and runs libvirtd, and gives them a way out. Others find it
//! by a lock that it holds for its life, and reach libvirt by its URI.

mod bound;
mod closed;
mod control;
mod error;
mod init;
mod keeper;
mod layout;
mod needs;
mod relay;
mod shown;
mod state;

pub use bound::BoundSandbox;
pub use error::SandboxError;
pub use init::init_main;
pub use keeper::keeper_main;
pub use layout::runtime_dir;
pub use needs::{Need, missing};
pub use shown::Shown;

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use crate::event::Events;
use crate::host::{Cmd, HostError, files};
use keeper::Plan;
use layout::Layout;
use state::{Keeper, State};

/// The network between a lab and its way out: a range kept for benchmarks, which no recipe uses.
const UPLINK: &str = "198.18.255.0/24";

/// Where a lab with a way out finds the host's resolver.
pub const UPLINK_DNS: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 3);

/// How long a sandbox may take to stand; it takes about a second.
const START: Duration = Duration::from_secs(30);

/// How long each step of ending one may take.
const STOP: Duration = Duration::from_secs(12);

/// What a sandbox is to be.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// The lab's folder; everything of libvirt's is made here.
    pub root: PathBuf,
    /// A short folder for sockets, this user's alone: see [`runtime_dir`].
    pub runtime: PathBuf,
    /// Program and leading arguments that lead to [`keeper_main`] and [`init_main`] when the words
    /// `keeper …` or `sandbox-init …` follow.
    pub self_exe: Vec<OsString>,
    /// Whether the lab has a way out.
    pub uplink: bool,
    /// Folders beside these two that its machines need.
    pub shown: Vec<Shown>,
    /// Where events go.
    pub events: Events,
}

/// A sandbox whose keeper lived when this was made.
#[derive(Debug, Clone)]
pub struct Sandbox {
    layout: Layout,
    init: i32,
    uplink: bool,
}

impl Sandbox {
    /// Starts a libvirtd in namespaces of its own and waits until it answers. It stays when this
    /// process ends; dropping the future before it is ready ends it.
    pub async fn start(options: SandboxOptions) -> Result<Sandbox, SandboxError> {
        let (sandbox, _keeper) = start_keeper(&options, spawn_detached).await?;
        Ok(sandbox)
    }

    /// As [`start`](Self::start), but it ends with this process, even with one that is killed.
    pub async fn start_bound(options: SandboxOptions) -> Result<BoundSandbox, SandboxError> {
        let (sandbox, keeper) = start_keeper(&options, bound::spawn).await?;
        Ok(BoundSandbox::new(sandbox, keeper))
    }

    /// The sandbox in this folder, if one lives; one that is just being started is waited for.
    pub async fn open(root: &Path) -> Result<Option<Sandbox>, SandboxError> {
        let Ok(root) = root.canonicalize() else { return Ok(None) };
        let lock = root.join("keeper.lock");
        let deadline = Instant::now() + START;
        while state::is_held(&lock)? {
            if let Some(sandbox) = ready(&root).await? {
                return Ok(Some(sandbox));
            }
            if Instant::now() > deadline {
                let reason = format!("it is not ready after {} s", START.as_secs());
                return Err(SandboxError::start(reason, &root.join("log/keeper.log")));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(None)
    }

    /// Ends whatever keeper lives in this folder, ready or not, and waits until nothing of it is
    /// left; false when there was none.
    pub async fn end(root: &Path) -> Result<bool, SandboxError> {
        let Ok(root) = root.canonicalize() else { return Ok(false) };
        let runtime = PathBuf::new();
        let layout = Layout { root, runtime };
        let Some(keeper) = Keeper::find(&layout)? else { return Ok(false) };
        match keeper.end(STOP).await && !state::is_held(&layout.lock())? {
            true => Ok(true),
            false => Err(SandboxError::Stop {
                root: layout.root,
                reason: format!("processes are left {} s after SIGKILL", STOP.as_secs()),
            }),
        }
    }

    /// Ends the lab: SIGTERM first, SIGKILL after a deadline; returns when nothing of it is left.
    pub async fn stop(&self) -> Result<(), SandboxError> {
        Sandbox::end(&self.layout.root).await?;
        // A keeper that had to be killed left its sockets.
        self.layout.clear_runtime()
    }

    /// Whether its keeper still lives.
    pub fn is_alive(&self) -> Result<bool, SandboxError> {
        state::is_held(&self.layout.lock())
    }

    /// The libvirt URI, for labbuild and for plain `virsh`.
    pub fn uri(&self) -> String {
        let socket = self.layout.libvirt_socket();
        format!("qemu+unix:///system?socket={}", escaped(&socket))
    }

    /// The folder for sockets; the same path means the same folder inside and outside.
    pub fn runtime(&self) -> &Path {
        &self.layout.runtime
    }

    /// Whether the lab has a way out.
    pub fn has_uplink(&self) -> bool {
        self.uplink
    }

    /// Words to put before a program and its arguments so that it runs in the lab's network, with
    /// this user's own files and identity.
    pub fn enter(&self) -> Result<Vec<OsString>, SandboxError> {
        let mut words: Vec<OsString> = vec![needs::program("nsenter")?.into()];
        words.push(format!("--target={}", self.init).into());
        words.push("--net".into());
        if !needs::is_root() {
            words.extend(["--user", "--preserve-credentials", "--"].map(OsString::from));
            words.extend(own_identity()?);
        }
        words.push("--".into());
        Ok(words)
    }

    /// Connects to an address in the lab's network.
    pub async fn connect(&self, address: SocketAddrV4) -> Result<UnixStream, SandboxError> {
        relay::connect(&self.layout.relay_socket(), address).await
    }

    /// Forwards a port of 127.0.0.1 into the lab's network, for as long as the lab lives.
    /// Port 0 takes any free one. Returns the port.
    pub async fn forward(
        &self,
        host_port: u16,
        guest_ip: Ipv4Addr,
        guest_port: u16,
    ) -> Result<u16, SandboxError> {
        let to = SocketAddrV4::new(guest_ip, guest_port);
        control::forward(&self.layout.control_socket(), host_port, to).await
    }

    /// Forwards a port no longer; fine if it was not. Open connections stay.
    pub async fn end_forward(&self, host_port: u16) -> Result<(), SandboxError> {
        control::end(&self.layout.control_socket(), host_port).await
    }
}

/// In the lab's user namespace this user is root; one more namespace gives the identity back.
fn own_identity() -> Result<Vec<OsString>, SandboxError> {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    Ok(vec![
        needs::program("unshare")?.into(),
        "--user".into(),
        format!("--map-user={uid}").into(),
        format!("--map-group={gid}").into(),
    ])
}

fn prepare(options: &SandboxOptions) -> Result<Plan, SandboxError> {
    files::create_dir(&options.root.join("log"))?;
    let root = options.root.canonicalize();
    let root = root.map_err(HostError::file("find", &options.root))?;
    layout::own_folder(&options.runtime)?;
    let runtime = options.runtime.canonicalize();
    let runtime = runtime.map_err(HostError::file("find", &options.runtime))?;
    Ok(Plan {
        layout: Layout { root, runtime },
        uplink: options.uplink,
        shown: options.shown.clone(),
        self_exe: options.self_exe.clone(),
    })
}

/// Two commands that start one lab at the same moment take turns.
async fn only_starter(layout: &Layout) -> Result<File, SandboxError> {
    let lock = state::lock(&layout.start_lock(), START).await?;
    lock.ok_or_else(|| SandboxError::Running { root: layout.root.clone() })
}

async fn start_keeper(
    options: &SandboxOptions,
    spawn: impl FnOnce(Cmd, File) -> Result<Child, SandboxError>,
) -> Result<(Sandbox, Child), SandboxError> {
    let needs = missing(options.uplink).await;
    if !needs.is_empty() {
        return Err(SandboxError::Needs(needs));
    }
    let plan = prepare(options)?;
    let _starting = only_starter(&plan.layout).await?;
    if state::is_held(&plan.layout.lock())? {
        return Err(SandboxError::Running { root: plan.layout.root });
    }
    files::remove(&plan.layout.state())?;
    plan.layout.create()?;
    let log = File::create(plan.layout.log());
    let log = log.map_err(HostError::file("create", &plan.layout.log()))?;
    let mut keeper = Unfinished(Some(spawn(keeper_command(&plan), log)?));
    let sandbox = keeper.wait_until_ready(&plan.layout).await?;
    let keeper = keeper.0.take().ok_or(SandboxError::Running { root: plan.layout.root })?;
    Ok((sandbox, keeper))
}

fn keeper_command(plan: &Plan) -> Cmd {
    let program = plan.self_exe.first().cloned().unwrap_or_default();
    Cmd::new(program).args(plan.self_exe.iter().skip(1)).arg("keeper").args(plan.to_args())
}

fn spawn_detached(keeper: Cmd, log: File) -> Result<Child, SandboxError> {
    Ok(keeper.start_detached(log)?)
}

/// A keeper that is not ready yet: dropping it ends it.
struct Unfinished(Option<Child>);

impl Unfinished {
    async fn wait_until_ready(&mut self, layout: &Layout) -> Result<Sandbox, SandboxError> {
        let deadline = Instant::now() + START;
        let failed = |reason: String| Err(SandboxError::start(reason, &layout.log()));
        loop {
            let ended = self.0.as_mut().and_then(|keeper| keeper.try_wait().ok().flatten());
            if let Some(status) = ended {
                return failed(format!("its keeper ended ({status})"));
            }
            if let Some(sandbox) = ready(&layout.root).await? {
                return Ok(sandbox);
            }
            if Instant::now() > deadline {
                return failed(format!("it is not ready after {} s", START.as_secs()));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(keeper) = &mut self.0 {
            // It ends by itself at once or has ended already.
            let _ = keeper.start_kill();
        }
    }
}

/// The sandbox in `root` when its keeper says that it stands and libvirt accepts connections.
async fn ready(root: &Path) -> Result<Option<Sandbox>, SandboxError> {
    let Some(state) = State::read(&root.join("keeper.json"))? else { return Ok(None) };
    let layout = Layout { root: root.to_owned(), runtime: state.runtime };
    let accepts = UnixStream::connect(layout.libvirt_socket()).await.is_ok();
    Ok(accepts.then_some(Sandbox { layout, init: state.init, uplink: state.uplink }))
}

/// A path as a parameter of a URI.
fn escaped(path: &Path) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    bytes.map(|&b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_socket_path_is_escaped_for_the_uri() {
        assert_eq!(escaped(Path::new("/run/a b&c/é")), "/run/a%20b%26c/%C3%A9");
    }

    #[tokio::test]
    async fn a_folder_without_a_keeper_holds_no_sandbox() {
        let temp = tempfile::tempdir().unwrap();
        assert!(Sandbox::open(temp.path()).await.unwrap().is_none());
        assert!(!Sandbox::end(&temp.path().join("absent")).await.unwrap());
    }

    #[test]
    fn the_first_process_refuses_to_mount_outside_a_namespace() {
        let code = init_main(["/nowhere".into(), "/nowhere".into()]);
        assert_eq!(format!("{code:?}"), format!("{:?}", std::process::ExitCode::FAILURE));
    }
}
