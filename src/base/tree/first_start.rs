//! What packages leave behind that no image may hold, and what makes it in the guest.

use std::collections::BTreeSet;

use super::{Root, Tree, TreeError, complaint};

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
            for path in &first.sort {
                sort_keys(&self.root, path)?;
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

/// Puts the keys of a file of JSON in order; everything else of it stays.
fn sort_keys(root: &Root, path: &str) -> Result<(), TreeError> {
    let Some(bytes) = root.read_real(path)? else { return Ok(()) };
    let wrong = |e: serde_json::Error| {
        let help = "`sort:` in the base definition is for files of JSON";
        TreeError::Complaints(vec![complaint(None, format!("{path} cannot be sorted: {e}"), help)])
    };
    let mut value: serde_json::Value = serde_json::from_slice(&bytes).map_err(wrong)?;
    value.sort_all_objects();
    let text = serde_json::to_vec_pretty(&value).map_err(wrong)?;
    Ok(root.overwrite(path, &text)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn keys_come_in_order_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        root.write("a/m.json", br#"{"b": {"z": "<x>", "y": [3, 1]}, "a": null}"#, 0o640).unwrap();
        sort_keys(&root, "/a/m.json").unwrap();
        let sorted = "{\n  \"a\": null,\n  \"b\": {\n    \"y\": [\n      3,\n      1\n    ],\n    \"z\": \"<x>\"\n  }\n}";
        assert_eq!(root.read_text("a/m.json").unwrap(), sorted);
        let mode = std::fs::metadata(dir.path().join("a/m.json")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o640);
        sort_keys(&root, "/a/absent.json").unwrap();
        root.write("a/text", b"no JSON", 0o644).unwrap();
        assert!(sort_keys(&root, "a/text").unwrap_err().to_string().contains("a/text"));
    }
}
