//! What a lab's way out does not lead to: the networks around the host. A guest is a stranger, and from the
//! host it would reach what the host reaches: the router, colleagues' machines, other labs, the address
//! at which a cloud tells a machine its secrets.
//!
//! The lab's own networks are found first, then these ranges are refused, then everything else leaves.
//! Refusal is by routes: whoever tries gets an answer at once, and no firewall rule of libvirt's comes before.

use std::net::Ipv4Addr;

use super::error::SandboxError;
use super::needs::program;
use crate::host::Cmd;

/// Special ranges (RFC 6890 and the registry it founded): private, link-local, shared, for
/// documentation and for benchmarks, multicast and reserved ones.
const RANGES: [&str; 15] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

/// The routing table that refuses.
const TABLE: u32 = 100;

/// Refuses the ranges, and the addresses of the host itself, in this network namespace.
pub(super) async fn close(host: &[Ipv4Addr]) -> Result<(), SandboxError> {
    Cmd::new(program("ip")?).args(["-batch", "-"]).stdin(commands(host)).run().await?;
    Ok(())
}

/// Lines for `ip -batch`.
fn commands(host: &[Ipv4Addr]) -> String {
    let own = host.iter().map(|address| format!("{address}/32"));
    let refused = RANGES.iter().map(|&range| range.to_owned()).chain(own);
    let routes = refused.map(|range| format!("route replace prohibit {range} table {TABLE}\n"));
    // Every route of the main table but the default one, then the refusals, then that one.
    let rules = format!(
        "rule add pref 32000 lookup main suppress_prefixlength 0\n\
         rule add pref 32001 lookup {TABLE}\n"
    );
    routes.chain([rules]).collect()
}

/// The host's own addresses, as `ip -o -4 address` lists them there.
pub(super) fn addresses(listing: &str) -> Vec<Ipv4Addr> {
    let after = |line: &str| {
        line.split_whitespace().skip_while(|w| *w != "inet").nth(1)?.split('/').next()?.parse().ok()
    };
    listing.lines().filter_map(after).filter(|address: &Ipv4Addr| !address.is_loopback()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_addresses_are_read_and_refused() {
        let listing = "1: lo    inet 127.0.0.1/8 scope host lo\n\
                       2: eth0    inet 203.0.113.7/24 brd 203.0.113.255 scope global eth0\n";
        assert_eq!(addresses(listing), [Ipv4Addr::new(203, 0, 113, 7)]);
        let commands = commands(&addresses(listing));
        assert!(commands.contains("route replace prohibit 203.0.113.7/32 table 100\n"));
        assert!(commands.contains("route replace prohibit 169.254.0.0/16 table 100\n"));
    }
}
