//! Where everything stands in the picture of a lab.
//!
//! Networks are horizontal buses in the middle, one above the other, with their names to the
//! left and the host or gateway at the right end. Machines stand in a row above them and, from
//! the fourth on, in a second row below. Every interface is a port on the machine's edge with a
//! straight line to its bus. Ports stand on a grid of [`CELL`]; the grid of the lower row is
//! shifted by half a cell, so that no two lines ever share a place.

use crate::recipe::{Bytes, Lab, Machine, Network, NetworkKind, Nic};

/// Half the room a port needs, and the grid everything in a row stands on.
pub const CELL: u32 = 70;
/// Height of a port's label area inside the machine.
pub const PORT_HEIGHT: u32 = 54;
const MARGIN: u32 = 24;
const TITLE_HEIGHT: u32 = 64;
const HEAD_HEIGHT: u32 = 58;
const BUS_PITCH: u32 = 66;
const BUS_SPACE: u32 = 52;
const PILL_HEIGHT: u32 = 40;
/// So many machines still stand in one row.
const ONE_ROW: usize = 3;

/// A rectangle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub w: u32,
    pub h: u32,
}

impl Rect {
    /// The x of its middle.
    pub fn middle(&self) -> u32 {
        self.x + self.w / 2
    }

    /// The first y below it.
    pub fn bottom(&self) -> u32 {
        self.y + self.h
    }

    /// The first x right of it.
    pub fn right(&self) -> u32 {
        self.x + self.w
    }
}

