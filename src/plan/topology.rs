//! The lab as hardware: what a hypervisor must provide, with every name and address decided.
//!
//! A topology is all that is needed to boot a lab from images, so it travels in manifests; one
//! that comes from a stranger is checked by [`Topology::check`] before use. UUIDs, MAC addresses
//! and serial numbers are derived from lab and machine names: two hosts give a guest the same
//! machine.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::recipe::{Lab, Machine, NetworkKind};

/// Machines and networks of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Name of the recipe.
    pub lab: String,
    /// Its title.
    pub title: String,
    /// Networks in the recipe's order.
    pub networks: Vec<TopologyNetwork>,
    /// Machines in the recipe's order.
    pub machines: Vec<TopologyMachine>,
}

/// One network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopologyNetwork {
    /// Name in the recipe.
    pub name: String,
    /// Stable UUID.
    pub uuid: String,
    /// What it connects.
    pub kind: NetworkKind,
    /// Network address.
    pub network: Ipv4Addr,
    /// Prefix length.
    pub prefix: u8,
    /// The host's address (host-only).
    pub host: Option<Ipv4Addr>,
    /// The gateway's address (bridged).
    pub gateway: Option<Ipv4Addr>,
    /// Host bridge to use where there is one (bridged).
    pub bridge: Option<String>,
}

/// One machine's hardware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopologyMachine {
    /// Name in the recipe.
    pub name: String,
    /// Stable UUID.
    pub uuid: String,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk size in bytes.
    pub disk_bytes: u64,
    /// Serial number of the disk.
    pub disk_serial: String,
    /// Versioned machine type.
    pub machine_type: String,
    /// Named CPU model.
    pub cpu_model: String,
    /// Interfaces in order.
    pub nics: Vec<TopologyNic>,
}

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopologyNic {
    /// Name in the guest.
    pub name: String,
    /// Network it is on.
    pub network: String,
    /// MAC address.
    pub mac: String,
    /// Address, if it has one.
    pub address: Option<Ipv4Addr>,
}

impl Topology {
    /// The hardware of a recipe's lab.
    pub fn of(lab: &Lab) -> Self {
        let networks = lab.networks.iter().map(|n| TopologyNetwork {
            name: n.name.clone(),
            uuid: uuid(&["network", &lab.name, &n.name]),
            kind: n.kind,
            network: n.subnet.network,
            prefix: n.subnet.prefix,
            host: n.host,
            gateway: n.gateway,
            bridge: n.bridge.clone(),
        });
        Topology {
            lab: lab.name.clone(),
            title: lab.title.clone(),
            networks: networks.collect(),
            machines: lab.machines.iter().map(|m| machine(lab, m)).collect(),
        }
    }

    /// The machine with this name.
    pub fn machine(&self, name: &str) -> Option<&TopologyMachine> {
        self.machines.iter().find(|m| m.name == name)
    }
}

/// A DNS label: what recipes allow as names of labs, machines and networks.
pub(super) fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

pub(super) fn is_word(word: &str) -> bool {
    (1..=64).contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}

fn machine(lab: &Lab, m: &Machine) -> TopologyMachine {
    let nics = m.nics.iter().map(|nic| TopologyNic {
        name: nic.name.clone(),
        network: nic.network.clone(),
        mac: mac(&["nic", &lab.name, &m.name, &nic.name]),
        address: nic.address,
    });
    TopologyMachine {
        name: m.name.clone(),
        uuid: uuid(&["machine", &lab.name, &m.name]),
        cpus: m.cpus,
        memory_mib: m.memory.mebibytes(),
        disk_bytes: m.disk.0,
        disk_serial: format!("lb{}", &derive(&["disk", &lab.name, &m.name]).to_string()[..16]),
        machine_type: m.machine_type.clone(),
        cpu_model: m.cpu_model.clone(),
        nics: nics.collect(),
    }
}

/// A value that depends on nothing but these words.
pub fn derive(words: &[&str]) -> Digest {
    Digest::of(words.join("\0"))
}

/// A UUID (RFC 9562 version 8: made by a rule of our own) derived from words.
pub fn uuid(words: &[&str]) -> String {
    let mut b: [u8; 16] = [0; 16];
    b.copy_from_slice(&derive(words).bytes()[..16]);
    b[6] = b[6] & 0x0f | 0x80;
    b[8] = b[8] & 0x3f | 0x80;
    let hex: String = b.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A MAC address in the prefix that QEMU and libvirt use (52:54:00), derived from words.
fn mac(words: &[&str]) -> String {
    let digest = derive(words);
    let b = digest.bytes();
    format!("52:54:00:{:02x}:{:02x}:{:02x}", b[0], b[1], b[2])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn derived_names_are_stable() {
        // These must never change: a guest would see other hardware.
        let id = uuid(&["machine", "two-node", "controller"]);
        assert_eq!(id, "34c9ce95-3aa1-84f7-acc7-5947c5c0f246");
        assert_eq!(mac(&["nic", "two-node", "controller", "ens33"]), "52:54:00:e9:85:73");
    }
}
