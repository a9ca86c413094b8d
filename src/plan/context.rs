//! What a kickstart template may refer to: the lab, its machine, everybody's addresses.

use serde_json::{Map, Value, json};

use super::topology::Topology;
use crate::recipe::{Lab, Machine, Network, NetworkKind, Nic};

/// The template context of one machine.
pub fn context(lab: &Lab, topology: &Topology, machine: &Machine) -> Value {
    let own: Vec<Value> = machine.nics.iter().map(|n| nic(lab, topology, machine, n)).collect();
    let machines: Map<String, Value> =
        lab.machines.iter().map(|m| (m.name.clone(), peer(lab, topology, m))).collect();
    let networks: Map<String, Value> =
        lab.networks.iter().map(|n| (n.name.clone(), network(n))).collect();
    json!({
        "lab": { "name": lab.name, "title": lab.title },
        "machine": {
            "name": machine.name,
            "cpus": machine.cpus,
            "memory_mib": machine.memory.mebibytes(),
            "disk_mib": machine.disk.mebibytes(),
            "nics": own,
        },
        "machines": machines,
        "networks": networks,
        "nameservers": nameservers(lab),
        "vars": lab.vars,
    })
}

/// The gateways of bridged networks answer DNS, as a home router does.
fn nameservers(lab: &Lab) -> Vec<String> {
    lab.networks.iter().filter_map(|n| n.gateway).map(|g| g.to_string()).collect()
}

fn kind(kind: NetworkKind) -> Value {
    serde_json::to_value(kind).unwrap_or_default()
}

fn network(n: &Network) -> Value {
    json!({
        "kind": kind(n.kind),
        "subnet": n.subnet.to_string(),
        "netmask": n.subnet.netmask().to_string(),
        "prefix": n.subnet.prefix,
        "host": n.host.map(|a| a.to_string()),
        "gateway": n.gateway.map(|a| a.to_string()),
    })
}

fn peer(lab: &Lab, topology: &Topology, machine: &Machine) -> Value {
    let nics: Map<String, Value> =
        machine.nics.iter().map(|n| (n.name.clone(), nic(lab, topology, machine, n))).collect();
    json!({ "nics": nics })
}

fn nic(lab: &Lab, topology: &Topology, machine: &Machine, nic: &Nic) -> Value {
    let hardware = topology.machine(&machine.name);
    let mac = hardware.and_then(|m| m.nics.iter().find(|n| n.name == nic.name)).map(|n| &n.mac);
    let on = lab.networks.iter().find(|n| n.name == nic.network);
    json!({
        "name": nic.name,
        "network": nic.network,
        "mac": mac,
        "kind": on.map(|n| kind(n.kind)),
        "address": nic.address.map(|a| a.to_string()),
        "netmask": nic.address.and(on).map(|n| n.subnet.netmask().to_string()),
        "prefix": nic.address.and(on).map(|n| n.subnet.prefix),
        "gateway": nic.gateway.map(|a| a.to_string()),
    })
}
