//! Ports of machines that the host offers while a lab is up.
//!
//! The lab's keeper listens on 127.0.0.1 and passes connections into the lab's network, so the ports
//! outlive the command that opened them and end with the lab. On somebody else's libvirtd nothing is
//! forwarded: its host reaches the machines at their own addresses.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use super::{LabError, Running};
use crate::event::Events;
use crate::recipe::Expose;
use crate::sandbox::{Sandbox, SandboxError};
use crate::store::Store;

/// One exposed port of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposed {
    /// Its name.
    pub name: String,
    /// The machine.
    pub machine: String,
    /// The machine's own address and port.
    pub to: SocketAddrV4,
    /// The host's port that the recipe asks for.
    pub wanted: Option<u16>,
    /// The port of 127.0.0.1 that leads there; none on somebody else's libvirtd.
    pub host_port: Option<u16>,
    /// Where a browser goes.
    pub path: Option<String>,
}

impl Exposed {
    fn of(expose: &Expose) -> Self {
        Exposed {
            name: expose.name.clone(),
            machine: expose.machine.clone(),
            to: SocketAddrV4::new(expose.address, expose.port),
            wanted: expose.host_port,
            host_port: None,
            path: expose.path.clone(),
        }
    }

    /// What a client is given: a URL where there is a path, address and port elsewhere.
    pub fn location(&self) -> String {
        let at = match self.host_port {
            Some(port) => SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
            None => self.to,
        };
        let Some(path) = &self.path else { return at.to_string() };
        let (scheme, usual) = if self.to.port() == 443 { ("https", 443) } else { ("http", 80) };
        match at.port() == usual {
            true => format!("{scheme}://{}{path}", at.ip()),
            false => format!("{scheme}://{at}{path}"),
        }
    }
}

/// Makes the ports that a running lab offers those that its recipe wants now, and records them.
///
/// A port that is open already stays as it is. Where the wanted one cannot be had, another is taken
/// and a warning says so; where none can be had at all, a warning says that, and the lab stays up.
pub async fn expose(
    store: &Store,
    running: &mut Running,
    wanted: &[Expose],
    events: &Events,
) -> Result<(), LabError> {
    let mut exposed: Vec<Exposed> = wanted.iter().map(Exposed::of).collect();
    let left = keep_open(&mut exposed, std::mem::take(&mut running.record.exposed));
    if let Some(sandbox) = &running.sandbox {
        for port in left.iter().filter_map(|old| old.host_port) {
            if let Err(e) = sandbox.end_forward(port).await {
                events.warning(e.to_string());
            }
        }
        for port in exposed.iter_mut().filter(|port| port.host_port.is_none()) {
            match open(sandbox, port, events).await {
                Ok(host_port) => port.host_port = Some(host_port),
                Err(e) => events.warning(format!("{} is not exposed: {e}", port.name)),
            }
        }
        exposed.retain(|port| port.host_port.is_some());
    }
    running.record.exposed = exposed;
    Ok(running.record.write(store)?)
}

/// Gives ports that lead to the right place already to those that want them; the others are left.
fn keep_open(wanted: &mut [Exposed], mut open: Vec<Exposed>) -> Vec<Exposed> {
    for port in wanted {
        let same = |old: &Exposed| old.to == port.to && old.wanted == port.wanted;
        if let Some(at) = open.iter().position(same) {
            port.host_port = open.swap_remove(at).host_port;
        }
    }
    open
}

/// Opens a port; gives the one of the host that it became.
async fn open(sandbox: &Sandbox, port: &Exposed, events: &Events) -> Result<u16, SandboxError> {
    let (ip, number) = (*port.to.ip(), port.to.port());
    let Some(wanted) = port.wanted else { return sandbox.forward(0, ip, number).await };
    match sandbox.forward(wanted, ip, number).await {
        Ok(opened) => Ok(opened),
        Err(reason) => {
            let opened = sandbox.forward(0, ip, number).await?;
            events.warning(format!("{} is on port {opened}: {reason}", port.name));
            Ok(opened)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, to: &str, wanted: Option<u16>, host_port: Option<u16>) -> Exposed {
        let (name, machine) = (name.to_owned(), "controller".to_owned());
        Exposed { name, machine, to: to.parse().unwrap(), wanted, host_port, path: None }
    }

    #[test]
    fn a_location_is_a_url_where_there_is_a_path() {
        let with = |port: Exposed, path: &str| Exposed { path: Some(path.into()), ..port };
        let ssh = port("ssh", "172.16.251.11:22", None, Some(40123));
        assert_eq!(ssh.location(), "127.0.0.1:40123");
        let web = |host| with(port("web", "172.16.251.11:80", Some(8080), host), "/horizon/");
        assert_eq!(web(Some(8080)).location(), "http://127.0.0.1:8080/horizon/");
        assert_eq!(web(Some(80)).location(), "http://127.0.0.1/horizon/");
        assert_eq!(web(None).location(), "http://172.16.251.11/horizon/");
        let tls = with(port("web", "172.16.251.11:443", None, Some(80)), "/");
        assert_eq!(tls.location(), "https://127.0.0.1:80/");
    }

    #[test]
    fn open_ports_stay_with_who_wants_the_same() {
        let (a, b) = ("172.16.251.11:80", "172.16.251.11:443");
        let open = vec![
            port("web", a, Some(8080), Some(40001)),
            port("tls", b, None, Some(40002)),
            port("gone", b, None, Some(40003)),
        ];
        let mut wanted = [
            port("tls", b, None, None),
            port("renamed", a, Some(8080), None),
            port("moved", a, Some(9090), None),
        ];
        let left = keep_open(&mut wanted, open);
        let ports: Vec<Option<u16>> = wanted.iter().map(|port| port.host_port).collect();
        assert_eq!(ports, [Some(40002), Some(40001), None]);
        assert_eq!(left.iter().map(|old| old.name.as_str()).collect::<Vec<_>>(), ["gone"]);
    }
}
