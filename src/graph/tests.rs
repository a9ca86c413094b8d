use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::layout::{Picture, Rect, arrange, text_width};
use crate::recipe::{Bytes, Expose, Lab, Machine, Network, NetworkKind, Nic, Place, Subnet};

fn at() -> Place {
    Place { file: "lab.yaml".into(), line: 1, column: 1 }
}

fn network(name: &str, kind: NetworkKind, third: u8, first: Option<u8>) -> Network {
    let network = Ipv4Addr::new(192, 168, third, 0);
    let first = first.map(|last| Ipv4Addr::new(192, 168, third, last));
    Network {
        name: name.into(),
        kind,
        subnet: Subnet { network, prefix: 24 },
        host: first.filter(|_| kind == NetworkKind::HostOnly),
        gateway: first.filter(|_| kind == NetworkKind::Bridged),
        bridge: None,
        at: at(),
    }
}

fn nic(name: &str, network: &str, address: Option<[u8; 4]>, gateway: Option<[u8; 4]>) -> Nic {
    let (address, gateway) = (address.map(Ipv4Addr::from), gateway.map(Ipv4Addr::from));
    Nic { name: name.into(), network: network.into(), address, gateway, at: at() }
}

fn machine(name: &str, nics: Vec<Nic>) -> Machine {
    Machine {
        name: name.into(),
        cpus: 2,
        memory: Bytes(2 << 30),
        disk: Bytes(20 << 30),
        base: "debian-12".into(),
        kickstart: None,
        machine_type: "pc-q35-7.2".into(),
        cpu_model: "Nehalem".into(),
        nics,
        at: at(),
    }
}

fn lab(title: &str, networks: Vec<Network>, machines: Vec<Machine>) -> Lab {
    Lab {
        name: "two-node".into(),
        title: title.into(),
        dir: "recipes/two-node".into(),
        networks,
        machines,
        exposed: Vec::new(),
        stages: Vec::new(),
        vars: BTreeMap::new(),
        sources: Vec::new(),
    }
}

fn two_node() -> Lab {
    lab(
        "Two machines, three networks",
        vec![
            network("bridged", NetworkKind::Bridged, 0, Some(1)),
            network("hostonly", NetworkKind::HostOnly, 251, Some(1)),
            network("vmnet2", NetworkKind::Isolated, 100, None),
        ],
        vec![
            machine(
                "controller",
                vec![
                    nic("ens33", "bridged", Some([192, 168, 0, 11]), Some([192, 168, 0, 1])),
                    nic("ens37", "hostonly", Some([192, 168, 251, 11]), None),
                ],
            ),
            machine(
                "compute1",
                vec![
                    nic("ens37", "hostonly", Some([192, 168, 251, 12]), Some([192, 168, 251, 11])),
                    nic("ens38", "vmnet2", None, None),
                ],
            ),
        ],
    )
}

/// Every machine on every network it can reach, with the longest names there may be.
fn large(machines: usize, networks: u8) -> Lab {
    let kinds = [NetworkKind::HostOnly, NetworkKind::Bridged, NetworkKind::Isolated];
    let net =
        |i: u8| network(&format!("network-{i}"), kinds[usize::from(i) % 3], 200 + i, Some(254));
    let machine = |m: usize| {
        let nics = (0..networks)
            .filter(|n| usize::from(*n) % (m + 1) < 3)
            .map(|n| {
                let address = Some([192, 168, 200 + n, 111]);
                nic(&format!("enp10s0f{n}abcde"), &format!("network-{n}"), address, address)
            })
            .collect();
        machine(&format!("machine-{m}-{}", "x".repeat(6 * m)), nics)
    };
    let title = "A lab with <many> machines & \"networks\"";
    lab(title, (0..networks).map(net).collect(), (0..machines).map(machine).collect())
}

