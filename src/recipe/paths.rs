//! Files that a recipe names: inside its folder, or beside it in a folder of a known name.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use super::near;

/// How far above the recipe's folder shared folders are looked for.
const ANCESTORS: usize = 3;

/// The folder of stages, and parts of them, that recipes share.
const STAGES: &str = "stages";

/// Looks for `file` in `dir`, in `dir/subfolder`, and in `subfolder` of up to three folders above.
///
/// Kickstart templates (`kickstart`) and base definitions (`images`) are found so. A name that is
/// absolute or holds `..` is never found.
pub fn find_beside(dir: &Path, subfolder: &str, file: &str) -> Option<PathBuf> {
    if !is_plain(file) {
        return None;
    }
    let mut folders = folders(&dir.canonicalize().ok()?, subfolder).into_iter();
    folders.find_map(|folder| Some(folder.join(file)).filter(|path| path.is_file()))
}

/// Where a file is looked for, nearest first.
fn folders(dir: &Path, subfolder: &str) -> Vec<PathBuf> {
    let above = dir.ancestors().take(ANCESTORS + 1).map(|folder| folder.join(subfolder));
    std::iter::once(dir.to_path_buf()).chain(above).collect()
}

/// Whether a path is relative and goes only downwards.
fn is_plain(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Why a path of a recipe leads to no file of its folder: message and remedy.
pub(super) type Astray = (String, String);

/// The stage file that `path` names, or the `what` else that stages consist of: of the recipe's
/// folder `dir`, or one that recipes share, looked for as [`find_beside`] does; links followed, and
/// never out of the folder it was found in.
pub(super) fn shared(dir: &Path, path: &str, what: &str) -> Result<PathBuf, Astray> {
    let folders = folders(dir, STAGES);
    let is_there =
        |folder: &&PathBuf| is_plain(path) && folder.join(path).symlink_metadata().is_ok();
    match folders.iter().find(is_there) {
        Some(folder) => inside(folder, path),
        None if !is_plain(path) => inside(dir, path),
        None => Err(nowhere(&folders, path, what)),
    }
}

fn nowhere(folders: &[PathBuf], path: &str, what: &str) -> Astray {
    let kind = Some(OsStr::new("yaml"));
    let below = Path::new(path).parent().unwrap_or(Path::new(""));
    let mut names: Vec<String> = folders
        .iter()
        .flat_map(|folder| file_names(&folder.join(below), kind))
        .map(|name| below.join(name).display().to_string())
        .collect();
    names.retain(|name| name != "lab.yaml");
    let looked =
        format!("looked beside lab.yaml, and in `{STAGES}` there and up to three folders above");
    let near = near::nearest(path, names.iter().map(String::as_str));
    let help = near.map_or(looked.clone(), |near| format!("did you mean `{near}`? ({looked})"));
    (format!("there is no {what} `{path}`"), help)
}

/// The file that `path` names inside `dir`, links followed; it must be a regular file there.
pub(super) fn inside(dir: &Path, path: &str) -> Result<PathBuf, Astray> {
    let leaves = || {
        let message = format!("`{path}` leads out of the recipe's folder");
        (message, "a recipe uses files of its own folder only".to_owned())
    };
    if !is_plain(path) {
        return Err(leaves());
    }
    let real = dir.join(path).canonicalize().map_err(|error| no_file(dir, path, &error))?;
    let folder = dir.canonicalize().map_err(|error| no_file(dir, path, &error))?;
    if !real.starts_with(&folder) {
        return Err(leaves());
    }
    match real.is_file() {
        true => Ok(real),
        false => Err((format!("`{path}` is not a regular file"), "name one file".to_owned())),
    }
}

fn no_file(dir: &Path, path: &str, error: &std::io::Error) -> Astray {
    if error.kind() != std::io::ErrorKind::NotFound {
        return (format!("`{path}` cannot be read"), error.to_string());
    }
    let message = format!("there is no file `{path}` in the recipe's folder");
    let folder = dir.join(path).parent().map(Path::to_path_buf).unwrap_or_default();
    let wanted = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path);
    let names = file_names(&folder, Path::new(wanted).extension());
    let help = near::suggestion(wanted, "it holds", names.iter().map(String::as_str));
    (message, help.unwrap_or_else(|| "it holds no such files".to_owned()))
}

/// Names of the plain files in a folder, of one kind if that is given; at most a dozen.
fn file_names(folder: &Path, extension: Option<&OsStr>) -> Vec<String> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().is_file())
        .filter(|entry| extension.is_none() || entry.path().extension() == extension)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names.truncate(12);
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    #[test]
    fn shared_files_are_found_nearest_first_and_no_further_than_three_folders_up() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let dir = root.join("a/b/c/lab");
        fs::create_dir_all(dir.join("kickstart")).unwrap();
        let put = |path: &str| {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), "").unwrap();
        };
        let find = || find_beside(&dir, "kickstart", "x.ks");
        put("kickstart/x.ks");
        assert_eq!(find(), None);
        for nearer in ["a/kickstart/x.ks", "a/b/c/lab/kickstart/x.ks", "a/b/c/lab/x.ks"] {
            put(nearer);
            assert_eq!(find(), Some(root.join(nearer)));
        }
        assert_eq!(find_beside(&dir, "kickstart", "../x.ks"), None);
        assert_eq!(find_beside(&dir, "kickstart", "/etc/hostname"), None);
    }

    #[test]
    fn stages_are_the_recipes_own_or_shared() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let dir = root.join("recipes/lab");
        for folder in ["recipes/lab/stages", "recipes/stages", "stages"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::write(root.join("secret.yaml"), "").unwrap();
        std::os::unix::fs::symlink("../../secret.yaml", root.join("recipes/stages/out.yaml"))
            .unwrap();
        let stage = |path: &str| shared(&dir, path, "stage file");
        let nearer = ["stages", "recipes/stages", "recipes/lab/stages", "recipes/lab"];
        for folder in nearer {
            let file = root.join(folder).join("10-system.yaml");
            fs::write(&file, "").unwrap();
            assert_eq!(stage("10-system.yaml").unwrap(), file);
        }
        let (message, help) = stage("10-sytem.yaml").unwrap_err();
        assert_eq!(message, "there is no stage file `10-sytem.yaml`");
        assert!(help.starts_with("did you mean `10-system.yaml`? (looked beside"), "{help}");
        for path in ["out.yaml", "../../secret.yaml", "stages/../../../secret.yaml", "/etc/hosts"] {
            assert!(stage(path).unwrap_err().0.contains("leads out"), "{path}");
        }
    }

    #[test]
    fn links_may_not_lead_out() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("lab");
        fs::create_dir(&dir).unwrap();
        fs::write(root.path().join("secret"), "").unwrap();
        fs::write(dir.join("file"), "").unwrap();
        std::os::unix::fs::symlink("../secret", dir.join("out")).unwrap();
        std::os::unix::fs::symlink("file", dir.join("in")).unwrap();
        assert!(inside(&dir, "out").unwrap_err().0.contains("leads out"));
        assert!(inside(&dir, "in").is_ok());
        assert!(inside(&dir, "../secret").unwrap_err().0.contains("leads out"));
        assert!(inside(&dir, "fiel").unwrap_err().1.contains("did you mean `file`?"));
    }
}
