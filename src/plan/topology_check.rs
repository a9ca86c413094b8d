//! A topology that a stranger wrote, held against the rules of recipes, before anything is done with it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::topology::{Topology, TopologyMachine, TopologyNetwork, TopologyNic};
use crate::recipe::rules::{self, Named};
use crate::recipe::{Bytes, NetworkKind, Subnet};

/// More than any lab has.
const MACHINES: usize = 64;
const NETWORKS: usize = 64;
/// As many as a machine has room for, with its other devices.
const NICS: usize = 20;

type Verdict = Result<(), String>;

impl Topology {
    /// Refuses a topology that could not have come from a recipe; says what is wrong.
    pub fn check(&self) -> Verdict {
        Named::Lab.check(&self.lab)?;
        super::plain("the title", &self.title)?;
        if self.machines.is_empty() {
            return Err("it has no machines".into());
        }
        if self.machines.len() > MACHINES || self.networks.len() > NETWORKS {
            return Err(format!("it has more than {MACHINES} machines or {NETWORKS} networks"));
        }
        self.networks.iter().try_for_each(check_network)?;
        self.machines.iter().try_for_each(|machine| self.check_machine(machine))?;
        self.check_distinct()?;
        self.check_addresses()
    }

    fn check_machine(&self, m: &TopologyMachine) -> Verdict {
        Named::Machine.check(&m.name)?;
        let of = |reason: String| format!("machine {}: {reason}", m.name);
        Named::MachineType.check(&m.machine_type).map_err(of)?;
        Named::CpuModel.check(&m.cpu_model).map_err(of)?;
        let serial = (1..=20).contains(&m.disk_serial.len())
            && m.disk_serial.bytes().all(|b| b.is_ascii_alphanumeric());
        if !is_uuid(&m.uuid) || !serial {
            return Err(of("its uuid or the serial number of its disk is none".into()));
        }
        let memory = Bytes(m.memory_mib.saturating_mul(1 << 20));
        if !rules::hardware(m.cpus, memory, Bytes(m.disk_bytes)) {
            return Err(of("cpus, memory or disk out of range".into()));
        }
        if m.nics.len() > NICS {
            return Err(of(format!("it has more than {NICS} nics")));
        }
        m.nics.iter().try_for_each(|nic| self.check_nic(nic)).map_err(of)
    }

    fn check_nic(&self, nic: &TopologyNic) -> Verdict {
        Named::Nic.check(&nic.name)?;
        if !is_mac(&nic.mac) {
            return Err(format!("`{}` is no MAC address of a machine", nic.mac.escape_debug()));
        }
        match self.networks.iter().any(|n| n.name == nic.network) {
            true => Ok(()),
            false => Err(format!("a nic on `{}`, which is no network", nic.network.escape_debug())),
        }
    }

    /// Nothing stands twice that libvirt, the guests or files tell apart by it.
    fn check_distinct(&self) -> Verdict {
        let nics = || self.machines.iter().flat_map(|m| &m.nics);
        distinct("machine", self.machines.iter().map(|m| m.name.as_str()))?;
        distinct("network", self.networks.iter().map(|n| n.name.as_str()))?;
        let uuids = self.machines.iter().map(|m| m.uuid.as_str());
        distinct("uuid", uuids.chain(self.networks.iter().map(|n| n.uuid.as_str())))?;
        distinct("serial number", self.machines.iter().map(|m| m.disk_serial.as_str()))?;
        distinct("MAC address", nics().map(|nic| nic.mac.as_str()))?;
        let bridges = self.networks.iter().filter_map(|n| n.bridge.as_deref());
        distinct("bridge", bridges)?;
        self.machines.iter().try_for_each(|m| {
            distinct("nic of one machine", m.nics.iter().map(|nic| nic.name.as_str()))
        })
    }

    fn check_addresses(&self) -> Verdict {
        for (i, a) in self.networks.iter().enumerate() {
            let overlaps = |b: &&TopologyNetwork| overlap(subnet(a), subnet(b));
            if let Some(b) = self.networks[i + 1..].iter().find(overlaps) {
                return Err(format!("the networks {} and {} overlap", a.name, b.name));
            }
            self.check_addresses_on(a)?;
        }
        Ok(())
    }

