//! A valid lab, as every other room sees it.
//!
//! These types can only come out of [`super::load`]: names are unique and well-formed, every
//! reference resolves, addresses lie in their networks, variables are already filled in.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A place in a file: what an error or a failing step points at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, as the user would name it (relative to where labbuild was started, if below it).
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Place {
    /// As it is named to a reader who is at `other`: "line 7", or file and line where that is
    /// another file.
    pub(super) fn seen_from(&self, other: &Place) -> String {
        match self.file == other.file {
            true => format!("line {}", self.line),
            false => self.to_string(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Serialize for Place {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A size in bytes; written `2 GiB` in recipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Whole mebibytes, rounded down.
    pub fn mebibytes(self) -> u64 {
        self.0 >> 20
    }
}

/// An IPv4 network: address and prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subnet {
    /// Network address (host bits are zero).
    pub network: Ipv4Addr,
    /// Prefix length, 8 to 30.
    pub prefix: u8,
}

impl Subnet {
    /// The netmask as an address.
    pub fn netmask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0))
    }

    /// The broadcast address.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !self.netmask().to_bits())
    }

    /// Whether `address` lies in this network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.netmask().to_bits() == self.network.to_bits()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// A recipe that passed every test: the description of one lab.
#[derive(Debug, Clone)]
pub struct Lab {
    /// Name: `[a-z][a-z0-9-]*`, at most 32 characters.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Folder of `lab.yaml`.
    pub dir: PathBuf,
    /// Networks in the order written.
    pub networks: Vec<Network>,
    /// Machines in the order written.
    pub machines: Vec<Machine>,
    /// Ports that the host offers, in the order written.
    pub exposed: Vec<Expose>,
    /// Stages in order.
    pub stages: Vec<Stage>,
    /// Variables after overrides.
    pub vars: BTreeMap<String, String>,
    /// `lab.yaml`, every stage file and every file these include: name as in the recipe, and
    /// text. For manifests.
    pub sources: Vec<(String, String)>,
}

/// What a network connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkKind {
    /// The machines and the host; no way out.
    HostOnly,
    /// The machines and the network outside, behind a gateway.
    Bridged,
    /// The machines only (a VMnet without a host adapter).
    Isolated,
}

/// One network.
#[derive(Debug, Clone)]
pub struct Network {
    /// Name, unique in the lab.
    pub name: String,
    /// What it connects.
    pub kind: NetworkKind,
    /// Its addresses.
    pub subnet: Subnet,
    /// The host's address on it (host-only).
    pub host: Option<Ipv4Addr>,
    /// The gateway's address on it (bridged).
    pub gateway: Option<Ipv4Addr>,
    /// The host bridge a bridged network goes onto, where there is one.
    pub bridge: Option<String>,
    /// Where it is declared.
    pub at: Place,
}

/// One machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Name, unique in the lab; a valid host name label.
    pub name: String,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory.
    pub memory: Bytes,
    /// Size of the disk as the guest sees it.
    pub disk: Bytes,
    /// Name of the base image definition (`images/<base>.yaml`).
    pub base: String,
    /// Kickstart template, as named in the recipe (looked up in the recipe's folder, then `kickstart/`).
    pub kickstart: Option<String>,
    /// Versioned machine type, e.g. `pc-q35-7.2`.
    pub machine_type: String,
    /// Named CPU model, e.g. `Nehalem`.
    pub cpu_model: String,
    /// Network interfaces in the order written.
    pub nics: Vec<Nic>,
    /// Where it is declared.
    pub at: Place,
}

/// One network interface of a machine.
#[derive(Debug, Clone)]
pub struct Nic {
    /// Interface name in the guest, unique in the machine (at most 15 characters).
    pub name: String,
    /// Name of its network.
    pub network: String,
    /// Its address; none means the interface is up without one.
    pub address: Option<Ipv4Addr>,
    /// The default route of the machine goes this way.
    pub gateway: Option<Ipv4Addr>,
    /// Where it is declared.
    pub at: Place,
}

/// A port of a machine that the host offers while the lab is up. Of no layer's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expose {
    /// Name, unique in the lab.
    pub name: String,
    /// The machine.
    pub machine: String,
    /// Its address, on a network on which the host has one too.
    pub address: Ipv4Addr,
    /// Its TCP port.
    pub port: u16,
    /// The port of the host's loopback address that is wanted; any free one without it.
    pub host_port: Option<u16>,
    /// Where a browser goes, beginning with `/`; none for what is no web page.
    pub path: Option<String>,
}

/// A chapter of the lab.
#[derive(Debug, Clone)]
pub struct Stage {
    /// File name without `.yaml`, e.g. `10-system`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Steps in the order written.
    pub steps: Vec<Step>,
    /// Checks in the order written.
    pub checks: Vec<Check>,
    /// Where it begins.
    pub at: Place,
}

impl Stage {
    /// Its steps that are waited for at every boot.
    pub fn waits_at_boot(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.at_boot)
    }
}

