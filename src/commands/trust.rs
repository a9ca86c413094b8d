//! What `labbuild plan --trust` says: a recipe's doings, in sentences for somebody who did not write it.

use crate::base::SourceLine;
use crate::plan::trust::{Base, Copied, Fetched, Place, Reach, Trust, Work};
use crate::recipe::{Expose, NetworkKind};
use crate::ui::text::{clean, size};

/// All of it, with a heading for each kind.
pub fn text(lab: &str, trust: &Trust) -> String {
    let sections = [
        ("Bases", trust.bases.iter().flat_map(base).collect()),
        ("In the machines, as their root", trust.machines.iter().map(work).collect()),
        ("Copied from the recipe's folder into machines", lines(&trust.copied, copied)),
        ("Opened on 127.0.0.1 of this host while the lab is up", lines(&trust.exposed, exposed)),
        ("Networks", lines(&trust.networks, reach)),
    ];
    let mut out = format!("What {lab} does on this host:\n");
    for (heading, lines) in sections {
        out.push_str(&format!("{heading}:\n"));
        for line in lines {
            out.push_str(&format!("  {}\n", one_line(&line)));
        }
    }
    out
}

/// A name of a stranger's may neither begin a line of its own nor overwrite what stands before it.
fn one_line(text: &str) -> String {
    let indent = text.len() - text.trim_start_matches(' ').len();
    format!("{}{}", &text[..indent], clean(&text[indent..].replace(['\r', '\n'], " ")))
}

fn lines<T>(all: &[T], line: fn(&T) -> String) -> Vec<String> {
    match all.is_empty() {
        true => vec!["nothing".to_owned()],
        false => all.iter().map(line).collect(),
    }
}

fn base(base: &Base) -> Vec<String> {
    let mut out = vec![format!("{}: {}; {}", base.machine, base.title, place(base))];
    out.extend(base.archives.iter().map(|source| format!("  from {}", archive(source))));
    out.extend(base.files.iter().map(|file| format!("  {}", fetched(file))));
    let unchecked = "what it installs is for the installer to check";
    out.extend(base.unchecked.iter().map(|url| format!("  from {url}; {unchecked}")));
    for script in &base.scripts {
        let interpreter = &script.interpreter;
        out.push(format!("  {} at {}, run by {interpreter}", script.section, script.at));
    }
    out
}

fn place(base: &Base) -> String {
    match base.place {
        Place::Nowhere => "nothing runs".to_owned(),
        Place::Installer => "a machine boots the installer, with the way out".to_owned(),
        Place::Cage => {
            let locked = base.locked.map(|all| format!(" ({all} in labbuild.lock)"));
            format!(
                "{} packages by name and what they need{}; they are fetched first, then their scripts \
                 run in a cage without a network",
                base.packages,
                locked.unwrap_or_default()
            )
        }
    }
}

fn archive(source: &SourceLine) -> String {
    let components = source.components.join(" ");
    let place = source.place.as_deref().unwrap_or("this host's archive, or Debian's,");
    let key = match &source.signed_by {
        Some(key) => format!("{key}, which comes with the recipe"),
        None => "a key of this host".to_owned(),
    };
    format!("{place} {} {components}; signed by {key}", source.suite)
}

fn fetched(file: &Fetched) -> String {
    let verb = if file.download { "downloads" } else { "reads" };
    let sha256 = match &file.sha256 {
        Some(digest) => format!("SHA-256 {digest}"),
        None => "no SHA-256 yet: nothing is booted before you fill it in".to_owned(),
    };
    format!("{verb} its {} {}; {sha256}", file.what, file.from)
}

fn work(work: &Work) -> String {
    let kinds = work.steps.iter().map(|(kind, count)| format!("{count} {kind}"));
    let kinds = kinds.collect::<Vec<_>>().join(", ");
    let steps = work.steps.values().sum::<usize>();
    let steps = if steps == 0 { "no steps".to_owned() } else { format!("{steps} steps ({kinds})") };
    format!(
        "{}: {steps}, {} checks; CPUs: {}, memory: {}, disk: up to {}",
        work.machine,
        work.checks,
        work.cpus,
        size(work.memory),
        size(work.disk)
    )
}

fn copied(copied: &Copied) -> String {
    format!("{} to {} of {}", copied.from, copied.to, copied.machines.join(", "))
}

fn exposed(expose: &Expose) -> String {
    let host = match expose.host_port {
        Some(port) => format!("port {port}, or a free one"),
        None => "a free port".to_owned(),
    };
    format!("{}: {host}, leads to port {} of {}", expose.name, expose.port, expose.machine)
}

fn reach(reach: &Reach) -> String {
    let where_to = match (reach.kind, reach.leads_out) {
        (NetworkKind::Isolated, _) => "its machines alone",
        (NetworkKind::HostOnly, _) => "its machines and this host; no way out",
        (NetworkKind::Bridged, false) => "its machines; no way out",
        (NetworkKind::Bridged, true) => {
            "a way out to the internet; not to this host's loopback and addresses, nor to private ranges"
        }
    };
    let bridge = reach.bridge.as_ref().map(|name| format!("; with --connect, {name} of that host"));
    format!("{} {}: {where_to}{}", reach.name, reach.subnet, bridge.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What recipes allow today is narrower; what is told of a stranger must not depend on that.
    #[test]
    fn no_name_begins_a_line_overwrites_one_or_steers_the_terminal() {
        for name in ["a\nNetworks:\n  nothing", "evil\rnothing", "evil\u{1b}[2J", "evil\u{202e}x"] {
            let copied = Copied { from: name.into(), to: "/f".into(), machines: vec!["m".into()] };
            let trust = Trust {
                bases: Vec::new(),
                machines: Vec::new(),
                copied: vec![copied],
                exposed: Vec::new(),
                networks: Vec::new(),
            };
            let said = text("lab", &trust);
            assert_eq!(said.lines().count(), 9, "{said:?}");
            let begins = name.split(['\n', '\r', '\u{1b}', '\u{202e}']).next().unwrap_or_default();
            assert!(said.contains(&format!("\n  {begins}")), "{said:?}");
            assert!(!said.contains(['\r', '\u{1b}', '\u{202e}']), "{said:?}");
        }
    }
}