    fn check_addresses_on(&self, n: &TopologyNetwork) -> Verdict {
        let nics = self.machines.iter().flat_map(|m| &m.nics).filter(|nic| nic.network == n.name);
        let mut taken = BTreeSet::new();
        for address in [n.host, n.gateway].into_iter().chain(nics.map(|nic| nic.address)).flatten()
        {
            if !rules::has_room_for(subnet(n), address) {
                return Err(format!("{address} can be no address on network {}", n.name));
            }
            if !taken.insert(address) {
                return Err(format!("{address} is given twice on network {}", n.name));
            }
        }
        Ok(())
    }
}

fn check_network(n: &TopologyNetwork) -> Verdict {
    Named::Network.check(&n.name)?;
    let of = |reason: String| format!("network {}: {reason}", n.name);
    let found = rules::subnet(n.network, n.prefix).map_err(of)?;
    if !is_private(found) {
        return Err(of(format!("{found} belongs to others; a private network is right")));
    }
    if let Some(bridge) = &n.bridge {
        Named::Bridge.check(bridge).map_err(of)?;
    }
    let (host, gateway) = (n.host.is_some(), n.gateway.is_some());
    let fits = match n.kind {
        NetworkKind::HostOnly => host && !gateway && n.bridge.is_none(),
        NetworkKind::Bridged => gateway && !host,
        NetworkKind::Isolated => !host && !gateway && n.bridge.is_none(),
    };
    match fits && is_uuid(&n.uuid) {
        true => Ok(()),
        false => Err(of("its kind, host, gateway, bridge or uuid do not go together".into())),
    }
}

fn subnet(n: &TopologyNetwork) -> Subnet {
    Subnet { network: n.network, prefix: n.prefix }
}

fn overlap(a: Subnet, b: Subnet) -> bool {
    a.contains(b.network) || b.contains(a.network)
}

/// Private (RFC 1918), shared (RFC 6598), or for documentation and benchmarks: nobody's real network
/// is hidden from the host by it.
fn is_private(subnet: Subnet) -> bool {
    let ranges = [
        ([10, 0, 0, 0], 8),
        ([172, 16, 0, 0], 12),
        ([192, 168, 0, 0], 16),
        ([100, 64, 0, 0], 10),
        ([198, 18, 0, 0], 15),
        ([192, 0, 2, 0], 24),
        ([198, 51, 100, 0], 24),
        ([203, 0, 113, 0], 24),
    ];
    ranges.into_iter().any(|(network, prefix)| {
        let range = Subnet { network: Ipv4Addr::from(network), prefix };
        subnet.prefix >= prefix && range.contains(subnet.network)
    })
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let hex = |group: &&str| group.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(hex)
}

/// Six bytes of one machine: not of a group, and not none at all.
fn is_mac(text: &str) -> bool {
    let byte = |part: &str| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2);
    let plain = text.bytes().all(|b| matches!(b, b':' | b'0'..=b'9' | b'a'..=b'f'));
    let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
    plain && bytes.is_some_and(|b| b.len() == 6 && b[0] & 1 == 0 && b.iter().any(|byte| *byte != 0))
}

