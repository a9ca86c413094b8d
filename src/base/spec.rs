//! The resolved wish for one tree, as it is handed to labbuild's part inside the tree's
//! namespace: JSON in a file that only its owner can read.
//!
//! It holds everything `tree` needs and nothing it would have to decide; passwords are in it
//! only as hashes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::BaseError;
use super::definition::FirstStart;
use crate::host::files;

/// A value and the kickstart line it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lined<T> {
    pub line: u32,
    pub value: T,
}

/// Everything `tree` needs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Where results, complaints and warnings are left.
    pub out: PathBuf,
    pub architecture: String,
    pub debconf: Vec<String>,
    pub disable: Vec<String>,
    pub first_start: BTreeMap<String, FirstStart>,
    pub extra_packages: Vec<String>,
    /// Files with a fixed text, written before anything else.
    pub files: Vec<TreeFile>,
    /// Apt sources of the guest, written last.
    pub sources: Vec<String>,
    /// What GRUB's core runs first: finds the root file system.
    pub early_grub: String,
    pub machine_id: String,
    /// The newest date that any file has in the end, seconds since 1970.
    pub epoch: u64,
    pub wishes: Wishes,
}

/// A file with a fixed text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeFile {
    /// Relative to the root.
    pub path: String,
    pub content: String,
    pub mode: u32,
}

/// What a kickstart asks for, resolved for this system.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Wishes {
    pub hostname: Option<String>,
    pub lang: Option<String>,
    pub locales: Vec<Lined<String>>,
    pub keyboard: Option<String>,
    pub timezone: Option<Lined<String>>,
    pub local_clock: bool,
    pub root: Option<Account>,
    pub users: Vec<Lined<NewUser>>,
    pub keys: Vec<Lined<Key>>,
    pub services: Vec<Lined<ServiceWish>>,
    pub packages: Vec<Lined<String>>,
    pub excluded: Vec<Lined<String>>,
    pub interfaces: Vec<Interface>,
    pub nameservers: Vec<Ipv4Addr>,
    /// `port/protocol` let through; `None`: no filter.
    pub firewall: Option<Vec<String>>,
    pub kernel_parameters: Vec<String>,
    pub boot_timeout: Option<u32>,
    pub partitions: Vec<Partition>,
    pub scripts: Vec<PostScript>,
}

/// What becomes of an account's password.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Account {
    /// crypt(3) hash.
    pub hash: Option<String>,
    pub lock: bool,
}

impl std::fmt::Debug for Account {
    /// Never the hash.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account(lock: {})", self.lock)
    }
}

/// `user`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUser {
    pub name: String,
    pub gecos: Option<String>,
    pub groups: Vec<String>,
    pub home: Option<String>,
    pub shell: String,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub account: Account,
}

/// `sshkey`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub user: String,
    pub key: String,
}

/// One name of `services`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceWish {
    /// Unit without `.service`, in this system's words.
    pub unit: String,
    pub enabled: bool,
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    pub auto: bool,
    pub method: Method,
    pub mtu: Option<u32>,
    pub no_ipv6: bool,
}

/// How an interface gets its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    Dhcp,
    /// Up, without an address.
    Plain,
    Static {
        address: Ipv4Addr,
        prefix: u8,
        gateway: Option<Ipv4Addr>,
    },
}

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Use {
    Root,
    Swap,
}

/// A partition with its place on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    pub purpose: Use,
    pub start_mib: u64,
    pub size_mib: u64,
    pub label: Option<String>,
    pub options: Option<String>,
}

/// A `%post` script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostScript {
    pub line: u32,
    pub interpreter: String,
    pub must_succeed: bool,
    pub log: Option<String>,
    pub body: String,
}

/// Something that is wrong, found inside the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// Kickstart line, where there is one.
    pub line: Option<u32>,
    pub message: String,
    pub help: Option<String>,
}

/// Reads a file that is handed over between labbuild and its part inside the cage.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, BaseError> {
    let text = files::read_text(path)?;
    serde_json::from_str(&text)
        .map_err(|e| BaseError::Handover { path: path.to_owned(), reason: e.to_string() })
}

/// Files that `tree` leaves in [`Spec::out`].
pub mod out {
    /// Complaints that ended the work (JSON list).
    pub const COMPLAINTS: &str = "complaints.json";
    /// Complaints that did not (JSON list).
    pub const WARNINGS: &str = "warnings.json";
    /// Installed packages (JSON list).
    pub const PACKAGES: &str = "packages.json";
    /// GRUB's first 440 bytes.
    pub const BOOT_IMG: &str = "boot.img";
    /// GRUB's core.
    pub const CORE_IMG: &str = "core.img";
}
