//! A base of kind *disk*: an existing qcow2, copied or downloaded, and verified. Other kinds fetch
//! their files here too.
//!
//! Such images come from strangers: one whose digest differs, or that would make QEMU read
//! another file of the host (a backing file, an external data file), is refused.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::definition::{Disk, DiskSource};
use super::progress::Task;
use super::{BaseError, Built};
use crate::digest::Digest;
use crate::event::Events;
use crate::host::{HostError, files, foreign, qcow2};
use crate::recipe::Bytes;

/// The most that is downloaded, in bytes: a stranger's server may go on for ever.
const LARGEST: u64 = 64 << 30;

/// Copies or downloads the disk into `work_dir` (created if absent) and verifies it.
///
/// Dropping the future stops the transfer; the unfinished file is removed.
pub async fn disk(
    definition: &Disk,
    machine: &str,
    work_dir: &Path,
    events: &Events,
) -> Result<Built, BaseError> {
    files::create_dir(work_dir)?;
    let task = Task::start(events, format!("base/{machine}"), definition.title.clone(), machine);
    let target = work_dir.join("disk.qcow2");
    if let DiskSource::Path(path) = &definition.source {
        // Before a digest is taken, and shown, of somebody's private file.
        judge(path, &definition.source)?;
    }
    fetch(&definition.source, definition.sha256, &target, "copying", &task).await?;
    let virtual_size = judge(&target, &definition.source)?;
    task.done();
    Ok(Built { disk: target, virtual_size, packages: Vec::new() })
}

fn judge(file: &Path, source: &DiskSource) -> Result<Bytes, BaseError> {
    let opened = foreign::open(file).map_err(HostError::file("open", file))?;
    let refused = |reason| BaseError::Refused { name: source.to_string(), reason };
    qcow2::judge(&opened).map(Bytes).map_err(refused)
}

/// Copies or downloads a file to `target`, which appears only when it is the one expected.
///
/// Dropping the future stops the transfer; the unfinished file is removed.
pub(super) async fn fetch(
    source: &DiskSource,
    expected: Digest,
    target: &Path,
    doing: &str,
    task: &Task,
) -> Result<(), BaseError> {
    let stop = StopOnDrop(Arc::new(AtomicBool::new(false)));
    let transfer = Transfer {
        source: source.clone(),
        expected,
        target: target.to_owned(),
        stop: stop.0.clone(),
    };
    let (sender, mut progress) = tokio::sync::mpsc::unbounded_channel();
    let work = tokio::task::spawn_blocking(move || {
        transfer.run(|done, total| {
            let _ = sender.send((done, total));
        })
    });
    while let Some((done, total)) = progress.recv().await {
        task.say(doing, total.map(|t| (done, t)));
    }
    work.await.map_err(|e| BaseError::Needs(format!("the transfer broke off: {e}")))?
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Transfer {
    source: DiskSource,
    expected: Digest,
    target: PathBuf,
    stop: Arc<AtomicBool>,
}

impl Transfer {
    fn run(&self, said: impl FnMut(u64, Option<u64>)) -> Result<(), BaseError> {
        let (input, total) = self.open()?;
        let dir = self.target.parent().unwrap_or(Path::new("."));
        let mut temp = tempfile::NamedTempFile::new_in(dir)
            .map_err(HostError::file("create a file in", dir))?;
        let found = self.copy(input, total, temp.as_file_mut(), said)?;
        if found != self.expected {
            let name = self.source.to_string();
            return Err(BaseError::Differs { name, expected: self.expected, found });
        }
        temp.as_file().sync_all().map_err(HostError::file("sync", temp.path()))?;
        temp.persist(&self.target)
            .map_err(|e| HostError::file("rename into", &self.target)(e.error))?;
        Ok(())
    }

    fn open(&self) -> Result<(Box<dyn Read>, Option<u64>), BaseError> {
        match &self.source {
            DiskSource::Path(path) => {
                let file = foreign::open(path).map_err(HostError::file("open", path))?;
                let length = file.metadata().map_err(HostError::file("read", path))?.len();
                // A file that grows, or has no end, is copied as long as it was.
                Ok((Box::new(file.take(length)), Some(length)))
            }
            DiskSource::Url(url) => download(url),
        }
    }

    fn copy(
        &self,
        mut input: Box<dyn Read>,
        total: Option<u64>,
        output: &mut File,
        mut said: impl FnMut(u64, Option<u64>),
    ) -> Result<Digest, BaseError> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut done = 0;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(BaseError::Needs("the transfer was stopped".to_owned()));
            }
            let count = input.read(&mut buffer).map_err(|e| self.broken(&e))?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            output.write_all(&buffer[..count]).map_err(HostError::file("write", &self.target))?;
            done += count as u64;
            said(done, total);
        }
        let hex: String = hasher.finalize().iter().map(|b| format!("{b:02x}")).collect();
        hex.parse().map_err(|e| BaseError::Needs(format!("{e}")))
    }

    fn broken(&self, e: &std::io::Error) -> BaseError {
        BaseError::Download { url: self.source.to_string(), reason: e.to_string() }
    }
}

