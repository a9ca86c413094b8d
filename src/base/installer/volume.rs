//! The volume an installer reads its answers from: a small ext4 file system with one file, found
//! by its label. Made without root or a mount, and the same every time.
//!
//! Answers hold hashes of passwords: nobody but this user may read them, or what they are made from.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::driver::Volume;
use crate::base::scratch::tied;
use crate::base::{BaseError, image};
use crate::host::{HostError, files};

/// Larger than any answers.
const SIZE: u64 = 4 << 20;

/// Of the file system; nothing depends on it being another one each time.
const UUID: &str = "0e3d7a52-6a5c-4c0a-9a2b-6f656d647276";

/// Features that kernels of ten years ago mount without a question; no journal.
const FEATURES: &str = "none,extent,filetype,sparse_super,large_file";

/// Writes the volume into `dir`; gives back its place.
pub(super) async fn write(volume: &Volume, text: &str, dir: &Path) -> Result<PathBuf, BaseError> {
    image::check_tools().await?;
    let tar = dir.join("answers.tar");
    let path = dir.join("answers.img");
    pack(&volume.file, text, private(&tar)?).map_err(HostError::file("write", &tar))?;
    private(&path)?.set_len(SIZE).map_err(HostError::file("grow", &path))?;
    let extended = format!("hash_seed={UUID},root_owner=0:0,lazy_itable_init=0");
    tied("mke2fs")
        // Not the host's own settings.
        .env("MKE2FS_CONFIG", "/dev/null")
        .env("SOURCE_DATE_EPOCH", "0")
        .args(["-q", "-F", "-t", "ext4", "-O", FEATURES, "-b", "1024", "-I", "256"])
        .args(["-N", "32", "-m", "0", "-U", UUID, "-L", &volume.label, "-E", &extended, "-d"])
        .arg(&tar)
        .arg(&path)
        .run()
        .await?;
    files::remove(&tar)?;
    Ok(path)
}

/// A new file that only this user may read.
fn private(path: &Path) -> Result<File, HostError> {
    files::remove(path)?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(HostError::file("create", path))
}

fn pack(name: &str, text: &str, file: File) -> std::io::Result<()> {
    let mut tar = tar::Builder::new(file);
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o600);
    header.set_mtime(0);
    tar.append_data(&mut header, name, text.as_bytes())?;
    tar.into_inner().map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::base::installer::Driver;
    use crate::host::Cmd;

    const TEXT: &str = "rootpw --iscrypted $6$salt$hash\n%post\necho \"ü\"\n%end\n";

    async fn written(dir: &Path) -> PathBuf {
        let driver = Driver::named("anaconda").unwrap();
        write(&driver.volume, TEXT, dir).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_read_back_is_the_kickstart() {
        let dir = tempfile::tempdir().unwrap();
        let volume = written(dir.path()).await;
        let read = Cmd::new("debugfs").args(["-R", "cat /ks.cfg"]).arg(&volume).run().await;
        assert_eq!(String::from_utf8(read.unwrap().stdout).unwrap(), TEXT);
        let label = Cmd::new("e2label").arg(&volume).run().await.unwrap();
        assert_eq!(label.text(), "OEMDRV");
        Cmd::new("e2fsck").args(["-fn"]).arg(&volume).run().await.unwrap();
        let mode = volume.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else stays");
    }

    #[tokio::test]
    async fn the_same_answers_give_the_same_bytes() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let a = written(a.path()).await;
        // File systems count in seconds.
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let b = written(b.path()).await;
        assert!(std::fs::read(a).unwrap() == std::fs::read(b).unwrap());
    }
}
