//! The file systems inside the lab: the lab's folders lie over libvirt's, and the system's own
//! runtime folder is hidden, so that nothing inside finds the host's daemons.

use std::fs;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind, move_mount, open_tree,
};

use super::error::SandboxError;

/// libvirt's folders that the lab's lie over; they must be there on the host.
pub(super) const SYSTEM_FOLDERS: [&str; 4] =
    ["/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt"];

/// Folders of the lab that lie over [`SYSTEM_FOLDERS`], in the same order.
const LAB_FOLDERS: [&str; 4] = ["etc", "lib", "log", "cache"];

/// Removable media are mounted here on workstations; images may lie there.
const MEDIA: &str = "/run/media";

/// Mounts everything; the caller is already in a mount namespace of its own.
pub(super) fn arrange(root: &Path, runtime: &Path) -> Result<(), SandboxError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("sysfs", "/sys", "sysfs", flags, None)
        .map_err(SandboxError::system("mount a fresh /sys"))?;
    for (from, over) in LAB_FOLDERS.iter().zip(SYSTEM_FOLDERS) {
        bind(&root.join(from), Path::new(over))?;
    }
    hide_run(root, runtime)
}

/// Puts an empty file system on /run. What the lab needs from under it is taken hold of first
/// and put back at its old place, so that one path means one file inside and outside.
fn hide_run(root: &Path, runtime: &Path) -> Result<(), SandboxError> {
    let below: Vec<&Path> = [root, runtime, Path::new(MEDIA)]
        .into_iter()
        .filter(|path| path.starts_with("/run") && path.is_dir())
        .collect();
    let mut kept = Vec::new();
    for path in &below {
        kept.push((hold(path)?, path.to_path_buf()));
    }
    kept.push((hold(&runtime.join("libvirt"))?, "/run/libvirt".into()));
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", "/run", "tmpfs", flags, Some(c"mode=0755"))
        .map_err(SandboxError::system("mount an empty /run"))?;
    for (tree, place) in kept {
        fs::create_dir_all(&place)
            .map_err(SandboxError::system(format!("create {}", place.display())))?;
        move_mount(&tree, "", CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(SandboxError::system(format!("mount {}", place.display())))?;
    }
    Ok(())
}

fn hold(path: &Path) -> Result<rustix::fd::OwnedFd, SandboxError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags)
        .map_err(SandboxError::system(format!("take hold of {}", path.display())))
}

fn bind(from: &Path, over: &Path) -> Result<(), SandboxError> {
    mount_bind(from, over).map_err(SandboxError::system(format!(
        "mount {} over {}",
        from.display(),
        over.display()
    )))
}
