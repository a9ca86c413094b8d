//! Machines: sizes, files, and interfaces that fit their networks and each other.

use std::net::Ipv4Addr;
use std::path::Path;

use super::leaf::{BaseName, InnerPath, MachineName};
use super::model::{Bytes, Machine, Network, NetworkKind, Nic};
use super::near;
use super::networks::{self, Owner};
use super::paths;
use super::raw;
use super::shape::{At, Named};
use super::source::Report;

pub(super) const LEAST_MEMORY: Bytes = Bytes(64 << 20);
pub(super) const MOST_MEMORY: Bytes = Bytes(1 << 40);
pub(super) const LEAST_DISK: Bytes = Bytes(1 << 30);
pub(super) const MOST_DISK: Bytes = Bytes(16 << 40);

/// What the rest of `lab.yaml` says about machines.
pub(super) struct Surroundings<'a> {
    /// The recipe's folder.
    pub dir: &'a Path,
    /// Base of machines that name none.
    pub base: Option<&'a BaseName>,
    /// The lab has a base that could not be read.
    pub base_is_faulty: bool,
    /// Networks that are whole.
    pub networks: &'a [Network],
    /// All networks by name, whole or not.
    pub network_names: &'a [String],
}

/// The machines that are whole; what is wrong with the others is reported.
pub(super) fn read(
    declared: &Named<MachineName, raw::Machine>,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Vec<Machine> {
    let mut owners = networks::owners(around.networks);
    let mut machines = Vec::new();
    for (name, value) in &declared.entries {
        check_reserved(name, report);
        let Some(raw) = value else { continue };
        let nics = nics(&name.value.0, raw, around, &mut owners, report);
        machines.extend(machine(name, raw, nics, around, report));
    }
    let all: Vec<&raw::Machine> =
        declared.entries.iter().filter_map(|(_, raw)| raw.as_ref()).collect();
    for (name, value) in &declared.entries {
        let Some(raw) = value else { continue };
        for gateway in gateways(&name.value.0, raw, around, report) {
            check_owner(&name.value.0, gateway, &owners, &all, report);
        }
    }
    machines
}

fn check_reserved(name: &At<MachineName>, report: &mut Report) {
    if name.value.0 == "all" {
        let help = "in steps, `all` means every machine";
        report.fault(&name.at, "a machine cannot be called `all`", help);
    }
}

fn machine(
    name: &At<MachineName>,
    raw: &raw::Machine,
    nics: Vec<Nic>,
    around: &Surroundings<'_>,
    report: &mut Report,
) -> Option<Machine> {
    let memory = size(raw.memory.as_ref(), "64 MiB to 1 TiB", LEAST_MEMORY, MOST_MEMORY, report);
    let disk = size(raw.disk.as_ref(), "1 GiB to 16 TiB", LEAST_DISK, MOST_DISK, report);
    let kickstart = kickstart(raw.kickstart.as_ref(), around.dir, report);
    let base = raw.base.as_ref().map(|base| &base.value).or(around.base);
    let faulty = around.base_is_faulty || raw.given.iter().any(|key| key == "base");
    if base.is_none() && !faulty {
        let help = "write `base: debian-12` here, or once for all machines at the top";
        report.fault(&name.at, format!("the machine `{}` has no base", name.value.0), help);
    }
    let hardware = raw.hardware.as_ref().map(|hardware| &hardware.value);
    let machine_type = hardware.and_then(|hardware| hardware.machine_type.as_ref());
    let cpu_model = hardware.and_then(|hardware| hardware.cpu_model.as_ref());
    Some(Machine {
        name: name.value.0.clone(),
        cpus: raw.cpus.as_ref().map_or(1, |cpus| cpus.value.0 as u32),
        memory: memory?,
        disk: disk?,
        base: base?.0.clone(),
        kickstart,
        machine_type: machine_type.map_or("pc-q35-7.2".to_owned(), |it| it.value.0.clone()),
        cpu_model: cpu_model.map_or("Nehalem".to_owned(), |it| it.value.0.clone()),
        nics,
        at: name.at.clone(),
    })
}

fn size(
    given: Option<&At<Bytes>>,
    bounds: &str,
    least: Bytes,
    most: Bytes,
    report: &mut Report,
) -> Option<Bytes> {
    let At { value, at } = given?;
    let help = if !(least..=most).contains(value) {
        format!("it may be {bounds}")
    } else if value.0 % (1 << 20) != 0 {
        "a whole number of MiB".to_owned()
    } else {
        return Some(*value);
    };
    report.fault(at, "this size is not possible", help);
    None
}

fn kickstart(given: Option<&At<InnerPath>>, dir: &Path, report: &mut Report) -> Option<String> {
    let At { value: InnerPath(file), at } = given?;
    match paths::find_beside(dir, "kickstart", file) {
        Ok(Some(_)) => {}
        Ok(None) => {
            let help =
                "looked beside lab.yaml, and in `kickstart` there and up to three folders above";
            report.fault(at, format!("there is no kickstart `{file}`"), help);
        }
        Err((message, help)) => report.fault(at, message, help),
    }
    Some(file.clone())
}

/// The interfaces of a machine; their addresses are entered into `owners`.
fn nics(
    machine: &str,
    raw: &raw::Machine,
    around: &Surroundings<'_>,
    owners: &mut Vec<Owner>,
    report: &mut Report,
) -> Vec<Nic> {
    let mut nics: Vec<Nic> = Vec::new();
    for At { value: raw, .. } in raw.nics.iter().flat_map(|nics| &nics.value) {
        check_network(raw, around, report);
        check_address(machine, raw, around, owners, report);
        let Some(nic) = nic(raw) else { continue };
        if let Some(earlier) = nics.iter().find(|earlier| earlier.name == nic.name) {
            let message = format!("`{machine}` has two interfaces `{}`", nic.name);
            let help = format!("the first one is on {}", earlier.at.seen_from(&nic.at));
            report.fault(&nic.at, message, help);
        }
        nics.push(nic);
    }
    nics
}

fn nic(raw: &raw::Nic) -> Option<Nic> {
    Some(Nic {
        name: raw.name.as_ref()?.value.0.clone(),
        network: raw.network.as_ref()?.value.0.clone(),
        address: raw.address.as_ref().map(|address| address.value),
        gateway: raw.gateway.as_ref().map(|gateway| gateway.value),
        at: raw.at.clone(),
    })
}

fn check_network(raw: &raw::Nic, around: &Surroundings<'_>, report: &mut Report) {
    let Some(At { value, at }) = &raw.network else { return };
    if !around.network_names.contains(&value.0) {
        let names = around.network_names.iter().map(String::as_str);
        let help = near::suggestion(&value.0, "networks", names);
        report.push(at, format!("there is no network `{}`", value.0), help);
    }
}

fn network_of<'a>(raw: &raw::Nic, around: &Surroundings<'a>) -> Option<&'a Network> {
    let name = &raw.network.as_ref()?.value.0;
    around.networks.iter().find(|network| network.name == *name)
}