/// One action on one or more machines.
#[derive(Debug, Clone)]
pub struct Step {
    /// What it does, for people.
    pub name: String,
    /// Handle for `after:`.
    pub id: Option<String>,
    /// Machines it runs on, each on its own.
    pub machines: Vec<String>,
    /// Ids of steps (same stage) that must have ended on all their machines.
    pub after: Vec<String>,
    /// What is done.
    pub action: Action,
    /// How long it may take.
    pub timeout: Duration,
    /// How often it is tried again.
    pub retry: Retry,
    /// What of it is kept out of logs, events and errors.
    pub secret: Secrecy,
    /// Of a `wait-for` step: waited for at every later boot too, before the lab counts as up.
    pub at_boot: bool,
    /// Where it is written.
    pub at: Place,
}

/// What of a step is kept out of logs, events and errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secrecy {
    /// Nothing.
    Open,
    /// These texts, wherever they appear: the values of the variables that the step uses, as they
    /// are and as its templates write them. None is empty.
    Values(Vec<String>),
    /// All its output, and what its services wrote.
    Whole,
}

/// How often, and how far apart, a failed step or check is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// Tries after the first.
    pub times: u32,
    /// Pause before each.
    pub delay: Duration,
}

impl Retry {
    /// One try.
    pub const NEVER: Retry = Retry { times: 0, delay: Duration::ZERO };
}

/// What a step does in the guest. Serialised form is an input of the layer's identity.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A shell script (`bash -euo pipefail`).
    Run {
        /// The script.
        script: String,
    },
    /// Content of a file, whole or in part.
    File {
        /// Absolute path in the guest.
        path: String,
        /// What becomes of the file.
        edit: FileEdit,
        /// Octal mode; new files are 0644 without it.
        mode: Option<u32>,
        /// `user[:group]`.
        owner: Option<String>,
    },
    /// A file of the recipe's folder, copied into the guest.
    Copy {
        /// Path inside the recipe's folder, as written.
        from: String,
        /// The file on the host (resolved, inside the recipe's folder).
        #[serde(skip)]
        source: PathBuf,
        /// Absolute path in the guest.
        to: String,
        /// Octal mode; 0644 without it.
        mode: Option<u32>,
        /// `user[:group]`.
        owner: Option<String>,
    },
    /// Keys of an INI file set or removed, everything else left as it stands.
    Ini {
        /// Absolute path in the guest.
        path: String,
        /// Sections in the order written.
        set: Vec<IniSection>,
    },
    /// Distribution packages present.
    Packages {
        /// Package names.
        install: Vec<String>,
        /// Where they are installed.
        when: InstallWhen,
    },
    /// State of a service.
    Service {
        /// Unit names.
        names: Vec<String>,
        /// Start at boot (`None`: leave).
        enabled: Option<bool>,
        /// `None`: leave.
        state: Option<ServiceState>,
    },
    /// SQL statements for the machine's MariaDB/MySQL, as root over the local socket.
    Sql {
        /// The statements.
        script: String,
        /// Database to use, if any.
        database: Option<String>,
        /// Password of root, if it has one.
        password: Option<String>,
    },
    /// A clean reboot; the step ends when the guest answers again.
    Reboot,
    /// Wait until something is so.
    WaitFor {
        /// What is waited for.
        condition: Condition,
        /// Units behind it, on the machine of the step. They decide how a failure is noticed and
        /// told, not what is done.
        #[serde(skip)]
        services: Vec<String>,
    },
}

/// The keys to set in one section of an INI file.
#[derive(Debug, Clone, Serialize)]
pub struct IniSection {
    /// Section name without brackets.
    pub name: String,
    /// Keys in the order written; `None` removes the key.
    pub keys: Vec<(String, Option<String>)>,
}

/// What becomes of a file.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileEdit {
    /// The whole content.
    Content(String),
    /// Text at the end, unless the file already holds it.
    Append(String),
    /// Lines, each added at the end unless present.
    Lines(Vec<String>),
    /// The file is gone.
    Absent,
}

/// Where packages are installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstallWhen {
    /// Natively while the base is bootstrapped (the default for bootstrap bases).
    InBase,
    /// By the step itself, in the running guest.
    InGuest,
}

/// Wanted state of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// Running; started if it is not.
    Started,
    /// Not running; stopped if it is.
    Stopped,
    /// Running, with a fresh start.
    Restarted,
    /// Asked to read its configuration again.
    Reloaded,
}

/// What a `wait-for` step waits for. Travels in the manifests of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// A TCP port accepts connections, seen from the machine.
    Port {
        /// Host name or address; `127.0.0.1` if not given.
        host: String,
        /// Port number.
        port: u16,
    },
    /// A systemd unit is active.
    Unit(String),
    /// A command succeeds.
    Command(String),
}

/// A command with an expectation.
#[derive(Debug, Clone)]
pub struct Check {
    /// What it shows, for people; the command if not given.
    pub name: String,
    /// Machines it runs on.
    pub machines: Vec<String>,
    /// The script (`bash -euo pipefail`).
    pub run: String,
    /// What must be so.
    pub expect: Expect,
    /// How long it may take.
    pub timeout: Duration,
    /// How often it is tried again.
    pub retry: Retry,
    /// Where it is written.
    pub at: Place,
}

/// What must be so for a check to pass; everything given must hold.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Expect {
    /// Exit status.
    pub status: i32,
    /// Standard output contains each of these.
    pub stdout_contains: Vec<String>,
    /// Standard output contains none of these.
    pub stdout_lacks: Vec<String>,
    /// Standard output, trimmed, is this.
    pub stdout_is: Option<String>,
    /// Standard output matches this regular expression (multi-line mode).
    pub stdout_matches: Option<String>,
}
