//! A base of kind *installer*: a virtual machine boots an installer, which reads its answers from
//! a volume that labbuild writes and fills an empty disk.
//!
//! The caller brings the hypervisor. Here the files are verified, the machine is started, and its
//! console is followed to the end, which is either evidence of success or an error that names what
//! was seen, the log and its last lines. What is particular to one installer is data (`driver`).

mod answers;
mod console;
mod definition;
mod driver;
mod follow;
mod volume;
mod watch;

pub use answers::check as check_answers;
pub use definition::{BootFile, Installer, Pin};
pub use driver::{Driver, Interface, WayOut};

pub(super) use definition::definition;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::existing::fetch;
use super::progress::Task;
use super::scratch::tied;
use super::{BaseError, Built};
use crate::backend::{Backend, Boot, DomainSpec, InstallerBoot};
use crate::event::Events;
use crate::host::ids::hand_over;
use crate::host::{HostError, files};
use crate::recipe::Bytes;

/// The wish for one installed disk.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Machine the events belong to.
    pub machine: String,
    /// The rendered answers.
    pub answers: String,
    /// Virtual size of the disk.
    pub disk: Bytes,
    /// The machine that installs; its disk and what it boots are decided here. Everything its
    /// console prints is in `console_log`, which is made anew.
    pub domain: DomainSpec,
    /// Its interfaces, in order.
    pub interfaces: Vec<Interface>,
    /// How it reaches its packages; `None`: it needs no network.
    pub way_out: Option<WayOut>,
}

/// Installs one disk in `work_dir`, which must be there.
///
/// Dropping the future ends the machine. The answers, which hold password hashes, are removed as
/// soon as the machine has ended.
pub async fn install(
    definition: &Installer,
    wish: &Installation,
    backend: Arc<dyn Backend>,
    work_dir: &Path,
    events: &Events,
) -> Result<Built, BaseError> {
    let machine = &wish.machine;
    let task = Task::start(events, format!("base/{machine}"), definition.title.clone(), machine);
    let boot = boot_files(definition, wish, work_dir, &task).await?;
    let blank = work_dir.join("blank.qcow2");
    make_disk(&blank, wish.disk).await?;
    files::remove(&wish.domain.console_log)?;
    hand_over(work_dir)?;
    let spec = DomainSpec {
        disk: blank.clone(),
        boot: Boot::Installer(boot.clone()),
        ..wish.domain.clone()
    };
    let followed = follow::run(definition, &spec, backend, events, &task).await;
    files::remove(&boot.volume)?;
    followed?;
    task.say("compressing the disk", None);
    let disk = work_dir.join("disk.qcow2");
    compress(&blank, &disk).await?;
    files::remove(&blank)?;
    task.done();
    Ok(Built { disk, virtual_size: wish.disk, packages: Vec::new() })
}

/// Kernel, initrd and answers, in the work folder.
async fn boot_files(
    definition: &Installer,
    wish: &Installation,
    work_dir: &Path,
    task: &Task,
) -> Result<InstallerBoot, BaseError> {
    let kernel = verified(&definition.kernel, work_dir.join("kernel"), "kernel", task).await?;
    let initrd = verified(&definition.initrd, work_dir.join("initrd"), "initrd", task).await?;
    let driver = definition.driver;
    let volume = volume::write(&driver.volume, &wish.answers, work_dir).await?;
    let way_out = wish.way_out.as_ref();
    let command_line =
        driver.command_line(&wish.machine, &wish.interfaces, way_out, &definition.cmdline);
    Ok(InstallerBoot { kernel, initrd, command_line, volume })
}

/// A file that is what the definition says.
async fn verified(
    file: &BootFile,
    target: PathBuf,
    what: &str,
    task: &Task,
) -> Result<PathBuf, BaseError> {
    let expected = match &file.sha256 {
        Pin::Known(digest) => *digest,
        Pin::Awaited { file, name } => {
            return Err(BaseError::Unpinned { file: file.clone(), name: name.clone() });
        }
    };
    fetch(&file.source, expected, &target, &format!("fetching the {what}"), task).await?;
    Ok(target)
}

async fn make_disk(path: &Path, size: Bytes) -> Result<(), HostError> {
    files::remove(path)?;
    let create = tied("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(path);
    create.arg(size.0.to_string()).run().await.map(drop)
}

async fn compress(from: &Path, to: &Path) -> Result<(), HostError> {
    files::remove(to)?;
    tied("qemu-img")
        .args(["convert", "-c", "-f", "qcow2", "-O", "qcow2", "-o", "compression_type=zstd"])
        .arg(from)
        .arg(to)
        .run()
        .await
        .map(drop)
}
