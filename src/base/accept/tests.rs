//! Kickstarts that a bootstrap base accepts and refuses.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::super::definition::{Definition, load_definition};
use super::super::spec::{Interface, Method, Use};
use super::super::{DiskIds, NicName};
use super::*;
use crate::kickstart::{Bootloader, Bootproto, Kickstart, Network, Part, Password, User};
use crate::recipe::Bytes;

fn definition() -> Definition {
    load_definition(&Path::new(env!("CARGO_MANIFEST_DIR")).join("images/debian-12.yaml")).unwrap()
}

fn bootstrap_definition() -> Bootstrap {
    match definition() {
        Definition::Bootstrap(b) => *b,
        _ => panic!("not a bootstrap"),
    }
}

fn request(text: &str, commands: Vec<Command>) -> Request {
    let on_line = |(i, value)| OnLine { line: i as u32 + 1, value };
    let commands = commands.into_iter().enumerate().map(on_line).collect();
    Request {
        machine: "m".into(),
        salt: "lab/m".into(),
        disk: Bytes(20 << 30),
        nics: vec![NicName { name: "ens33".into(), mac: "52:54:00:00:00:01".into() }],
        kickstart: KickstartFile {
            name: "m.ks".into(),
            text: text.into(),
            commands: Kickstart { commands, ..Kickstart::default() },
        },
        extra_packages: Vec::new(),
        ids: DiskIds {
            machine_id: "0".repeat(32),
            root_uuid: "11111111-2222-4333-8444-555555555555".into(),
            hash_seed: "11111111-2222-4333-8444-666666666666".into(),
            label_id: 1,
        },
        program: "labbuild".into(),
        deb_cache: None,
        in_memory: true,
    }
}

fn part(mountpoint: &str, size: u64, grow: bool) -> Command {
    Command::Part(Part {
        mountpoint: mountpoint.into(),
        size_mib: Some(size),
        grow,
        ..Part::default()
    })
}

#[test]
fn swap_keeps_its_size_and_root_takes_the_rest() {
    let request = request("", vec![part("swap", 1024, false), part("/", 1, true)]);
    let wishes = accept(&bootstrap_definition(), &request).unwrap();
    let placed: Vec<_> =
        wishes.partitions.iter().map(|p| (p.purpose, p.start_mib, p.size_mib)).collect();
    assert_eq!(placed, [(Use::Swap, 1, 1024), (Use::Root, 1025, 20 * 1024 - 1025)]);
}

#[test]
fn without_a_word_on_partitions_root_takes_the_disk() {
    let wishes = accept(&bootstrap_definition(), &request("", vec![])).unwrap();
    assert_eq!(wishes.partitions.len(), 1);
    assert_eq!(wishes.partitions[0].size_mib, 20 * 1024 - 1);
}

#[test]
fn a_mac_address_names_an_interface() {
    let network = Network {
        device: Some("52:54:00:00:00:01".into()),
        bootproto: Bootproto::Static,
        ip: Some([192, 168, 0, 11].into()),
        netmask: Some([255, 255, 255, 0].into()),
        gateway: Some([192, 168, 0, 1].into()),
        nodefroute: true,
        ..Network::default()
    };
    let request = request("", vec![Command::Network(network)]);
    let wishes = accept(&bootstrap_definition(), &request).unwrap();
    let method = Method::Static { address: [192, 168, 0, 11].into(), prefix: 24, gateway: None };
    let expected =
        Interface { name: "ens33".into(), auto: true, method, mtu: None, no_ipv6: false };
    assert_eq!(wishes.interfaces, [expected]);
}

#[test]
fn every_fault_is_named_at_once_and_no_password_is_shown() {
    let text = "part /boot --size=500\nuser --name=Root --password=topsecret\nnetwork --device=eth7\nbootloader --location=none\nfirewall --enabled --service=gopher\ntimezone ../../etc/shadow\nservices --enabled=-x\n";
    let commands = vec![
        part("/boot", 500, false),
        Command::User(User {
            name: "Root".into(),
            password: Some(Password::Plain("topsecret".into())),
            ..User::default()
        }),
        Command::Network(Network { device: Some("eth7".into()), ..Network::default() }),
        Command::Bootloader(Bootloader { location: Some("none".into()), ..Bootloader::default() }),
        Command::Firewall { enabled: true, services: vec!["gopher".into()], ports: vec![] },
        Command::Timezone {
            zone: "/etc/shadow".into(),
            utc: true,
            ntp_servers: vec![],
            no_ntp: false,
        },
        Command::Services { enabled: vec!["-x".into()], disabled: vec![] },
    ];
    let faults = accept(&bootstrap_definition(), &request(text, commands)).unwrap_err().to_string();
    assert!(!faults.contains("topsecret"), "{faults}");
    insta::assert_snapshot!(faults);
}

#[test]
fn what_only_anaconda_can_do_is_refused_at_its_line() {
    let text = "vnc --password=topsecret\nraid / --device=md0 --level=1 --passphrase=topsecret a b\n\
                part / --size=1024 --grow --encrypted\n";
    let commands = crate::kickstart::parse(text, "m.ks", &mut |_| Err("none".into())).unwrap();
    let mut request = request(text, vec![]);
    request.kickstart.commands = commands;
    let faults = accept(&bootstrap_definition(), &request).unwrap_err().to_string();
    assert!(!faults.contains("topsecret"), "{faults}");
    insta::assert_snapshot!(faults);
}

#[test]
fn names_of_other_systems_are_translated() {
    let enabled = vec!["sshd".into(), "crond.service".into()];
    let request = request("", vec![Command::Services { enabled, disabled: vec![] }]);
    let wishes = accept(&bootstrap_definition(), &request).unwrap();
    let units: Vec<_> = wishes.services.iter().map(|s| s.value.unit.as_str()).collect();
    assert_eq!(units, ["ssh", "cron"]);
}