fn overlap(a: &Rect, b: &Rect) -> bool {
    a.x < b.right() && b.x < a.right() && a.y < b.bottom() && b.y < a.bottom()
}

/// Everything that takes room: machines, labels, ends of buses.
fn rooms(picture: &Picture) -> Vec<Rect> {
    let machines = picture.machines.iter().map(|m| m.rect);
    let labels = picture.buses.iter().map(|b| b.label);
    let ends = picture.buses.iter().filter_map(|b| b.end.as_ref()).map(|(r, _)| *r);
    machines.chain(labels).chain(ends).collect()
}

fn assert_sound(picture: &Picture, what: &str) {
    let rooms = rooms(picture);
    let (w, h) = picture.size;
    for (i, a) in rooms.iter().enumerate() {
        assert!(a.right() <= w && a.bottom() <= h, "{what}: {a:?} leaves {w}×{h}");
        for b in &rooms[i + 1..] {
            assert!(!overlap(a, b), "{what}: {a:?} and {b:?}");
        }
    }
    let mut wires = BTreeSet::new();
    for port in picture.machines.iter().flat_map(|m| &m.ports) {
        let bus = &picture.buses[port.bus];
        let x = port.rect.middle();
        assert!(wires.insert(x), "{what}: two wires at {x}");
        assert!(bus.line.0 < x && x < bus.line.1, "{what}: wire {x} misses {:?}", bus.line);
        assert!(picture.buses.iter().all(|b| b.label.right() < x), "{what}: wire on a label");
    }
}

#[test]
fn nothing_overlaps_from_one_machine_to_eight_and_one_network_to_six() {
    for machines in 1..=8 {
        for networks in 1..=6 {
            let what = format!("{machines} machines, {networks} networks");
            assert_sound(&arrange(&large(machines, networks)), &what);
        }
    }
    assert_sound(&arrange(&two_node()), "two-node");
}

#[test]
fn ports_stay_inside_their_machine_and_their_text_inside_them() {
    for machine in arrange(&large(8, 6)).machines {
        for port in &machine.ports {
            let widths = [text_width(&port.name, 13)]
                .into_iter()
                .chain(port.lines.iter().zip([12, 11]).map(|(l, size)| text_width(l, size)));
            widths.for_each(|w| assert!(w <= port.rect.w - 6, "{port:?} needs {w}"));
            assert!(port.rect.x >= machine.rect.x && port.rect.right() <= machine.rect.right());
        }
    }
}

#[test]
fn the_picture_of_two_machines() {
    insta::assert_snapshot!(super::draw(&two_node()));
}

#[test]
fn text_is_escaped_and_the_document_is_well_formed() {
    let drawn = super::draw(&large(8, 6));
    assert!(drawn.contains("&lt;many&gt; machines &amp;"), "{drawn}");
    let mut reader = quick_xml::Reader::from_str(&drawn);
    reader.config_mut().check_end_names = true;
    let mut open = 0;
    loop {
        match reader.read_event().unwrap() {
            quick_xml::events::Event::Start(_) => open += 1,
            quick_xml::events::Event::End(_) => open -= 1,
            quick_xml::events::Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(open, 0);
}

#[test]
fn exposed_ports_stand_below_the_title_and_in_the_picture() {
    let mut lab = two_node();
    lab.exposed = ["dashboard", "console-of-instances"].map(expose).into();
    let picture = arrange(&lab);
    let expected =
        "two-node · dashboard: controller port 80 · console-of-instances: controller port 80";
    assert_eq!(picture.subtitle, expected);
    lab.exposed = vec![expose(&"x".repeat(200))];
    let picture = arrange(&lab);
    assert!(picture.size.0 > text_width(&picture.subtitle, 12));
}

fn expose(name: &str) -> Expose {
    Expose {
        name: name.into(),
        machine: "controller".into(),
        address: [192, 168, 251, 11].into(),
        port: 80,
        host_port: None,
        path: None,
    }
}
