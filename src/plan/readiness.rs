//! What a lab waits for and what it offers whenever it starts: the part of a recipe that still means
//! something when only the images are left. It travels in their manifest; one that comes from a
//! stranger is checked by [`Readiness::check`] before use.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Topology;
use super::topology::{TopologyNetwork, is_label, is_word};
use crate::recipe::{
    Action, Condition, Expose, Lab, NetworkKind, Place, Retry, Secrecy, Stage, Step,
};

/// The most waits, and the most ports, that a manifest may have.
const MOST: usize = 256;
/// The longest text in characters: a name, a path.
const LONGEST: usize = 256;
/// The longest command in bytes.
const LONGEST_COMMAND: usize = 64 << 10;
/// The longest wait in seconds: a day.
const LONGEST_WAIT: u64 = 24 * 60 * 60;

/// What must be so before a lab counts as up, and the ports that the host then offers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Readiness {
    /// The `at-boot` steps of its stages, in their order.
    pub waits: Vec<Wait>,
    /// Its exposed ports.
    pub exposed: Vec<Expose>,
}

/// One thing to wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// What it is, for people.
    pub name: String,
    /// Where it is waited for.
    pub machines: Vec<String>,
    /// How long, in seconds.
    pub timeout: u64,
    /// What is waited for.
    pub condition: Condition,
    /// Units behind it.
    pub services: Vec<String>,
    /// Whether its output is kept out of logs and errors.
    pub secret: bool,
}

impl Readiness {
    /// What a lab waits for and offers after its first stages up to `last`.
    pub fn of(lab: &Lab, last: &str) -> Self {
        let stages = lab.stages.iter().position(|stage| stage.name == last).map_or(0, |i| i + 1);
        let waits = lab.stages[..stages].iter().flat_map(Stage::waits_at_boot);
        Readiness { waits: waits.filter_map(Wait::of).collect(), exposed: lab.exposed.clone() }
    }

    /// The waits as the steps of one stage, which `at` is said to declare.
    pub fn stage(&self, name: &str, at: &Place) -> Option<Stage> {
        if self.waits.is_empty() {
            return None;
        }
        let (name, title) = (name.to_owned(), String::new());
        let steps = self.waits.iter().map(|wait| wait.step(at)).collect();
        Some(Stage { name, title, steps, checks: vec![], at: at.clone() })
    }

    /// Refuses what could not have come from a recipe of this lab: unknown machines, a port that
    /// leads anywhere but to its machine, texts that a terminal would obey. Says what is wrong.
    pub fn check(&self, topology: &Topology) -> Result<(), String> {
        if self.waits.len() > MOST || self.exposed.len() > MOST {
            return Err(format!("it has more than {MOST} waits or exposed ports"));
        }
        self.waits.iter().try_for_each(|wait| wait.check(topology))?;
        for (i, port) in self.exposed.iter().enumerate() {
            check_port(port, topology)?;
            if self.exposed[..i].iter().any(|other| other.name == port.name) {
                return Err(format!("two exposed ports are called {}", port.name));
            }
        }
        Ok(())
    }
}

impl Wait {
    fn of(step: &Step) -> Option<Self> {
        let Action::WaitFor { condition, services } = &step.action else { return None };
        Some(Wait {
            name: step.name.clone(),
            machines: step.machines.clone(),
            timeout: step.timeout.as_secs().max(1),
            condition: condition.clone(),
            services: services.clone(),
            secret: step.secret != Secrecy::Open,
        })
    }

    fn step(&self, at: &Place) -> Step {
        let (condition, services) = (self.condition.clone(), self.services.clone());
        Step {
            name: self.name.clone(),
            id: None,
            machines: self.machines.clone(),
            after: vec![],
            action: Action::WaitFor { condition, services },
            timeout: Duration::from_secs(self.timeout),
            retry: Retry::NEVER,
            secret: if self.secret { Secrecy::Whole } else { Secrecy::Open },
            at_boot: true,
            at: at.clone(),
        }
    }

    fn check(&self, topology: &Topology) -> Result<(), String> {
        plain("the name of a wait", &self.name)?;
        let wrong = |what: &str| Err(format!("wait `{}`: {what}", self.name));
        if self.machines.is_empty() || self.machines.iter().any(|m| topology.machine(m).is_none()) {
            return wrong("it names no machine, or one that is not there");
        }
        if !(1..=LONGEST_WAIT).contains(&self.timeout) {
            return wrong("its timeout is not between a second and a day");
        }
        let unit = |name: &String| is_unit(name);
        let sound = match &self.condition {
            Condition::Port { host, port } => is_word(host) && *port != 0,
            Condition::Unit(name) => is_unit(name),
            Condition::Command(text) => text.len() <= LONGEST_COMMAND && !text.contains('\0'),
        };
        match sound && self.services.iter().all(unit) {
            true => Ok(()),
            false => wrong("what it waits for is not valid"),
        }
    }
}

fn check_port(port: &Expose, topology: &Topology) -> Result<(), String> {
    if !is_label(&port.name) {
        let name = port.name.escape_debug();
        return Err(format!("`{name}` is not a valid name of an exposed port"));
    }
    let wrong = |what: &str| Err(format!("exposed port {}: {what}", port.name));
    let Some(machine) = topology.machine(&port.machine) else {
        return wrong("its machine is not there");
    };
    let on = |network: &str| topology.networks.iter().find(|n| n.name == network);
    let is_its_own = machine.nics.iter().any(|nic| {
        nic.address == Some(port.address)
            && on(&nic.network).is_some_and(|network| reaches(network, port.address))
    });
    if !is_its_own {
        return wrong("its address is none at which the host could reach the machine");
    }
    if port.port == 0 || port.host_port == Some(0) {
        return wrong("0 is no port");
    }
    let Some(path) = &port.path else { return Ok(()) };
    let sound = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic());
    match sound && path.len() <= LONGEST {
        true => Ok(()),
        false => wrong("its path is not the path of a URL"),
    }
}

/// Whether the host is on this network too, and the address belongs to it.
fn reaches(network: &TopologyNetwork, address: Ipv4Addr) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(network.prefix)).unwrap_or(0);
    network.kind != NetworkKind::Isolated
        && u32::from(address) & mask == u32::from(network.network) & mask
}

/// Refuses text of strangers that is not one plain line; `what` it is, for the message.
pub fn plain(what: &str, text: &str) -> Result<(), String> {
    let sound = !text.is_empty() && text.chars().count() <= LONGEST;
    match sound && !text.contains(char::is_control) {
        true => Ok(()),
        false => Err(format!("{what} is empty, too long or not plain text")),
    }
}

/// A systemd unit's name.
fn is_unit(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:@\\".contains(&b))
}

#[cfg(test)]
#[path = "readiness_tests.rs"]
mod tests;
