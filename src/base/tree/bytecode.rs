//! Python's compiled modules: made to fit their sources as these will be in the image.
//!
//! While `SOURCE_DATE_EPOCH` is set, Python compiles modules so that every import reads and hashes
//! the source again, which costs an emulated machine a twentieth of its start. What a package's script
//! imports by the way is compiled by the source's date instead, and that is another one in every
//! build where the source was written during it. In an image, dates are the same every time: there
//! all modules can go by the date, and be found stale when somebody edits a source.

use super::Root;
use crate::host::HostError;

/// Where packages keep modules.
const PLACES: &[&str] = &["etc", "usr/lib", "usr/share", "var/lib"];

/// So deep does no package nest its modules.
const DEPTH: usize = 32;

/// A magic number, flags, then the source's date and length, each of four bytes (PEP 552).
const HEADER: usize = 16;

/// The flags of a module that goes by the hash of its source, and is to be checked.
const BY_HASH: u32 = 0b11;
/// The flags of a module that goes by the date of its source.
const BY_DATE: u32 = 0;

/// Makes all compiled modules go by the dates of their sources, which are cut down to `epoch` in the
/// end. Those of which the source has changed since are removed.
pub fn go_by_date(root: &Root, epoch: u64) -> Result<(), HostError> {
    PLACES.iter().try_for_each(|place| below(root, place, epoch, DEPTH))
}

/// Links are not followed.
fn below(root: &Root, dir: &str, epoch: u64, depth: usize) -> Result<(), HostError> {
    if depth == 0 || !root.is_real_dir(dir) {
        return Ok(());
    }
    for name in root.list(dir) {
        let path = format!("{dir}/{name}");
        match source_of(dir, &name) {
            Some(source) => one(root, &path, &source, epoch)?,
            None => below(root, &path, epoch, depth - 1)?,
        }
    }
    Ok(())
}

/// `x/__pycache__/name.cpython-311.pyc` is made of `x/name.py`.
fn source_of(dir: &str, name: &str) -> Option<String> {
    let package = dir.strip_suffix("/__pycache__")?;
    let (module, _) = name.strip_suffix(".pyc")?.split_once('.')?;
    Some(format!("{package}/{module}.py"))
}

fn one(root: &Root, path: &str, source: &str, epoch: u64) -> Result<(), HostError> {
    let Some(mut bytes) = root.read_real(path)? else { return Ok(()) };
    let Some((date, length)) = root.date_and_length(source) else { return Ok(()) };
    let Some((flags, recorded)) = flags_and_date(&bytes) else { return Ok(()) };
    match flags {
        BY_HASH => {}
        BY_DATE if u64::from(recorded) == date => {}
        BY_DATE => return root.remove(path),
        _ => return Ok(()),
    }
    let header = [BY_DATE, low(date.min(epoch)), low(length)];
    for (place, word) in bytes[4..HEADER].chunks_exact_mut(4).zip(header) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    root.overwrite(path, &bytes)
}

fn flags_and_date(bytes: &[u8]) -> Option<(u32, u32)> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    word(HEADER - 4)?;
    Some((word(4)?, word(8)?))
}

/// As Python does it: the low four bytes.
fn low(number: u64) -> u32 {
    (number & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;
    use std::process::Command;
    use std::time::{Duration, SystemTime};

    use super::*;

    const CACHE: &str = "usr/lib/python3/dist-packages/x/__pycache__";

    fn source(dir: &Path, name: &str, date: u64) {
        let file = dir.join("usr/lib/python3/dist-packages/x").join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "answer = 42\n").unwrap();
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(date);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(date).unwrap();
    }

    fn compiled(flags: u32, date: u32) -> Vec<u8> {
        let words = [0x0a0d_0da7, flags, date, 99, 7];
        words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect()
    }

    #[test]
    fn modules_go_by_the_dates_that_their_sources_will_have() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        source(dir.path(), "old.py", 900);
        source(dir.path(), "new.py", 2000);
        source(dir.path(), "edited.py", 950);
        let put = |name: &str, bytes: &[u8]| {
            root.write(&format!("{CACHE}/{name}"), bytes, 0o644).unwrap();
        };
        put("old.cpython-311.pyc", &compiled(BY_HASH, 0x1234));
        put("new.cpython-311.pyc", &compiled(BY_DATE, 2000));
        put("edited.cpython-311.pyc", &compiled(BY_DATE, 900));
        put("alone.cpython-311.pyc", &compiled(BY_HASH, 1));
        put("short.cpython-311.pyc", b"abc");
        std::os::unix::fs::symlink("/nowhere", dir.path().join(CACHE).join("old.link.pyc"))
            .unwrap();
        go_by_date(&root, 1000).unwrap();
        let left = |name: &str| root.read(&format!("{CACHE}/{name}")).unwrap();
        let header = |date: u32| [0x0a0d_0da7, BY_DATE, date, 12, 7].map(u32::to_le_bytes).concat();
        assert_eq!(left("old.cpython-311.pyc"), Some(header(900)));
        assert_eq!(left("new.cpython-311.pyc"), Some(header(1000)));
        assert_eq!(left("edited.cpython-311.pyc"), None);
        assert_eq!(left("alone.cpython-311.pyc"), Some(compiled(BY_HASH, 1)));
        assert_eq!(left("short.cpython-311.pyc"), Some(b"abc".to_vec()));
        assert_eq!(root.link_target(&format!("{CACHE}/old.link.pyc")).unwrap(), "/nowhere");
    }

    /// Python itself takes such a module for what its source says, as long as the source stays.
    #[test]
    fn python_believes_it_until_the_source_is_edited() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        source(dir.path(), "module.py", 900);
        let package = dir.path().join("usr/lib/python3/dist-packages/x");
        let python = |code: &str| {
            let mut python = Command::new("python3");
            python
                .env("SOURCE_DATE_EPOCH", "1000")
                .current_dir(&package)
                .args(["-B", "-v", "-c", code]);
            String::from_utf8_lossy(&python.output().unwrap().stderr).into_owned()
        };
        python("import py_compile; py_compile.compile('module.py')");
        let name = root.list(CACHE).pop().unwrap();
        let bytes = || root.read(&format!("{CACHE}/{name}")).unwrap().unwrap();
        assert_eq!(flags_and_date(&bytes()).unwrap().0, BY_HASH);
        go_by_date(&root, 1000).unwrap();
        assert_eq!(flags_and_date(&bytes()), Some((BY_DATE, 900)));
        assert!(python("import module").contains("module.py\n# code object from"));
        source(dir.path(), "module.py", 901);
        assert!(python("import module").contains("bytecode is stale for 'module'"));
    }
}
