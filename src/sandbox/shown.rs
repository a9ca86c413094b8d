//! What a lab's processes see of the host: programs, this lab's folders, the layers and images that its
//! machines stand on, and nothing else.
//!
//! Where root starts a lab, nothing inside has an id of root's: folders above the store may be closed to it.
//! The keeper takes hold of each tree and hands it in as an open file.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, chmodat, makedev, mknodat};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::error::SandboxError;
use super::layout::Layout;
use super::needs::is_root;
use crate::host::ids::hand_over;
use crate::host::view::{self, View};
use crate::host::{HostError, files};

/// A folder of the host that a lab needs, at its own path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The folder; one that is not there is left out.
    pub path: PathBuf,
    /// Whether the lab writes into it.
    pub writable: bool,
}

impl Shown {
    /// One to read.
    pub fn to_read(path: impl Into<PathBuf>) -> Self {
        Shown { path: path.into(), writable: false }
    }

    /// One to write.
    pub fn to_write(path: impl Into<PathBuf>) -> Self {
        Shown { path: path.into(), writable: true }
    }

    /// As a word of a command line.
    pub(super) fn to_word(&self) -> String {
        let mode = if self.writable { "rw" } else { "ro" };
        format!("{mode}:{}", self.path.display())
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        let (mode, path) = word.split_once(':')?;
        Some(Shown { path: path.into(), writable: mode == "rw" })
    }
}

/// Device files that machines and networks are made with, where the host has them: name, number.
const DEVICES: [(&str, &str, u32, u32); 2] =
    [("kvm", "/dev/kvm", 10, 232), ("tun", "/dev/net/tun", 10, 200)];

/// Settings of the host's that programs of the lab read: none holds a secret.
const SETTINGS: [&str; 18] = [
    "alternatives",
    "ethertypes",
    "gnutls",
    "host.conf",
    "hosts",
    "iproute2",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "libnl-3",
    "localtime",
    "machine-id",
    "nsswitch.conf",
    "passwd",
    "group",
    "protocols",
    "qemu",
    "services",
];

/// What may be written beside the lab's folders, in MiB.
const ROOM: u64 = 64;

/// Folders inside for the devices that root's keeper makes.
const MADE_DEVICES: &str = "/run/labbuild-devices";

/// What is handed to the first process: words for its command line, and files that they name.
pub(super) struct HandedIn {
    pub words: Vec<String>,
    _held: Vec<OwnedFd>,
}

/// Prepares the trees of a lab. `shown` are those beside its own two.
pub(super) fn hand_in(layout: &Layout, shown: &[Shown]) -> Result<HandedIn, SandboxError> {
    let own = [Shown::to_write(&layout.root), Shown::to_write(&layout.runtime)];
    let all = own.iter().chain(shown).filter(|shown| shown.path.is_dir());
    if !is_root() {
        let words = all.map(|shown| format!("{}={}", shown.to_word(), shown.path.display()));
        return Ok(HandedIn { words: words.collect(), _held: Vec::new() });
    }
    let (mut words, mut held) = (Vec::new(), Vec::new());
    for shown in all {
        match shown.writable {
            true => hand_over(&shown.path)?,
            false => open_below(&shown.path)?,
        }
        let tree = inherited(view::hold(&shown.path)?)?;
        words.push(format!("{}=/proc/self/fd/{}", shown.to_word(), tree.as_raw_fd()));
        held.push(tree);
    }
    let devices = inherited(make_devices()?)?;
    words.push(format!("dev:{MADE_DEVICES}=/proc/self/fd/{}", devices.as_raw_fd()));
    held.push(devices);
    Ok(HandedIn { words, _held: held })
}

/// What the first process runs from: this program, which may lie where nothing inside can go.
pub(super) fn program(path: &Path) -> Result<(String, Option<OwnedFd>), SandboxError> {
    if !is_root() {
        return Ok((path.to_string_lossy().into_owned(), None));
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|e| HostError::file("open", path)(e.into()))?;
    let file = inherited(file)?;
    Ok((format!("/proc/self/fd/{}", file.as_raw_fd()), Some(file)))
}

