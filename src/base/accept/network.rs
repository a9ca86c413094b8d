//! `network` and `bootloader`: interfaces, names, kernel parameters.

use crate::kickstart::{Bootloader, Bootproto, Network};

use super::super::spec::{Interface, Method};
use super::Reader;

impl Reader<'_> {
    pub(super) fn network(&mut self, line: u32, network: &Network) {
        if let Some(name) = &network.hostname {
            self.hostname(line, name);
        }
        for server in &network.nameservers {
            if !self.wishes.nameservers.contains(server) {
                self.wishes.nameservers.push(*server);
            }
        }
        let only_name =
            network.device.is_none() && network.ip.is_none() && network.hostname.is_some();
        if only_name {
            return;
        }
        let Some(name) = self.device(line, network.device.as_deref()) else { return };
        if self.wishes.interfaces.iter().any(|i| i.name == name) {
            self.fault(
                line,
                format!("interface {name} is configured twice"),
                "one `network` line per interface",
            );
            return;
        }
        let Some(method) = self.method(line, network) else { return };
        self.wishes.interfaces.push(Interface {
            name,
            auto: network.onboot.unwrap_or(true),
            method,
            mtu: network.mtu,
            no_ipv6: network.noipv6,
        });
    }

    fn hostname(&mut self, line: u32, name: &str) {
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && !l.starts_with('-')
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if name.len() > 64 || !name.split('.').all(label) {
            self.fault(
                line,
                format!("`{name}` is not a host name"),
                "letters, digits and `-`, in parts joined by dots",
            );
        }
        self.wishes.hostname = Some(name.to_owned());
    }

    /// The interface a `--device` means: a name, a MAC address, or the first one.
    fn device(&mut self, line: u32, device: Option<&str>) -> Option<String> {
        let nics = &self.request.nics;
        let found = match device {
            None | Some("link") => nics.first(),
            Some(d) => nics.iter().find(|n| n.name == d || n.mac.eq_ignore_ascii_case(d)),
        };
        if let Some(nic) = found {
            return Some(nic.name.clone());
        }
        let known: Vec<&str> = nics.iter().map(|n| n.name.as_str()).collect();
        let help = match known.is_empty() {
            true => "the machine has no interfaces".to_owned(),
            false => format!("the machine has {}", known.join(", ")),
        };
        let device = device.unwrap_or("link");
        self.fault(line, format!("the machine has no interface `{device}`"), &help);
        None
    }

    fn method(&mut self, line: u32, network: &Network) -> Option<Method> {
        if network.noipv4 {
            return Some(Method::Plain);
        }
        match (network.bootproto, network.ip, network.netmask) {
            (Bootproto::Dhcp, _, _) => Some(Method::Dhcp),
            (Bootproto::Static, None, None) => Some(Method::Plain),
            (Bootproto::Static, Some(address), Some(mask)) => {
                let bits = mask.to_bits();
                if bits.leading_ones() + bits.trailing_zeros() < 32 {
                    self.fault(line, format!("{mask} is not a netmask"), "e.g. 255.255.255.0");
                    return None;
                }
                let prefix = bits.leading_ones() as u8;
                let gateway = network.gateway.filter(|_| !network.nodefroute);
                Some(Method::Static { address, prefix, gateway })
            }
            _ => {
                self.fault(
                    line,
                    "--ip and --netmask belong together",
                    "e.g. `--ip=192.168.0.11 --netmask=255.255.255.0`",
                );
                None
            }
        }
    }

    pub(super) fn bootloader(&mut self, line: u32, loader: &Bootloader) {
        if !matches!(loader.location.as_deref(), None | Some("mbr" | "boot")) {
            let help = "the disk boots by itself: `--location=mbr`";
            self.fault(line, "the boot loader can only be in the MBR", help);
        }
        let parameters = loader.append.iter().flat_map(|a| a.split_whitespace());
        for word in parameters {
            if word.chars().any(|c| !c.is_ascii_graphic() || "'\"\\$;{}&|<>#".contains(c)) {
                self.fault(
                    line,
                    format!("`{word}` is not a plain kernel parameter"),
                    "no quotes or shell signs",
                );
            } else {
                self.wishes.kernel_parameters.push(word.to_owned());
            }
        }
        self.wishes.boot_timeout = loader.timeout;
    }
}
