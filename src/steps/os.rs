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

const FILES: [&str; 2] = [include_str!("os/centos-7.yaml"), include_str!("os/debian-12.yaml")];

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

    /// Runs a script of the package manager with stand-ins for rpm and yum, which know the
    /// packages that are the lines of a file.
    fn on_centos(script: &str, installed: &str, packages: &[&str]) -> (bool, String, String) {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("installed"), installed).unwrap();
        let tools = [
            ("rpm", r#"while [ "$1" != -- ]; do shift; done; grep -qxF "$2" "$ROOT/installed""#),
            (
                "yum",
                r#"echo "yum $*"
                while [ "$1" != -- ]; do shift; done; shift
                for name; do [ "$name" = no-such ] || echo "$name" >> "$ROOT/installed"; done"#,
            ),
        ];
        for (name, text) in tools {
            let file = dir.path().join(name);
            std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:/usr/bin:/bin", dir.path().display());
        let run = std::process::Command::new("bash")
            .args(["-euo", "pipefail", "-c", script, "script"])
            .args(packages)
            .env("PATH", path)
            .env("ROOT", dir.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (run.status.success(), text(&run.stdout), text(&run.stderr))
    }

    #[test]
    fn centos_installs_by_yum_what_is_missing_and_says_what_it_did_not_find() {
        let manager = &GuestOs::named("centos-7").unwrap().packages;
        let (ok, missing, _) = on_centos(&manager.missing, "cronie\n", &["cronie", "httpd", "b"]);
        assert!(ok);
        assert_eq!(missing, "httpd\nb\n");
        let (ok, said, _) = on_centos(&manager.install, "", &["httpd", "mod_wsgi"]);
        assert!(ok);
        assert_eq!(said, "yum -q -y install -- httpd mod_wsgi\n");
        let (ok, _, said) = on_centos(&manager.install, "", &["httpd", "no-such"]);
        assert!(!ok);
        assert_eq!(said, "no-such is in none of the repositories\n");
    }

    #[test]
    fn units_go_by_their_local_names() {
        let debian = GuestOs::named("debian-12").unwrap();
        assert_eq!(debian.unit("httpd.service"), "apache2");
        assert_eq!(debian.unit("mariadb"), "mariadb");
        assert_eq!(debian.unit("ssh.socket"), "ssh.socket");
        let centos = GuestOs::named("centos-7").unwrap();
        assert_eq!(centos.unit("nova-api.service"), "openstack-nova-api");
        assert_eq!(centos.unit("httpd.service"), "httpd.service");
        let error = GuestOs::named("beos").unwrap_err().to_string();
        assert_eq!(error, "no guest system is called `beos`; known are: centos-7, debian-12");
    }
}
