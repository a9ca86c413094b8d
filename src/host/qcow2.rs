//! The header of a qcow2 image, judged before any tool opens a stranger's image: QEMU's tools follow what
//! a header names.
//!
//! The fields are those of QEMU's `docs/interop/qcow2.rst`.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// The longest header and its extensions; QEMU writes a few hundred bytes.
const LARGEST_HEADER: u64 = 64 << 10;
/// The largest disk that a guest may see.
const LARGEST_DISK: u64 = 16 << 40;
/// More snapshots than any image of ours has.
const SNAPSHOTS: u32 = 0;

/// Features that a reader must know: dirty and corrupt images are not taken, and those that this judge
/// knows nothing of neither.
const COMPRESSION_TYPE: u64 = 1 << 3;
const EXTERNAL_DATA: u64 = 1 << 2;
const CORRUPT: u64 = 1 << 1;

const END: u32 = 0;
const BACKING_FORMAT: u32 = 0xe279_2aca;
const DATA_FILE_NAME: u32 = 0x4441_5441;

/// Judges an image; gives the size of its disk in bytes, or says why it is refused.
pub fn judge(file: &File) -> Result<u64, String> {
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let mut bytes = vec![0; LARGEST_HEADER.min(length) as usize];
    file.read_exact_at(&mut bytes, 0).map_err(|e| e.to_string())?;
    Header { bytes: &bytes, length }.judge()
}

struct Header<'a> {
    bytes: &'a [u8],
    length: u64,
}

