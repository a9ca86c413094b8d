//! Networks: what each kind needs, and that no two share addresses.

use std::net::Ipv4Addr;

use super::leaf::NetworkName;
use super::model::{Network, NetworkKind, Place, Subnet};
use super::raw;
use super::shape::{At, Named};
use super::source::Report;

/// The networks that are whole; what is wrong with the others is reported.
pub(super) fn read(
    declared: &Named<NetworkName, raw::Network>,
    report: &mut Report,
) -> Vec<Network> {
    let mut networks: Vec<Network> = Vec::new();
    for (name, value) in &declared.entries {
        let Some(raw) = value else { continue };
        check_kind(raw, report);
        let Some(network) = network(name, raw, report) else { continue };
        for earlier in networks.iter().filter(|earlier| overlap(earlier.subnet, network.subnet)) {
            let at = raw.subnet.as_ref().map_or(&raw.at, |subnet| &subnet.at);
            let message = format!(
                "{} overlaps {} of the network `{}`",
                network.subnet, earlier.subnet, earlier.name
            );
            report.fault(at, message, "every network of a lab has addresses of its own");
        }
        networks.push(network);
    }
    networks
}

fn network(name: &At<NetworkName>, raw: &raw::Network, report: &mut Report) -> Option<Network> {
    let subnet = raw.subnet.as_ref()?.value;
    let within = |address: &Option<At<Ipv4Addr>>, report: &mut Report| {
        let address = address.as_ref()?;
        lies_in(subnet, &name.value.0, address, report).then_some(address.value)
    };
    Some(Network {
        name: name.value.0.clone(),
        kind: raw.kind.as_ref()?.value,
        subnet,
        host: within(&raw.host, report),
        gateway: within(&raw.gateway, report),
        bridge: raw.bridge.as_ref().map(|bridge| bridge.value.0.clone()),
        at: name.at.clone(),
    })
}

/// Which of `host`, `gateway` and `bridge` a kind needs or cannot have.
fn check_kind(raw: &raw::Network, report: &mut Report) {
    let Some(kind) = raw.kind.as_ref().map(|kind| kind.value) else { return };
    let owners = [
        ("host", raw.host.as_ref().map(|host| &host.at), NetworkKind::HostOnly, "host-only"),
        ("gateway", raw.gateway.as_ref().map(|gw| &gw.at), NetworkKind::Bridged, "bridged"),
        ("bridge", raw.bridge.as_ref().map(|bridge| &bridge.at), NetworkKind::Bridged, "bridged"),
    ];
    for (key, given, owner, owner_name) in owners {
        match given {
            Some(at) if kind != owner => {
                let message = format!("only a {owner_name} network has a `{key}`");
                report.fault(at, message, format!("remove it, or write `kind: {owner_name}`"));
            }
            None if kind == owner && key != "bridge" && !gives(raw, key) => {
                needs(raw, key, owner_name, report);
            }
            _ => {}
        }
    }
}

/// Whether the key is there, though it may not be readable.
fn gives(raw: &raw::Network, key: &str) -> bool {
    raw.given.iter().any(|given| given == key)
}

fn needs(raw: &raw::Network, key: &str, kind: &str, report: &mut Report) {
    let help = match &raw.subnet {
        Some(subnet) => {
            let first = Ipv4Addr::from_bits(subnet.value.network.to_bits() + 1);
            format!("for example `{key}: {first}`")
        }
        None => format!("`{key}` is an address of its subnet"),
    };
    report.fault(&raw.at, format!("a {kind} network needs a `{key}`"), help);
}

fn overlap(a: Subnet, b: Subnet) -> bool {
    a.contains(b.network) || b.contains(a.network)
}

/// Whether an address can belong to something on the network; reported if not.
pub(super) fn lies_in(
    subnet: Subnet,
    network: &str,
    address: &At<Ipv4Addr>,
    report: &mut Report,
) -> bool {
    let At { value, at } = address;
    let wrong = if !subnet.contains(*value) {
        format!("{value} is not an address of the network `{network}`")
    } else if *value == subnet.network {
        format!("{value} is the address of the network `{network}` itself")
    } else if *value == subnet.broadcast() {
        format!("{value} is the broadcast address of the network `{network}`")
    } else {
        return true;
    };
    report.fault(at, wrong, range(subnet));
    false
}

fn range(subnet: Subnet) -> String {
    let first = Ipv4Addr::from_bits(subnet.network.to_bits() + 1);
    let last = Ipv4Addr::from_bits(subnet.broadcast().to_bits() - 1);
    format!("its addresses are {first} to {last}")
}

/// Who has an address on a network.
#[derive(Debug)]
pub(super) struct Owner {
    pub network: String,
    pub address: Ipv4Addr,
    /// The machine; none for the host and the gateway.
    pub machine: Option<String>,
    /// As in "… has it already".
    pub who: String,
    /// Where that is written.
    pub at: Place,
}

impl Owner {
    /// Who it is, and where that is written, told at `other`.
    pub fn seen_from(&self, other: &Place) -> String {
        format!("{} ({})", self.who, self.at.seen_from(other))
    }
}

/// The addresses that the networks themselves take.
pub(super) fn owners(networks: &[Network]) -> Vec<Owner> {
    let mut owners = Vec::new();
    for network in networks {
        for (address, who) in [(network.host, "the host"), (network.gateway, "the gateway")] {
            let owner = |address| Owner {
                network: network.name.clone(),
                address,
                machine: None,
                who: who.to_owned(),
                at: network.at.clone(),
            };
            owners.extend(address.map(owner));
        }
    }
    owners
}
