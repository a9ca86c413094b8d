//! Where packages come from: the host's own apt configuration when it has the whole suite (a
//! local mirror, a proxy), else the sources of the definition.

use std::collections::BTreeSet;

use super::source_line::SourceLine;
use crate::host::Cmd;

/// Settings of the host's apt that decide whether and how downloads work here.
const HOST_SETTINGS: [&str; 4] = [
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
];

/// Where the guest keeps the keys of its sources.
pub const GUEST_KEYS: &str = "/etc/apt/keyrings";

/// One-line sources to build from, and whether mmdebstrap's default ones belong to them: those of the
/// host for every wanted suite and component where it has them all. Keys are in the folder `keys`.
pub async fn for_build(wanted: &[String], keys: &str) -> (Vec<String>, bool) {
    let listing = Cmd::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"])
        .arg("Created-By: Packages")
        .run()
        .await;
    let listing = listing.map(|out| out.text()).unwrap_or_default();
    resolve(&read(wanted), &listing, keys)
}

/// The sources that name a place of their own; `default` is the building host's affair.
pub fn of_guest(wanted: &[String]) -> Vec<String> {
    let own = read(wanted).into_iter().filter(|source| source.place.is_some());
    own.map(|source| source.line(GUEST_KEYS, "")).collect()
}

/// Lines that a definition has been read with.
fn read(lines: &[String]) -> Vec<SourceLine> {
    lines.iter().filter_map(|line| SourceLine::parse(line).ok()).collect()
}

/// A source with a place of its own keeps it, whatever the host has.
fn resolve(wanted: &[SourceLine], listing: &str, keys: &str) -> (Vec<String>, bool) {
    let (own, default): (Vec<&SourceLine>, Vec<&SourceLine>) =
        wanted.iter().partition(|source| source.place.is_some());
    let own = own.into_iter().map(|source| source.line(keys, ""));
    match from_listing(&default, listing, keys) {
        Some(lines) => (lines.into_iter().chain(own).collect(), false),
        None => (own.collect(), true),
    }
}

fn from_listing(wanted: &[&SourceLine], listing: &str, keys: &str) -> Option<Vec<String>> {
    let have: BTreeSet<[&str; 3]> = listing
        .lines()
        .filter_map(|l| l.split_whitespace().collect::<Vec<_>>().try_into().ok())
        .filter(|[uri, _, _]: &[&str; 3]| uri.starts_with("http://") || uri.starts_with("https://"))
        .collect();
    let mut lines = Vec::new();
    for source in wanted {
        for component in &source.components {
            let here = |h: &&[&str; 3]| h[1] == source.suite && h[2] == component;
            let [uri, ..] = have.iter().find(here)?;
            let one = SourceLine { components: vec![component.clone()], ..(*source).clone() };
            lines.push(one.line(keys, uri));
        }
    }
    Some(lines)
}

/// The host's download settings as apt options.
pub async fn host_settings() -> Vec<String> {
    let dump = Cmd::new("apt-config").args(["dump", "--format", "%f \"%v\"%n"]);
    let dump = dump.args(HOST_SETTINGS).run().await;
    let text = dump.map(|out| out.text()).unwrap_or_default();
    text.lines().filter(|l| !l.ends_with(" \"\"")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lines(wanted: &[&str], listing: &str) -> (Vec<String>, bool) {
        let wanted: Vec<String> = wanted.iter().map(|&line| line.to_owned()).collect();
        resolve(&read(&wanted), listing, "/keys")
    }

    const MAIN: &str = "deb default bookworm main";
    const SECURITY: &str = "deb default bookworm-security main";
    const OWN: &str = "deb http://own.example/x bookworm main";

    #[test]
    fn the_host_is_used_only_when_it_has_everything() {
        let whole = "http://mirror.example/debian/ bookworm main\nhttp://mirror.example/debian/ trixie main\nhttps://mirror.example/security/ bookworm-security main\n";
        let expected = [
            "deb http://mirror.example/debian/ bookworm main",
            "deb https://mirror.example/security/ bookworm-security main",
        ];
        let expected = expected.map(str::to_owned).to_vec();
        assert_eq!(lines(&[MAIN, SECURITY], whole), (expected, false));
        let part =
            "http://mirror.example/debian/ bookworm main\nfile:/srv/ bookworm-security main\n";
        assert_eq!(lines(&[MAIN, SECURITY], part), (vec![], true));
    }

    #[test]
    fn a_place_of_its_own_is_kept_and_a_default_one_never_dropped() {
        let here = "deb http://mirror.example/debian/ bookworm main".to_owned();
        let listing = "http://mirror.example/debian/ bookworm main\n";
        assert_eq!(lines(&[MAIN, OWN], listing), (vec![here, OWN.to_owned()], false));
        assert_eq!(lines(&[MAIN, OWN], ""), (vec![OWN.to_owned()], true));
        assert_eq!(lines(&[OWN], ""), (vec![OWN.to_owned()], false));
    }

    #[test]
    fn the_guest_finds_the_key_in_its_own_folder() {
        let line = "deb [signed-by=x.asc] http://own.example/x bookworm main".to_owned();
        let guest = "deb [signed-by=/etc/apt/keyrings/x.asc] http://own.example/x bookworm main";
        assert_eq!(of_guest(&[line, MAIN.to_owned()]), [guest]);
    }
}
