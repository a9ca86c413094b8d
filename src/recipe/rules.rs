//! What a recipe may say, as questions: the same rules hold for a manifest that a stranger wrote.

use std::net::Ipv4Addr;

use super::leaf::{
    Bridge, CpuModel, LabName, Leaf, MachineName, MachineType, NetworkName, NicName,
};
use super::machines::{LEAST_DISK, LEAST_MEMORY, MOST_DISK, MOST_MEMORY};
use super::model::{Bytes, Subnet};

/// What a word names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A lab.
    Lab,
    /// A machine.
    Machine,
    /// A network.
    Network,
    /// An interface of a machine.
    Nic,
    /// A bridge of the host.
    Bridge,
    /// A versioned machine type.
    MachineType,
    /// A CPU model.
    CpuModel,
}

impl Named {
    /// Refuses a word that a recipe could not have there; says what is wrong.
    pub fn check(self, word: &str) -> Result<(), String> {
        let read = match self {
            Named::Lab => LabName::parse(word).map(drop),
            Named::Machine => MachineName::parse(word).map(drop),
            Named::Network => NetworkName::parse(word).map(drop),
            Named::Nic => NicName::parse(word).map(drop),
            Named::Bridge => Bridge::parse(word).map(drop),
            Named::MachineType => MachineType::parse(word).map(drop),
            Named::CpuModel => CpuModel::parse(word).map(drop),
        };
        // `all` means every machine.
        match read {
            Ok(()) if self == Named::Machine && word == "all" => {
                Err("a machine is called `all`".into())
            }
            Ok(()) if word.len() <= 64 => Ok(()),
            Ok(()) => Err("a name is longer than any can be".to_owned()),
            Err((message, _)) => Err(message.escape_debug().to_string()),
        }
    }
}

/// The network that an address and a prefix stand for, or why a recipe could not declare it.
pub fn subnet(network: Ipv4Addr, prefix: u8) -> Result<Subnet, String> {
    Subnet::parse(&format!("{network}/{prefix}")).map_err(|(message, _)| message)
}

/// Whether something on the network can have this address.
pub fn has_room_for(subnet: Subnet, address: Ipv4Addr) -> bool {
    subnet.contains(address) && address != subnet.network && address != subnet.broadcast()
}

/// Whether a machine can have so many CPUs, so much memory and such a disk.
pub fn hardware(cpus: u32, memory: Bytes, disk: Bytes) -> bool {
    (1..=64).contains(&cpus)
        && (LEAST_MEMORY..=MOST_MEMORY).contains(&memory)
        && (LEAST_DISK..=MOST_DISK).contains(&disk)
}
