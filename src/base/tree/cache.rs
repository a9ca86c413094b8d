//! Downloaded packages, shared by all builds: copied in before apt looks, kept when it is done.
//!
//! apt trusts a file of the right name and size, so a kept file carries its SHA-256 in its name
//! and is copied in only while it still has it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Root;
use crate::digest::Digest;
use crate::host::HostError;

const ARCHIVES: &str = "var/cache/apt/archives";

/// Copies the newest kept version of every package into apt's folder.
pub fn fill(cache: &Path, root: &Root) -> Result<(), HostError> {
    root.create_dir(&format!("{ARCHIVES}/partial"))?;
    for (name, (_, digest, path)) in newest(cache)? {
        let Ok(bytes) = fs::read(&path) else { continue };
        if Digest::of(&bytes) == digest {
            root.write(&format!("{ARCHIVES}/{name}"), &bytes, 0o644)?;
        } else {
            // Damaged: a fresh download takes its place.
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

/// File name as apt wants it → when kept, digest, file.
type Kept = BTreeMap<String, (SystemTime, Digest, PathBuf)>;

fn newest(cache: &Path) -> Result<Kept, HostError> {
    let mut by_package: BTreeMap<String, (SystemTime, String, Digest, PathBuf)> = BTreeMap::new();
    for entry in fs::read_dir(cache).map_err(HostError::file("read", cache))?.flatten() {
        let Some((digest, name)) = parse(&entry.file_name().to_string_lossy()) else { continue };
        let Ok(kept) = entry.metadata().and_then(|m| m.modified()) else { continue };
        let package = name.split('_').next().unwrap_or_default().to_owned();
        let older = by_package.get(&package).is_none_or(|(other, ..)| *other < kept);
        if older {
            by_package.insert(package, (kept, name, digest, entry.path()));
        }
    }
    Ok(by_package.into_values().map(|(t, name, digest, path)| (name, (t, digest, path))).collect())
}

fn parse(file: &str) -> Option<(Digest, String)> {
    let (digest, name) = file.split_once('-')?;
    let digest = digest.parse().ok()?;
    name.ends_with(".deb").then(|| (digest, name.to_owned()))
}

/// Keeps every package that apt has; those that were used count as new.
pub fn keep(cache: &Path, root: &Root) -> Result<(), HostError> {
    for name in root.list(ARCHIVES) {
        if !name.ends_with(".deb") {
            continue;
        }
        let Some(bytes) = root.read(&format!("{ARCHIVES}/{name}"))? else { continue };
        keep_one(cache, &name, &bytes)?;
    }
    Ok(())
}

fn keep_one(cache: &Path, name: &str, bytes: &[u8]) -> Result<(), HostError> {
    let path = cache.join(format!("{}-{name}", Digest::of(bytes)));
    if let Ok(file) = fs::File::options().append(true).open(&path) {
        let _ = file.set_modified(SystemTime::now());
        return Ok(());
    }
    let temp = tempfile::NamedTempFile::new_in(cache)
        .map_err(HostError::file("create a file in", cache))?;
    fs::write(temp.path(), bytes).map_err(HostError::file("write", &path))?;
    temp.persist(&path).map_err(|e| HostError::file("rename into", &path)(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tree() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn a_kept_package_comes_back_and_a_damaged_one_does_not() {
        let cache = tempfile::tempdir().unwrap();
        let (_first_dir, first) = tree();
        for (name, bytes) in [("cron_1_amd64.deb", b"cron"), ("nano_2_amd64.deb", b"nano")] {
            first.write(&format!("{ARCHIVES}/{name}"), bytes, 0o644).unwrap();
        }
        keep(cache.path(), &first).unwrap();
        let nano = cache.path().join(format!("{}-nano_2_amd64.deb", Digest::of(b"nano")));
        fs::write(&nano, "xano").unwrap();
        let (_second_dir, second) = tree();
        fill(cache.path(), &second).unwrap();
        assert_eq!(second.list(ARCHIVES), ["cron_1_amd64.deb", "partial"]);
        assert!(!nano.exists());
    }
}
