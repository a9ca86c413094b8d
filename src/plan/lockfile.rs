//! `labbuild.lock`: every byte that came from outside, by SHA-256.
//!
//! For each machine with a bootstrap base: a hash of what was asked for, and the packages that
//! answered it. A lock whose question is another one is no answer. For an installer's: the kernel
//! and initrd that were booted; what an installer fetches by itself is not known here.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::host::HostError;
use crate::host::foreign::{Folder, limits};

/// Name of the lock file, beside `lab.yaml`.
pub const FILE: &str = "labbuild.lock";

/// Version of the format.
const FORMAT: u32 = 1;

/// The lock of one recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// Version of the format.
    pub format: u32,
    /// By machine.
    pub machines: BTreeMap<String, LockedBase>,
}

/// What one machine's base was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedBase {
    /// Digest of what was asked for (definition, kickstart, packages, hardware).
    pub inputs: Digest,
    /// What was installed: `name version architecture` → SHA-256 of the package file; what was
    /// booted for it: `installer kernel`, `installer initrd`.
    pub packages: BTreeMap<String, String>,
}

impl Default for LockFile {
    fn default() -> Self {
        LockFile { format: FORMAT, machines: BTreeMap::new() }
    }
}

/// Why a lock file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}\n  remove the file to lock anew from what the mirrors offer today", .path.display())]
pub struct BadLock {
    path: PathBuf,
    reason: String,
}

impl LockFile {
    /// Reads the lock beside a recipe; an absent one is empty.
    pub fn read(recipe_dir: &Path) -> Result<Self, BadLock> {
        let path = recipe_dir.join(FILE);
        let bad = |reason: String| BadLock { path: path.clone(), reason };
        let folder = Folder::open(recipe_dir).map(Folder::with_links);
        let text = match folder.and_then(|folder| folder.text(FILE, limits::LIST)) {
            Err(HostError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(HostError::File { source, .. }) => return Err(bad(source.to_string())),
            read => read.map_err(|e| bad(e.to_string()))?,
        };
        let lock: LockFile = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
        if lock.format > FORMAT {
            return Err(bad(format!("format {} is newer than this labbuild", lock.format)));
        }
        Ok(lock)
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The answer for `machine`, if the lock holds one to just this question.
    pub fn slice(&self, machine: &str, inputs: &Digest) -> Option<&LockedBase> {
        self.machines.get(machine).filter(|locked| locked.inputs == *inputs)
    }
}

impl LockedBase {
    /// Digest of the answer.
    pub fn digest(&self) -> Digest {
        let lines: Vec<String> = self.packages.iter().map(|(k, v)| format!("{k} {v}\n")).collect();
        Digest::of(lines.concat())
    }

    /// How `other` differs, one line each: `- bash 5.2-1`, `+ bash 5.2-2`.
    pub fn difference(&self, other: &LockedBase) -> Vec<String> {
        let gone = |a: &LockedBase, b: &LockedBase, sign: &str| -> Vec<String> {
            let missing = a.packages.iter().filter(|(k, v)| b.packages.get(*k) != Some(v));
            missing.map(|(k, _)| format!("{sign} {k}")).collect()
        };
        [gone(self, other, "-"), gone(other, self, "+")].concat()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn base(version: &str) -> LockedBase {
        let packages = [(format!("bash {version} amd64"), "00".repeat(32))].into();
        LockedBase { inputs: Digest::of("q"), packages }
    }

    #[test]
    fn a_lock_answers_only_its_own_question() {
        let lock =
            LockFile { machines: [("m".to_owned(), base("1"))].into(), ..Default::default() };
        assert!(lock.slice("m", &Digest::of("q")).is_some());
        assert!(lock.slice("m", &Digest::of("other")).is_none());
    }

    #[test]
    fn differences_are_named() {
        assert_eq!(base("1").difference(&base("2")), ["- bash 1 amd64", "+ bash 2 amd64"]);
    }

    #[test]
    fn a_damaged_lock_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        let error = LockFile::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("labbuild.lock"), "{error}");
    }
}
