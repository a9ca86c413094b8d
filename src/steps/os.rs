//! What differs from one guest system to the next, as data: one file per system under `os/`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

/// How one guest system installs packages, names its services and reaches its database.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GuestOs {
    /// Its name, e.g. `debian-12`.
    pub name: String,
    /// Its package manager.
    pub packages: PackageManager,
    /// Units by the names they have on other systems.
    pub services: BTreeMap<String, String>,
    /// Clients for MariaDB and MySQL, best first.
    pub sql_clients: Vec<String>,
}

/// Scripts of a package manager; the package names are their arguments.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageManager {
    /// Prints the names that are not installed, one per line.
    pub missing: String,
    /// Installs, starts nothing, leaves new services disabled.
    pub install: String,
}

/// A guest system that nobody described.
#[derive(Debug, thiserror::Error)]
#[error("no guest system is called `{name}`; known are: {known}")]
pub struct UnknownOs {
    name: String,
    known: String,
}

const FILES: [&str; 1] = [include_str!("os/debian-12.yaml")];

impl GuestOs {
    /// Every system that labbuild knows.
    pub fn all() -> &'static [GuestOs] {
        static ALL: OnceLock<Vec<GuestOs>> = OnceLock::new();
        ALL.get_or_init(|| {
            let read = |text: &&str| serde_saphyr::from_str(text);
            FILES.iter().map(read).collect::<Result<_, _>>().expect("a test reads every file")
        })
    }

    /// The system with this name.
    pub fn named(name: &str) -> Result<&'static GuestOs, UnknownOs> {
        Self::all().iter().find(|os| os.name == name).ok_or_else(|| {
            let known: Vec<&str> = Self::all().iter().map(|os| os.name.as_str()).collect();
            UnknownOs { name: name.to_owned(), known: known.join(", ") }
        })
    }

    /// What this system calls a unit; `.service` may be there or not.
    pub fn unit<'a>(&'a self, name: &'a str) -> &'a str {
        let short = name.strip_suffix(".service").unwrap_or(name);
        self.services.get(short).map_or(name, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_file_is_read_and_names_are_unique() {
        let mut names: Vec<&str> = GuestOs::all().iter().map(|os| os.name.as_str()).collect();
        names.dedup();
        assert_eq!(names.len(), FILES.len());
    }

    #[test]
    fn units_go_by_their_local_names() {
        let debian = GuestOs::named("debian-12").unwrap();
        assert_eq!(debian.unit("httpd.service"), "apache2");
        assert_eq!(debian.unit("mariadb"), "mariadb");
        assert_eq!(debian.unit("ssh.socket"), "ssh.socket");
        let error = GuestOs::named("beos").unwrap_err().to_string();
        assert_eq!(error, "no guest system is called `beos`; known are: debian-12");
    }
}