fn download(url: &str) -> Result<(Box<dyn Read>, Option<u64>), BaseError> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .user_agent(concat!("labbuild/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let response = agent
        .get(url)
        .call()
        .map_err(|e| BaseError::Download { url: url.to_owned(), reason: e.to_string() })?;
    let body = response.into_body();
    let total = body.content_length();
    Ok((Box::new(body.into_reader().take(LARGEST)), total))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::host::Cmd;

    fn definition(path: &Path, sha256: Digest) -> Disk {
        let source = DiskSource::Path(path.to_owned());
        Disk { title: "test".into(), source, sha256, time: 0 }
    }

    async fn image(dir: &Path, arguments: &[&str]) -> PathBuf {
        let path = dir.join("given.qcow2");
        Cmd::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2"])
            .dir(dir)
            .args(arguments)
            .run()
            .await
            .unwrap();
        path
    }

    async fn fetch(path: &Path, sha256: Digest, dir: &Path) -> Result<Built, BaseError> {
        disk(&definition(path, sha256), "m", &dir.join("work"), &Events::none()).await
    }

    #[tokio::test]
    async fn a_disk_is_copied_when_it_is_the_one_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = image(dir.path(), &["given.qcow2", "64M"]).await;
        let built = fetch(&path, Digest::of_file(&path).unwrap(), dir.path()).await.unwrap();
        assert_eq!(built.virtual_size, Bytes(64 << 20));
        assert_eq!(std::fs::read(&built.disk).unwrap(), std::fs::read(&path).unwrap());
    }

    #[tokio::test]
    async fn another_disk_is_refused_naming_both_digests() {
        let dir = tempfile::tempdir().unwrap();
        let path = image(dir.path(), &["given.qcow2", "64M"]).await;
        let error = fetch(&path, Digest::of(b"x"), dir.path()).await.unwrap_err().to_string();
        assert!(error.contains(&Digest::of(b"x").to_string()), "{error}");
        assert!(error.contains(&Digest::of_file(&path).unwrap().to_string()), "{error}");
        assert_eq!(std::fs::read_dir(dir.path().join("work")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn images_that_name_other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (arguments, word) in [
            (&["-b", "/etc/passwd", "-F", "raw", "-u", "given.qcow2", "64M"][..], "backing file"),
            (&["-o", "data_file=other.raw", "given.qcow2", "64M"][..], "another file"),
        ] {
            let path = image(dir.path(), arguments).await;
            let sha256 = Digest::of_file(&path).unwrap();
            let error = fetch(&path, sha256, dir.path()).await.unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[tokio::test]
    async fn a_raw_file_is_not_a_qcow2() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("raw");
        std::fs::write(&path, b"tiny").unwrap();
        let error = fetch(&path, Digest::of(b"tiny"), dir.path()).await.unwrap_err().to_string();
        assert!(error.contains("not a qcow2"), "{error}");
    }
}