/// A machine.
#[derive(Debug)]
pub struct MachineBox {
    /// Its box.
    pub rect: Rect,
    /// Its ports are at the bottom edge (it stands above the buses) or at the top edge.
    pub above: bool,
    /// Its name.
    pub name: String,
    /// CPUs, memory, disk.
    pub hardware: String,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// A network interface.
#[derive(Debug)]
pub struct Port {
    /// Its part of the machine's box.
    pub rect: Rect,
    /// Which bus its line goes to.
    pub bus: usize,
    /// Name of the interface.
    pub name: String,
    /// Address and route, a line each.
    pub lines: Vec<String>,
}

/// A network.
#[derive(Debug)]
pub struct Bus {
    /// What it connects.
    pub kind: NetworkKind,
    /// Its name.
    pub name: String,
    /// Kind and subnet.
    pub subtitle: String,
    /// Where its name stands.
    pub label: Rect,
    /// Its line: from, to, height.
    pub line: (u32, u32, u32),
    /// What stands at its right end: two lines of text.
    pub end: Option<(Rect, [String; 2])>,
}

/// The whole picture.
#[derive(Debug)]
pub struct Picture {
    /// Width and height.
    pub size: (u32, u32),
    /// The lab's title.
    pub title: String,
    /// The line below it.
    pub subtitle: String,
    /// Machines in the recipe's order.
    pub machines: Vec<MachineBox>,
    /// Networks in the recipe's order.
    pub buses: Vec<Bus>,
}

/// How wide a text comes out, on the safe side: fonts differ from reader to reader.
pub fn text_width(text: &str, font_size: u32) -> u32 {
    let count = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    count.saturating_mul(font_size).saturating_mul(64) / 100
}

/// Arranges a lab.
pub fn arrange(lab: &Lab) -> Picture {
    let split = if lab.machines.len() <= ONE_ROW {
        lab.machines.len()
    } else {
        lab.machines.len().div_ceil(2)
    };
    let (above, below) = lab.machines.split_at(split);
    let labels = lab.networks.iter().map(label_width).max().unwrap_or(0);
    let left = MARGIN + labels + 16 + CELL / 2;

    let top = MARGIN + TITLE_HEIGHT;
    let bus_top = top + row_height(above) + BUS_SPACE;
    let bus_count = u32::try_from(lab.networks.len()).unwrap_or(0);
    let bus_bottom = bus_top + BUS_PITCH * bus_count.saturating_sub(1);

    let mut machines = row(lab, above, left, top, true);
    machines.extend(row(lab, below, left + CELL / 2, bus_bottom + BUS_SPACE, false));
    let right = machines.iter().map(|m| m.rect.right()).max().unwrap_or(left) + CELL / 2;
    let buses = buses(&lab.networks, bus_top, left - CELL / 2, right);

    let ends = buses.iter().filter_map(|b| b.end.as_ref()).map(|(r, _)| r.right()).max();
    let subtitle = below_title(lab);
    let titles = MARGIN + text_width(&lab.title, 22).max(text_width(&subtitle, 12));
    let width = right.max(ends.unwrap_or(0)).max(titles) + MARGIN;
    let lowest = machines.iter().map(|m| m.rect.bottom()).max().unwrap_or(0);
    Picture {
        size: (width, lowest.max(bus_bottom + BUS_SPACE / 2) + MARGIN),
        title: lab.title.clone(),
        subtitle,
        machines,
        buses,
    }
}

/// The lab's name, and the ports that the host offers.
fn below_title(lab: &Lab) -> String {
    let offered = lab.exposed.iter().map(|e| format!("{}: {} port {}", e.name, e.machine, e.port));
    std::iter::once(lab.name.clone()).chain(offered).collect::<Vec<_>>().join(" · ")
}

fn row_height(machines: &[Machine]) -> u32 {
    if machines.is_empty() { 0 } else { HEAD_HEIGHT + PORT_HEIGHT }
}

fn row(lab: &Lab, machines: &[Machine], left: u32, y: u32, above: bool) -> Vec<MachineBox> {
    let mut x = left;
    let mut out = Vec::new();
    for machine in machines {
        let placed = machine_box(lab, machine, x, y, above);
        x = placed.rect.right() + CELL;
        out.push(placed);
    }
    out
}

fn machine_box(lab: &Lab, machine: &Machine, x: u32, y: u32, above: bool) -> MachineBox {
    let hardware = format!(
        "{} CPU{} · {} · {} disk",
        machine.cpus,
        if machine.cpus == 1 { "" } else { "s" },
        gibibytes(machine.memory),
        gibibytes(machine.disk)
    );
    let text = text_width(&machine.name, 17).max(text_width(&hardware, 12)) + 20;
    let ports = 2 * u32::try_from(machine.nics.len()).unwrap_or(0);
    let mut cells = text.div_ceil(CELL).max(ports);
    // The ports stand in the middle and still on the grid.
    cells += (cells - ports) % 2;
    let rect = Rect { x, y, w: cells * CELL, h: HEAD_HEIGHT + PORT_HEIGHT };
    let first = x + (cells - ports) / 2 * CELL;
    let port_y = if above { y + HEAD_HEIGHT } else { y };
    let port = |(i, nic): (u32, &Nic)| Port {
        rect: Rect { x: first + 2 * i * CELL, y: port_y, w: 2 * CELL, h: PORT_HEIGHT },
        bus: lab.networks.iter().position(|n| n.name == nic.network).unwrap_or(0),
        name: nic.name.clone(),
        lines: port_lines(nic),
    };
    let ports = (0..).zip(&machine.nics).map(port).collect();
    MachineBox { rect, above, name: machine.name.clone(), hardware, ports }
}

fn port_lines(nic: &Nic) -> Vec<String> {
    let address = nic.address.map_or("no address".to_owned(), |a| a.to_string());
    std::iter::once(address).chain(nic.gateway.map(|g| format!("via {g}"))).collect()
}

fn buses(networks: &[Network], top: u32, left: u32, right: u32) -> Vec<Bus> {
    let bus = |(i, network): (u32, &Network)| {
        let y = top + i * BUS_PITCH;
        let label = Rect { x: MARGIN, y: y - 20, w: label_width(network), h: 40 };
        Bus {
            kind: network.kind,
            name: network.name.clone(),
            subtitle: subtitle(network),
            label,
            line: (left, right, y),
            end: end(network).map(|words| (pill(&words, right, y), words)),
        }
    };
    (0..).zip(networks).map(bus).collect()
}

fn pill(words: &[String; 2], x: u32, y: u32) -> Rect {
    let w = words.iter().map(|w| text_width(w, 12)).max().unwrap_or(0) + 20;
    Rect { x, y: y - PILL_HEIGHT / 2, w, h: PILL_HEIGHT }
}

fn label_width(network: &Network) -> u32 {
    text_width(&network.name, 15).max(text_width(&subtitle(network), 12))
}

fn subtitle(network: &Network) -> String {
    let kind = match network.kind {
        NetworkKind::HostOnly => "host-only",
        NetworkKind::Bridged => "bridged",
        NetworkKind::Isolated => "isolated",
    };
    format!("{kind} · {}", network.subnet)
}

fn end(network: &Network) -> Option<[String; 2]> {
    if let Some(host) = network.host {
        return Some(["host".to_owned(), host.to_string()]);
    }
    let outside = || match &network.bridge {
        Some(bridge) => format!("outside ({bridge})"),
        None => "outside".to_owned(),
    };
    match (network.kind, network.gateway) {
        (NetworkKind::Bridged, Some(gateway)) => Some([outside(), format!("gateway {gateway}")]),
        (NetworkKind::Bridged, None) => Some([outside(), "no gateway".to_owned()]),
        (_, gateway) => gateway.map(|g| ["gateway".to_owned(), g.to_string()]),
    }
}

/// `2 GiB`, `768 MiB`.
fn gibibytes(bytes: Bytes) -> String {
    let mebibytes = bytes.mebibytes();
    if mebibytes >= 1024 && mebibytes.is_multiple_of(512) {
        return format!("{} GiB", mebibytes as f64 / 1024.0);
    }
    format!("{mebibytes} MiB")
}
