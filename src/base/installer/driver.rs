//! What differs from one installer to the next, as data: one file per installer beside this one.

use std::net::Ipv4Addr;
use std::sync::OnceLock;

use regex::Regex;
use serde::{Deserialize, Deserializer};

/// How one installer is started, answered, understood and told from a failed one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Driver {
    /// Its name in definitions.
    pub name: String,
    pub(super) volume: Volume,
    pub(super) cmdline: Vec<String>,
    interface: Vec<String>,
    way_out: Vec<String>,
    pub(super) starts: Patterns,
    pub(super) progress: Patterns,
    pub(super) finished: Patterns,
    pub(super) powers_off: Patterns,
    pub(super) restarts: Patterns,
    pub(super) failed: Patterns,
    pub(super) asks: Patterns,
}

/// The volume with the answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Volume {
    pub label: String,
    pub file: String,
}

/// Regular expressions, any of which may match.
#[derive(Debug)]
pub(super) struct Patterns(Vec<Regex>);

impl Patterns {
    pub fn matches(&self, line: &str) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(line))
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let patterns: Result<_, _> = texts.iter().map(|text| Regex::new(text)).collect();
        patterns.map(Patterns).map_err(serde::de::Error::custom)
    }
}

/// A network interface as the installer is to call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// MAC address.
    pub mac: String,
}

/// How the installer reaches its packages: the interface that the installed machine, too, leaves
/// by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayOut {
    /// Name of the interface.
    pub interface: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its netmask.
    pub netmask: Ipv4Addr,
    /// Router and name server.
    pub gateway: Ipv4Addr,
}

const FILES: [&str; 1] = [include_str!("anaconda.yaml")];

impl Driver {
    /// Every installer that labbuild knows.
    pub fn all() -> &'static [Driver] {
        static ALL: OnceLock<Vec<Driver>> = OnceLock::new();
        ALL.get_or_init(|| {
            let read = |text: &&str| serde_saphyr::from_str(text);
            FILES.iter().map(read).collect::<Result<_, _>>().expect("a test reads every file")
        })
    }

    /// The installer with this name.
    pub fn named(name: &str) -> Option<&'static Driver> {
        Self::all().iter().find(|driver| driver.name == name)
    }

    /// The kernel's command line for one machine.
    pub(super) fn command_line(
        &self,
        machine: &str,
        interfaces: &[Interface],
        way_out: Option<&WayOut>,
        added: &[String],
    ) -> String {
        let mut words = self.cmdline.clone();
        for interface in interfaces {
            let values = [("name", interface.name.clone()), ("mac", interface.mac.clone())];
            words.extend(self.interface.iter().map(|word| filled(word, &values)));
        }
        if let Some(way) = way_out {
            let values = [
                ("machine", machine.to_owned()),
                ("name", way.interface.clone()),
                ("address", way.address.to_string()),
                ("netmask", way.netmask.to_string()),
                ("gateway", way.gateway.to_string()),
            ];
            words.extend(self.way_out.iter().map(|word| filled(word, &values)));
        }
        words.extend(added.iter().cloned());
        words.join(" ")
    }
}

/// `{name}` replaced by its value.
fn filled(word: &str, values: &[(&str, String)]) -> String {
    values
        .iter()
        .fold(word.to_owned(), |word, (name, value)| word.replace(&format!("{{{name}}}"), value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_file_is_a_driver_with_a_name_of_its_own() {
        let names: Vec<&str> = Driver::all().iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["anaconda"]);
        assert!(Driver::named("debian-installer").is_none());
    }

    #[test]
    fn the_command_line_names_interfaces_and_the_way_out() {
        let anaconda = Driver::named("anaconda").unwrap();
        let interface = |name: &str, last: u8| Interface {
            name: name.into(),
            mac: format!("52:54:00:00:00:{last:02x}"),
        };
        let way = WayOut {
            interface: "ens37".into(),
            address: [172, 16, 251, 12].into(),
            netmask: [255, 255, 255, 0].into(),
            gateway: [172, 16, 251, 11].into(),
        };
        let interfaces = [interface("ens37", 1), interface("ens38", 2)];
        let added = ["inst.repo=https://vault.example/7".to_owned()];
        let line = anaconda.command_line("compute1", &interfaces, Some(&way), &added);
        insta::assert_snapshot!(line);
        assert!(!anaconda.command_line("alone", &[], None, &[]).contains('{'));
    }
}
