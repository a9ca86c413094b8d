//! What apt says that it would do, and what the signed indexes say of it. Pure.

use std::collections::BTreeMap;

use super::Wanted;
use crate::base::BaseError;

/// Name, version, architecture.
pub type Key = (String, String, String);

/// One line of `apt-get --simulate`.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    Install(Key),
    Remove(String),
}

/// The changes in what `apt-get --simulate` prints.
pub fn changes(text: &str) -> Vec<Change> {
    text.lines().filter_map(change).collect()
}

/// `Inst name [old] (version origin [arch])`, `Remv name [version]`, `Purg name [version]`.
fn change(line: &str) -> Option<Change> {
    let mut words = line.split_whitespace();
    let (verb, name) = (words.next()?, words.next()?);
    let name = name.split(':').next()?.to_owned();
    match verb {
        "Remv" | "Purg" => Some(Change::Remove(name)),
        "Inst" => {
            let bracket = line.split_once('(')?.1.rsplit_once(')')?.0;
            let version = bracket.split_whitespace().next()?.to_owned();
            let architecture = bracket.rsplit_once('[')?.1.trim_end_matches(']').to_owned();
            Some(Change::Install((name, version, architecture)))
        }
        _ => None,
    }
}

/// A stanza of an index: its text, and the address that its file name is relative to.
#[derive(Debug, Clone)]
pub struct Entry {
    pub stanza: String,
    pub repository: String,
}

/// Every package that the indexes name; the first index that names one counts, as with apt.
#[derive(Debug, Default)]
pub struct Index {
    entries: BTreeMap<Key, Entry>,
}

impl Index {
    /// Takes in the text of one `Packages` file.
    pub fn add(&mut self, text: &str, repository: &str) {
        for stanza in text.split("\n\n").filter(|s| !s.trim().is_empty()) {
            if let Some(key) = key(stanza) {
                let (stanza, repository) = (stanza.trim().to_owned(), repository.to_owned());
                self.entries.entry(key).or_insert(Entry { stanza, repository });
            }
        }
    }

    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }
}

fn key(stanza: &str) -> Option<Key> {
    let get = |name| field(stanza, name).map(str::to_owned);
    Some((get("Package")?, get("Version")?, get("Architecture")?))
}

fn field<'s>(stanza: &'s str, name: &str) -> Option<&'s str> {
    let rest = |line: &'s str| line.strip_prefix(name)?.strip_prefix(':');
    stanza.lines().find_map(rest).map(str::trim)
}

impl Entry {
    /// As the package would stand in dpkg's status, so that apt takes it for installed.
    pub fn as_installed(&self) -> String {
        format!("{}\nStatus: install ok installed\n\n", self.stanza)
    }

    /// The file to fetch; nothing where the index gives no SHA-256 of it.
    pub fn wanted(&self, key: &Key) -> Option<Wanted> {
        let (name, version, architecture) = key;
        let path = field(&self.stanza, "Filename")?;
        let plain = !path.is_empty() && path.bytes().all(|b| b.is_ascii_graphic());
        plain.then_some(())?;
        Some(Wanted {
            file: format!("{name}_{}_{architecture}.deb", quoted(version)),
            uri: format!("{}/{path}", self.repository.trim_end_matches('/')),
            size: field(&self.stanza, "Size")?.parse().ok()?,
            sha256: field(&self.stanza, "SHA256")?.parse().ok()?,
        })
    }
}

/// apt quotes so in the names of files that it keeps.
fn quoted(version: &str) -> String {
    version.replace(':', "%3a").replace('_', "%5f")
}

/// The part outside believes nothing of what apt's part says but what it can check: names stay in their
/// folder.
pub fn check(packages: &[Wanted]) -> Result<(), BaseError> {
    let plain = |file: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"+-._~%".contains(&b);
        file.ends_with(".deb") && !file.starts_with(['.', '-']) && file.bytes().all(allowed)
    };
    match packages.iter().find(|wanted| !plain(&wanted.file) || wanted.file.len() > 200) {
        None => Ok(()),
        Some(bad) => Err(BaseError::Refused {
            name: bad.uri.clone(),
            reason: format!("`{}` is no name of a package file", bad.file.escape_debug()),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(name: &str, version: &str, architecture: &str) -> Key {
        (name.to_owned(), version.to_owned(), architecture.to_owned())
    }

    #[test]
    fn changes_are_read_from_a_simulation() {
        let text = "NOTE: This is only a simulation!\nRemv exim4-base [4.96-15]\n\
            Inst libc6 (2.36-9+deb12u10 Debian:12.11/stable, Debian-Security:12/x [amd64])\n\
            Inst foo:amd64 [1.0] (1:2.0 Debian:12.11/stable [all]) []\n\
            Conf libc6 (2.36-9 Debian:12.11/stable [amd64])\nPurg nano [7.2-1]\n";
        let expected = [
            Change::Remove("exim4-base".into()),
            Change::Install(key("libc6", "2.36-9+deb12u10", "amd64")),
            Change::Install(key("foo", "1:2.0", "all")),
            Change::Remove("nano".into()),
        ];
        assert_eq!(changes(text), expected);
    }

    const PACKAGES: &str = "Package: foo\nVersion: 1:2.0\nArchitecture: all\n\
        Description: x\n SHA256: 11\nFilename: pool/f/foo_2.0_all.deb\nSize: 7\n\
        SHA256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\n\n\
        Package: bare\nVersion: 1\nArchitecture: all\nFilename: pool/b.deb\nSize: 7\n";

    #[test]
    fn an_entry_says_what_to_fetch_and_one_without_a_digest_does_not() {
        let mut index = Index::default();
        index.add(PACKAGES, "http://mirror.example/debian/");
        let foo = key("foo", "1:2.0", "all");
        let wanted = index.get(&foo).unwrap().wanted(&foo).unwrap();
        assert_eq!(wanted.file, "foo_1%3a2.0_all.deb");
        assert_eq!(wanted.uri, "http://mirror.example/debian/pool/f/foo_2.0_all.deb");
        assert!(check(&[wanted]).is_ok());
        let bare = key("bare", "1", "all");
        assert_eq!(index.get(&bare).unwrap().wanted(&bare), None);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let wanted = |file: &str| Wanted {
            file: file.to_owned(),
            uri: "http://x".to_owned(),
            size: 1,
            sha256: crate::digest::Digest::of(b""),
        };
        for bad in ["../x.deb", "a/b.deb", "x", ".deb", "-o.deb", "a b.deb", "a\n.deb"] {
            assert!(check(&[wanted(bad)]).is_err(), "{bad}");
        }
    }
}
