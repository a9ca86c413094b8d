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
/// absolute or holds `..` is never found. A file that is found, and that links lead out of its
/// folder for, is an error.
pub fn find_beside(dir: &Path, subfolder: &str, file: &str) -> Result<Option<PathBuf>, Astray> {
    let Some(dir) = dir.canonicalize().ok().filter(|_| is_plain(file)) else { return Ok(None) };
    let mut folders = folders(&dir, subfolder).into_iter();
    match folders.find(|folder| folder.join(file).is_file()) {
        Some(folder) if stays(&folder, file) => Ok(Some(folder.join(file))),
        Some(_) => Err(linked_away(file)),
        None => Ok(None),
    }
}

/// Whether a file of `folder` lies there when links are followed: those to the file, and one that
/// stands for the folder and would lead out of the one above it.
fn stays(folder: &Path, file: &str) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    let (Some(real), Some(bounds)) = (real(&folder.join(file)), real(folder)) else { return false };
    real.starts_with(bounds) && folder.parent().is_none_or(|above| real.starts_with(above))
}

fn linked_away(file: &str) -> Astray {
    let message = format!("a link leads from `{file}` out of the folder it was found in");
    (message, "put the file itself there; what is elsewhere is not the recipe's".to_owned())
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
pub type Astray = (String, String);

/// The stage file that `path` names, or the `what` else that stages consist of: of the recipe's
/// folder `dir`, or one that recipes share, looked for as [`find_beside`] does; links followed, and
/// never out of the folder it was found in.
pub(super) fn shared(dir: &Path, path: &str, what: &str) -> Result<PathBuf, Astray> {
    let folders = folders(dir, STAGES);
    let is_there =
        |folder: &&PathBuf| is_plain(path) && folder.join(path).symlink_metadata().is_ok();
    match folders.iter().find(is_there) {
        Some(folder) => match inside(folder, path)? {
            real if stays(folder, path) => Ok(real),
            _ => Err(linked_away(path)),
        },
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
        let find = || find_beside(&dir, "kickstart", "x.ks").unwrap();
        put("kickstart/x.ks");
        assert_eq!(find(), None);
        for nearer in ["a/kickstart/x.ks", "a/b/c/lab/kickstart/x.ks", "a/b/c/lab/x.ks"] {
            put(nearer);
            assert_eq!(find(), Some(root.join(nearer)));
        }
        assert_eq!(find_beside(&dir, "kickstart", "../x.ks"), Ok(None));
        assert_eq!(find_beside(&dir, "kickstart", "/etc/hostname"), Ok(None));
    }

    /// A recipe's folder, with a private file two folders above it.
    fn near_a_secret() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let top = root.path().canonicalize().unwrap();
        let dir = top.join("repository/lab");
        fs::create_dir_all(&dir).unwrap();
        fs::create_dir(top.join("private")).unwrap();
        fs::write(top.join("private/secret"), "").unwrap();
        (root, dir)
    }

    fn link(to: &str, at: PathBuf) {
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(to, at).unwrap();
    }

    #[test]
    fn what_is_found_beside_a_recipe_is_not_linked_from_elsewhere() {
        let (_root, dir) = near_a_secret();
        let above = dir.parent().unwrap();
        link("../../private/secret", dir.join("own.ks"));
        link("../../../private/secret", dir.join("kickstart/deep.ks"));
        link("../../../private", dir.join("kickstart/folder"));
        link("../../private/secret", above.join("kickstart/shared.ks"));
        link("../lab.yaml", dir.join("kickstart/beside.ks"));
        fs::write(dir.join("lab.yaml"), "").unwrap();
        for file in ["own.ks", "deep.ks", "folder/secret", "shared.ks", "beside.ks"] {
            let (message, _) = find_beside(&dir, "kickstart", file).unwrap_err();
            assert!(message.contains(file) && message.contains("leads"), "{file}: {message}");
        }
    }

    #[test]
    fn links_within_a_folder_are_fine() {
        let (_root, dir) = near_a_secret();
        link("parts/real.ks", dir.join("kickstart/in.ks"));
        link("kickstart", dir.join("images"));
        fs::create_dir(dir.join("kickstart/parts")).unwrap();
        fs::write(dir.join("kickstart/parts/real.ks"), "").unwrap();
        for subfolder in ["kickstart", "images"] {
            let found = find_beside(&dir, subfolder, "in.ks").unwrap();
            assert_eq!(found, Some(dir.join(subfolder).join("in.ks")));
        }
    }

    #[test]
    fn a_folder_that_is_a_link_leads_out_just_as_a_file_does() {
        let (_root, dir) = near_a_secret();
        link("../../private", dir.join("kickstart"));
        link("../../private", dir.join("stages"));
        assert!(find_beside(&dir, "kickstart", "secret").unwrap_err().0.contains("`secret`"));
        assert!(shared(&dir, "secret", "stage file").unwrap_err().0.contains("`secret`"));
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
