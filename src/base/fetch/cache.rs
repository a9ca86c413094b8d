//! Kept packages, shared by all builds: each under the SHA-256 that a signed index gives it, checked on
//! the way in and each time it is used. Nothing that ran comes near it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Wanted;
use crate::base::BaseError;
use crate::digest::Digest;
use crate::host::{HostError, files};

/// Where a package is kept.
pub fn path(kept: &Path, wanted: &Wanted) -> PathBuf {
    kept.join(format!("{}-{}", wanted.sha256, wanted.file))
}

/// Those of `wanted` that are not kept, or not as they should be; the others count as new.
pub fn missing(kept: &Path, wanted: &[Wanted]) -> Result<Vec<Wanted>, BaseError> {
    files::create_dir(kept)?;
    let absent = wanted.iter().filter(|wanted| !is_kept(&path(kept, wanted), wanted));
    Ok(absent.cloned().collect())
}

fn is_kept(path: &Path, wanted: &Wanted) -> bool {
    let Ok(file) = File::options().read(true).append(true).open(path) else { return false };
    let whole = file.metadata().is_ok_and(|meta| meta.is_file() && meta.len() == wanted.size);
    let right = whole && Digest::of_reader(&file).is_ok_and(|found| found == wanted.sha256);
    if right {
        let _ = file.set_modified(SystemTime::now());
    } else {
        // Damaged: a fresh download takes its place.
        let _ = fs::remove_file(path);
    }
    right
}

/// Keeps a package that was downloaded, if it is the one that the index names.
pub fn keep(kept: &Path, wanted: &Wanted, from: &Path) -> Result<(), BaseError> {
    let file = File::open(from).map_err(HostError::file("open", from))?;
    let found = Digest::of_reader(file).map_err(HostError::file("read", from))?;
    if found != wanted.sha256 {
        let name = wanted.uri.clone();
        return Err(BaseError::Differs { name, expected: wanted.sha256, found });
    }
    // Every cage reads it by another name of the same file, with ids that are nobody's here.
    fs::set_permissions(from, fs::Permissions::from_mode(0o644))
        .map_err(HostError::file("set the mode of", from))?;
    Ok(files::rename_durably(from, &path(kept, wanted))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wanted(name: &str, bytes: &[u8]) -> Wanted {
        let (size, sha256) = (bytes.len() as u64, Digest::of(bytes));
        Wanted {
            file: format!("{name}_1_amd64.deb"),
            uri: format!("http://x/{name}"),
            size,
            sha256,
        }
    }

    #[test]
    fn only_what_the_index_names_is_kept_and_only_while_it_is_that() {
        let temp = tempfile::tempdir().unwrap();
        let kept = temp.path().join("packages");
        let (cron, nano) = (wanted("cron", b"cron"), wanted("nano", b"nano"));
        let both = [cron.clone(), nano.clone()];
        assert_eq!(missing(&kept, &both).unwrap(), both);
        let download = temp.path().join("download");
        fs::write(&download, "cron").unwrap();
        keep(&kept, &cron, &download).unwrap();
        // The same size, as a mirror or a script would have it.
        fs::write(&download, "xano").unwrap();
        let error = keep(&kept, &nano, &download).unwrap_err().to_string();
        assert!(error.contains("http://x/nano"), "{error}");
        assert_eq!(missing(&kept, &both).unwrap(), [nano]);
        fs::write(path(&kept, &cron), "crom").unwrap();
        assert_eq!(missing(&kept, &both).unwrap(), both);
        assert!(!path(&kept, &cron).exists());
    }
}
