//! Fixed files, time zone and locales.

use super::super::spec::Lined;
use super::{Complaint, Tree, TreeError, complaint};

impl Tree<'_> {
    pub(super) async fn system(&mut self) -> Result<(), TreeError> {
        for file in &self.spec.files {
            self.root.write(&file.path, file.content.as_bytes(), file.mode)?;
        }
        let mut complaints = Vec::new();
        if let Some(zone) = &self.spec.wishes.timezone {
            complaints.extend(self.timezone(zone)?);
        }
        complaints.extend(self.locales().await?);
        if complaints.is_empty() { Ok(()) } else { Err(TreeError::Complaints(complaints)) }
    }

    fn timezone(&self, zone: &Lined<String>) -> Result<Option<Complaint>, TreeError> {
        let Lined { line, value } = zone;
        let file = format!("/usr/share/zoneinfo/{value}");
        if !self.root.exists(&file) || self.root.is_real_dir(&file) {
            let message = format!("this system knows no time zone `{value}`");
            return Ok(Some(complaint(*line, message, "e.g. `timezone Europe/Paris --utc`")));
        }
        self.root.symlink(&file, "etc/localtime")?;
        self.root.write("etc/timezone", format!("{value}\n").as_bytes(), 0o644)?;
        let clock = if self.spec.wishes.local_clock { "LOCAL" } else { "UTC" };
        self.root.write("etc/adjtime", format!("0.0 0 0.0\n0\n{clock}\n").as_bytes(), 0o644)?;
        Ok(None)
    }

    async fn locales(&self) -> Result<Vec<Complaint>, TreeError> {
        let supported = self.root.read_text("usr/share/i18n/SUPPORTED")?;
        let mut lines = Vec::new();
        let mut complaints = Vec::new();
        for Lined { line, value } in &self.spec.wishes.locales {
            if matches!(value.as_str(), "C" | "POSIX" | "C.UTF-8" | "C.utf8") {
                continue;
            }
            match supported.lines().find(|s| same_locale(s, value)) {
                Some(entry) => lines.push(entry.to_owned()),
                None => complaints.push(complaint(
                    *line,
                    format!("this system knows no locale `{value}`"),
                    "e.g. `lang en_US.UTF-8`",
                )),
            }
        }
        lines.sort();
        lines.dedup();
        if !lines.is_empty() && complaints.is_empty() {
            self.say("making locales");
            self.root.write("etc/locale.gen", (lines.join("\n") + "\n").as_bytes(), 0o644)?;
            self.chroot("locale-gen").run().await?;
        }
        Ok(complaints)
    }
}

/// Whether a line of SUPPORTED ("en_US.UTF-8 UTF-8") is for this locale, however it is spelt.
fn same_locale(entry: &str, wanted: &str) -> bool {
    let plain = |t: &str| t.replace('-', "").to_ascii_lowercase();
    let name = entry.split_whitespace().next().unwrap_or_default();
    plain(name) == plain(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales_are_compared_without_their_spelling() {
        assert!(same_locale("en_US.UTF-8 UTF-8", "en_US.utf8"));
        assert!(!same_locale("en_US ISO-8859-1", "en_US.UTF-8"));
    }
}
