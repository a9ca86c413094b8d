//! Export and import of a folder of images.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use super::manifest::{BundleError, MANIFEST, Manifest, SUMS, check_digest};
use crate::digest::Digest;
use crate::event::{Event, Events};
use crate::host::{Cmd, HostError, files};
use crate::store::{Store, StoredImages};

/// Copies stored images with their manifest into `dir`, a new or empty folder.
pub async fn export(
    images: &StoredImages,
    dir: &Path,
    events: &Events,
) -> Result<Manifest, BundleError> {
    let occupied = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if occupied || dir.is_file() {
        return Err(BundleError::Occupied(dir.to_owned()));
    }
    let manifest = Manifest::read(&images.dir)?;
    // Beside the target, so that the final rename stays on one file system.
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    files::create_dir(parent)?;
    let staged = tempfile::Builder::new()
        .prefix(".labbuild-export-")
        .tempdir_in(parent)
        .map_err(HostError::file("create a folder in", parent))?;
    copy_verified(&manifest, &images.dir, staged.path(), events).await?;
    publish(staged, dir)?;
    Ok(manifest)
}

/// Gives the finished folder its name and ordinary permissions.
fn publish(staged: tempfile::TempDir, dir: &Path) -> Result<(), HostError> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(staged.path(), mode).map_err(HostError::file("set mode of", dir))?;
    if dir.exists() {
        std::fs::remove_dir(dir).map_err(HostError::file("replace", dir))?;
    }
    files::rename_durably(staged.path(), dir)?;
    // It has another name now: nothing is left to remove.
    let _ = staged.keep();
    Ok(())
}

/// Takes a folder of images into the store; every digest is checked on the copy. Gives the manifest
/// and the folder in the store. Images that are there already are checked in both places, and
/// copied again where the store's have changed.
pub async fn import(
    store: &Store,
    dir: &Path,
    events: &Events,
) -> Result<(Manifest, PathBuf), BundleError> {
    let manifest = Manifest::read(dir)?;
    let digest = Digest::of(files::read_text(&dir.join(MANIFEST))?);
    if let Some(stored) = store.imported(&digest) {
        check_folder(&manifest, dir, events).await?;
        if Manifest::read(&stored).is_ok() && check_folder(&manifest, &stored, events).await.is_ok()
        {
            return Ok((manifest, stored));
        }
        let damaged = stored.display();
        events.warning(format!("the copy of these images in {damaged} is damaged; made anew"));
    }
    let work = store.work_dir("importing images")?;
    let staged = work.path().join("images");
    files::create_dir(&staged)?;
    copy_verified(&manifest, dir, &staged, events).await?;
    for image in &manifest.images {
        refuse_references(&staged.join(&image.file)).await?;
    }
    let stored = store.put_imported(&digest, &staged)?;
    Ok((manifest, stored))
}

/// Copies every file of `manifest` and checks the copies.
async fn copy_verified(
    manifest: &Manifest,
    from: &Path,
    to: &Path,
    events: &Events,
) -> Result<(), BundleError> {
    for image in &manifest.images {
        let (source, target) = (from.join(&image.file), to.join(&image.file));
        let begun = started(events, &image.machine, &image.file);
        let copied = copy_one(&source, &target, image.sha256).await;
        finished(events, &image.machine, begun, copied.is_ok());
        // The message names the file the user has, not the copy.
        copied.map_err(|e| match e {
            BundleError::Refused { reason, .. } => BundleError::Refused { file: source, reason },
            other => other,
        })?;
    }
    for name in [MANIFEST, SUMS] {
        let text = files::read_text(&from.join(name))?;
        files::write_atomic(&to.join(name), text.as_bytes())?;
    }
    Ok(())
}

async fn copy_one(source: &Path, target: &Path, sha256: Digest) -> Result<(), BundleError> {
    let is_file = std::fs::symlink_metadata(source).is_ok_and(|m| m.is_file());
    if !is_file {
        let reason = "it is missing, or no ordinary file".into();
        return Err(BundleError::Refused { file: source.to_owned(), reason });
    }
    let copy = Cmd::new("cp").args(["--reflink=auto", "--sparse=auto", "--"]);
    copy.arg(source).arg(target).run().await?;
    verify_in_background(target, sha256).await?;
    // Its name must not outlive its bytes.
    let synced = std::fs::File::open(target).and_then(|file| file.sync_all());
    Ok(synced.map_err(HostError::file("write", target))?)
}

async fn verify_in_background(file: &Path, sha256: Digest) -> Result<(), BundleError> {
    let path = file.to_owned();
    let checked = tokio::task::spawn_blocking(move || check_digest(&path, &sha256)).await;
    checked.unwrap_or_else(|e| Err(HostError::file("read", file)(std::io::Error::other(e)).into()))
}

async fn check_folder(manifest: &Manifest, dir: &Path, events: &Events) -> Result<(), BundleError> {
    for image in &manifest.images {
        let begun = started(events, &image.machine, &image.file);
        let checked = verify_in_background(&dir.join(&image.file), image.sha256).await;
        finished(events, &image.machine, begun, checked.is_ok());
        checked?;
    }
    Ok(())
}

/// An image may not lead QEMU to any other file: no backing file, no external data file.
async fn refuse_references(image: &Path) -> Result<(), BundleError> {
    let info = Cmd::new("qemu-img").args(["info", "--output=json", "-f", "qcow2", "--"]).arg(image);
    let info: Value = serde_json::from_slice(&info.run().await?.stdout).unwrap_or_default();
    let data = &info["format-specific"]["data"];
    if info["backing-filename"].is_null() && data["data-file"].is_null() && data.is_object() {
        return Ok(());
    }
    let reason = "it refers to another file (backing or data file)".into();
    Err(BundleError::Refused { file: image.to_owned(), reason })
}

fn started(events: &Events, machine: &str, file: &str) -> Instant {
    events.emit(Event::TaskStarted {
        task: format!("copy/{machine}"),
        title: format!("{file}: copying and checking its SHA-256"),
        machine: Some(machine.to_owned()),
    });
    Instant::now()
}

fn finished(events: &Events, machine: &str, begun: Instant, ok: bool) {
    let task = format!("copy/{machine}");
    events.emit(Event::TaskFinished { task, ok, elapsed: begun.elapsed() });
}
