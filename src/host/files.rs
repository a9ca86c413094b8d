//! Files that are whole or not there: temporary file, fsync, rename.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::fs::Mode;
use rustix::process::umask;

use super::HostError;

/// The user's own mask, once this process has a stricter one.
static MASK: OnceLock<Mode> = OnceLock::new();

/// From here on, whatever this process and its children make is its user's alone; to be called once,
/// when the process starts. What is made for others is handed to [`share`].
pub fn keep_private() {
    let own = umask(Mode::RWXG | Mode::RWXO);
    let _ = MASK.set(own);
}

/// Gives a file or folder that was made for the user the mode it would have had by the user's own mask.
pub fn share(path: &Path) -> Result<(), HostError> {
    let meta = fs::metadata(path).map_err(HostError::file("look at", path))?;
    let open = if meta.is_dir() { 0o777 } else { 0o666 };
    let mode = open & !MASK.get().map_or(0o022, |mask| mask.bits());
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(HostError::file("set the mode of", path))
}

/// Writes a file that the user asked for, in place; one that was there keeps its mode.
pub fn write_for_user(path: &Path, bytes: &[u8]) -> Result<(), HostError> {
    let is_new = !path.exists();
    fs::write(path, bytes).map_err(HostError::file("write", path))?;
    if is_new { share(path) } else { Ok(()) }
}

/// Closes a folder to everybody but its owner, whatever it was before.
pub fn close(dir: &Path) -> Result<(), HostError> {
    let meta = fs::metadata(dir).map_err(HostError::file("look at", dir))?;
    if meta.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
        .map_err(HostError::file("close to others", dir))
}

/// Writes `bytes` to `path` so that a reader, or a crash, sees the old file or the new one whole.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), HostError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    create_dir(dir)?;
    let mut temp = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(dir)
        .map_err(HostError::file("create a file in", dir))?;
    temp.write_all(bytes)
        .and_then(|()| temp.as_file().sync_all())
        .map_err(HostError::file("write", path))?;
    temp.persist(path).map_err(|e| HostError::file("rename into", path)(e.error))?;
    sync_dir(dir)
}

/// `mkdir -p`.
pub fn create_dir(dir: &Path) -> Result<(), HostError> {
    fs::create_dir_all(dir).map_err(HostError::file("create folder", dir))
}

/// Moves a finished file or folder to its final name (same file system) and makes that durable.
pub fn rename_durably(from: &Path, to: &Path) -> Result<(), HostError> {
    File::open(from).and_then(|f| f.sync_all()).map_err(HostError::file("sync", from))?;
    fs::rename(from, to).map_err(HostError::file("rename into", to))?;
    sync_dir(to.parent().unwrap_or(Path::new(".")))
}

fn sync_dir(dir: &Path) -> Result<(), HostError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(HostError::file("sync", dir))
}

/// Reads a text file.
pub fn read_text(path: &Path) -> Result<String, HostError> {
    fs::read_to_string(path).map_err(HostError::file("read", path))
}

/// Removes a file or a folder with all in it; absent is fine.
///
/// An ordinary user's folder may hold files of users that only a user namespace of theirs
/// knows; those go by way of such a namespace.
pub fn remove(path: &Path) -> Result<(), HostError> {
    match remove_plainly(path) {
        Err(HostError::File { source, .. })
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            remove_mapped(path)?;
            remove_plainly(path)
        }
        result => result,
    }
}

fn remove_mapped(path: &Path) -> Result<(), HostError> {
    Command::new("unshare")
        .args(["--user", "--map-root-user", "--map-auto", "rm", "-rf", "--one-file-system", "--"])
        .arg(path)
        .stderr(Stdio::null())
        .status()
        .map(drop)
        .map_err(HostError::file("remove", path))
}

fn remove_plainly(path: &Path) -> Result<(), HostError> {
    let result = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match result {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(HostError::file("remove", path)(e))
        }
        _ => Ok(()),
    }
}
