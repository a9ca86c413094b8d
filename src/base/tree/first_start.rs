//! What packages leave behind that no image may hold, and what makes it in the guest.

use std::collections::BTreeSet;

use super::{Tree, TreeError};

impl Tree<'_> {
    pub(super) async fn first_starts(&self) -> Result<(), TreeError> {
        let installed = self.installed()?;
        let installed: BTreeSet<&str> =
            installed.iter().map(|(name, _, _)| name.as_str()).collect();
        for (package, first) in &self.spec.first_start {
            if !installed.contains(package.as_str()) {
                continue;
            }
            for pattern in &first.remove {
                self.root.remove_matching(pattern)?;
            }
            for file in &first.files {
                let mode = file.mode.as_deref().and_then(|m| u32::from_str_radix(m, 8).ok());
                self.root.write(&file.path, file.content.as_bytes(), mode.unwrap_or(0o644))?;
            }
            if !first.enable.is_empty() {
                let enable = self.chroot("systemctl").args(["--quiet", "enable", "--"]);
                enable.args(&first.enable).run().await?;
            }
        }
        Ok(())
    }
}
