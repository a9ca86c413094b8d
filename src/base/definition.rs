//! Reading `images/<base>.yaml`: what a base is made of, as data.
//!
//! Everything particular to one operating system (package names, service aliases, files a
//! package leaves behind) stands in these files, so that a new system is a new file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_saphyr::{Location, Spanned};

use super::BaseError;
use super::installer::{self, Installer};
use super::source_line::{SourceLine, read_key};
use crate::digest::Digest;
use crate::host::{HostError, foreign, url};
use crate::recipe::{Fault, Faults, Place};

/// What `images/<base>.yaml` says.
#[derive(Debug, Clone)]
pub enum Definition {
    /// Packages straight into a tree.
    Bootstrap(Box<Bootstrap>),
    /// A virtual machine that boots an installer.
    Installer(Box<Installer>),
    /// An existing qcow2.
    Disk(Disk),
}

/// A base of kind *bootstrap*.
#[derive(Debug, Clone, Serialize)]
pub struct Bootstrap {
    /// One line for people.
    pub title: String,
    /// Release code name.
    pub suite: String,
    /// Package architecture.
    pub architecture: String,
    /// Package set below everything else, in mmdebstrap's words.
    pub variant: String,
    /// The build's and the guest's clock, seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub time: u64,
    /// One-line apt sources of the guest.
    pub sources: Vec<String>,
    /// Keys of those that name one, by file name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, String>,
    /// Packages of every machine.
    pub packages: Vec<String>,
    /// Kernel parameters.
    pub cmdline: Vec<String>,
    /// Service names of other systems → names here.
    pub services: BTreeMap<String, String>,
    /// Group names of other systems → names here.
    pub groups: BTreeMap<String, String>,
    /// How `firewall --enabled` is carried out.
    pub firewall: Option<Firewall>,
    /// Answers given to packages before they are installed.
    pub debconf: Vec<String>,
    /// Units that are switched off.
    pub disable: Vec<String>,
    /// Per package: what must not be in the tree, and how the guest makes it.
    pub first_start: BTreeMap<String, FirstStart>,
}

/// How `firewall --enabled` is carried out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    /// Package that brings the filter.
    pub package: String,
    /// Service name → `port/protocol`.
    #[serde(default)]
    pub services: BTreeMap<String, Vec<String>>,
}

/// What one package leaves behind that no image may hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstStart {
    /// Paths that are removed; `*` in the last component matches anything.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Files of JSON that are written anew with their keys in order; absent ones are passed over.
    #[serde(default)]
    pub sort: Vec<String>,
    /// Files that are added.
    #[serde(default)]
    pub files: Vec<AddedFile>,
    /// Units that are switched on.
    #[serde(default)]
    pub enable: Vec<String>,
}

/// A file added to the tree.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddedFile {
    /// Absolute path.
    pub path: String,
    /// Text.
    pub content: String,
    /// Octal mode, `0644` if not given.
    pub mode: Option<String>,
}

/// A base of kind *disk*.
#[derive(Debug, Clone)]
pub struct Disk {
    /// One line for people.
    pub title: String,
    /// Where it is.
    pub source: DiskSource,
    /// What it must be.
    pub sha256: Digest,
    /// The guest's clock while it is built, seconds since 1970.
    pub time: u64,
}

/// Where an existing disk, or another file, is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskSource {
    /// A file; relative paths are resolved from the definition's folder.
    Path(PathBuf),
    /// An `http` or `https` address.
    Url(String),
}

impl fmt::Display for DiskSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskSource::Path(path) => path.display().fmt(f),
            DiskSource::Url(url) => f.write_str(url),
        }
    }
}

impl Definition {
    /// One line for people.
    pub fn title(&self) -> &str {
        match self {
            Definition::Bootstrap(b) => &b.title,
            Definition::Installer(i) => &i.title,
            Definition::Disk(d) => &d.title,
        }
    }

    /// The guest's clock while it is built, seconds since 1970.
    pub fn time(&self) -> u64 {
        match self {
            Definition::Bootstrap(b) => b.time,
            Definition::Installer(i) => i.time,
            Definition::Disk(d) => d.time,
        }
    }
}

