//! A picture as an SVG document: light background, few inks, kinds of networks told apart by
//! their strokes too, so that it can be printed in black and white.

use std::fmt::Write;

use super::layout::{Bus, MachineBox, PORT_HEIGHT, Picture, Port, Rect};
use crate::recipe::NetworkKind;

/// Dark enough for white paper, and different for readers who do not see all colours.
const INKS: [&str; 6] = ["#0072b2", "#b34700", "#00734f", "#8a3a7a", "#5c4a00", "#4a5568"];

const STYLE: &str = "\
text { font-family: sans-serif; fill: #1a202c; }
.title { font-size: 22px; font-weight: bold; }
.sub { font-size: 12px; fill: #4a5568; }
.machine { font-size: 17px; font-weight: bold; }
.nic { font-size: 12px; font-weight: bold; }
.addr { font-size: 12px; }
.via { font-size: 11px; fill: #4a5568; }
.net { font-size: 15px; font-weight: bold; }
.box { fill: #f7fafc; stroke: #2d3748; stroke-width: 1.5; }
.port { fill: #ffffff; stroke-width: 1.5; }
.wire { stroke-width: 2; fill: none; }
.halo { stroke: #ffffff; stroke-width: 7; fill: none; }
";

/// Writes the document.
pub fn write(picture: &Picture) -> String {
    let mut out = Document::default();
    let (w, h) = picture.size;
    out.line(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img">"#
    ));
    out.line(format_args!("<title>{}</title>", escape(&picture.title)));
    out.line(format_args!("<style>\n{STYLE}</style>"));
    out.line(format_args!(r##"<rect width="{w}" height="{h}" fill="#ffffff"/>"##));
    out.text(24, 44, "title", "start", &picture.title);
    out.text(24, 64, "sub", "start", &picture.subtitle);
    for (i, bus) in picture.buses.iter().enumerate() {
        draw_bus(&mut out, bus, ink(i));
    }
    for machine in &picture.machines {
        machine.ports.iter().for_each(|port| draw_wire(&mut out, machine, port, &picture.buses));
    }
    picture.machines.iter().for_each(|machine| draw_machine(&mut out, machine));
    out.line(format_args!("</svg>"));
    out.0
}

fn ink(bus: usize) -> &'static str {
    INKS[bus % INKS.len()]
}

fn draw_bus(out: &mut Document, bus: &Bus, ink: &str) {
    let (x1, x2, y) = bus.line;
    let stroke = match bus.kind {
        NetworkKind::Bridged => r#"stroke-width="6""#,
        NetworkKind::HostOnly => r#"stroke-width="3.5""#,
        NetworkKind::Isolated => r#"stroke-width="3.5" stroke-dasharray="9 5""#,
    };
    out.line(format_args!(
        r#"<line x1="{x1}" y1="{y}" x2="{x2}" y2="{y}" stroke="{ink}" {stroke}/>"#
    ));
    out.text(bus.label.x, bus.label.y + 16, "net", "start", &bus.name);
    out.text(bus.label.x, bus.label.y + 33, "sub", "start", &bus.subtitle);
    if let Some((rect, words)) = &bus.end {
        out.rect(rect, 8, &format!(r##"fill="#ffffff" stroke="{ink}" stroke-width="1.5""##));
        out.text(rect.middle(), rect.y + 16, "sub", "middle", &words[0]);
        out.text(rect.middle(), rect.y + 32, "addr", "middle", &words[1]);
    }
}

/// From the port to its bus, over a halo that lets it pass the buses between visibly.
fn draw_wire(out: &mut Document, machine: &MachineBox, port: &Port, buses: &[Bus]) {
    let Some(bus) = buses.get(port.bus) else { return };
    let (x, y) = (port.rect.middle(), bus.line.2);
    let edge = if machine.above { machine.rect.bottom() } else { machine.rect.y };
    let ink = ink(port.bus);
    let near = if machine.above { y.saturating_sub(8) } else { y + 8 };
    if near.abs_diff(edge) > 8 {
        out.line(format_args!(r#"<path class="halo" d="M{x} {edge}V{near}"/>"#));
    }
    out.line(format_args!(r#"<path class="wire" stroke="{ink}" d="M{x} {edge}V{y}"/>"#));
    out.line(format_args!(r#"<circle cx="{x}" cy="{y}" r="5.5" fill="{ink}"/>"#));
}

fn draw_machine(out: &mut Document, machine: &MachineBox) {
    let rect = &machine.rect;
    out.rect(rect, 6, r#"class="box""#);
    let head = if machine.above { rect.y } else { rect.y + PORT_HEIGHT };
    out.text(rect.middle(), head + 27, "machine", "middle", &machine.name);
    out.text(rect.middle(), head + 46, "sub", "middle", &machine.hardware);
    machine.ports.iter().for_each(|port| draw_port(out, port));
}

fn draw_port(out: &mut Document, port: &Port) {
    let Rect { x, y, w, h } = port.rect;
    let inner = Rect { x: x + 3, y: y + 2, w: w - 6, h: h - 4 };
    out.rect(&inner, 4, &format!(r#"class="port" stroke="{}""#, ink(port.bus)));
    let first = if port.lines.len() == 1 { y + 23 } else { y + 17 };
    out.text(port.rect.middle(), first, "nic", "middle", &port.name);
    for (i, line) in (1..).zip(&port.lines) {
        let class = if i == 1 { "addr" } else { "via" };
        out.text(port.rect.middle(), first + 15 * i, class, "middle", line);
    }
}

#[derive(Default)]
struct Document(String);

impl Document {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing into a string does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn text(&mut self, x: u32, y: u32, class: &str, anchor: &str, text: &str) {
        let text = escape(text);
        self.line(format_args!(
            r#"<text x="{x}" y="{y}" class="{class}" text-anchor="{anchor}">{text}</text>"#
        ));
    }

    fn rect(&mut self, rect: &Rect, radius: u32, attributes: &str) {
        let Rect { x, y, w, h } = rect;
        self.line(format_args!(
            r#"<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="{radius}" {attributes}/>"#
        ));
    }
}

/// Text that cannot be markup; characters that XML does not have are left out.
fn escape(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    quick_xml::escape::escape(text.as_str()).into_owned()
}
