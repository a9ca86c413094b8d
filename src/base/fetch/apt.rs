//! apt of the host, working on a root folder of its own inside a cage.

use std::path::{Path, PathBuf};

use super::{Ask, names};
use crate::host::cage::{IN, WORK};
use crate::host::{Cmd, HostError, files};

/// apt's root folder and configuration.
pub struct Apt {
    root: PathBuf,
    config: PathBuf,
}

impl Apt {
    /// Makes the folder; `sources` are lines of a sources.list.
    pub fn new(ask: &Ask, sources: &str) -> Result<Self, HostError> {
        let root = Path::new(WORK).join("apt");
        let apt = Apt { config: Path::new(WORK).join("apt.conf"), root };
        for folder in ["etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial"] {
            files::create_dir(&apt.root.join(folder))?;
        }
        files::create_dir(&apt.root.join("var/cache/apt/archives/partial"))?;
        files::write_atomic(&apt.root.join("etc/apt/sources.list"), sources.as_bytes())?;
        files::write_atomic(&apt.config, configuration(ask, &apt.root).as_bytes())?;
        apt.set_installed("")?;
        Ok(apt)
    }

    /// What apt takes for installed: the text of dpkg's status.
    pub fn set_installed(&self, status: &str) -> Result<(), HostError> {
        files::write_atomic(&self.root.join("var/lib/dpkg/status"), status.as_bytes())
    }

    /// Folder of the lists.
    pub fn lists(&self) -> PathBuf {
        self.root.join("var/lib/apt/lists")
    }

    /// apt-get, or another of apt's programs.
    pub fn command(&self, program: &str) -> Cmd {
        Cmd::new(program).env("APT_CONFIG", &self.config)
    }
}

/// As mmdebstrap configures apt, so that both resolve to the same packages.
fn configuration(ask: &Ask, root: &Path) -> String {
    let mut text = format!(
        "Apt::Architecture \"{0}\";\nApt::Architectures \"{0}\";\nDir \"{1}\";\n\
         Dir::State::Status \"{1}/var/lib/dpkg/status\";\n\
         Dir::Etc::Trusted \"/etc/apt/trusted.gpg\";\n\
         Dir::Etc::TrustedParts \"/etc/apt/trusted.gpg.d\";\n\
         pkgCacheGen::ForceEssential \",\";\nApt::Install-Recommends \"false\";\n\
         Acquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\n\
         Acquire::AllowInsecureRepositories \"false\";\nAcquire::AllowWeakRepositories \"false\";\n",
        ask.architecture,
        root.display()
    );
    for setting in &ask.settings {
        text.push_str(setting.trim_end_matches(';'));
        text.push_str(";\n");
    }
    text
}

/// What was handed in.
pub fn ask() -> Result<Ask, crate::base::BaseError> {
    crate::base::spec::read_json(&Path::new(IN).join(names::ASK))
}
