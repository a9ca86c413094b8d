//! What the rest of the crate may ask of a hypervisor, and libvirt, which answers.
//!
//! The traits are blocking, because libvirt's calls are: async code calls them through
//! `tokio::task::spawn_blocking`. Specs (`NetworkSpec`, `DomainSpec`) are resolved wishes: all
//! names, MAC addresses and paths are already decided by `plan`; XML is written only here.

mod accel;
pub mod agent;
mod guest;
mod libvirt;
mod xml;

pub use accel::AccelChoice;
pub use libvirt::{LibvirtBackend, check_bridge};

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::host::HostError;

/// What went wrong at the hypervisor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The connection could not be made.
    #[error("cannot connect to {uri}: {reason}")]
    Connect {
        /// The URI tried.
        uri: String,
        /// libvirt's words.
        reason: String,
    },
    /// A libvirt call failed.
    #[error("{doing}: {reason}")]
    Call {
        /// What was being done ("start machine controller").
        doing: String,
        /// libvirt's words.
        reason: String,
    },
    /// The guest agent did not answer in time, or the guest is not running.
    #[error("the guest agent of {machine} does not answer: {reason}")]
    AgentAbsent {
        /// The machine.
        machine: String,
        /// libvirt's words.
        reason: String,
    },
    /// The agent answered with an error.
    #[error("the guest agent of {machine} refused {command}: {reason}")]
    AgentRefused {
        /// The machine.
        machine: String,
        /// The agent command.
        command: String,
        /// The agent's words.
        reason: String,
    },
    /// Something with a name of ours is there and is not ours or not as declared.
    #[error("{0}")]
    Conflict(String),
    /// What was asked for cannot be carried out at this hypervisor, and why.
    #[error("{0}")]
    Invalid(String),
    /// A host command or file failed.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// Which accelerator drives the guests, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accelerator {
    /// `kvm` or `tcg`.
    pub kind: AcceleratorKind,
    /// One clause for people: "the CPU has no vmx or svm flag".
    pub reason: String,
}

/// Hardware acceleration or emulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceleratorKind {
    /// `<domain type='kvm'>`
    Kvm,
    /// `<domain type='qemu'>`, multi-threaded TCG.
    Tcg,
}

/// How a network is made on this backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkMode {
    /// A bridge of its own with the host's address on it, no forwarding.
    HostOnly {
        /// The host's address.
        host: Ipv4Addr,
    },
    /// A bridge of its own whose host address is the gateway; forwarded by NAT; DNS on the gateway.
    Nat {
        /// The gateway's address.
        gateway: Ipv4Addr,
        /// Where the gateway's DNS sends queries on; `None`: the host's resolver.
        dns_forwarder: Option<Ipv4Addr>,
    },
    /// An existing bridge of the host.
    HostBridge {
        /// Name of the bridge.
        bridge: String,
    },
    /// A bridge of its own without any address.
    Isolated,
}

/// A network to be defined and started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Name in libvirt, unique per connection.
    pub name: String,
    /// Stable UUID.
    pub uuid: String,
    /// How it is made.
    pub mode: NetworkMode,
    /// Prefix length of the addresses in `mode`.
    pub prefix: u8,
    /// Name for the bridge (at most 15 characters); `None`: libvirt chooses.
    pub bridge: Option<String>,
}

/// A network interface of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicSpec {
    /// Name of the libvirt network.
    pub network: String,
    /// MAC address.
    pub mac: String,
}

/// Which time the guest's clock shows at power-on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The host's UTC time.
    Host,
    /// This time, in seconds since 1970.
    Fixed(u64),
}

/// A domain to be defined and started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSpec {
    /// Name in libvirt, unique per connection.
    pub name: String,
    /// The machine's name in the recipe, for messages.
    pub machine: String,
    /// Stable UUID.
    pub uuid: String,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Versioned machine type.
    pub machine_type: String,
    /// Named CPU model.
    pub cpu_model: String,
    /// Active overlay (qcow2, writable).
    pub disk: PathBuf,
    /// Serial number of the disk.
    pub disk_serial: String,
    /// Interfaces, in order.
    pub nics: Vec<NicSpec>,
    /// Clock at power-on.
    pub clock: Clock,
    /// Let guest flushes go no further than the host's page cache (builds only: a layer is
    /// synced when it is stored, and an interrupted build is thrown away).
    pub unsafe_cache: bool,
    /// File that receives everything the serial console prints.
    pub console_log: PathBuf,
    /// What the machine starts from.
    pub boot: Boot,
}

/// What a machine starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// Its disk.
    Disk,
    /// An installer that fills the disk.
    Installer(InstallerBoot),
}

/// An installer's kernel, started directly. Such a domain ends where another would restart, so
/// that a reboot is seen, and ends with the connection that started it, however that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallerBoot {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its initial file system.
    pub initrd: PathBuf,
    /// The kernel's command line.
    pub command_line: String,
    /// A second disk (raw, read-only) with the answers.
    pub volume: PathBuf,
}

/// One libvirt connection.
pub trait Backend: Send + Sync {
    /// The libvirt URI.
    fn uri(&self) -> &str;
    /// The accelerator every domain uses.
    fn accelerator(&self) -> &Accelerator;
    /// Defines and starts a network; leaves an identical running one alone.
    fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), BackendError>;
    /// Stops and undefines a network; absent is fine.
    fn remove_network(&self, name: &str) -> Result<(), BackendError>;
    /// Defines (transient: gone when it stops) and starts a domain.
    fn start_domain(&self, spec: &DomainSpec) -> Result<Arc<dyn Guest>, BackendError>;
    /// A running domain by its libvirt name.
    fn find_domain(
        &self,
        name: &str,
        machine: &str,
    ) -> Result<Option<Arc<dyn Guest>>, BackendError>;
}

/// One running domain.
pub trait Guest: Send + Sync {
    /// The machine's name in the recipe.
    fn machine(&self) -> &str;
    /// Whether it still runs.
    fn is_running(&self) -> Result<bool, BackendError>;
    /// Sends one guest agent command (JSON) and returns the reply (JSON).
    fn agent(&self, command: &str, timeout: Duration) -> Result<String, BackendError>;
    /// Asks the guest to power off, by its agent and by the power button; does not wait for it.
    fn request_shutdown(&self) -> Result<(), BackendError>;
    /// Pulls the plug; already gone is fine.
    fn destroy(&self) -> Result<(), BackendError>;
    /// Closes the active overlay: from now on writes go to `overlay`, a new file that libvirt
    /// makes on top of it. Disk only, atomic; the caller freezes and thaws.
    fn snapshot_disk(&self, overlay: &Path) -> Result<(), BackendError>;
    /// Sets the guest's clock to this time (seconds since 1970).
    fn set_time(&self, epoch: u64) -> Result<(), BackendError>;
}

/// Runs a call of these traits, which block, away from the async threads.
pub async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
) -> Result<T, BackendError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(panic) => {
            Err(BackendError::Call { doing: "call libvirt".into(), reason: panic.to_string() })
        }
    }
}