fn check_address(
    machine: &str,
    raw: &raw::Nic,
    around: &Surroundings<'_>,
    owners: &mut Vec<Owner>,
    report: &mut Report,
) {
    let (Some(address), Some(network)) = (&raw.address, network_of(raw, around)) else { return };
    if !networks::lies_in(network.subnet, &network.name, address, report) {
        return;
    }
    let same = |owner: &&Owner| owner.network == network.name && owner.address == address.value;
    if let Some(owner) = owners.iter().find(same) {
        let message = format!("{} is taken on the network `{}`", address.value, network.name);
        report.fault(
            &address.at,
            message,
            format!("it belongs to {}", owner.seen_from(&address.at)),
        );
        return;
    }
    let nic = raw.name.as_ref().map_or("an interface", |name| &name.value.0);
    owners.push(Owner {
        network: network.name.clone(),
        address: address.value,
        machine: Some(machine.to_owned()),
        who: format!("{nic} of `{machine}`"),
        at: address.at.clone(),
    });
}

/// A gateway that lies in its network.
struct Gateway<'a> {
    address: &'a At<Ipv4Addr>,
    network: &'a Network,
}

/// The gateways of a machine's interfaces, if there is anything left to check about them.
fn gateways<'a>(
    machine: &str,
    raw: &'a raw::Machine,
    around: &Surroundings<'a>,
    report: &mut Report,
) -> Vec<Gateway<'a>> {
    let mut gateways = Vec::new();
    let nics = raw.nics.iter().flat_map(|nics| &nics.value).map(|nic| &nic.value);
    for (i, nic) in nics.filter(|nic| nic.gateway.is_some()).enumerate() {
        let (Some(address), Some(network)) = (&nic.gateway, network_of(nic, around)) else {
            continue;
        };
        if i > 0 {
            let message = format!("`{machine}` has a second gateway");
            report.fault(&address.at, message, "a machine has one default route");
        }
        if !nic.given.iter().any(|key| key == "address") {
            let help = "give the interface an address on the same network";
            report.fault(&address.at, "a gateway is no use without an address", help);
        }
        if networks::lies_in(network.subnet, &network.name, address, report) {
            gateways.push(Gateway { address, network });
        }
    }
    gateways
}

/// Somebody else must answer at a gateway's address.
fn check_owner(
    machine: &str,
    gateway: Gateway<'_>,
    owners: &[Owner],
    all: &[&raw::Machine],
    report: &mut Report,
) {
    let Gateway { address, network } = gateway;
    let there: Vec<&Owner> = owners.iter().filter(|owner| owner.network == network.name).collect();
    let owner = there.iter().find(|owner| owner.address == address.value);
    let is_own = |owner: &Owner| owner.machine.as_deref() == Some(machine);
    let message = match owner {
        Some(owner) if is_own(owner) => format!("{} is `{machine}` itself", address.value),
        None if !may_be_hidden(address.value, network, all) => {
            format!("nobody has the address {} on `{}`", address.value, network.name)
        }
        _ => return,
    };
    let others = there.iter().filter(|owner| !is_own(owner));
    let list: Vec<String> =
        others.map(|it| format!("{} is {}", it.address, it.seen_from(&address.at))).collect();
    let help = match list.is_empty() {
        true => "no one else has an address there".to_owned(),
        false => list.join("; "),
    };
    report.fault(&address.at, message, help);
}

/// Whether the owner of an address may have been lost to another fault.
fn may_be_hidden(address: Ipv4Addr, network: &Network, all: &[&raw::Machine]) -> bool {
    let lost = match network.kind {
        NetworkKind::HostOnly => network.host.is_none(),
        NetworkKind::Bridged => network.gateway.is_none(),
        NetworkKind::Isolated => false,
    };
    let nics = all.iter().flat_map(|machine| &machine.nics).flat_map(|nics| &nics.value);
    let suspect = |nic: &raw::Nic| match &nic.address {
        Some(own) => own.value == address,
        None => nic.given.iter().any(|key| key == "address"),
    };
    lost || nics.map(|nic| &nic.value).any(suspect)
}