/// Only the key that says which of the two shapes the rest has.
#[derive(Deserialize)]
struct KindOnly {
    kind: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BootstrapText {
    #[allow(dead_code)]
    kind: String,
    title: String,
    suite: Spanned<String>,
    architecture: Spanned<String>,
    variant: Spanned<String>,
    time: Spanned<String>,
    sources: Vec<Spanned<String>>,
    packages: Vec<Spanned<String>>,
    #[serde(default)]
    cmdline: Vec<Spanned<String>>,
    #[serde(default)]
    services: BTreeMap<String, String>,
    #[serde(default)]
    groups: BTreeMap<String, String>,
    firewall: Option<Firewall>,
    #[serde(default)]
    debconf: Vec<String>,
    #[serde(default)]
    disable: Vec<String>,
    #[serde(default)]
    first_start: BTreeMap<String, Spanned<FirstStart>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskText {
    kind: Spanned<String>,
    title: String,
    path: Option<String>,
    url: Option<Spanned<String>>,
    sha256: Spanned<String>,
    time: Spanned<String>,
}

/// Reads a base image definition; faults carry file, line, column and what would be right.
pub fn load_definition(path: &Path) -> Result<Definition, BaseError> {
    let text = foreign::text(path, foreign::limits::TEXT).map_err(HostError::file("read", path))?;
    let name = path.display().to_string();
    let dir = path.parent().unwrap_or(Path::new("."));
    parse(&name, &text, dir).map_err(BaseError::Faults)
}

fn parse(name: &str, text: &str, dir: &Path) -> Result<Definition, Faults> {
    let mut reader = Reader { name: name.into(), text, faults: Vec::new() };
    let definition = reader.definition(dir);
    match definition {
        Some(definition) if reader.faults.is_empty() => Ok(definition),
        _ => {
            reader.faults.sort_by_key(|f| (f.at.line, f.at.column));
            Err(Faults(reader.faults))
        }
    }
}

pub(super) struct Reader<'t> {
    name: Arc<str>,
    text: &'t str,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    pub(super) fn fault(&mut self, at: Location, message: impl Into<String>, help: &str) {
        let line = u32::try_from(at.line()).unwrap_or(1).max(1);
        let column = u32::try_from(at.column()).unwrap_or(1).max(1);
        let text = self.text.lines().nth(line as usize - 1).unwrap_or_default();
        self.faults.push(Fault {
            at: Place { file: self.name.clone(), line, column },
            text: url::without_passwords(text),
            message: message.into(),
            help: (!help.is_empty()).then(|| help.to_owned()),
        });
    }

    pub(super) fn read<T: serde::de::DeserializeOwned>(&mut self) -> Option<T> {
        match serde_saphyr::from_str(self.text) {
            Ok(value) => Some(value),
            Err(e) => {
                let (message, help) = explain(&e);
                self.fault(e.location().unwrap_or(Location::UNKNOWN), message, &help);
                None
            }
        }
    }

    fn definition(&mut self, dir: &Path) -> Option<Definition> {
        let KindOnly { kind } = self.read()?;
        match kind.value.as_str() {
            "bootstrap" => self.bootstrap(dir).map(|b| Definition::Bootstrap(Box::new(b))),
            "installer" => {
                installer::definition(self, dir).map(|i| Definition::Installer(Box::new(i)))
            }
            "disk" => self.disk(dir).map(Definition::Disk),
            other => {
                let help = "the kinds are `bootstrap` (packages into a tree), `installer` (a machine boots one) and `disk` (an existing qcow2)";
                self.fault(kind.referenced, format!("unknown kind `{other}`"), help);
                None
            }
        }
    }

    fn bootstrap(&mut self, dir: &Path) -> Option<Bootstrap> {
        let text: BootstrapText = self.read()?;
        for package in &text.packages {
            self.word(package, is_package, "is not a package name", "letters, digits and `+-.`");
        }
        for word in [&text.suite, &text.architecture, &text.variant] {
            self.word(
                word,
                is_package,
                "is not a plain word",
                "e.g. `bookworm`, `amd64`, `important`",
            );
        }
        let keys = self.keys(&text.sources, dir);
        for word in &text.cmdline {
            self.kernel_word(word);
        }
        for first in text.first_start.values() {
            self.first_start(first);
        }
        Some(Bootstrap {
            title: text.title,
            time: self.time(&text.time),
            suite: text.suite.value,
            architecture: text.architecture.value,
            variant: text.variant.value,
            sources: values(text.sources),
            keys,
            packages: values(text.packages),
            cmdline: values(text.cmdline),
            services: text.services,
            groups: text.groups,
            firewall: text.firewall,
            debconf: text.debconf,
            disable: text.disable,
            first_start: text.first_start.into_iter().map(|(k, v)| (k, v.value)).collect(),
        })
    }

