//! Packages: excluded ones go, extra ones come, and all are written down for the lock.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};

use super::super::LockedPackage;
use super::super::spec::out;
use super::maintainer::ScriptFailure;
use super::{Tree, TreeError, complaint, leave};
use crate::base::glob::matches_glob;
use crate::digest::Digest;
use crate::host::{Cmd, HostError};

/// Name, version, architecture.
type Key = (String, String, String);

impl Tree<'_> {
    /// Purges what the kickstart excludes; names that nothing installed has are fine.
    pub(super) async fn exclude(&self) -> Result<(), TreeError> {
        let installed = self.installed()?;
        for excluded in &self.spec.wishes.excluded {
            let names: BTreeSet<&str> = installed
                .iter()
                .map(|(name, _, _)| name.as_str())
                .filter(|name| matches_glob(&excluded.value, name))
                .collect();
            if names.is_empty() {
                continue;
            }
            let purge = self.apt_get().arg("purge").args(&names).run().await;
            purge.map_err(|e| {
                let message = format!("`-{}` cannot be left out: {e}", excluded.value);
                TreeError::Complaints(vec![complaint(excluded.line, message, "")])
            })?;
        }
        Ok(())
    }

    /// Installs the packages of `packages:` steps and leaves their services off.
    pub(super) async fn install_extra(&mut self) -> Result<(), TreeError> {
        if self.spec.extra_packages.is_empty() {
            return Ok(());
        }
        self.say("installing packages of steps");
        let before = self.enabled();
        if let Err(error) = self.apt_install().await {
            self.install_once_more(error).await?;
        }
        self.disable_new(&before).await
    }

    async fn apt_install(&self) -> Result<(), HostError> {
        let install = self.apt_get().arg("install").args(&self.spec.extra_packages);
        // apt prints what it does on standard output; the build follows standard error.
        self.run_aloud(install).await.map(drop)
    }

    /// A package's script may fail by a race of its own: openstack-dashboard compresses its pages in
    /// threads that get into each other's way, about once in a hundred times (Debian's bug 1069097).
    /// apt goes on where it stopped, so one more try costs little; it is told.
    async fn install_once_more(&mut self, error: HostError) -> Result<(), TreeError> {
        let Some(first) = ScriptFailure::of(&error) else { return Err(error.into()) };
        self.say(&format!("installing {} once more", first.package));
        if let Err(error) = self.apt_install().await {
            let Some(failure) = ScriptFailure::of(&error) else { return Err(error.into()) };
            let failure = complaint(None, failure.to_string(), "two tries ended so");
            return Err(TreeError::Complaints(vec![failure]));
        }
        self.warnings.push(complaint(None, first.to_string(), "a second try went well"));
        Ok(())
    }

    /// apt of the host, working on the tree with mmdebstrap's configuration: the tree's own would
    /// need the tree to have a network configuration of the host.
    fn apt_get(&self) -> Cmd {
        let config = std::env::var_os("MMDEBSTRAP_APT_CONFIG").unwrap_or_default();
        let mut chroot = std::ffi::OsString::from("-oDPkg::Chroot-Directory=");
        chroot.push(self.root.path());
        Cmd::new("sh")
            .args(["-c", "exec apt-get \"$@\" >&2", "sh"])
            .env("APT_CONFIG", config)
            .args(["--yes", "--no-install-recommends"])
            .arg(chroot)
            .args(["-oDPkg::Use-Pty=false", "-oAPT::Sandbox::User=root"])
    }

    /// Every installed package.
    pub(super) fn installed(&self) -> Result<Vec<Key>, HostError> {
        let status = self.root.reader("var/lib/dpkg/status")?;
        let mut found = Vec::new();
        stanzas(status, |stanza| {
            if stanza.get("Status").is_some_and(|s| s == "install ok installed") {
                found.extend(key(stanza));
            }
        });
        Ok(found)
    }

    /// Leaves the list of packages, with digests from apt's signed lists.
    pub(super) fn record_packages(&self) -> Result<(), TreeError> {
        let installed = self.installed()?;
        let wanted: BTreeSet<&Key> = installed.iter().collect();
        let mut digests: BTreeMap<Key, Digest> = BTreeMap::new();
        for list in self.root.list("var/lib/apt/lists") {
            if !list.ends_with("_Packages") {
                continue;
            }
            stanzas(self.root.reader(&format!("var/lib/apt/lists/{list}"))?, |stanza| {
                let digest = stanza.get("SHA256").and_then(|d| d.parse().ok());
                if let (Some(key), Some(digest)) =
                    (key(stanza).filter(|k| wanted.contains(k)), digest)
                {
                    digests.insert(key, digest);
                }
            });
        }
        let mut packages: Vec<LockedPackage> = installed
            .into_iter()
            .map(|key| {
                let sha256 = digests.get(&key).copied();
                let (name, version, architecture) = key;
                LockedPackage { name, version, architecture, sha256 }
            })
            .collect();
        packages.sort();
        leave(self.spec, out::PACKAGES, &packages)?;
        Ok(())
    }
}

fn key(stanza: &BTreeMap<String, String>) -> Option<Key> {
    let field = |name: &str| stanza.get(name).cloned();
    Some((field("Package")?, field("Version")?, field("Architecture")?))
}

/// Calls `each` with the fields of every stanza that are of use here.
fn stanzas(input: impl Read, mut each: impl FnMut(&BTreeMap<String, String>)) {
    let mut stanza = BTreeMap::new();
    for line in BufReader::with_capacity(1 << 16, input).split(b'\n').map_while(Result::ok) {
        if line.is_empty() {
            each(&stanza);
            stanza.clear();
            continue;
        }
        let wanted: [&[u8]; 5] = [b"Package", b"Version", b"Architecture", b"SHA256", b"Status"];
        let Some(field) =
            wanted.iter().find(|w| line.starts_with(w) && line.get(w.len()) == Some(&b':'))
        else {
            continue;
        };
        let value = String::from_utf8_lossy(&line[field.len() + 1..]).trim().to_owned();
        stanza.insert(String::from_utf8_lossy(field).into_owned(), value);
    }
    if !stanza.is_empty() {
        each(&stanza);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn stanzas_are_told_apart() {
        let text = "Package: a\nVersion: 1\nArchitecture: all\nDescription: x\n Version: 9\n\nPackage: b\nVersion: 2\nArchitecture: amd64\n";
        let mut found = Vec::new();
        stanzas(text.as_bytes(), |s| found.extend(key(s)));
        let expected = [("a", "1", "all"), ("b", "2", "amd64")];
        assert_eq!(found, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    }
}
