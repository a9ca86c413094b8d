//! What a confined process can see of the host: a file tree put together from parts of the host's,
//! of which everything else is out of reach.
//!
//! [`View::enter`] is for the first process of a mount namespace of its own. Afterwards the host's root
//! is unmounted there: no path, `..` or `/proc/PID/root` leads back to it.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_remount, move_mount,
    open_tree, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::HostError;

/// Where the tree is put together. Sources are held before it is mounted over, so they may lie there.
const STAGE: &str = "/tmp";

/// Where trees are that were taken hold of outside.
const GIVEN: &str = "/proc/self/fd";

/// Device files that programs expect and that give away nothing.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Folders of programs and libraries beside `/usr`, which are links into it on merged systems.
const PROGRAM_FOLDERS: [&str; 5] = ["bin", "sbin", "lib", "lib32", "lib64"];

/// A file tree, described; paths inside are absolute.
#[derive(Debug, Default)]
pub struct View {
    entries: Vec<(PathBuf, Entry)>,
}

/// A source of a bind.
#[derive(Debug)]
enum Tree {
    Held(OwnedFd),
    /// A tree that was taken hold of outside, by the path of its file descriptor.
    Given(PathBuf),
}

#[derive(Debug)]
enum Entry {
    Bind { from: PathBuf, writable: bool, devices: bool },
    Again(PathBuf),
    Terminals,
    Link(PathBuf),
    Text(String),
    Folder { size_mib: u64 },
    Proc,
    Sys { writable: bool },
}

impl View {
    /// An empty tree.
    pub fn new() -> Self {
        View::default()
    }

    /// A file or folder of the host at `at`, read-only, without device files and set-user-ID bits in
    /// force. One that the host has not got is left out.
    #[must_use]
    pub fn show(self, from: impl Into<PathBuf>, at: impl Into<PathBuf>) -> Self {
        self.bind(from, at, false)
    }

    /// As [`show`](Self::show), writable.
    #[must_use]
    pub fn lend(self, from: impl Into<PathBuf>, at: impl Into<PathBuf>) -> Self {
        self.bind(from, at, true)
    }

    /// A folder of device files.
    #[must_use]
    pub fn lend_devices(self, from: impl Into<PathBuf>, at: impl Into<PathBuf>) -> Self {
        self.entry(at, Entry::Bind { from: from.into(), writable: true, devices: true })
    }

    fn bind(self, from: impl Into<PathBuf>, at: impl Into<PathBuf>, writable: bool) -> Self {
        self.entry(at, Entry::Bind { from: from.into(), writable, devices: false })
    }

    fn entry(mut self, at: impl Into<PathBuf>, entry: Entry) -> Self {
        self.entries.push((at.into(), entry));
        self
    }

    /// What is at another place inside already, and writable there, at `at` too.
    #[must_use]
    pub fn again(self, inside: impl Into<PathBuf>, at: impl Into<PathBuf>) -> Self {
        self.entry(at, Entry::Again(inside.into()))
    }

    /// Terminals of its own.
    #[must_use]
    pub fn terminals(self) -> Self {
        self.entry("/dev/pts", Entry::Terminals)
    }

    /// A device file of the host, at its own path.
    #[must_use]
    pub fn device(self, path: impl Into<PathBuf>) -> Self {
        let from: PathBuf = path.into();
        self.entry(from.clone(), Entry::Bind { from, writable: true, devices: true })
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(self, at: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        self.entry(at, Entry::Link(target.into()))
    }

    /// A file with this text.
    #[must_use]
    pub fn text(self, at: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.entry(at, Entry::Text(text.into()))
    }

    /// An empty folder in memory that everybody may write to, of at most `size_mib` MiB.
    #[must_use]
    pub fn scratch(self, at: impl Into<PathBuf>, size_mib: u64) -> Self {
        self.entry(at, Entry::Folder { size_mib })
    }

    /// The host's programs and libraries.
    #[must_use]
    pub fn programs(self) -> Self {
        let shown = self.show("/usr", "/usr");
        PROGRAM_FOLDERS.iter().fold(shown, |view, name| {
            let path = Path::new("/").join(name);
            match fs::read_link(&path) {
                Ok(target) => view.link(path, target),
                Err(_) => view.show(path.clone(), path),
            }
        })
    }

    /// `/dev` with what every program expects, and terminals of its own.
    #[must_use]
    pub fn devices(self) -> Self {
        let shown = DEVICES.iter().fold(self, |view, name| view.device(format!("/dev/{name}")));
        [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")].iter().fold(
            shown.link("/dev/ptmx", "pts/ptmx").scratch("/dev/shm", 64),
            |view, (name, end)| view.link(format!("/dev/{name}"), format!("/proc/self/fd{end}")),
        )
    }

    /// The `/proc` of the PID namespace this is entered in, which must be a new one.
    #[must_use]
    pub fn own_proc(self) -> Self {
        self.entry("/proc", Entry::Proc)
    }

    /// The `/sys` of the network namespace this is entered in, read-only; the namespace must be a
    /// new one.
    #[must_use]
    pub fn own_sys(self) -> Self {
        self.entry("/sys", Entry::Sys { writable: false })
    }

    /// As [`own_sys`](Self::own_sys), for who makes bridges.
    #[must_use]
    pub fn own_sys_writable(self) -> Self {
        self.entry("/sys", Entry::Sys { writable: true })
    }

    /// Replaces the root of this mount namespace by the tree, and makes its `/` the working folder.
    /// `size_mib` bounds what can be written beside the folders that were lent.
    pub fn enter(self, size_mib: u64) -> Result<(), HostError> {
        let held = self.hold()?;
        let stage = Path::new(STAGE);
        tmpfs(stage, "0755", size_mib)?;
        for (at, entry, tree) in &held {
            let inside = stage.join(at.strip_prefix("/").unwrap_or(at));
            entry.make(stage, &inside, tree.as_ref())?;
        }
        leave_the_hosts_root(stage)
    }

    /// Takes hold of every source while its path still leads there.
    fn hold(self) -> Result<Vec<(PathBuf, Entry, Option<Tree>)>, HostError> {
        let mut held = Vec::new();
        for (at, entry) in self.entries {
            match &entry {
                Entry::Bind { from, .. } if !from.exists() => {}
                Entry::Bind { from, .. } if from.starts_with(GIVEN) => {
                    let tree = Tree::Given(from.clone());
                    held.push((at, entry, Some(tree)));
                }
                Entry::Bind { from, .. } => {
                    let tree = Tree::Held(hold(from)?);
                    held.push((at, entry, Some(tree)));
                }
                _ => held.push((at, entry, None)),
            }
        }
        Ok(held)
    }
}

/// Takes hold of a tree of mounts, apart from all others.
pub fn hold(path: &Path) -> Result<OwnedFd, HostError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags).map_err(|e| HostError::file("take hold of", path)(e.into()))
}