    /// Every source is one, and the keys that they name are beside the definition.
    fn keys(&mut self, sources: &[Spanned<String>], dir: &Path) -> BTreeMap<String, String> {
        let mut keys = BTreeMap::new();
        for source in sources {
            let key = SourceLine::parse(&source.value).and_then(|line| match line.signed_by {
                Some(name) => read_key(dir, &name).map(|text| Some((name, text))),
                None => Ok(None),
            });
            match key {
                Ok(key) => keys.extend(key),
                Err((message, help)) => self.fault(source.referenced, message, help),
            }
        }
        keys
    }

    /// One kernel parameter.
    pub(super) fn kernel_word(&mut self, word: &Spanned<String>) {
        let plain = |s: &str| {
            !s.is_empty() && s.chars().all(|c| c.is_ascii_graphic() && !"\"'\\$".contains(c))
        };
        let help = "one word without quotes per entry";
        self.word(word, plain, "is not one kernel parameter", help);
    }

    fn first_start(&mut self, first: &Spanned<FirstStart>) {
        let FirstStart { remove, sort, files, .. } = &first.value;
        let paths = remove.iter().chain(sort).chain(files.iter().map(|f| &f.path));
        for path in paths {
            let inside =
                path.starts_with('/') && path.len() > 1 && !path.split('/').any(|c| c == "..");
            let early_star = path.rsplit_once('/').is_some_and(|(parent, _)| parent.contains('*'));
            if !inside || early_star {
                let help = "an absolute path without `..`; `*` only in the last component";
                self.fault(first.referenced, format!("`{path}` is not a path in the tree"), help);
            }
        }
        for mode in first.value.files.iter().filter_map(|f| f.mode.as_deref()) {
            if !u32::from_str_radix(mode, 8).is_ok_and(|m| m <= 0o7777) {
                self.fault(
                    first.referenced,
                    format!("`{mode}` is not an octal mode"),
                    "e.g. \"0644\"",
                );
            }
        }
    }

    fn disk(&mut self, dir: &Path) -> Option<Disk> {
        let text: DiskText = self.read()?;
        let source = match (text.path, text.url) {
            (Some(path), None) => Some(DiskSource::Path(dir.join(path))),
            (None, Some(url)) => self.url(url),
            _ => {
                let help = "exactly one of `path:` and `url:` says where the disk is";
                self.fault(text.kind.referenced, "where is the disk?", help);
                None
            }
        };
        let sha256 = text.sha256.value.parse::<Digest>();
        if let Err(e) = &sha256 {
            self.fault(text.sha256.referenced, e.to_string(), "`sha256sum FILE` prints it");
        }
        let time = self.time(&text.time);
        Some(Disk { title: text.title, source: source?, sha256: sha256.ok()?, time })
    }

    pub(super) fn url(&mut self, url: Spanned<String>) -> Option<DiskSource> {
        let (message, help) = match url::check(&url.value) {
            Ok(()) => return Some(DiskSource::Url(url.value)),
            Err(url::Wrong::NoAddress) => {
                ("this is not a web address", "`http://` or `https://` and a host")
            }
            Err(url::Wrong::Credentials) => (
                "this address holds a name or a password",
                "a recipe is read by others: fetch the file yourself, and name it with `path:`",
            ),
        };
        self.fault(url.referenced, message, help);
        None
    }

    pub(super) fn time(&mut self, time: &Spanned<String>) -> u64 {
        parse_time(&time.value).unwrap_or_else(|| {
            let message = format!("`{}` is not a time", time.value);
            self.fault(time.referenced, message, "UTC, as in `2026-11-01T00:00:00Z`");
            0
        })
    }

    pub(super) fn word(
        &mut self,
        word: &Spanned<String>,
        ok: impl Fn(&str) -> bool,
        wrong: &str,
        help: &str,
    ) {
        if !ok(&word.value) {
            self.fault(word.referenced, format!("`{}` {wrong}", word.value), help);
        }
    }
}

pub(super) fn values(spanned: Vec<Spanned<String>>) -> Vec<String> {
    spanned.into_iter().map(|s| s.value).collect()
}

