//! Which units start at boot: those that a package switched on by itself, and those that the
//! kickstart and the definition name.

use std::collections::BTreeSet;

use super::{Tree, TreeError, complaint};

const SYSTEM: &str = "etc/systemd/system";

/// What starts at boot: links below `/etc/systemd/system`, and names of SysV scripts.
#[derive(Debug, PartialEq, Eq)]
pub struct Enabled {
    links: BTreeSet<String>,
    scripts: BTreeSet<String>,
}

impl Tree<'_> {
    /// What starts at boot now.
    pub(super) fn enabled(&self) -> Enabled {
        Enabled { links: self.unit_links(), scripts: self.script_links() }
    }

    fn unit_links(&self) -> BTreeSet<String> {
        let mut links = BTreeSet::new();
        for name in self.root.list(SYSTEM) {
            let path = format!("{SYSTEM}/{name}");
            if name.ends_with(".wants") || name.ends_with(".requires") {
                links.extend(self.root.list(&path).into_iter().map(|l| format!("{path}/{l}")));
            } else if self.root.link_target(&path).is_some() {
                links.insert(path);
            }
        }
        links
    }

    fn script_links(&self) -> BTreeSet<String> {
        let levels = ["S", "2", "3", "4", "5"].into_iter();
        let links = levels.flat_map(|level| self.root.list(&format!("etc/rc{level}.d")));
        links.filter_map(|l| Some(l.strip_prefix('S')?.get(2..)?.to_owned())).collect()
    }

    /// Switches off what starts at boot now and did not before.
    pub(super) async fn disable_new(&self, before: &Enabled) -> Result<(), TreeError> {
        let now = self.enabled();
        let mut units = BTreeSet::new();
        for link in now.links.difference(&before.links) {
            units.extend(self.unit_of(link));
        }
        if !units.is_empty() {
            self.chroot("systemctl").args(["--quiet", "disable", "--"]).args(&units).run().await?;
        }
        // What systemctl leaves: aliases of units without an [Install] section of their own.
        for link in self.unit_links().difference(&before.links) {
            self.root.remove(link)?;
        }
        for script in self.script_links().difference(&before.scripts) {
            self.chroot("update-rc.d").args([script.as_str(), "disable"]).run().await?;
        }
        Ok(())
    }

    /// The unit that a link switches on: the name it points to, which an alias hides.
    fn unit_of(&self, link: &str) -> Option<String> {
        let target = self.root.link_target(link)?;
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let (linked, target) = (name(link), name(&target));
        // An instance (getty@tty1.service) points to its template; masked units to /dev/null.
        let instance = linked.contains('@') && target.contains("@.");
        match target.as_str() {
            "null" => None,
            _ if instance => Some(linked),
            _ => Some(target),
        }
    }

    /// The definition's and the kickstart's own words on services, all complaints at once.
    pub(super) async fn services(&mut self) -> Result<(), TreeError> {
        let unwanted: Vec<&String> =
            self.spec.disable.iter().filter(|u| self.unit_exists(u)).collect();
        if !unwanted.is_empty() {
            self.chroot("systemctl")
                .args(["--quiet", "disable", "--"])
                .args(unwanted)
                .run()
                .await?;
        }
        let mut complaints = Vec::new();
        for wish in &self.spec.wishes.services {
            let unit = if wish.value.unit.contains('.') {
                wish.value.unit.clone()
            } else {
                format!("{}.service", wish.value.unit)
            };
            if !self.unit_exists(&unit) {
                // A service that is not there is as disabled as can be.
                if wish.value.enabled {
                    let message =
                        format!("no installed package brings the service `{}`", wish.value.unit);
                    complaints.push(complaint(
                        wish.line,
                        message,
                        "a line under %packages, or a `packages:` step, installs it",
                    ));
                }
                continue;
            }
            let verb = if wish.value.enabled { "enable" } else { "disable" };
            self.chroot("systemctl").args(["--quiet", verb, "--", &unit]).run().await?;
        }
        if complaints.is_empty() { Ok(()) } else { Err(TreeError::Complaints(complaints)) }
    }

    pub(super) fn unit_exists(&self, unit: &str) -> bool {
        let template = unit
            .split_once('@')
            .and_then(|(name, rest)| Some(format!("{name}@.{}", rest.rsplit_once('.')?.1)));
        let names = [Some(unit.to_owned()), template];
        let dirs = ["etc/systemd/system", "lib/systemd/system", "usr/lib/systemd/system"];
        let as_unit = names
            .into_iter()
            .flatten()
            .any(|n| dirs.iter().any(|d| self.root.exists(&format!("{d}/{n}"))));
        let script = unit.strip_suffix(".service").unwrap_or(unit);
        as_unit || self.root.exists(&format!("etc/init.d/{script}"))
    }
}
