//! Where packages come from: the host's own apt configuration when it has the whole suite (a
//! local mirror, a proxy), else the sources of the definition.

use std::collections::BTreeSet;

use crate::host::Cmd;

/// Settings of the host's apt that decide whether and how downloads work here.
const HOST_SETTINGS: [&str; 4] = [
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
];

/// One-line sources to build from, and whether mmdebstrap's default ones belong to them: those of the
/// host for every wanted suite and component where it has them all.
pub async fn for_build(wanted: &[String]) -> (Vec<String>, bool) {
    let listing = Cmd::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"])
        .arg("Created-By: Packages")
        .run()
        .await;
    let listing = listing.map(|out| out.text()).unwrap_or_default();
    resolve(wanted, &listing)
}

/// A source with a place of its own keeps it, whatever the host has.
fn resolve(wanted: &[String], listing: &str) -> (Vec<String>, bool) {
    let (own, default): (Vec<String>, Vec<String>) =
        wanted.iter().cloned().partition(|s| has_own_place(s));
    match from_listing(&default, listing) {
        Some(lines) => (lines.into_iter().chain(own).collect(), false),
        None => (own, true),
    }
}

fn has_own_place(source: &str) -> bool {
    source.split_whitespace().nth(1) != Some("default")
}

/// The sources that name a place of their own; `default` is the building host's affair.
pub fn of_guest(wanted: &[String]) -> Vec<String> {
    wanted.iter().filter(|s| has_own_place(s)).cloned().collect()
}

fn from_listing(wanted: &[String], listing: &str) -> Option<Vec<String>> {
    let have: BTreeSet<[&str; 3]> = listing
        .lines()
        .filter_map(|l| l.split_whitespace().collect::<Vec<_>>().try_into().ok())
        .filter(|[uri, _, _]: &[&str; 3]| uri.starts_with("http://") || uri.starts_with("https://"))
        .collect();
    let mut lines = Vec::new();
    for source in wanted {
        let words: Vec<&str> = source.split_whitespace().collect();
        let [_, _, suite, components @ ..] = words.as_slice() else { return None };
        for component in components {
            let [uri, ..] = have.iter().find(|h| h[1] == *suite && h[2] == *component)?;
            lines.push(format!("deb {uri} {suite} {component}"));
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

    #[test]
    fn the_host_is_used_only_when_it_has_everything() {
        let wanted = [
            "deb default bookworm main".to_owned(),
            "deb default bookworm-security main".to_owned(),
        ];
        let whole = "http://mirror.example/debian/ bookworm main\nhttp://mirror.example/debian/ trixie main\nhttps://mirror.example/security/ bookworm-security main\n";
        assert_eq!(
            from_listing(&wanted, whole).unwrap(),
            [
                "deb http://mirror.example/debian/ bookworm main",
                "deb https://mirror.example/security/ bookworm-security main"
            ]
        );
        let part =
            "http://mirror.example/debian/ bookworm main\nfile:/srv/ bookworm-security main\n";
        assert_eq!(from_listing(&wanted, part), None);
    }
    #[test]
    fn a_place_of_its_own_is_kept_and_a_default_one_never_dropped() {
        let own = "deb http://own.example/x bookworm main".to_owned();
        let wanted = ["deb default bookworm main".to_owned(), own.clone()];
        let here = "deb http://mirror.example/debian/ bookworm main".to_owned();
        let listing = "http://mirror.example/debian/ bookworm main\n";
        assert_eq!(resolve(&wanted, listing), (vec![here, own.clone()], false));
        assert_eq!(resolve(&wanted, ""), (vec![own.clone()], true));
        assert_eq!(resolve(std::slice::from_ref(&own), ""), (vec![own], false));
    }
}
