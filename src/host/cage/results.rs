//! What a cage hands out: a tar of regular files in one folder, written inside after everything foreign
//! has ended, and read outside as a stranger's.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};

use rustix::fs::OFlags;

use crate::host::{HostError, files};

/// More than any job hands out.
const FILES: usize = 20_000;

/// Writes every regular file below `dir` into `output`; links and everything else stay behind.
pub(super) fn pack(dir: &Path, output: File) -> Result<(), HostError> {
    let mut tar = tar::Builder::new(output);
    tar.sparse(false);
    let packed = add(&mut tar, dir, Path::new("")).and_then(|()| tar.finish());
    packed.map_err(HostError::file("hand out", dir))
}

fn add(tar: &mut tar::Builder<File>, dir: &Path, name: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            add(tar, &path, &name)?;
        } else if kind.is_file() {
            tar.append_file(&name, &mut open(&path)?)?;
        }
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    File::options().read(true).custom_flags(flags.bits() as i32).open(path)
}

/// Reads such a tar into a new folder `dir`; `limit` bytes in all.
pub(super) fn unpack(tar: &Path, dir: &Path, limit: u64) -> Result<(), HostError> {
    files::create_dir(dir)?;
    let file = open(tar).map_err(HostError::file("open", tar))?;
    each(file, limit, |name, entry| {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        io::copy(entry, &mut File::create_new(path)?).map(drop)
    })
    .map_err(HostError::file("read what was handed out in", tar))
}

fn each(
    file: File,
    limit: u64,
    mut take: impl FnMut(&Path, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    let (mut left, mut count) = (limit, 0);
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries()? {
        let mut entry = entry?;
        count += 1;
        left = left.checked_sub(entry.size()).ok_or_else(|| refused("it is too large"))?;
        if count > FILES || !entry.header().entry_type().is_file() {
            return Err(refused("it holds what no job hands out"));
        }
        let name = entry.path()?.into_owned();
        if !name.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(refused("it names a file elsewhere"));
        }
        take(&name, &mut entry)?;
    }
    Ok(())
}

fn refused(reason: &str) -> io::Error {
    io::Error::other(reason.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn regular_files_pass_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let (from, tar) = (temp.path().join("from"), temp.path().join("out.tar"));
        fs::create_dir_all(from.join("lists")).unwrap();
        fs::write(from.join("lists/a"), "text").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
        pack(&from, File::create(&tar).unwrap()).unwrap();
        let to = temp.path().join("to");
        unpack(&tar, &to, 100).unwrap();
        assert_eq!(fs::read_to_string(to.join("lists/a")).unwrap(), "text");
        assert!(!to.join("link").exists());
        let error = unpack(&tar, &temp.path().join("small"), 3).unwrap_err().to_string();
        assert!(error.contains("too large"), "{error}");
    }

    /// Made by hand, since the library would not write such a name.
    fn tar_with(name: &str, kind: tar::EntryType) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    #[test]
    fn names_that_lead_out_links_and_devices_are_refused() {
        for (name, kind) in [
            ("../marker", tar::EntryType::Regular),
            ("/marker", tar::EntryType::Regular),
            ("a/../../marker", tar::EntryType::Regular),
            ("link", tar::EntryType::Symlink),
            ("device", tar::EntryType::Char),
        ] {
            let temp = tempfile::tempdir().unwrap();
            let tar = temp.path().join("out.tar");
            fs::write(&tar, tar_with(name, kind)).unwrap();
            assert!(unpack(&tar, &temp.path().join("to"), 100).is_err(), "{name}");
            assert!(!temp.path().join("marker").exists());
        }
    }
}