impl Header<'_> {
    fn word(&self, at: usize) -> u32 {
        let found = self.bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
        found.map_or(0, u32::from_be_bytes)
    }

    fn long(&self, at: usize) -> u64 {
        (u64::from(self.word(at)) << 32) | u64::from(self.word(at + 4))
    }

    fn judge(&self) -> Result<u64, String> {
        self.kind()?;
        self.references()?;
        self.features()?;
        self.extensions()?;
        self.tables()?;
        self.disk()
    }

    fn kind(&self) -> Result<(), String> {
        let long_enough = self.bytes.len() >= 104 || (self.bytes.len() >= 72 && self.word(4) == 2);
        if !long_enough || &self.bytes[..4] != b"QFI\xfb" || !matches!(self.word(4), 2 | 3) {
            return Err(
                "it is not a qcow2 image (`qemu-img convert -O qcow2` makes one)".to_owned()
            );
        }
        Ok(())
    }

    fn references(&self) -> Result<(), String> {
        if self.long(8) != 0 || self.word(16) != 0 {
            return Err(
                "it names a backing file, so it is not whole (`qemu-img convert` flattens it)"
                    .to_owned(),
            );
        }
        match self.word(32) {
            0 => Ok(()),
            _ => Err("it is encrypted".to_owned()),
        }
    }

    fn incompatible(&self) -> u64 {
        if self.word(4) == 2 { 0 } else { self.long(72) }
    }

    fn features(&self) -> Result<(), String> {
        let features = self.incompatible();
        if features & EXTERNAL_DATA != 0 {
            return Err(
                "it keeps its data in another file (`qemu-img convert` makes one whole file)"
                    .to_owned(),
            );
        }
        if features & CORRUPT != 0 {
            return Err("it is marked as corrupt (`qemu-img check -r all` repairs it)".to_owned());
        }
        match features & !COMPRESSION_TYPE & !1 {
            0 => Ok(()),
            unknown => Err(format!("it needs features that are not known here ({unknown:#x})")),
        }
    }

    fn extensions(&self) -> Result<(), String> {
        let mut at = if self.word(4) == 2 { 72 } else { self.word(100) as usize };
        let plain = (72..=self.bytes.len()).contains(&at) && at.is_multiple_of(8);
        if !plain {
            return Err("its header has an impossible length".to_owned());
        }
        while at + 8 <= self.bytes.len() {
            let (kind, size) = (self.word(at), self.word(at + 4) as usize);
            match kind {
                END => return Ok(()),
                BACKING_FORMAT | DATA_FILE_NAME => {
                    return Err("its header names another file".to_owned());
                }
                _ => {}
            }
            at = at.saturating_add(8).saturating_add(size.next_multiple_of(8));
        }
        Err("its header has no end".to_owned())
    }

    /// Tables lie in the file, and are as long as the disk needs.
    fn tables(&self) -> Result<(), String> {
        let bits = self.word(20);
        if !(9..=21).contains(&bits) {
            return Err(format!("clusters of 2^{bits} bytes are impossible"));
        }
        let cluster = 1u64 << bits;
        let needed = self.long(24).div_ceil(cluster).div_ceil(cluster / 8);
        let entries = u64::from(self.word(36));
        let inside = |at: u64, size: u64| {
            at.is_multiple_of(cluster) && at.checked_add(size).is_some_and(|end| end <= self.length)
        };
        let level_one = entries >= needed && inside(self.long(40), entries * 8);
        let references = inside(self.long(48), u64::from(self.word(56)) * cluster);
        if !level_one || !references || self.long(48) == 0 {
            return Err("it is cut off, or its tables lie outside of it".to_owned());
        }
        if self.word(60) > SNAPSHOTS {
            return Err("it holds snapshots (`qemu-img convert` leaves them out)".to_owned());
        }
        Ok(())
    }

    fn disk(&self) -> Result<u64, String> {
        let size = self.long(24);
        if size == 0 || !size.is_multiple_of(512) || size > LARGEST_DISK {
            return Err(format!(
                "a disk of {size} bytes is not possible here: 512 bytes to {} TiB",
                LARGEST_DISK >> 40
            ));
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    fn image(dir: &Path, words: &[&str]) -> PathBuf {
        let path = dir.join("given.qcow2");
        let mut create = Command::new("qemu-img");
        create.current_dir(dir).args(["create", "-q", "-f", "qcow2"]).args(words);
        assert!(create.status().unwrap().success());
        path
    }

    fn judged(path: &Path) -> Result<u64, String> {
        judge(&File::open(path).unwrap())
    }

    #[test]
    fn images_as_qemu_makes_them_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        for words in [
            &["given.qcow2", "64M"][..],
            &["-o", "compat=0.10", "given.qcow2", "64M"],
            &["-o", "compression_type=zstd", "given.qcow2", "10G"],
            &["-o", "cluster_size=512", "given.qcow2", "64M"],
        ] {
            assert!(judged(&image(dir.path(), words)).is_ok(), "{words:?}");
        }
    }

    #[test]
    fn images_that_lead_elsewhere_or_cannot_be_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (words, word) in [
            (&["-b", "/etc/passwd", "-F", "raw", "-u", "given.qcow2", "64M"][..], "backing file"),
            (&["-o", "data_file=other.raw", "given.qcow2", "64M"], "another file"),
            (&["given.qcow2", "64T"], "not possible"),
            (
                &[
                    "--object",
                    "secret,id=s,data=x",
                    "-o",
                    "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
                    "given.qcow2",
                    "1M",
                ],
                "encrypted",
            ),
        ] {
            let said = judged(&image(dir.path(), words)).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn every_changed_field_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = image(dir.path(), &["given.qcow2", "64M"]);
        let whole = std::fs::read(&path).unwrap();
        for (at, value, word) in [
            (0, 0x52, "not a qcow2"),
            (7, 9, "not a qcow2"),
            (15, 8, "backing file"),
            (23, 63, "impossible"),
            (35, 1, "encrypted"),
            (36, 0x7f, "cut off"),
            (42, 1, "cut off"),
            (56, 0x7f, "cut off"),
            (63, 1, "snapshots"),
            (75, 1, "features"),
            (79, 0b100, "another file"),
            (79, 0b10, "corrupt"),
            (103, 9, "impossible length"),
        ] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            std::fs::write(&path, bytes).unwrap();
            let said = judged(&path).err();
            assert!(said.iter().any(|said| said.contains(word)), "byte {at}: {said:?}");
        }
        std::fs::write(&path, &whole[..100]).unwrap();
        assert!(judged(&path).is_err());
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(judged(&path).is_err());
    }
}
