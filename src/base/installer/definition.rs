//! A base of kind *installer*, as `images/<base>.yaml` describes it.
//!
//! Kernel and initrd are verified before anything runs. A digest stands in the definition, or in
//! a file beside it (`sums:`, in the format of `sha256sum`) that its user fills from what the
//! publisher says: where it is not filled, the recipe is valid, and building refuses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use serde_saphyr::Spanned;

use super::driver::Driver;
use crate::base::definition::{DiskSource, Reader, values};
use crate::digest::Digest;
use crate::host::foreign::{Folder, limits};
use crate::recipe::{self, Bytes};

/// A base of kind *installer*.
#[derive(Debug, Clone)]
pub struct Installer {
    /// One line for people.
    pub title: String,
    /// Which installer it is.
    pub driver: &'static Driver,
    /// Its kernel.
    pub kernel: BootFile,
    /// Its initial file system.
    pub initrd: BootFile,
    /// Kernel parameters besides the driver's.
    pub cmdline: Vec<String>,
    /// Memory that installing needs at least.
    pub memory: Bytes,
    /// So long without anything new on the console means that it hangs.
    pub stall: Duration,
    /// The guest's clock while stages are built, seconds since 1970. The installer itself sees the
    /// present, because it talks to servers with certificates.
    pub time: u64,
}

/// A file that an installer boots from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFile {
    /// Where it is.
    pub source: DiskSource,
    /// What it must be.
    pub sha256: Pin,
}

/// A digest, or the place that is to hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// It is known.
    Known(Digest),
    /// It is not known yet.
    Awaited {
        /// The file that is to hold it.
        file: PathBuf,
        /// The name it is to have there.
        name: String,
    },
}

impl Installer {
    /// What decides the disk that comes out.
    pub fn identity(&self) -> Value {
        let pin = |file: &BootFile| match &file.sha256 {
            Pin::Known(digest) => Some(digest.to_string()),
            Pin::Awaited { .. } => None,
        };
        let cmdline = [&self.driver.cmdline[..], &self.cmdline[..]].concat();
        json!({
            "driver": self.driver.name,
            "kernel": pin(&self.kernel),
            "initrd": pin(&self.initrd),
            "cmdline": cmdline,
        })
    }

    /// Everything that is pinned, for the lock.
    pub fn pinned(&self) -> BTreeMap<String, String> {
        let pin = |(what, file): (&str, &BootFile)| match &file.sha256 {
            Pin::Known(digest) => Some((format!("installer {what}"), digest.to_string())),
            Pin::Awaited { .. } => None,
        };
        [("kernel", &self.kernel), ("initrd", &self.initrd)].into_iter().filter_map(pin).collect()
    }

