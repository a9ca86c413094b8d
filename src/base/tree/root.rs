//! Files of a tree that may hold hostile links: every path is resolved by the kernel as if the
//! tree were the whole file system (`openat2` with `RESOLVE_IN_ROOT`).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, fchmod, fchown, fstat, mkdirat,
    openat2, readlinkat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::host::HostError;

/// A folder treated as `/`. Paths are relative to it; a leading `/` is ignored.
pub struct Root {
    path: PathBuf,
    fd: OwnedFd,
}

/// Where a new file or link goes: its folder, opened, and its name.
type Spot<'p> = (OwnedFd, &'p OsStr);

impl Root {
    pub fn open(path: &Path) -> Result<Self, HostError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|e| HostError::file("open", path)(e.into()))?;
        Ok(Root { path: path.to_owned(), fd })
    }

    /// The folder on the host.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn fail(&self, doing: &'static str, path: &str) -> impl FnOnce(Errno) -> HostError {
        let path = self.path.join(path.trim_start_matches('/'));
        move |e| HostError::file(doing, &path)(e.into())
    }

    fn open_in(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = match path.trim_start_matches('/') {
            "" => ".",
            path => path,
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // The kernel asks to try again when something was renamed meanwhile.
                Err(Errno::AGAIN) => {}
                result => return result,
            }
        }
    }

    fn spot<'p>(&self, path: &'p str) -> Result<Spot<'p>, HostError> {
        let (dir, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
        let fd = self
            .open_in(dir, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(self.fail("find the folder of", path))?;
        Ok((fd, OsStr::new(name)))
    }

    /// `mkdir -p`; new folders get mode 0755 and belong to root.
    pub fn create_dir(&self, path: &str) -> Result<(), HostError> {
        let path = path.trim_matches('/');
        let ends = path.match_indices('/').map(|(i, _)| i).chain([path.len()]);
        for end in ends {
            let part = &path[..end];
            if part.is_empty() || self.open_in(part, OFlags::PATH | OFlags::DIRECTORY).is_ok() {
                continue;
            }
            let (dir, name) = self.spot(part)?;
            mkdirat(&dir, name, Mode::from_raw_mode(0o755))
                .map_err(self.fail("create folder", part))?;
        }
        Ok(())
    }

    /// A new file in place of whatever had this name; folders on the way are made.
    pub fn write(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), HostError> {
        if let Some((dir, _)) = path.rsplit_once('/') {
            self.create_dir(dir)?;
        }
        let (dir, name) = self.spot(path)?;
        match unlinkat(&dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(self.fail("replace", path)(e)),
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        let fd = rustix::fs::openat(&dir, name, flags, mode).map_err(self.fail("create", path))?;
        fchmod(&fd, mode).map_err(self.fail("set the mode of", path))?;
        let on_host = self.path.join(path.trim_start_matches('/'));
        File::from(fd).write_all(bytes).map_err(HostError::file("write", &on_host))
    }

    /// Other content for a file that is there; owner and mode stay.
    pub fn overwrite(&self, path: &str, bytes: &[u8]) -> Result<(), HostError> {
        let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW;
        let fd = self.open_in(path, flags).map_err(self.fail("write", path))?;
        let on_host = self.path.join(path.trim_start_matches('/'));
        File::from(fd).write_all(bytes).map_err(HostError::file("write", &on_host))
    }

    /// The content of a file; `None` when there is none.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        let fd = match self.open_in(path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(e) => return Err(self.fail("read", path)(e)),
        };
        let mut bytes = Vec::new();
        let on_host = self.path.join(path.trim_start_matches('/'));
        File::from(fd).read_to_end(&mut bytes).map_err(HostError::file("read", &on_host))?;
        Ok(Some(bytes))
    }

    /// The content of what is an ordinary file itself, and no link to one.
    pub fn read_real(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        match self.kind(path) {
            Some(FileType::RegularFile) => self.read(path),
            _ => Ok(None),
        }
    }

    /// When an ordinary file was last written, in seconds since 1970, and its length in bytes; links
    /// are followed.
    pub fn date_and_length(&self, path: &str) -> Option<(u64, u64)> {
        let found = fstat(self.open_in(path, OFlags::PATH).ok()?).ok()?;
        let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
        is_file.then_some(())?;
        Some((found.st_mtime.try_into().ok()?, found.st_size.try_into().ok()?))
    }

    /// A file opened for reading.
    pub fn reader(&self, path: &str) -> Result<File, HostError> {
        let fd = self.open_in(path, OFlags::RDONLY).map_err(self.fail("open", path))?;
        Ok(File::from(fd))
    }

    /// The content of a text file; empty when there is none.
    pub fn read_text(&self, path: &str) -> Result<String, HostError> {
        let bytes = self.read(path)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether something is there, links followed.
    pub fn exists(&self, path: &str) -> bool {
        self.open_in(path, OFlags::PATH).is_ok()
    }

    /// A link in place of whatever file or link had this name.
    pub fn symlink(&self, target: &str, path: &str) -> Result<(), HostError> {
        let (dir, name) = self.spot(path)?;
        match unlinkat(&dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(self.fail("replace", path)(e)),
        }
        symlinkat(target, &dir, name).map_err(self.fail("link", path))
    }

    /// Where a link points; `None` when it is not a link.
    pub fn link_target(&self, path: &str) -> Option<String> {
        let (dir, name) = self.spot(path).ok()?;
        let target = readlinkat(&dir, name, Vec::new()).ok()?;
        Some(target.to_string_lossy().into_owned())
    }

    /// Owner of what is there.
    pub fn give(&self, path: &str, uid: u32, gid: u32) -> Result<(), HostError> {
        let fd = self
            .open_in(path, OFlags::RDONLY | OFlags::NOFOLLOW)
            .map_err(self.fail("open", path))?;
        fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(self.fail("give away", path))
    }

    /// Mode of what is there.
    pub fn set_mode(&self, path: &str, mode: u32) -> Result<(), HostError> {
        let fd = self
            .open_in(path, OFlags::RDONLY | OFlags::NOFOLLOW)
            .map_err(self.fail("open", path))?;
        fchmod(&fd, Mode::from_raw_mode(mode)).map_err(self.fail("set the mode of", path))
    }

    /// Names in a folder, sorted; none when there is no such folder.
    pub fn list(&self, path: &str) -> Vec<String> {
        let Ok(fd) = self.open_in(path, OFlags::RDONLY | OFlags::DIRECTORY) else {
            return Vec::new();
        };
        let Ok(dir) = Dir::read_from(&fd) else { return Vec::new() };
        let names = dir.flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|n| n != "." && n != "..").collect();
        names.sort();
        names
    }

    /// Whether this is a folder and no link to one.
    pub fn is_real_dir(&self, path: &str) -> bool {
        self.kind(path) == Some(FileType::Directory)
    }

    /// What is there itself, links not followed.
    fn kind(&self, path: &str) -> Option<FileType> {
        let (dir, name) = self.spot(path).ok()?;
        let found = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(FileType::from_raw_mode(found.st_mode))
    }

    /// Removes a file, a link, or a folder with all in it; absent is fine.
    pub fn remove(&self, path: &str) -> Result<(), HostError> {
        let Ok((dir, name)) = self.spot(path) else { return Ok(()) };
        match remove_at(&dir, name) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(self.fail("remove", path)(e)),
        }
    }

    /// Removes everything a pattern names; `*` in the last component matches anything.
    pub fn remove_matching(&self, pattern: &str) -> Result<(), HostError> {
        let (dir, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        let Some((before, after)) = name.split_once('*') else { return self.remove(pattern) };
        for found in self.list(dir) {
            let long_enough = found.len() >= before.len() + after.len();
            if long_enough && found.starts_with(before) && found.ends_with(after) {
                self.remove(&format!("{dir}/{found}"))?;
            }
        }
        Ok(())
    }
}

