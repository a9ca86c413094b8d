//! Python's compiled modules: those that no longer fit their source.
//!
//! A module that a package's script imports is compiled by the way, and the result says when its
//! source was written. Where that was during the build, the date differs each time, and the source's
//! own date becomes the build's fixed time: such a file is of no use to anybody.

use super::Root;
use crate::host::HostError;

/// Where packages keep modules.
const PLACES: &[&str] = &["etc", "usr/lib", "usr/share", "var/lib"];

/// So deep does no package nest its modules; a link cannot lead in circles, it is not followed.
const DEPTH: usize = 32;

/// Removes compiled modules of sources that are newer than `epoch`.
pub fn remove_stale(root: &Root, epoch: u64) -> Result<(), HostError> {
    PLACES.iter().try_for_each(|place| remove_below(root, place, epoch, DEPTH))
}

fn remove_below(root: &Root, dir: &str, epoch: u64, depth: usize) -> Result<(), HostError> {
    if depth == 0 || !root.is_real_dir(dir) {
        return Ok(());
    }
    for name in root.list(dir) {
        let path = format!("{dir}/{name}");
        if name.ends_with(".pyc") {
            if source_date(&root.head(&path, 12)?).is_some_and(|date| date > epoch) {
                root.remove(&path)?;
            }
        } else {
            remove_below(root, &path, epoch, depth - 1)?;
        }
    }
    Ok(())
}

/// The date of the source in the first twelve bytes of a compiled module; none in one that goes by
/// the source's hash (PEP 552: a magic number, flags, then the date, each of four bytes).
fn source_date(head: &[u8]) -> Option<u64> {
    let word = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    (word(4)? == 0).then(|| word(8).map(u64::from))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn compiled(flags: u32, date: u32) -> Vec<u8> {
        let words = [0x0a0d_0da7, flags, date, 99];
        words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect()
    }

    #[test]
    fn only_what_was_compiled_from_a_new_file_goes() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let cache = "usr/lib/python3/dist-packages/x/__pycache__";
        let file = |name: &str, bytes: &[u8]| {
            root.write(&format!("{cache}/{name}"), bytes, 0o644).unwrap();
        };
        file("old.pyc", &compiled(0, 1000));
        file("new.pyc", &compiled(0, 1001));
        file("hashed.pyc", &compiled(3, 4000));
        file("short.pyc", b"abc");
        file("other", &compiled(0, 4000));
        std::os::unix::fs::symlink("/nowhere", dir.path().join(cache).join("link.pyc")).unwrap();
        remove_stale(&root, 1000).unwrap();
        assert_eq!(root.list(cache), ["hashed.pyc", "link.pyc", "old.pyc", "other", "short.pyc"]);
    }
}
