//! From the sorted words of a `network` line to its typed form.

use std::net::Ipv4Addr;

use super::model::{Bootproto, Command, Network};
use super::options::boolean;
use super::statement::Args;

pub(super) fn network(args: &mut Args<'_, '_>) -> Option<Command> {
    refused_by_rhel7(args);
    args.exclusive(&["--activate", "--no-activate"]);
    let network = Network {
        device: device(args),
        bootproto: bootproto(args),
        ip: args.address("--ip"),
        netmask: netmask(args),
        gateway: args.address("--gateway"),
        nameservers: nameservers(args),
        hostname: hostname(args),
        mtu: args_mtu(args),
        nodefroute: args.parsed.has("--nodefroute"),
        noipv4: args.parsed.has("--noipv4"),
        noipv6: args.parsed.has("--noipv6"),
        onboot: args.parsed.value("--onboot").and_then(|w| boolean(&w.text)),
        activate: args.parsed.has("--activate"),
    };
    check_addresses(args, &network);
    check_subnet(args, &network);
    Some(Command::Network(network))
}

fn device(args: &mut Args<'_, '_>) -> Option<String> {
    let word = args.parsed.value("--device")?.clone();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    let mac = word.text.split(':').count() == 6;
    let ok = !word.text.is_empty() && word.text.chars().all(plain);
    if !ok || (word.text.contains(':') && !mac) || (word.text.len() > 15 && !mac) {
        let message = format!("`{}` is not an interface", word.text);
        args.object_at(word.column, message, "write a name like `ens33` or a MAC address");
    }
    Some(word.text)
}

fn bootproto(args: &mut Args<'_, '_>) -> Bootproto {
    let Some(word) = args.parsed.value("--bootproto") else { return Bootproto::Dhcp };
    match word.text.as_str() {
        "static" => Bootproto::Static,
        "query" | "ibft" => {
            let message = format!(
                "`--bootproto={}` is known to Anaconda but not supported by labbuild",
                word.text
            );
            args.object_at(word.column, message, "write `static` or `dhcp`");
            Bootproto::Dhcp
        }
        _ => Bootproto::Dhcp,
    }
}

fn netmask(args: &mut Args<'_, '_>) -> Option<Ipv4Addr> {
    let mask = args.address("--netmask")?;
    if mask.to_bits().leading_ones() + mask.to_bits().trailing_zeros() != 32 {
        let column = args.parsed.value("--netmask").map_or(args.column, |w| w.column);
        args.object_at(column, format!("`{mask}` is not a netmask"), "like `255.255.255.0`");
    }
    Some(mask)
}

fn nameservers(args: &mut Args<'_, '_>) -> Vec<Ipv4Addr> {
    let words = args.parsed.list("--nameserver");
    words.iter().filter_map(|word| args.address_word("--nameserver", word)).collect()
}

fn hostname(args: &mut Args<'_, '_>) -> Option<String> {
    let word = args.parsed.value("--hostname")?.clone();
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if word.text.len() > 253 || !word.text.split('.').all(label) {
        let message = format!("`{}` is not a host name", word.text);
        args.object_at(word.column, message, "letters, digits and `-`, parts joined by `.`");
    }
    Some(word.text)
}

fn args_mtu(args: &mut Args<'_, '_>) -> Option<u32> {
    let word = args.parsed.value("--mtu")?.clone();
    let mtu = word.text.parse().ok().filter(|m| (68..=65535).contains(m));
    if mtu.is_none() {
        let message = format!("`{}` is not an MTU", word.text);
        args.object_at(word.column, message, "a number from 68 to 65535");
    }
    mtu
}

/// A static address is whole; an address without `static` would be ignored.
fn check_addresses(args: &mut Args<'_, '_>, network: &Network) {
    let parsed = args.parsed;
    if network.noipv4 {
        for option in ["--ip", "--netmask", "--gateway"].iter().filter(|o| parsed.has(o)) {
            let message = format!("`{option}` contradicts `--noipv4`");
            args.object_at(args.column_of(option), message, "keep one of them");
        }
        return;
    }
    if network.bootproto == Bootproto::Static {
        let missing: Vec<&str> =
            ["--ip", "--netmask"].into_iter().filter(|o| !parsed.has(o)).collect();
        if !missing.is_empty() {
            let message = format!("`--bootproto=static` without {}", missing.join(" and "));
            let help = "add what is missing; an interface without address has `--noipv4`";
            args.object_at(args.column_of("--bootproto"), message, help);
        }
        return;
    }
    for option in ["--ip", "--netmask", "--gateway"].iter().filter(|o| parsed.has(o)) {
        let message = format!("`{option}` without `--bootproto=static` would be ignored");
        args.object_at(args.column_of(option), message, "add `--bootproto=static`");
    }
}

/// Address and gateway are hosts of one network, and two of them.
fn check_subnet(args: &mut Args<'_, '_>, network: &Network) {
    let (Some(ip), Some(mask)) = (network.ip, network.netmask) else { return };
    let (host, mask) = (ip.to_bits(), mask.to_bits());
    if mask.leading_ones() < 31 && (host & !mask == 0 || host & !mask == !mask) {
        let message = format!("`{ip}` is the network's own or its broadcast address");
        args.object_at(args.column_of("--ip"), message, "");
    }
    let Some(gateway) = network.gateway else { return };
    let column = args.column_of("--gateway");
    if gateway == ip {
        args.object_at(column, format!("`{gateway}` is the machine itself, not a gateway"), "");
    } else if gateway.to_bits() & mask != host & mask {
        let net = Ipv4Addr::from_bits(host & mask);
        let message = format!("gateway `{gateway}` is outside {net}/{}", mask.leading_ones());
        args.object_at(column, message, "a gateway is reached directly, so it is a neighbour");
    }
}

/// Combinations that Anaconda's own reader does not take.
fn refused_by_rhel7(args: &mut Args<'_, '_>) {
    let parsed = args.parsed;
    if let Some(options) = parsed.value("--bridgeopts").filter(|w| !w.text.is_empty()) {
        let pair =
            |o: &str| o.split_once('=').is_some_and(|(_, v)| !v.is_empty() && !v.contains('='));
        if parsed.text("--bridgeslaves").is_none() || !options.text.split(',').all(pair) {
            let help = "`--bridgeslaves=ens33 --bridgeopts=stp=yes,priority=1`";
            args.refuse_at(options.column, "`--bridgeopts` cannot be read", help);
        }
    }
    if let Some(name) = parsed.value("--interfacename").filter(|w| !is_vlan_name(&w.text)) {
        let message = format!("`{}` is not the name of a VLAN interface", name.text);
        args.refuse_at(name.column, message, "the VLAN id, 0 to 4095, follows `vlan` or `.`");
    }
    let vlan = parsed.text("--vlanid").is_some() && parsed.text("--bondopts").is_none();
    if vlan && parsed.text("--bindto").as_deref() == Some("mac") {
        let column = args.column_of("--bindto");
        args.refuse_at(column, "`--bindto=mac` is not possible for a VLAN", "");
    }
}

/// Any name does, but one with a dot or starting with `vlan` must go on with a VLAN id.
fn is_vlan_name(name: &str) -> bool {
    let id = |t: &str| super::options::integer(t).is_some_and(|n| (0..=4095).contains(&n));
    let dotted = name.split_once('.').is_none_or(|(stem, rest)| stem != "vlan" && id(rest));
    dotted && name.strip_prefix("vlan").is_none_or(id)
}
