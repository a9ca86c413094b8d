//! What must not be in an image: traces of the build, and whatever differs from one to the next.

use super::{Tree, TreeError, bytecode};

/// Files, and everything in folders, that the build leaves behind.
const TRACES: &[&str] = &[
    "/etc/apt/apt.conf.d/99mmdebstrap",
    "/etc/apt/sources.list.d/0*",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/root/.bash_history",
    "/var/cache/apt/*.bin",
    "/var/cache/debconf/*-old",
    "/var/cache/ldconfig/aux-cache",
    "/var/lib/dbus/machine-id",
    "/var/lib/dpkg/*-old",
    "/var/lib/systemd/credential.secret",
    "/var/lib/systemd/random-seed",
    "/var/log/alternatives.log",
    "/var/log/apt/*",
    "/var/log/bootstrap.log",
    "/var/log/dpkg.log",
    "/var/log/fontconfig.log",
    "/var/log/journal/*",
    "/var/tmp/*",
];

/// Guests install what they are told to, as the build did.
const APT_CONF: &str = "APT::Install-Recommends \"false\";\n";

impl Tree<'_> {
    pub(super) fn cleanup(&self) -> Result<(), TreeError> {
        for pattern in TRACES {
            self.root.remove_matching(pattern)?;
        }
        bytecode::go_by_date(&self.root, self.spec.epoch)?;
        self.root.write("etc/apt/apt.conf.d/90no-recommends", APT_CONF.as_bytes(), 0o644)?;
        let machine_id = format!("{}\n", self.spec.machine_id);
        self.root.write("etc/machine-id", machine_id.as_bytes(), 0o444)?;
        Ok(())
    }
}