/// Whether `name` can be handed to apt as a package name and as nothing else.
pub(super) fn is_package(name: &str) -> bool {
    // A trailing `-` or single `+` would mean "remove" or "install" to apt.
    let stem = name.strip_suffix("++").unwrap_or(name);
    stem.starts_with(|c: char| c.is_ascii_alphanumeric())
        && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && !stem.ends_with(['-', '+'])
}

/// Message and help of a reader's error, without its own rendering of the place.
fn explain(error: &serde_saphyr::Error) -> (String, String) {
    let whole = error.without_snippet().to_string();
    let first = whole.lines().next().unwrap_or_default();
    let message = match first.find(" at line ").or_else(|| first.find(" (line ")) {
        Some(at) => &first[..at],
        None => first,
    };
    match message.split_once(", expected ") {
        Some((message, expected)) => (message.to_owned(), format!("expected {expected}")),
        None => (message.to_owned(), String::new()),
    }
}

/// Seconds since 1970 of `YYYY-MM-DDThh:mm:ssZ`.
fn parse_time(text: &str) -> Option<u64> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    if !(1970..10_000).contains(&year)
        || !(1..=length).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let leap_days = |y: u64| y / 4 - y / 100 + y / 400;
    let days = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969)
        + lengths.iter().take(usize::try_from(month).ok()? - 1).sum::<u64>()
        + day
        - 1;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let parts: Option<Vec<u64>> = text
        .split(separator)
        .map(|p| p.bytes().all(|b| b.is_ascii_digit()).then(|| p.parse().ok()).flatten())
        .collect();
    parts?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn faults(text: &str) -> String {
        parse("images/x.yaml", text, Path::new("images")).unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_definition_reads() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/debian-12.yaml");
        let definition = load_definition(&path).unwrap();
        assert_eq!(definition.time(), 1_793_491_200);
        let Definition::Bootstrap(b) = definition else { panic!("not a bootstrap") };
        assert_eq!(b.services["sshd"], "ssh");
        assert!(b.first_start["mariadb-server"].files[0].mode.is_some());
    }

    #[test]
    fn times_are_utc_seconds() {
        assert_eq!(parse_time("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_time("2000-02-29T12:00:00Z"), Some(951_825_600));
        assert_eq!(parse_time("2023-02-29T12:00:00Z"), None);
        assert_eq!(parse_time("2026-11-01"), None);
    }

    #[test]
    fn package_names_are_only_names() {
        for good in ["cron", "g++", "libstdc++6", "python3.11", "7zip"] {
            assert!(is_package(good), "{good}");
        }
        for bad in ["", "-y", "cron-", "./x.deb", "a b", "?essential", "x=1", "foo/bar", "cron+"] {
            assert!(!is_package(bad), "{bad}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        insta::assert_snapshot!(faults("kind: disk\ntitle: x\nsha265: abc\n"));
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_shown() {
        for body in [
            "kind: disk\ntitle: x\nsha256: abc\ntime: t\nurl: https://ann:secret@x/d.qcow2\n",
            "kind: installer\ntitle: x\ndriver: anaconda\nkernel: { url: http://ann:secret@x/k }\n\
             initrd: { url: http://x/i }\nmemory: 1 GiB\nstall: 1m\ntime: t\n",
            "kind: bootstrap\ntitle: x\nsuite: a\narchitecture: amd64\nvariant: apt\ntime: t\n\
             sources:\n  - deb http://ann:secret@x/ a main\npackages: []\n",
        ] {
            let said = faults(body);
            assert!(
                said.contains("a name or a password") || said.contains("credentials"),
                "{said}"
            );
            assert!(!said.contains("secret") && !said.contains("ann:"), "{said}");
        }
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        insta::assert_snapshot!(faults("kind: floppy\ntitle: x\n"));
    }

    #[test]
    fn every_bad_value_is_named_at_once() {
        insta::assert_snapshot!(faults(
            "kind: bootstrap\ntitle: x\nsuite: bookworm\narchitecture: amd64\nvariant: important\ntime: yesterday\nsources: [http://x]\npackages:\n  - cron\n  - ../evil.deb\nfirst-start:\n  foo:\n    remove: [\"/etc/../x\"]\n"
        ));
    }

    #[test]
    fn a_disk_says_where_it_is_and_what() {
        insta::assert_snapshot!(faults(
            "kind: disk\ntitle: x\nsha256: abc\ntime: 2026-11-01T00:00:00Z\n"
        ));
    }
}