    /// What must be filled in before this base can be built, and where.
    pub fn awaited(&self) -> Option<String> {
        let missing = |file: &BootFile| match &file.sha256 {
            Pin::Awaited { file, name } => {
                Some(format!("{} names no SHA-256 of `{name}`", file.display()))
            }
            Pin::Known(_) => None,
        };
        let all: Vec<String> =
            [&self.kernel, &self.initrd].into_iter().filter_map(missing).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InstallerText {
    #[allow(dead_code)]
    kind: String,
    title: String,
    driver: Spanned<String>,
    kernel: Spanned<BootFileText>,
    initrd: Spanned<BootFileText>,
    sums: Option<Spanned<String>>,
    #[serde(default)]
    cmdline: Vec<Spanned<String>>,
    memory: Spanned<String>,
    stall: Spanned<String>,
    time: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BootFileText {
    path: Option<String>,
    url: Option<Spanned<String>>,
    sha256: Option<Spanned<String>>,
}

/// The file that `sums:` names, and the digests in it by name.
type Sums = (PathBuf, BTreeMap<String, Digest>);

/// Reads the rest of a definition whose kind is `installer`.
pub(in crate::base) fn definition(reader: &mut Reader<'_>, dir: &Path) -> Option<Installer> {
    let text: InstallerText = reader.read()?;
    let sums = text.sums.as_ref().map(|name| read_sums(reader, name, dir));
    let driver = driver(reader, &text.driver);
    let kernel = boot_file(reader, text.kernel, "kernel", sums.as_ref(), dir);
    let initrd = boot_file(reader, text.initrd, "initrd", sums.as_ref(), dir);
    text.cmdline.iter().for_each(|word| reader.kernel_word(word));
    let memory = leaf(reader, &text.memory, recipe::size);
    let stall = leaf(reader, &text.stall, positive);
    let time = reader.time(&text.time);
    Some(Installer {
        title: text.title,
        driver: driver?,
        kernel: kernel?,
        initrd: initrd?,
        cmdline: values(text.cmdline),
        memory: memory?,
        stall: stall?,
        time,
    })
}

fn driver(reader: &mut Reader<'_>, name: &Spanned<String>) -> Option<&'static Driver> {
    let driver = Driver::named(&name.value);
    if driver.is_none() {
        let known: Vec<&str> = Driver::all().iter().map(|d| d.name.as_str()).collect();
        let help = format!("known installers: {}", known.join(", "));
        reader.fault(name.referenced, format!("unknown installer `{}`", name.value), &help);
    }
    driver
}

fn positive(text: &str) -> Result<Duration, (String, String)> {
    match recipe::duration(text)? {
        Duration::ZERO => Err((format!("`{text}` is no time at all"), "e.g. `20m`".to_owned())),
        limit => Ok(limit),
    }
}

fn leaf<T>(
    reader: &mut Reader<'_>,
    text: &Spanned<String>,
    parse: impl Fn(&str) -> Result<T, (String, String)>,
) -> Option<T> {
    match parse(&text.value) {
        Ok(value) => Some(value),
        Err((message, help)) => {
            reader.fault(text.referenced, message, &help);
            None
        }
    }
}

fn boot_file(
    reader: &mut Reader<'_>,
    text: Spanned<BootFileText>,
    what: &str,
    sums: Option<&Sums>,
    dir: &Path,
) -> Option<BootFile> {
    let at = text.referenced;
    let BootFileText { path, url, sha256 } = text.value;
    let source = match (path, url) {
        (Some(path), None) => Some(DiskSource::Path(dir.join(path))),
        (None, Some(url)) => reader.url(url),
        _ => {
            let help = "exactly one of `path:` and `url:` says where it is";
            reader.fault(at, format!("where is the {what}?"), help);
            None
        }
    };
    let pin = match (sha256, sums) {
        (Some(text), _) => text.value.parse().map(Pin::Known).map_err(|e| {
            reader.fault(text.referenced, format!("{e}"), "`sha256sum FILE` prints it");
        }),
        (None, Some((file, sums))) => {
            let name = source.as_ref().map(file_name).unwrap_or_default();
            Ok(match sums.get(&name) {
                Some(digest) => Pin::Known(*digest),
                None => Pin::Awaited { file: file.clone(), name },
            })
        }
        (None, None) => {
            let help = "`sha256:` here, or `sums: FILE` beside it; nothing unverified is booted";
            reader.fault(at, format!("what is the SHA-256 of the {what}?"), help);
            Err(())
        }
    };
    Some(BootFile { source: source?, sha256: pin.ok()? })
}

fn file_name(source: &DiskSource) -> String {
    let text = source.to_string();
    text.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Reads `sums:`, a file beside the definition: `sha256sum`'s lines, and comments.
fn read_sums(reader: &mut Reader<'_>, name: &Spanned<String>, dir: &Path) -> Sums {
    let path = dir.join(&name.value);
    let mut sums = BTreeMap::new();
    let read = match name.value.contains('/') || name.value.starts_with('.') {
        true => Err(format!("`{}` is not the name of a file beside this one", name.value)),
        false => Folder::open(dir)
            .and_then(|folder| folder.with_links().text(&name.value, limits::TEXT))
            .map_err(|e| e.to_string()),
    };
    let help = "`sha256sum`'s format: 64 hexadecimal digits, two blanks, a file name";
    match read {
        Err(message) => reader.fault(name.referenced, message, help),
        Ok(text) => {
            for (number, line) in text.lines().enumerate().filter(|(_, l)| !is_remark(l)) {
                match sum(line) {
                    Some((name, digest)) => drop(sums.insert(name, digest)),
                    None => {
                        let at = format!("{}:{}", path.display(), number + 1);
                        let message = format!("{at}: not a digest and a name");
                        reader.fault(name.referenced, message, help);
                    }
                }
            }
        }
    }
    (path, sums)
}

fn is_remark(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#')
}

/// One line of `sha256sum`; only the last part of the name counts.
fn sum(line: &str) -> Option<(String, Digest)> {
    let (digest, name) = line.trim().split_once(char::is_whitespace)?;
    let name = name.trim_start().trim_start_matches('*').rsplit('/').next()?;
    (!name.is_empty()).then_some((name.to_owned(), digest.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::base::{Definition, load_definition};

    fn load(dir: &Path, text: &str) -> Result<Installer, String> {
        let path = dir.join("x.yaml");
        std::fs::write(&path, text).unwrap();
        match load_definition(&path).map_err(|e| e.to_string())? {
            Definition::Installer(installer) => Ok(*installer),
            other => panic!("not an installer: {}", other.title()),
        }
    }

    fn faults(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let faults = load(dir.path(), text).unwrap_err();
        faults.replace(dir.path().to_str().unwrap(), "images")
    }

    #[test]
    fn centos_7_reads_and_waits_for_its_digests() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/centos-7.yaml");
        let Definition::Installer(centos) = load_definition(&path).unwrap() else { panic!() };
        assert_eq!(centos.driver.name, "anaconda");
        assert!(centos.stall >= Duration::from_secs(600));
        let awaited = centos.awaited().unwrap();
        assert!(awaited.contains("centos-7.sums names no SHA-256 of `vmlinuz`"), "{awaited}");
        assert!(awaited.contains("`initrd.img`"), "{awaited}");
    }

    #[test]
    fn every_bad_value_is_named_at_once() {
        insta::assert_snapshot!(faults(
            "kind: installer\ntitle: x\ndriver: anacnda\nkernel: { path: k }\ninitrd:\n  url: ftp://x/initrd\n  sha256: abc\ncmdline: [\"a b\", ok=1]\nmemory: 2\nstall: soon\ntime: today\n"
        ));
    }

    #[test]
    fn what_is_missing_is_named_with_its_place() {
        insta::assert_snapshot!(faults(
            "kind: installer\ntitle: x\ndriver: anaconda\nkernel: { path: k, url: http://x/k }\ninitrd: {}\nsums: ../sums\nmemory: 2 GiB\nstall: 0s\ntime: 2026-11-01T00:00:00Z\n"
        ));
    }

    const GOOD: &str = "kind: installer\ntitle: x\ndriver: anaconda\nkernel: { path: k/vmlinuz }\ninitrd: { url: \"https://x/y/initrd.img\" }\nsums: x.sums\nmemory: 2 GiB\nstall: 90s\ntime: 2026-11-01T00:00:00Z\n";

    #[test]
    fn digests_come_from_the_file_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let sums = dir.path().join("x.sums");
        let digest = Digest::of("kernel");
        std::fs::write(&sums, format!("# none\n\n{digest}  images/pxeboot/vmlinuz\n")).unwrap();
        let half = load(dir.path(), GOOD).unwrap();
        assert_eq!(half.kernel.sha256, Pin::Known(digest));
        assert!(half.awaited().unwrap().contains("`initrd.img`"));
        std::fs::write(&sums, format!("{digest} *vmlinuz\n{digest}  initrd.img\n")).unwrap();
        let whole = load(dir.path(), GOOD).unwrap();
        assert_eq!(whole.awaited(), None);
        assert_ne!(whole.identity(), half.identity());
        std::fs::write(&sums, "abc vmlinuz\n").unwrap();
        assert!(load(dir.path(), GOOD).unwrap_err().contains("x.sums:1: not a digest"));
    }
}