fn inherited(file: OwnedFd) -> Result<OwnedFd, SandboxError> {
    fcntl_setfd(&file, FdFlags::empty()).map_err(SandboxError::system("hand a file in"))?;
    Ok(file)
}

/// Everything below the store is behind its one closed door; what machines stand on can be read by the
/// lab's root, which is nobody outside.
fn open_below(dir: &Path) -> Result<(), HostError> {
    set_mode(dir, 0o755)?;
    for entry in fs::read_dir(dir).map_err(HostError::file("list", dir))?.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => open_below(&entry.path())?,
            Ok(kind) if kind.is_file() => set_mode(&entry.path(), 0o444)?,
            _ => {}
        }
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<(), HostError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(HostError::file("set the mode of", path))
}

/// A file system in memory with the devices of the host's, open to whoever is inside: on many hosts
/// they are root's, and inside there is no root of the host's.
fn make_devices() -> Result<OwnedFd, SandboxError> {
    let failed = || SandboxError::system("make the lab's devices");
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed())?;
    fsconfig_create(&context).map_err(failed())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let tree = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed())?;
    for (name, on_host, major, minor) in DEVICES {
        if Path::new(on_host).exists() {
            let mode = Mode::from_raw_mode(0o666);
            mknodat(&tree, name, FileType::CharacterDevice, mode, makedev(major, minor))
                .map_err(failed())?;
            chmodat(&tree, name, mode, rustix::fs::AtFlags::empty()).map_err(failed())?;
        }
    }
    chmodat(&tree, ".", Mode::from_raw_mode(0o755), rustix::fs::AtFlags::empty())
        .map_err(failed())?;
    Ok(tree)
}

/// Inside: the file tree, from the words that were handed in.
pub(super) fn view(layout: &Layout, words: &[String]) -> View {
    let settings = SETTINGS.iter().map(|name| format!("/etc/{name}"));
    let view = settings.fold(View::new(), |view, path| view.show(path.clone(), path));
    let view = view.programs().devices().terminals().own_proc().own_sys_writable();
    let view = view.scratch("/tmp", ROOM).scratch("/var/tmp", ROOM);
    let view = words.iter().fold(view, |view, word| add(view, word));
    let over = [
        ("etc", "/etc/libvirt"),
        ("lib", "/var/lib/libvirt"),
        ("log", "/var/log/libvirt"),
        ("cache", "/var/cache/libvirt"),
    ];
    let view = over.iter().fold(view, |view, (from, at)| view.again(layout.root.join(from), *at));
    view.again(layout.runtime.join("libvirt"), "/run/libvirt")
}

/// `MODE:PATH=SOURCE`.
fn add(view: View, word: &str) -> View {
    let parts =
        word.rsplit_once('=').and_then(|(shown, from)| Some((shown.split_once(':')?, from)));
    match parts {
        Some((("ro", at), from)) => view.show(from, at),
        Some((("rw", at), from)) => view.lend(from, at),
        Some((("dev", at), from)) => {
            DEVICES.iter().fold(view.lend_devices(from, at), |view, (name, on_host, ..)| {
                view.link(*on_host, Path::new(at).join(name))
            })
        }
        _ => view,
    }
}

/// An ordinary user's devices are the host's own.
pub(super) fn with_own_devices(view: View) -> View {
    DEVICES.iter().fold(view, |view, (_, on_host, ..)| view.device(*on_host))
}

/// Replaces the host's file tree by the lab's.
pub(super) fn enter(layout: &Layout, words: &[String]) -> Result<(), SandboxError> {
    let made = words.iter().any(|word| word.starts_with("dev:"));
    let view = view(layout, words);
    let view = if made { view } else { with_own_devices(view) };
    view.enter(ROOM)?;
    Ok(files::create_dir(Path::new("/root"))?)
}
