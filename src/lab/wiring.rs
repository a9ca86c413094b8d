//! From a topology to what the backend is asked for: names in libvirt, modes of networks.
//!
//! In a libvirtd of its own a lab uses plain names. On somebody else's, names carry the lab's
//! name, and a bridged network goes onto the host bridge that the recipe names, where there is one.

use std::path::PathBuf;

use crate::backend::{Boot, Clock, DomainSpec, NetworkMode, NetworkSpec, NicSpec};
use crate::plan::{Topology, TopologyMachine, TopologyNetwork};
use crate::recipe::NetworkKind;
use crate::sandbox::UPLINK_DNS;

/// Whose libvirtd a lab runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ground {
    /// A libvirtd of its own, with or without a way out.
    Own {
        /// Whether there is an uplink.
        uplink: bool,
    },
    /// Somebody else's; names are prefixed with the lab's name.
    Shared {
        /// The lab's name.
        lab: String,
    },
}

impl Ground {
    /// The name in libvirt of a machine or network of the recipe.
    pub fn name(&self, plain: &str) -> String {
        match self {
            Ground::Own { .. } => plain.to_owned(),
            Ground::Shared { lab } => format!("labbuild-{lab}-{plain}"),
        }
    }

    /// What is asked for a network; `has_bridge` tells whether the host has a bridge.
    pub fn network(&self, n: &TopologyNetwork, has_bridge: impl Fn(&str) -> bool) -> NetworkSpec {
        let gateway = n.gateway.or(n.host);
        let mode = match (n.kind, gateway, self) {
            (NetworkKind::Bridged, Some(gateway), Ground::Own { uplink }) => {
                NetworkMode::Nat { gateway, dns_forwarder: uplink.then_some(UPLINK_DNS) }
            }
            (NetworkKind::Bridged, Some(gateway), Ground::Shared { .. }) => {
                match n.bridge.clone().filter(|b| has_bridge(b)) {
                    Some(bridge) => NetworkMode::HostBridge { bridge },
                    None => NetworkMode::Nat { gateway, dns_forwarder: None },
                }
            }
            (NetworkKind::HostOnly, Some(host), _) => NetworkMode::HostOnly { host },
            _ => NetworkMode::Isolated,
        };
        NetworkSpec {
            name: self.name(&n.name),
            uuid: n.uuid.clone(),
            prefix: n.prefix,
            bridge: self.bridge_name(n),
            mode,
        }
    }

    /// In a namespace of its own every bridge name is free; elsewhere libvirt chooses.
    fn bridge_name(&self, n: &TopologyNetwork) -> Option<String> {
        let Ground::Own { .. } = self else { return None };
        let name = n.bridge.clone().unwrap_or_else(|| format!("vmnet-{}", n.name));
        Some(name.chars().take(15).collect())
    }

    /// What is asked for a machine.
    pub fn domain(
        &self,
        m: &TopologyMachine,
        disk: PathBuf,
        console_log: PathBuf,
        clock: Clock,
        unsafe_cache: bool,
    ) -> DomainSpec {
        let nics = m
            .nics
            .iter()
            .map(|nic| NicSpec { network: self.name(&nic.network), mac: nic.mac.clone() });
        DomainSpec {
            name: self.name(&m.name),
            machine: m.name.clone(),
            uuid: m.uuid.clone(),
            cpus: m.cpus,
            memory_mib: m.memory_mib,
            machine_type: m.machine_type.clone(),
            cpu_model: m.cpu_model.clone(),
            disk,
            disk_serial: m.disk_serial.clone(),
            nics: nics.collect(),
            clock,
            unsafe_cache,
            console_log,
            boot: Boot::Disk,
        }
    }
}

/// What the output says about a bridged network on somebody else's libvirtd.
pub fn say_bridged(spec: &NetworkSpec, topology: &Topology) -> Option<String> {
    let wanted =
        topology.networks.iter().find(|n| n.uuid == spec.uuid && n.kind == NetworkKind::Bridged)?;
    let bridge = wanted.bridge.as_deref().unwrap_or("none named");
    match &spec.mode {
        NetworkMode::HostBridge { bridge } => {
            Some(format!("network {} is on the host bridge {bridge}", wanted.name))
        }
        NetworkMode::Nat { .. } => Some(format!(
            "network {}: the host has no bridge `{bridge}`, so it goes out by NAT",
            wanted.name
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bridged() -> TopologyNetwork {
        TopologyNetwork {
            name: "lan".into(),
            uuid: "u".into(),
            kind: NetworkKind::Bridged,
            network: [192, 168, 0, 0].into(),
            prefix: 24,
            host: None,
            gateway: Some([192, 168, 0, 1].into()),
            bridge: Some("br0".into()),
        }
    }

    #[test]
    fn a_bridged_network_uses_the_hosts_bridge_only_on_a_shared_libvirtd_that_has_it() {
        let shared = Ground::Shared { lab: "a".into() };
        let on_bridge = shared.network(&bridged(), |b| b == "br0");
        assert_eq!(on_bridge.mode, NetworkMode::HostBridge { bridge: "br0".into() });
        assert_eq!(on_bridge.name, "labbuild-a-lan");
        assert!(matches!(shared.network(&bridged(), |_| false).mode, NetworkMode::Nat { .. }));
        let own = Ground::Own { uplink: true }.network(&bridged(), |_| true);
        assert!(matches!(own.mode, NetworkMode::Nat { dns_forwarder: Some(_), .. }));
        assert_eq!((own.name.as_str(), own.bridge.as_deref()), ("lan", Some("br0")));
    }
}