impl Entry {
    fn make(&self, stage: &Path, inside: &Path, tree: Option<&Tree>) -> Result<(), HostError> {
        if let Some(parent) = inside.parent() {
            create_folder(parent)?;
        }
        match self {
            Entry::Bind { writable, devices, .. } => {
                let Some(tree) = tree else { return Ok(()) };
                attach(tree, inside)?;
                restrict(inside, *writable, *devices)
            }
            Entry::Again(other) => {
                let other = stage.join(other.strip_prefix("/").unwrap_or(other));
                attach(&Tree::Held(hold(&other)?), inside)
            }
            Entry::Terminals => {
                create_folder(inside)?;
                let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
                let options = c"newinstance,mode=0620,ptmxmode=0666";
                mount("devpts", inside, "devpts", flags, Some(options))
                    .map_err(|e| HostError::file("mount terminals on", inside)(e.into()))
            }
            Entry::Link(target) => {
                symlink(target, inside).map_err(HostError::file("make the link", inside))
            }
            Entry::Text(text) => fs::write(inside, text).map_err(HostError::file("write", inside)),
            Entry::Folder { size_mib } => {
                create_folder(inside)?;
                tmpfs(inside, "1777", *size_mib)
            }
            Entry::Proc => own(inside, "proc", MountFlags::empty()),
            Entry::Sys { writable: false } => own(inside, "sysfs", MountFlags::RDONLY),
            Entry::Sys { writable: true } => own(inside, "sysfs", MountFlags::empty()),
        }
    }
}

fn create_folder(path: &Path) -> Result<(), HostError> {
    fs::create_dir_all(path).map_err(HostError::file("create folder", path))
}

/// Mounts a held tree on a file or folder made for it.
fn attach(tree: &Tree, inside: &Path) -> Result<(), HostError> {
    let found = match tree {
        Tree::Held(fd) => rustix::fs::fstat(fd),
        Tree::Given(path) => rustix::fs::stat(path),
    };
    let found = found.map_err(|e| HostError::file("look at", inside)(e.into()))?;
    let kind = rustix::fs::FileType::from_raw_mode(found.st_mode);
    if kind == rustix::fs::FileType::Directory {
        create_folder(inside)?;
    } else if !inside.exists() {
        File::create(inside).map_err(HostError::file("create", inside))?;
    }
    let moved = match tree {
        Tree::Held(fd) => move_mount(fd, "", CWD, inside, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH),
        Tree::Given(path) => {
            move_mount(CWD, path, CWD, inside, MoveMountFlags::MOVE_MOUNT_F_SYMLINKS)
        }
    };
    moved.map_err(|e| HostError::file("mount", inside)(e.into()))
}

/// What a mount forbids already stays forbidden: in a user namespace the kernel refuses to allow it.
fn restrict(inside: &Path, writable: bool, devices: bool) -> Result<(), HostError> {
    let now = statvfs(inside).map_err(|e| HostError::file("look at", inside)(e.into()))?.f_flag;
    let kept = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let kept = kept.iter().filter(|(is, _)| now.contains(*is)).map(|(_, flag)| *flag);
    let mut flags = kept.fold(MountFlags::BIND | MountFlags::NOSUID, |all, flag| all | flag);
    flags.set(MountFlags::RDONLY, !writable || flags.contains(MountFlags::RDONLY));
    flags.set(MountFlags::NODEV, !devices || flags.contains(MountFlags::NODEV));
    mount_remount(inside, flags, "").map_err(|e| HostError::file("restrict", inside)(e.into()))
}

fn own(inside: &Path, kind: &str, more: MountFlags) -> Result<(), HostError> {
    create_folder(inside)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | more;
    mount(kind, inside, kind, flags, None)
        .map_err(|e| HostError::file("mount a new", Path::new(kind))(e.into()))
}

fn tmpfs(at: &Path, mode: &str, size_mib: u64) -> Result<(), HostError> {
    let options = std::ffi::CString::new(format!("mode={mode},size={size_mib}m"));
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", at, "tmpfs", flags, options.ok().as_deref())
        .map_err(|e| HostError::file("mount a file system in memory on", at)(e.into()))
}

fn leave_the_hosts_root(stage: &Path) -> Result<(), HostError> {
    let failed = |e: rustix::io::Errno| HostError::file("make a root of", stage)(e.into());
    chdir(stage).map_err(failed)?;
    // The old root comes to lie over the new one, in the same place; detached, it is gone.
    pivot_root(".", ".").map_err(failed)?;
    unmount(".", UnmountFlags::DETACH).map_err(failed)?;
    chdir("/").map_err(failed)
}
