//! The folders and files of a sandbox: where each lies, how they are made, and libvirt's
//! configuration. Sockets live apart in a short folder, because their paths are limited to 108
//! bytes.

use std::env;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::SandboxError;
use crate::digest::Digest;
use crate::host::ids::Subordinate;
use crate::host::{HostError, files};

/// The longest path that a socket can have.
const SOCKET_PATH: usize = 107;

/// Where everything of one sandbox lies.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The lab's folder.
    pub root: PathBuf,
    /// The folder for sockets.
    pub runtime: PathBuf,
}

impl Layout {
    pub fn log(&self) -> PathBuf {
        self.root.join("log/keeper.log")
    }
    pub fn lock(&self) -> PathBuf {
        self.root.join("keeper.lock")
    }
    pub fn start_lock(&self) -> PathBuf {
        self.root.join("start.lock")
    }
    pub fn state(&self) -> PathBuf {
        self.root.join("keeper.json")
    }
    pub fn libvirt_socket(&self) -> PathBuf {
        self.runtime.join("libvirt/libvirt-sock")
    }
    /// Inside, where the folder for sockets lies over libvirt's own.
    pub fn log_socket() -> &'static Path {
        Path::new("/run/libvirt/virtlogd-sock")
    }
    pub fn relay_socket(&self) -> PathBuf {
        self.runtime.join("relay.sock")
    }
    pub fn control_socket(&self) -> PathBuf {
        self.runtime.join("keeper.sock")
    }
    pub fn slirp_socket(&self) -> PathBuf {
        self.runtime.join("slirp.sock")
    }

    /// Makes all folders and configuration afresh. Nothing of an earlier run is of use: domains
    /// are transient, networks are defined again. libvirt's cache and the logs stay.
    pub fn create(&self) -> Result<(), SandboxError> {
        self.check_length()?;
        for folder in ["etc", "lib"] {
            files::remove(&self.root.join(folder))?;
        }
        // `lib/dnsmasq`: libvirt notes MAC addresses there and makes the folder only where it
        // starts a dnsmasq.
        for folder in ["etc", "lib/dnsmasq", "log/qemu", "cache"] {
            files::create_dir(&self.root.join(folder))?;
        }
        self.clear_runtime()?;
        files::create_dir(&self.runtime.join("libvirt"))?;
        for (name, text) in CONFIGURATION {
            let path = self.root.join("etc").join(name);
            fs::write(&path, text).map_err(HostError::file("write", &path))?;
        }
        Ok(())
    }

    /// Removes everything in the folder for sockets.
    pub fn clear_runtime(&self) -> Result<(), SandboxError> {
        let list = HostError::file("list", &self.runtime);
        for entry in fs::read_dir(&self.runtime).map_err(list)? {
            let entry = entry.map_err(HostError::file("list", &self.runtime))?;
            files::remove(&entry.path())?;
        }
        Ok(())
    }

    fn check_length(&self) -> Result<(), SandboxError> {
        // The longest of the sockets that clients outside connect to.
        let longest = self.runtime.join("libvirt/libvirt-admin-sock");
        let length = longest.as_os_str().len();
        if length <= SOCKET_PATH {
            return Ok(());
        }
        let reason = format!(
            "its path is {} bytes too long for sockets; set XDG_RUNTIME_DIR to a shorter one",
            length - SOCKET_PATH
        );
        Err(SandboxError::Runtime { dir: self.runtime.clone(), reason })
    }
}

/// libvirt's configuration, as small as it can be for one user's guests in namespaces of their own.
const CONFIGURATION: [(&str, &str); 4] = [
    (
        "qemu.conf",
        "security_driver = \"none\"\nuser = \"root\"\ngroup = \"root\"\ndynamic_ownership = 0\n\
         remember_owner = 0\ncgroup_controllers = []\nnamespaces = []\nstdio_handler = \"logd\"\n",
    ),
    // A guest may print without end: of each console and of QEMU itself, this much is kept, twice.
    ("virtlogd.conf", "max_size = 16777216\nmax_backups = 1\n"),
    // The nftables backend needs a kernel module (act_csum) that not every kernel has.
    ("network.conf", "firewall_backend = \"iptables\"\n"),
    (
        "libvirtd.conf",
        "auth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\nunix_sock_rw_perms = \"0770\"\n\
         unix_sock_ro_perms = \"0770\"\nunix_sock_group = \"root\"\n\
         max_client_requests = 100\nmax_workers = 50\n\
         log_outputs = \"2:file:/var/log/libvirt/libvirtd.log\"\n",
    ),
];

