//! Which recipe a path means, and what to say when it means none.

use std::path::{Component, Path, PathBuf};

use super::load::LoadError;
use super::near;
use crate::host::HostError;
use crate::host::foreign::{Folder, limits};

/// The file every recipe has.
const LAB_FILE: &str = "lab.yaml";

/// A recipe that is there.
#[derive(Debug)]
pub(super) struct Found {
    /// Its `lab.yaml`.
    pub file: PathBuf,
    /// Its folder: absolute, links followed.
    pub dir: PathBuf,
    /// Its folder as people would name it.
    name: PathBuf,
}

impl Found {
    /// The text of its `lab.yaml`: the file itself, or a link that stays in the folder.
    pub fn bytes(&self) -> Result<Vec<u8>, LoadError> {
        let folder = Folder::open(&self.dir).map(Folder::with_links);
        let read = folder.and_then(|folder| folder.bytes(LAB_FILE, limits::TEXT));
        read.map_err(|error| LoadError::Unreadable {
            path: self.file.clone(),
            reason: match error {
                HostError::File { source, .. } => source.to_string(),
                other => other.to_string(),
            },
        })
    }

    /// A file of the recipe as people would name it.
    pub fn shown(&self, file: &str) -> String {
        self.name.join(file).display().to_string()
    }

    /// As [`shown`](Self::shown), for a file that may be shared with other recipes: `real` is
    /// where it was found.
    pub fn shown_path(&self, file: &str, real: &Path) -> String {
        match real.starts_with(&self.dir) {
            true if self.dir.join(file).exists() => self.shown(file),
            _ => for_people(real).display().to_string(),
        }
    }
}

/// The recipe that `path` means: the folder, or its `lab.yaml`.
pub(super) fn recipe(path: &Path) -> Result<Found, LoadError> {
    let file = if path.is_dir() { path.join(LAB_FILE) } else { path.to_path_buf() };
    let is_recipe = file.is_file() && file.file_name().is_some_and(|name| name == LAB_FILE);
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let dir = folder.canonicalize().ok().filter(|_| is_recipe).ok_or_else(|| not_found(path))?;
    Ok(Found { name: for_people(folder), dir, file })
}

/// Relative to where labbuild was started, if below it; without `.` parts.
fn for_people(folder: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let folder = folder.strip_prefix(&here).unwrap_or(folder);
    folder.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

fn not_found(path: &Path) -> LoadError {
    let shown = path.display();
    let mut message = if path.is_dir() {
        format!("no recipe in {shown}: the folder holds no `{LAB_FILE}`")
    } else if path.is_file() {
        format!("{shown} is not a recipe: a recipe is a folder with a `{LAB_FILE}`, or that file")
    } else {
        format!("no recipe at {shown}: there is no such folder or file")
    };
    let near_by = recipes_around(path);
    if !near_by.is_empty() {
        message.push_str(&offer(path, &near_by));
    }
    LoadError::NotFound { path: path.to_path_buf(), message }
}

fn offer(path: &Path, near_by: &[PathBuf]) -> String {
    let last = |path: &Path| {
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let names: Vec<String> = near_by.iter().map(|folder| last(folder)).collect();
    let near = near::nearest(&last(path), names.iter().map(String::as_str));
    match near_by.iter().find(|folder| near.is_some_and(|near| last(folder) == near)) {
        Some(folder) => format!("\n = did you mean {}?", folder.display()),
        None => {
            let list: Vec<String> =
                near_by.iter().map(|folder| folder.display().to_string()).collect();
            format!("\n = recipes near by: {}", list.join(", "))
        }
    }
}

/// Folders with a `lab.yaml`: in the folder asked for, it, or beside it; at most ten.
fn recipes_around(path: &Path) -> Vec<PathBuf> {
    let existing = path.ancestors().find(|folder| folder.is_dir() && *folder != Path::new(""));
    let start = existing.unwrap_or(Path::new("."));
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in [Some(start), start.parent()].into_iter().flatten() {
        if !found.is_empty() {
            break;
        }
        found.extend(Some(folder.to_path_buf()).filter(|folder| folder.join(LAB_FILE).is_file()));
        let entries = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
        found.extend(entries.filter(|folder| folder.join(LAB_FILE).is_file()));
    }
    found.sort();
    found.truncate(10);
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn said(path: &Path) -> String {
        recipe(path).unwrap_err().to_string()
    }

    #[test]
    fn a_path_without_a_recipe_names_the_recipes_near_by() {
        let root = tempfile::tempdir().unwrap();
        let lab = root.path().join("recipes/two-node");
        std::fs::create_dir_all(&lab).unwrap();
        std::fs::write(lab.join(LAB_FILE), "").unwrap();
        std::fs::write(lab.join("10.yaml"), "").unwrap();
        let shown = lab.display().to_string();
        let mistyped = said(&root.path().join("recipes/two-nod"));
        assert!(mistyped.contains("there is no such folder"), "{mistyped}");
        assert!(mistyped.ends_with(&format!("did you mean {shown}?")), "{mistyped}");
        let folder = said(&root.path().join("recipes"));
        assert!(folder.contains("holds no `lab.yaml`"), "{folder}");
        assert!(folder.ends_with(&format!("recipes near by: {shown}")), "{folder}");
        let stage = said(&lab.join("10.yaml"));
        assert!(stage.contains("is not a recipe"), "{stage}");
        assert!(stage.contains(&shown), "{stage}");
        assert!(recipe(&lab).is_ok() && recipe(&lab.join(LAB_FILE)).is_ok());
    }
}
