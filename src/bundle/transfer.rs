//! Export and import of a folder of images.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::manifest::{BundleError, Image, MANIFEST, Manifest, SUMS, check_digest};
use crate::digest::Digest;
use crate::event::{Event, Events};
use crate::host::foreign::{Folder, limits};
use crate::host::{HostError, files, qcow2};
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
    let list = HostError::file("list", staged.path());
    for entry in std::fs::read_dir(staged.path()).map_err(list)?.flatten() {
        files::share(&entry.path())?;
    }
    files::share(staged.path())?;
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
    let digest = Digest::of(Folder::open(dir)?.text(MANIFEST, limits::LIST)?);
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
    let stored = store.put_imported(&digest, &staged)?;
    Ok((manifest, stored))
}

/// Copies every file of `manifest` and checks it on the way. Nothing is copied before all of them are
/// what the manifest says, as far as can be told without reading them.
async fn copy_verified(
    manifest: &Manifest,
    from: &Path,
    to: &Path,
    events: &Events,
) -> Result<(), BundleError> {
    let source = Folder::open(from)?;
    for image in &manifest.images {
        judge(&source, from, image)?;
    }
    for image in &manifest.images {
        let begun = started(events, &image.machine, &image.file);
        let copied = copy_in_background(from, to, image).await;
        finished(events, &image.machine, begun, copied.is_ok());
        copied?;
    }
    for name in [MANIFEST, SUMS] {
        let text = source.text(name, limits::LIST)?;
        files::write_atomic(&to.join(name), text.as_bytes())?;
    }
    Ok(())
}

/// Whether a file can be the image that the manifest describes.
fn judge(source: &Folder, from: &Path, image: &Image) -> Result<(), BundleError> {
    let path = from.join(&image.file);
    let refuse = |reason: String| BundleError::Refused { file: path.clone(), reason };
    let file = source.file(&image.file)?;
    let length = file.metadata().map_err(HostError::file("read", &path))?.len();
    if length != image.size {
        return Err(refuse(format!("it has {length} bytes, not {}", image.size)));
    }
    let disk = qcow2::judge(&file).map_err(refuse)?;
    if disk != image.virtual_size {
        return Err(refuse(format!("its disk has {disk} bytes, not {}", image.virtual_size)));
    }
    Ok(())
}

async fn copy_in_background(from: &Path, to: &Path, image: &Image) -> Result<(), BundleError> {
    let (from, to, image) = (from.to_owned(), to.to_owned(), image.clone());
    let copied = tokio::task::spawn_blocking(move || copy_one(&from, &to, &image)).await;
    copied.unwrap_or_else(|e| {
        Err(HostError::file("copy", Path::new("an image"))(io::Error::other(e)).into())
    })
}

/// The bytes that are copied are the bytes that are hashed, whatever becomes of the file meanwhile.
fn copy_one(from: &Path, to: &Path, image: &Image) -> Result<(), BundleError> {
    let path = from.join(&image.file);
    let source = Folder::open(from)?.file(&image.file)?.take(image.size);
    let target = Folder::open(to)?.create(&image.file)?;
    target.set_len(image.size).map_err(HostError::file("copy", &path))?;
    let copying = Copying { source, target: &target, at: 0 };
    let found = Digest::of_reader(copying).map_err(HostError::file("copy", &path))?;
    // Its name must not outlive its bytes.
    target.sync_all().map_err(HostError::file("write", &to.join(&image.file)))?;
    if found == image.sha256 {
        return Ok(());
    }
    let reason = format!("its SHA-256 is {found}, not {}", image.sha256);
    Err(BundleError::Refused { file: path, reason })
}

/// Writes what is read through it into a file, but for blocks of zeros: they stay holes.
struct Copying<'a, R> {
    source: R,
    target: &'a File,
    at: u64,
}

impl<R: Read> Read for Copying<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        if buffer[..count].iter().any(|byte| *byte != 0) {
            self.target.write_all_at(&buffer[..count], self.at)?;
        }
        self.at += count as u64;
        Ok(count)
    }
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
