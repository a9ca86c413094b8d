//! Exposed ports: that their machines are there and can be reached, and that no two of them ask for
//! the same.

use std::net::Ipv4Addr;

use super::leaf::MachineName;
use super::model::{Expose, Machine, Network, NetworkKind};
use super::near;
use super::raw;
use super::shape::{At, Named};
use super::source::Report;

/// What the rest of `lab.yaml` says.
pub(super) struct Surroundings<'a> {
    /// Networks that are whole.
    pub networks: &'a [Network],
    /// Machines that are whole.
    pub machines: &'a [Machine],
    /// All machines as they are written; nothing where they could not be read at all.
    pub declared: Option<&'a Named<MachineName, raw::Machine>>,
}

/// The exposed ports that are whole; what is wrong with the others is reported.
pub(super) fn read(
    declared: &[At<raw::Expose>],
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Vec<Expose> {
    let raws: Vec<&raw::Expose> = declared.iter().map(|expose| &expose.value).collect();
    let mut read = Vec::new();
    for (i, raw) in raws.iter().enumerate() {
        check_unique(raw, &raws[..i], report);
        check_machine(raw, around, report);
        read.extend(expose(raw, around));
    }
    read
}

fn expose(raw: &raw::Expose, around: &Surroundings<'_>) -> Option<Expose> {
    let name = &raw.machine.as_ref()?.value.0;
    let machine = around.machines.iter().find(|machine| machine.name == *name)?;
    let port = |port: &At<super::number::Int<1, 65535>>| u16::try_from(port.value.0).ok();
    Some(Expose {
        name: raw.name.as_ref()?.value.0.clone(),
        machine: name.clone(),
        address: reachable(machine, around.networks)?,
        port: raw.port.as_ref().and_then(port)?,
        host_port: raw.host_port.as_ref().and_then(port),
        path: raw.path.as_ref().map(|path| path.value.0.clone()),
    })
}

/// An address of the machine on a network on which the host has one too: host-only before bridged.
fn reachable(machine: &Machine, networks: &[Network]) -> Option<Ipv4Addr> {
    let on = |kind: NetworkKind| {
        let of_kind = |name: &str| networks.iter().any(|n| n.name == name && n.kind == kind);
        let nics = machine.nics.iter().filter(|nic| of_kind(&nic.network));
        nics.filter_map(|nic| nic.address).next()
    };
    on(NetworkKind::HostOnly).or_else(|| on(NetworkKind::Bridged))
}

fn check_unique(raw: &raw::Expose, earlier: &[&raw::Expose], report: &mut Report) {
    if let Some(name) = &raw.name {
        let mut twins = earlier.iter().filter_map(|expose| expose.name.as_ref());
        if let Some(twin) = twins.find(|twin| twin.value == name.value) {
            let message = format!("two exposed ports are called `{}`", name.value.0);
            report.fault(
                &name.at,
                message,
                format!("the first one is on {}", twin.at.seen_from(&name.at)),
            );
        }
    }
    if let Some(port) = &raw.host_port {
        let mut twins = earlier.iter().filter_map(|expose| expose.host_port.as_ref());
        if let Some(twin) = twins.find(|twin| twin.value.0 == port.value.0) {
            let message = format!("the host has one port {}, and it is taken", port.value.0);
            let help = format!(
                "by the one on {}; without `host-port` a free one is found",
                twin.at.seen_from(&port.at)
            );
            report.fault(&port.at, message, help);
        }
    }
}

fn check_machine(raw: &raw::Expose, around: &Surroundings<'_>, report: &mut Report) {
    let (Some(At { value: MachineName(name), at }), Some(declared)) =
        (&raw.machine, around.declared)
    else {
        return;
    };
    if !declared.names.contains(name) {
        let names = declared.names.iter().map(String::as_str);
        let help = near::suggestion(name, "machines", names);
        report.push(at, format!("there is no machine `{name}`"), help);
        return;
    }
    let entry = declared.entries.iter().find(|(key, _)| key.value.0 == *name);
    let Some((_, Some(machine))) = entry else { return };
    if !may_be_reached(machine, around.networks) {
        let message = format!("`{name}` has no address that the host can reach");
        let help = "give it an interface with an `address` on a host-only or bridged network";
        report.fault(at, message, help);
    }
}

/// Whether the machine has such an address, or would have one but for another fault.
fn may_be_reached(machine: &raw::Machine, networks: &[Network]) -> bool {
    let Some(nics) = &machine.nics else { return machine.given.iter().any(|key| key == "nics") };
    nics.value.iter().map(|nic| &nic.value).any(|nic| {
        let on = |name: &str| networks.iter().find(|network| network.name == name);
        let network = nic.network.as_ref().and_then(|name| on(&name.value.0));
        let shut = network.is_some_and(|network| network.kind == NetworkKind::Isolated);
        !shut && nic.given.iter().any(|key| key == "address")
    })
}
