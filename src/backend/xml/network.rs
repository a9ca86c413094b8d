//! The XML of a network, and the mark by which a network of labbuild's is told from others and
//! from itself in an earlier shape.

use std::net::Ipv4Addr;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::domain::MARK_URI;
use super::{Element, element, name, plain};
use crate::backend::{BackendError, NetworkMode, NetworkSpec};
use crate::digest::Digest;

/// The longest name that Linux gives a bridge.
const BRIDGE: usize = 15;

/// The XML of a network, and the digest of its definition, which the XML carries.
pub(in crate::backend) fn network(spec: &NetworkSpec) -> Result<(String, String), BackendError> {
    let body = body(spec)?;
    let digest = Digest::of(definition(spec, body.clone(), None)?).to_string();
    Ok((definition(spec, body, Some(&digest))?, digest))
}

/// The digest of its definition that a network's XML carries; `None`: not one of labbuild's.
pub(in crate::backend) fn digest_in(xml: &str) -> Option<String> {
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) | Event::Empty(tag) if tag.name().as_ref() == "labbuild:network" => {
                let digest = tag.try_get_attribute("definition").ok()??;
                return Some(digest.value.into_owned());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

fn definition(
    spec: &NetworkSpec,
    body: Vec<Element>,
    digest: Option<&str>,
) -> Result<String, BackendError> {
    let mark = digest.map(|digest| {
        let mark = element("labbuild:network").attr("xmlns:labbuild", MARK_URI);
        element("metadata").child(mark.attr("definition", digest))
    });
    element("network")
        .child(element("name").text(name("the network's name", &spec.name)?))
        .child(element("uuid").text(plain("the network's UUID", &spec.uuid)?))
        .children(mark)
        .children(body)
        .render()
}

fn body(spec: &NetworkSpec) -> Result<Vec<Element>, BackendError> {
    let ip = |address: Ipv4Addr| {
        element("ip").attr("address", address.to_string()).attr("prefix", spec.prefix.to_string())
    };
    Ok(match &spec.mode {
        NetworkMode::HostOnly { host } => vec![own_bridge(spec)?, silent(), ip(*host)],
        NetworkMode::Nat { gateway, dns_forwarder } => vec![
            element("forward").attr("mode", "nat"),
            own_bridge(spec)?,
            resolver(*dns_forwarder),
            ip(*gateway),
        ],
        NetworkMode::HostBridge { bridge } => vec![
            element("forward").attr("mode", "bridge"),
            element("bridge").attr("name", bridge_name(bridge)?),
        ],
        NetworkMode::Isolated => vec![own_bridge(spec)?, silent()],
    })
}

/// A bridge that forwards from the first moment: nothing else is connected to it, so there is no
/// loop to look for.
fn own_bridge(spec: &NetworkSpec) -> Result<Element, BackendError> {
    let bridge = match &spec.bridge {
        Some(name) => element("bridge").attr("name", bridge_name(name)?),
        None => element("bridge"),
    };
    Ok(bridge.attr("stp", "off").attr("delay", "0"))
}

fn bridge_name(value: &str) -> Result<String, BackendError> {
    let name = name("the bridge's name", value)?;
    if name.len() > BRIDGE || name.contains(|c: char| c.is_whitespace() || c == ':') {
        return Err(BackendError::Invalid(format!(
            "{name:?} cannot be a bridge's name: at most {BRIDGE} characters, no space, no `:`"
        )));
    }
    Ok(name)
}

/// No resolver and no DHCP: libvirt starts no dnsmasq.
fn silent() -> Element {
    element("dns").attr("enable", "no")
}

fn resolver(forwarder: Option<Ipv4Addr>) -> Element {
    let forwarder = forwarder.map(|address| element("forwarder").attr("addr", address.to_string()));
    element("dns").attr("enable", "yes").children(forwarder)
}
