//! What a booted machine is, in a form that two boots can be compared by.

use std::collections::BTreeMap;
use std::time::Duration;

use super::LabError;
use crate::backend::agent::{Agent, ExecRequest};
use crate::digest::Digest;
use crate::host::Cmd;

/// Runs in the guest; see there for what is looked at.
const SCRIPT: &str = include_str!("fingerprint.sh");

/// Reading every file of an emulated machine takes its time.
const LIMIT: Duration = Duration::from_secs(900);

/// Far above what a machine with a hundred thousand files yields, compressed.
const REPORT_LIMIT: u64 = 64 << 20;

/// The same, unpacked: a guest may send a few bytes that become many.
const UNPACKED_LIMIT: u64 = 128 << 20;

/// Where the guest puts it; gone with the copy.
const REPORT: &str = "/run/labbuild-fingerprint.gz";

/// Sections by name, each a list of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    sections: BTreeMap<String, Vec<String>>,
}

/// Takes the fingerprint of one machine, once its start-up is over.
pub async fn fingerprint(agent: &Agent) -> Result<Fingerprint, LabError> {
    agent.wait_booted(LIMIT).await?;
    let script = format!("{{\n{SCRIPT}\n}} | gzip -c > {REPORT}");
    let taken = agent.exec(ExecRequest::script(script).timeout(LIMIT), |_, _| {}).await?;
    if !taken.success() {
        let reason = format!("its fingerprint could not be taken: {}", taken.stderr.text());
        return Err(LabError::Guest { machine: agent.machine().to_owned(), reason });
    }
    let packed = agent.read_file(REPORT, REPORT_LIMIT).await?.unwrap_or_default();
    let unpack = Cmd::new("gzip").arg("-dc").stdin(packed).at_most(UNPACKED_LIMIT);
    let report = unpack.run().await.map_err(|e| LabError::Guest {
        machine: agent.machine().to_owned(),
        reason: format!("its fingerprint could not be unpacked: {e}"),
    })?;
    Ok(Fingerprint::parse(&String::from_utf8_lossy(&report.stdout)))
}

impl Fingerprint {
    fn parse(report: &str) -> Self {
        let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut current = String::new();
        for line in report.lines() {
            match line.strip_prefix("== ") {
                Some(name) => current = name.to_owned(),
                None => sections.entry(current.clone()).or_default().push(line.to_owned()),
            }
        }
        Fingerprint { sections }
    }

    /// One digest over everything.
    pub fn digest(&self) -> Digest {
        let text: Vec<String> = self
            .sections
            .iter()
            .map(|(name, lines)| format!("== {name}\n{}\n", lines.join("\n")))
            .collect();
        Digest::of(text.concat())
    }

    /// How many lines each section has: a fingerprint of nothing is no fingerprint.
    pub fn lines(&self, section: &str) -> usize {
        self.sections.get(section).map_or(0, Vec::len)
    }

    /// How `other` differs: `section: - line` and `section: + line`, at most `limit` of them.
    pub fn difference(&self, other: &Fingerprint, limit: usize) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> =
            self.sections.keys().chain(other.sections.keys()).collect();
        let empty = Vec::new();
        let mut found = Vec::new();
        for name in names {
            let a = self.sections.get(name).unwrap_or(&empty);
            let b = other.sections.get(name).unwrap_or(&empty);
            if a != b {
                let before = found.len();
                found.extend(only_in(a, b).map(|line| format!("{name}: - {line}")));
                found.extend(only_in(b, a).map(|line| format!("{name}: + {line}")));
                if found.len() == before {
                    found.push(format!("{name}: the same lines, in another order or number"));
                }
            }
        }
        found.truncate(limit);
        found
    }
}

fn only_in<'a>(a: &'a [String], b: &'a [String]) -> impl Iterator<Item = &'a String> {
    let known: std::collections::BTreeSet<&String> = b.iter().collect();
    a.iter().filter(move |line| !known.contains(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_section_and_line() {
        let a = Fingerprint::parse("== packages\nbash 1\nvim 2\n== routes\ndefault\n");
        let b = Fingerprint::parse("== packages\nbash 1\nvim 3\n== routes\ndefault\n");
        assert_eq!(a.difference(&b, 10), ["packages: - vim 2", "packages: + vim 3"]);
        assert_ne!(a.digest(), b.digest());
        assert_eq!(a.lines("packages"), 2);
        assert!(a.difference(&a, 10).is_empty());
        let twice = Fingerprint::parse("== packages\nbash 1\nvim 2\nvim 2\n== routes\ndefault\n");
        assert_eq!(
            a.difference(&twice, 10),
            ["packages: the same lines, in another order or number"]
        );
    }
}