/// The folder for the sockets of the sandbox in `root`: short, this user's alone, made here.
///
/// `$XDG_RUNTIME_DIR/labbuild/<8 hex>`, or `/tmp/labbuild-<uid>/<8 hex>` where that variable
/// names no folder of this user's.
pub fn runtime_dir(root: &Path) -> Result<PathBuf, SandboxError> {
    let root = std::path::absolute(root).map_err(HostError::file("find", root))?;
    let name = Digest::of(root.as_os_str().as_bytes()).short()[..8].to_owned();
    let uid = rustix::process::geteuid().as_raw();
    let parent = match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(dir) if dir.is_absolute() && owner(&dir) == Some(uid) => dir.join("labbuild"),
        _ => PathBuf::from(format!("/tmp/labbuild-{uid}")),
    };
    own_folder(&parent)?;
    let dir = parent.join(name);
    own_folder(&dir)?;
    Ok(dir)
}

fn owner(dir: &Path) -> Option<u32> {
    fs::symlink_metadata(dir).ok().filter(|meta| meta.is_dir()).map(|meta| meta.uid())
}

/// Makes a folder that only this user can enter, or makes sure that an existing one is that.
pub(super) fn own_folder(dir: &Path) -> Result<(), SandboxError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(HostError::file("create folder", dir)(e).into());
        }
        _ => {}
    }
    let meta = fs::symlink_metadata(dir).map_err(HostError::file("look at", dir))?;
    let refuse = |reason: String| SandboxError::Runtime { dir: dir.to_owned(), reason };
    if !meta.is_dir() {
        return Err(refuse("it is not a folder (a link is refused, too)".to_owned()));
    }
    let (uid, own) = (meta.uid(), rustix::process::geteuid().as_raw());
    // An earlier lab of root's was given its folder; the one above is closed to everybody else.
    if uid != own && !(own == 0 && is_given(uid)) {
        return Err(refuse(format!("it belongs to user {uid}, not to this one ({own})")));
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700))
            .map_err(HostError::file("close to others", dir))?;
    }
    Ok(())
}

fn is_given(uid: u32) -> bool {
    Subordinate::of_caller().is_ok_and(|ids| ids.users.first == u64::from(uid))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_is_made_closed_and_closed_when_open() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("run");
        own_folder(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        own_folder(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_link_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let link = temp.path().join("link");
        std::os::unix::fs::symlink("/tmp", &link).unwrap();
        let error = own_folder(&link).unwrap_err().to_string();
        assert!(error.contains("not a folder"), "{error}");
    }

    #[test]
    fn a_path_too_long_for_sockets_says_by_how_much() {
        let layout = Layout { root: "/r".into(), runtime: format!("/{}", "x".repeat(90)).into() };
        let error = layout.check_length().unwrap_err().to_string();
        assert!(error.contains("11 bytes too long"), "{error}");
    }

    #[test]
    fn creating_clears_what_an_earlier_run_left() {
        let temp = tempfile::tempdir().unwrap();
        let layout = Layout { root: temp.path().join("root"), runtime: temp.path().join("run") };
        fs::create_dir(&layout.runtime).unwrap();
        layout.create().unwrap();
        fs::write(layout.libvirt_socket(), "").unwrap();
        fs::write(layout.root.join("etc/stale"), "").unwrap();
        fs::write(layout.root.join("cache/kept"), "").unwrap();
        layout.create().unwrap();
        assert!(!layout.libvirt_socket().exists() && !layout.root.join("etc/stale").exists());
        assert!(layout.root.join("cache/kept").exists());
        assert!(layout.root.join("etc/network.conf").exists());
    }
}
