//! How the empty disk of a machine is made.
//!
//! A *bootstrap* base carries a kickstart out natively: mmdebstrap makes the tree, the
//! kickstart's commands are applied to it, e2fsprogs writes the file system. A *disk* base is
//! an existing qcow2, verified by its SHA-256. Neither needs root or a virtual machine, and the
//! same inputs give the same bytes. An *installer* base is filled by a virtual machine that boots an
//! installer; the caller brings the hypervisor.

mod accept;
mod bootstrap;
mod definition;
mod existing;
mod fetch;
mod glob;
mod image;
mod installer;
mod progress;
mod scratch;
mod source_line;
mod sources;
mod spec;
mod text;
mod tree;

pub use bootstrap::bootstrap;
pub use definition::{Bootstrap, Definition, Disk, DiskSource, load_definition};
pub use existing::disk;
pub use fetch::{download_main, resolve_main};
pub use image::image_main;
pub use installer::{
    BootFile, Driver, Installation, Installer, Interface, Pin, WayOut, check_answers, install,
};
pub use scratch::discard;
pub use source_line::SourceLine;
pub use tree::customize_main;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::backend::BackendError;
use crate::digest::Digest;
use crate::host::HostError;
use crate::kickstart::Kickstart;
use crate::recipe::{Bytes, Faults};

/// Why a base could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaseError {
    /// Faults in a definition or a kickstart, each with its place.
    #[error("{0}")]
    Faults(#[from] Faults),
    /// A host command or file failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Something on this host has to change first.
    #[error("{0}")]
    Needs(String),
    /// The tree could not be made; the words come from inside it.
    #[error("the file tree of {machine} could not be made: {reason}")]
    Tree {
        /// The machine.
        machine: String,
        /// What went wrong.
        reason: String,
    },
    /// A file is not the one that was named.
    #[error(
        "{name} is not the file that was asked for\n  expected SHA-256: {expected}\n  found SHA-256:    {found}"
    )]
    Differs {
        /// File or URL.
        name: String,
        /// As the definition says.
        expected: Digest,
        /// As it is.
        found: Digest,
    },
    /// An existing disk cannot be used at all.
    #[error("{name} cannot be used as a base: {reason}")]
    Refused {
        /// File or URL.
        name: String,
        /// Why, and what would be right.
        reason: String,
    },
    /// A file is to be verified, and nobody has said by what.
    #[error(
        "{} names no SHA-256 of `{name}`, and nothing unverified is booted\n  take it from the publisher's own list, over a way you trust, and add a line as `sha256sum` writes it",
        .file.display()
    )]
    Unpinned {
        /// The file that is to hold the digest.
        file: PathBuf,
        /// The name it is to have there.
        name: String,
    },
    /// An installer did not install.
    #[error(
        "{machine} was not installed: {reason}\n  {help}\n  console: {}{}",
        .log.display(),
        .tail.iter().map(|line| format!("\n  | {line}")).collect::<String>()
    )]
    Installation {
        /// The machine.
        machine: String,
        /// What was seen.
        reason: String,
        /// What would be right.
        help: &'static str,
        /// Everything that the console printed.
        log: PathBuf,
        /// Its last lines.
        tail: Vec<String>,
    },
    /// The hypervisor failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A download failed.
    #[error("cannot download {url}: {reason}")]
    Download {
        /// The address.
        url: String,
        /// The other side's words.
        reason: String,
    },
    /// The hand-over between labbuild and its part inside the tree is broken.
    #[error("the hand-over file {} cannot be read: {reason}", .path.display())]
    Handover {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A network interface the machine will have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicName {
    /// Interface name in the guest.
    pub name: String,
    /// MAC address.
    pub mac: String,
}

/// A rendered kickstart together with its text, so that faults can show the line.
#[derive(Debug, Clone)]
pub struct KickstartFile {
    /// The file, as the user would name it.
    pub name: String,
    /// The rendered text.
    pub text: String,
    /// What it says.
    pub commands: Kickstart,
}

/// Names that make the disk of this machine its own, derived by the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskIds {
    /// 32 hexadecimal digits for `/etc/machine-id`.
    pub machine_id: String,
    /// UUID of the root file system.
    pub root_uuid: String,
    /// UUID that seeds the file system's directory hashes.
    pub hash_seed: String,
    /// Identifier in the partition table.
    pub label_id: u32,
}

/// The wish for one machine's base disk.
#[derive(Debug, Clone)]
pub struct Request {
    /// Machine the events belong to.
    pub machine: String,
    /// Salts of password hashes are derived from this and the user's name ("lab/machine").
    pub salt: String,
    /// Virtual size of the disk.
    pub disk: Bytes,
    /// Interfaces in order.
    pub nics: Vec<NicName>,
    /// The answer file.
    pub kickstart: KickstartFile,
    /// Packages of `packages:` steps: installed with their services left disabled.
    pub extra_packages: Vec<String>,
    /// What makes this disk its own.
    pub ids: DiskIds,
    /// labbuild itself: it works inside the cage, too.
    pub program: PathBuf,
    /// Folder of kept packages, shared by all builds; never changes what is built. `None`: packages
    /// are kept in the work folder.
    pub deb_cache: Option<PathBuf>,
    /// Hold the tree in memory while it is made, if enough is free: faster. Never changes what is
    /// built.
    pub in_memory: bool,
}

/// One installed package, for the lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockedPackage {
    /// Package name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Architecture.
    pub architecture: String,
    /// SHA-256 of the package file; `None` where no package list names it.
    pub sha256: Option<Digest>,
}

/// A finished base.
#[derive(Debug, Clone)]
pub struct Built {
    /// The disk: qcow2, zstd-compressed.
    pub disk: PathBuf,
    /// Its size as the guest sees it.
    pub virtual_size: Bytes,
    /// What is installed on it, by name.
    pub packages: Vec<LockedPackage>,
}
