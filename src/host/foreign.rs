//! Files that strangers give: the one way in which they are opened and read.
//!
//! Whatever stands under a name (a device, a pipe, a file of the kernel's that never ends, a link to
//! somebody's private file), opening it does not wait, and what is read has an end. Names below a
//! [`Folder`] are resolved by the kernel, which refuses those that lead out of it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use super::HostError;

/// Limits in bytes, by kind of file.
pub mod limits {
    /// A recipe, one of its stages, a kickstart, a base definition.
    pub const TEXT: u64 = 1 << 20;
    /// A manifest, a list of digests, a lock.
    pub const LIST: u64 = 4 << 20;
}

/// A folder with files of a stranger's.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    fd: OwnedFd,
    links: bool,
}

impl Folder {
    /// Opens a folder in which no link is followed.
    pub fn open(path: &Path) -> Result<Self, HostError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|e| HostError::file("open", path)(e.into()))?;
        Ok(Folder { path: path.to_owned(), fd, links: false })
    }

    /// Follows links that stay in the folder.
    #[must_use]
    pub fn with_links(self) -> Self {
        Folder { links: true, ..self }
    }

    /// Opens a regular file below the folder for reading.
    pub fn file(&self, name: &str) -> Result<File, HostError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        self.open_in(name, flags, Mode::empty(), "read")
    }

    /// Makes a new file below the folder, for its owner alone.
    pub fn create(&self, name: &str) -> Result<File, HostError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        self.open_in(name, flags, Mode::RUSR | Mode::WUSR, "create")
    }

    /// The bytes of a file, of at most `limit`.
    pub fn bytes(&self, name: &str, limit: u64) -> Result<Vec<u8>, HostError> {
        let file = self.file(name)?;
        read_whole(file, limit).map_err(HostError::file("read", &self.path.join(name)))
    }

    /// The text of a file, of at most `limit` bytes.
    pub fn text(&self, name: &str, limit: u64) -> Result<String, HostError> {
        let not_text = |_| HostError::file("read", &self.path.join(name))(not_text());
        String::from_utf8(self.bytes(name, limit)?).map_err(not_text)
    }

    fn open_in(
        &self,
        name: &str,
        flags: OFlags,
        mode: Mode,
        doing: &'static str,
    ) -> Result<File, HostError> {
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        resolve.set(ResolveFlags::NO_SYMLINKS, !self.links);
        let path = self.path.join(name);
        let fd = again(|| openat2(&self.fd, name, flags, mode, resolve));
        let file = File::from(fd.map_err(|e| HostError::file(doing, &path)(explained(e)))?);
        is_regular(&file).map_err(HostError::file(doing, &path))?;
        Ok(file)
    }
}

/// Opens a regular file for reading, wherever it is.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    let fd = again(|| openat2(CWD, path, flags, Mode::empty(), resolve)).map_err(explained)?;
    let file = File::from(fd);
    is_regular(&file)?;
    Ok(file)
}

/// The bytes of a regular file, of at most `limit`.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_whole(open(path)?, limit)
}

/// The text of a regular file, of at most `limit` bytes.
pub fn text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|_| not_text())
}

/// The kernel asks to try again when something was renamed meanwhile.
fn again(mut open: impl FnMut() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    loop {
        match open() {
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
}

fn explained(e: Errno) -> io::Error {
    match e {
        Errno::XDEV => io::Error::other("it leads out of its folder"),
        Errno::LOOP => io::Error::other("it is a link, or a link is on the way to it"),
        Errno::NXIO | Errno::NODEV => io::Error::other("it is not a regular file"),
        other => other.into(),
    }
}

fn is_regular(file: &File) -> io::Result<()> {
    match FileType::from_raw_mode(fstat(file)?.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(io::Error::other("it is a folder")),
        _ => Err(io::Error::other("it is not a regular file")),
    }
}

/// A file of the kernel's own has no length, and may have no end.
fn read_whole(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    if length > limit {
        return Err(io::Error::other(format!("it has {length} bytes, {limit} are allowed")));
    }
    let mut bytes = Vec::new();
    file.take(length + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > length {
        return Err(io::Error::other("it holds more than its length says: not a regular file"));
    }
    Ok(bytes)
}

fn not_text() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn refused(path: &Path) -> String {
        read(path, 100).unwrap_err().to_string()
    }

    #[test]
    fn what_has_no_end_or_waits_is_refused_at_once() {
        let temp = tempfile::tempdir().unwrap();
        let fifo = temp.path().join("fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(refused(&fifo).contains("not a regular file"));
        for path in ["/dev/zero", "/dev/tty", "/proc/self/pagemap", "/proc/self/environ", "/"] {
            assert!(read(Path::new(path), 100).is_err(), "{path}");
        }
        // As root: the kernel's log, whose reader would wait for the next line.
        assert!(read(Path::new("/proc/kmsg"), 100).is_err());
    }

    #[test]
    fn a_file_above_its_limit_is_not_read() {
        let temp = tempfile::tempdir().unwrap();
        let large = temp.path().join("large");
        File::create(&large).unwrap().set_len(20 << 30).unwrap();
        assert!(refused(&large).contains("100 are allowed"));
        fs::write(&large, "small").unwrap();
        assert_eq!(read(&large, 100).unwrap(), b"small");
        fs::write(&large, [0xff]).unwrap();
        assert!(text(&large, 100).unwrap_err().to_string().contains("UTF-8"));
    }

    #[test]
    fn no_name_leads_out_of_a_folder() {
        let temp = tempfile::tempdir().unwrap();
        let inner = temp.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(temp.path().join("private"), "private").unwrap();
        fs::write(inner.join("own"), "own").unwrap();
        symlink("../private", inner.join("out")).unwrap();
        symlink("/etc/passwd", inner.join("absolute")).unwrap();
        symlink("own", inner.join("inside")).unwrap();
        let strict = Folder::open(&inner).unwrap();
        assert_eq!(strict.text("own", 100).unwrap(), "own");
        for name in ["out", "absolute", "inside", "../private", "/etc/passwd", "."] {
            assert!(strict.file(name).is_err(), "{name}");
        }
        let links = Folder::open(&inner).unwrap().with_links();
        assert_eq!(links.text("inside", 100).unwrap(), "own");
        for name in ["out", "absolute", "../private"] {
            assert!(links.file(name).is_err(), "{name}");
        }
        assert!(strict.create("../marker").is_err() && strict.create("own").is_err());
        strict.create("new").unwrap();
        assert!(!temp.path().join("marker").exists());
    }
}
