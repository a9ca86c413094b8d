//! What is wrong with a kickstart, and who says so.
//!
//! Two judges read every line: the syntax of RHEL 7, which Anaconda (and `ksvalidator`) holds
//! to, and labbuild, which refuses besides what it could not carry out or what contradicts itself.

use super::source::Line;
use super::suggest::nearest;
use crate::recipe::{Fault, Place};

/// Whose rule was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// RHEL 7's kickstart syntax: Anaconda would refuse the file too.
    Anaconda,
    /// labbuild alone: contradictions, and what it does not support.
    Labbuild,
}

/// One fault and its judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose rule was broken.
    pub judge: Judge,
    /// Where, what, and what would be right.
    pub fault: Fault,
}

/// A line as it may be shown: trimmed at its end, passwords starred out at their length.
fn shown(line: &str) -> String {
    let line = line.trim_end();
    let command = line.split_whitespace().next().unwrap_or_default();
    let (mut hidden, mut next_is_secret) = (["rootpw", "sshpw"].contains(&command), false);
    let mut shown = String::new();
    for (i, word) in line.split_inclusive(char::is_whitespace).enumerate() {
        let bare = word.trim_end();
        let is_option = bare.starts_with("--");
        if is_secret(bare) {
            // A quoted password may have blanks: hide all up to the next option.
            (hidden, next_is_secret) = (true, true);
            let keep = bare.find('=').map_or(bare.len(), |at| at + 1);
            shown.push_str(word.get(..keep).unwrap_or(word));
            shown.extend(word.get(keep..).unwrap_or_default().chars().map(star));
            continue;
        }
        if is_option && next_is_secret {
            (hidden, next_is_secret) = (false, false);
        }
        match hidden && !is_option && i > 0 && bare != command {
            true => shown.extend(word.chars().map(star)),
            false => shown.push_str(word),
        }
    }
    shown
}

/// Options whose values are not shown.
const SECRET_OPTIONS: [&str; 7] = [
    "--password",
    "--md5pass",
    "--passphrase",
    "--reverse-password",
    "--one-time-password",
    "--wepkey",
    "--wpakey",
];

/// Whether a word is such an option, the beginning of one's name, which does as well, or most
/// likely one misspelt.
fn is_secret(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or_default();
    let begins = SECRET_OPTIONS.iter().any(|option| option.starts_with(name));
    name.starts_with("--") && name.len() > 2 && (begins || nearest(name, SECRET_OPTIONS).is_some())
}

fn star(c: char) -> char {
    if c.is_whitespace() { c } else { '*' }
}

/// Findings with the running number of their line, to be put in reading order at the end.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<(u32, Finding)>);

impl Findings {
    pub(super) fn push(
        &mut self,
        judge: Judge,
        line: &Line,
        column: u32,
        message: String,
        help: Option<String>,
    ) {
        let at = Place { file: line.file.clone(), line: line.number, column };
        let fault = Fault { at, text: shown(&line.text), message, help };
        self.0.push((line.seq, Finding { judge, fault }));
    }

    /// All findings in the order of the text.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|(seq, finding)| (*seq, finding.fault.at.column));
        self.0.into_iter().map(|(_, finding)| finding).collect()
    }

    #[cfg(test)]
    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.sorted().into_iter().map(|f| f.fault).collect()
    }
}

/// Collects the findings of one line.
pub(super) struct Notes<'a> {
    pub line: &'a Line,
    findings: &'a mut Findings,
}

impl<'a> Notes<'a> {
    pub(super) fn new(line: &'a Line, findings: &'a mut Findings) -> Self {
        Notes { line, findings }
    }

    /// Anaconda refuses this.
    pub(super) fn refuse(&mut self, column: u32, message: impl Into<String>, help: Option<String>) {
        self.findings.push(Judge::Anaconda, self.line, column, message.into(), help);
    }

    /// labbuild refuses this.
    pub(super) fn object(&mut self, column: u32, message: impl Into<String>, help: Option<String>) {
        self.findings.push(Judge::Labbuild, self.line, column, message.into(), help);
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("rootpw --plaintext s3cret "), "rootpw --plaintext ******");
        assert_eq!(shown("  rootpw 'a b'"), "  rootpw ** **");
        assert_eq!(
            shown("user --name=a --password=xyz --lock"),
            "user --name=a --password=*** --lock"
        );
        assert_eq!(shown("user --password 'a b' --uid=1"), "user --password ** ** --uid=1");
        assert_eq!(shown("lang en_US\t"), "lang en_US");
        assert_eq!(shown("vnc --passw=abc --port=1"), "vnc --passw=*** --port=1");
        assert_eq!(shown("vnc --pasword=abc --port=1"), "vnc --pasword=*** --port=1");
        assert_eq!(shown("sshpw --username=a b"), "sshpw --username=a *");
        assert_eq!(shown("iscsi --reverse-password x"), "iscsi --reverse-password *");
    }
}