fn remove_at(dir: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        result => return result,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&inner)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            remove_at(&inner, OsStr::from_bytes(name))?;
        }
    }
    unlinkat(dir, name, AtFlags::REMOVEDIR)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn outside_and_root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("root/etc")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/file"), "host").unwrap();
        let root = Root::open(&dir.path().join("root")).unwrap();
        (dir, root)
    }

    #[test]
    fn links_cannot_lead_out_of_the_tree() {
        let (dir, root) = outside_and_root();
        symlink(dir.path().join("outside"), dir.path().join("root/abs")).unwrap();
        symlink("../../outside", dir.path().join("root/etc/rel")).unwrap();
        symlink(dir.path().join("outside/file"), dir.path().join("root/etc/file")).unwrap();
        assert!(root.write("abs/file", b"tree", 0o644).is_err());
        assert!(root.write("etc/rel/file", b"tree", 0o644).is_err());
        assert_eq!(root.read("etc/file").unwrap(), None);
        root.write("etc/file", b"tree", 0o600).unwrap();
        root.remove_matching("/etc/rel/*").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("outside/file")).unwrap(), "host");
        assert_eq!(root.read_text("etc/file").unwrap(), "tree");
        assert_eq!(fs::metadata(dir.path().join("root/etc/file")).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn links_inside_the_tree_are_followed() {
        let (dir, root) = outside_and_root();
        symlink("/etc", dir.path().join("root/link")).unwrap();
        root.write("link/deep/er/name", b"x", 0o644).unwrap();
        assert_eq!(root.read("/etc/deep/er/name").unwrap().unwrap(), b"x");
    }

    #[test]
    fn removing_takes_folders_and_leaves_neighbours() {
        let (dir, root) = outside_and_root();
        for name in ["a/b/c", "a/key_1", "a/key_2", "a/other"] {
            root.write(name, b"", 0o644).unwrap();
        }
        symlink(dir.path().join("outside"), dir.path().join("root/a/b/out")).unwrap();
        root.remove_matching("/a/key_*").unwrap();
        root.remove("/a/b").unwrap();
        root.remove("/not/there").unwrap();
        assert_eq!(root.list("a"), ["other"]);
        assert!(dir.path().join("outside/file").exists());
    }
}