fn distinct<'a>(what: &str, mut words: impl Iterator<Item = &'a str>) -> Verdict {
    let mut seen = BTreeSet::new();
    match words.find(|word| !seen.insert(*word)) {
        None => Ok(()),
        Some(twice) => Err(format!("the {what} {twice} stands twice")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::topology::uuid;
    use super::*;

    fn network(name: &str, third: u8) -> TopologyNetwork {
        TopologyNetwork {
            name: name.into(),
            uuid: uuid(&["network", name]),
            kind: NetworkKind::HostOnly,
            network: [192, 168, third, 0].into(),
            prefix: 24,
            host: Some([192, 168, third, 1].into()),
            gateway: None,
            bridge: None,
        }
    }

    fn machine(name: &str, last: u8) -> TopologyMachine {
        TopologyMachine {
            name: name.into(),
            uuid: uuid(&["machine", name]),
            cpus: 1,
            memory_mib: 512,
            disk_bytes: 1 << 30,
            disk_serial: format!("lb{name}"),
            machine_type: "pc-q35-7.2".into(),
            cpu_model: "Nehalem".into(),
            nics: vec![TopologyNic {
                name: "ens3".into(),
                network: "one".into(),
                mac: format!("52:54:00:00:00:{last:02x}"),
                address: Some([192, 168, 1, last].into()),
            }],
        }
    }

    fn sample() -> Topology {
        Topology {
            lab: "t".into(),
            title: "T".into(),
            networks: vec![network("one", 1), network("two", 2)],
            machines: vec![machine("a", 5), machine("b", 6)],
        }
    }

    fn refused(change: impl Fn(&mut Topology)) -> String {
        let mut topology = sample();
        change(&mut topology);
        topology.check().unwrap_err()
    }

    #[test]
    fn a_topology_as_recipes_make_them_passes() {
        assert_eq!(sample().check(), Ok(()));
    }

    #[test]
    fn names_and_words_are_those_of_recipes() {
        for name in ["../../etc", "A", "", "all", "a b", "a\n", &"a".repeat(99)] {
            refused(|t| t.machines[0].name = name.to_owned());
            refused(|t| t.networks[0].name = format!("{name}/"));
        }
        refused(|t| t.lab = "x/y".into());
        refused(|t| t.title = "\u{1b}[2J".into());
        for word in ["x'/><evil", "", "host passthrough", &"x".repeat(65)] {
            refused(|t| t.machines[0].cpu_model = word.to_owned());
        }
        for word in ["q35", "pc-q35-7.2'", "isapc"] {
            refused(|t| t.machines[0].machine_type = word.to_owned());
        }
        refused(|t| t.machines[0].nics[0].name = "a/b".into());
        refused(|t| t.machines[0].disk_serial = "x y".into());
        refused(|t| t.machines[0].uuid = "34c9ce95".into());
    }

    #[test]
    fn addresses_are_private_inside_their_network_and_given_once() {
        for (network, prefix) in [
            ([8, 0, 0, 0], 8),
            ([127, 0, 0, 0], 8),
            ([224, 0, 0, 0], 8),
            ([0, 0, 0, 0], 8),
            ([169, 254, 0, 0], 16),
            ([192, 168, 1, 0], 31),
            ([192, 168, 1, 7], 24),
            ([192, 0, 0, 0], 8),
        ] {
            refused(|t| {
                t.networks[0].network = network.into();
                t.networks[0].prefix = prefix;
            });
        }
        for address in [
            [127, 0, 0, 1],
            [192, 168, 1, 0],
            [192, 168, 1, 255],
            [192, 168, 2, 9],
            [192, 168, 1, 1],
            [192, 168, 1, 6],
        ] {
            refused(|t| t.machines[0].nics[0].address = Some(address.into()));
        }
        refused(|t| t.networks[0].host = Some([127, 0, 0, 1].into()));
        refused(|t| t.networks[0].host = None);
        refused(|t| t.networks[0].gateway = Some([192, 168, 1, 2].into()));
        refused(|t| t.networks[0].bridge = Some("eth0".into()));
        assert!(refused(|t| t.networks[1] = network("two", 1)).contains("overlap"));
    }

    #[test]
    fn macs_are_those_of_machines() {
        for mac in [
            "zz",
            "",
            "52:54:00:00:00",
            "53:54:00:00:00:01",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "52-54-00-00-00-01",
            "+2:54:00:00:00:01",
        ] {
            refused(|t| t.machines[0].nics[0].mac = mac.to_owned());
        }
    }

    #[test]
    fn sizes_and_numbers_have_bounds() {
        refused(|t| t.machines[0].memory_mib = (1 << 20) + 1);
        refused(|t| t.machines[0].memory_mib = u64::MAX);
        refused(|t| t.machines[0].cpus = 0);
        refused(|t| t.machines[0].disk_bytes = 1 << 46);
        refused(|t| t.machines.clear());
        refused(|t| t.machines[0].nics = vec![t.machines[0].nics[0].clone(); 40]);
        refused(|t| t.networks = vec![t.networks[0].clone(); 65]);
    }

    #[test]
    fn nothing_stands_twice() {
        assert!(refused(|t| t.machines[1] = t.machines[0].clone()).contains("twice"));
        refused(|t| t.networks[1].name = "one".into());
        refused(|t| t.machines[1].uuid = t.networks[0].uuid.clone());
        refused(|t| t.machines[1].disk_serial = t.machines[0].disk_serial.clone());
        refused(|t| t.machines[1].nics[0].mac = t.machines[0].nics[0].mac.clone());
        refused(|t| {
            let nic = TopologyNic {
                mac: "52:54:00:00:00:99".into(),
                address: None,
                ..t.machines[0].nics[0].clone()
            };
            t.machines[0].nics.push(nic);
        });
        refused(|t| t.machines[0].nics[0].network = "three".into());
    }
}
