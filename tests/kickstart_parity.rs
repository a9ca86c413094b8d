//! Our kickstart reader beside pykickstart's, on every command and option that RHEL 7 knows.
//!
//! `tests/parity/generate.py` makes the cases out of pykickstart's own parsers and has pykickstart
//! judge them; here each is read by [`labbuild::kickstart::parse`] and the verdicts are counted
//! against each other. Run with `--no-capture` to see the table.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use labbuild::host::Cmd;
use labbuild::kickstart::parse;
use serde::Deserialize;

/// Of a hundred verdicts at least so many are the same.
const WANTED: f64 = 99.0;
/// And for each command, so that a small one cannot be wrong beside large ones.
const WANTED_OF_EACH: f64 = 85.0;
/// What was generated when this was written, less a few for other releases of pykickstart.
const CASES: usize = 9_900;
/// The names of commands in RHEL 7.
const COMMANDS: usize = 66;
/// How many cases of each verdict every command has at least.
const OF_EACH: usize = 5;
/// RHEL 7 lists it, but pykickstart ends with a `TypeError` wherever it is written.
const NEVER_ACCEPTED: &str = "method";

/// One text and what pykickstart says about it; the first line only names the commands.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Commands { commands: Vec<String> },
    Case(Case),
}

#[derive(Debug, Deserialize)]
struct Case {
    id: String,
    /// The command or section that it is a case of.
    of: String,
    text: String,
    accepted: bool,
    /// Why pykickstart refuses it.
    message: String,
}

/// Where labbuild differs on purpose: words of the text or of our message, and why. Each is a
/// disagreement all the same, and counted as one.
const DELIBERATE: &[(&str, &str)] = &[
    (
        "is already on line",
        "pykickstart only warns of what is declared twice; its ksvalidator refuses it, Anaconda \
         stumbles over the second or takes it silently for the first",
    ),
    ("a second network line without a device", "the same"),
    ("`volgroup` has no", "pykickstart takes a misspelt option for the name of a partition"),
    ("sshkey", "labbuild carries `sshkey` out, though only later releases know it"),
    ("`services` names no", "pykickstart remembers what an earlier line said"),
    ("`ignoredisk` needs", "the same"),
    ("the kickstart is empty", "so says ksvalidator; nothing would be installed"),
    (
        "nothing follows this backslash",
        "pykickstart takes the line break behind it for a word of its own",
    ),
];

/// The Python that pykickstart is installed for.
fn python() -> PathBuf {
    let beside = std::env::var_os("KSVALIDATOR").map(|v| PathBuf::from(v).with_file_name("python"));
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pykickstart/bin/python");
    let found = beside.into_iter().chain([ours]).find(|program| program.is_file());
    found.expect("pykickstart is not installed: ./scripts/test installs it")
}

fn generated() -> (Vec<String>, Vec<Case>) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/generate.py");
    let command = Cmd::new(python()).arg("-B").arg(script);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let output = runtime.block_on(command.run()).unwrap_or_else(|error| panic!("{error}"));
    let text = String::from_utf8(output.stdout).unwrap();
    let (mut names, mut cases) = (Vec::new(), Vec::new());
    for line in text.lines() {
        match serde_json::from_str(line).unwrap() {
            Line::Commands { commands } => names.extend(commands),
            Line::Case(case) => cases.push(case),
        }
    }
    (names, cases)
}

fn ours(text: &str) -> Result<(), String> {
    let mut none = |_: &str| Ok(String::new());
    parse(text, "t.ks", &mut none).map(|_| ()).map_err(|faults| faults.to_string())
}

/// A case on which the two do not agree, and what we say.
struct Disagreement<'a> {
    case: &'a Case,
    ours: Option<String>,
}

impl Disagreement<'_> {
    fn reason(&self) -> Option<&'static str> {
        let ours = self.ours.as_deref().unwrap_or_default();
        let fits = |words: &str| ours.contains(words) || self.case.text.contains(words);
        DELIBERATE.iter().find(|(words, _)| fits(words)).map(|(_, why)| *why)
    }

    fn shown(&self) -> String {
        let (text, id) = (&self.case.text, &self.case.id);
        let theirs = if self.case.accepted { "accepts it" } else { &self.case.message };
        let ours = self.ours.as_deref().map_or("accept it", |ours| ours.lines().next().unwrap());
        let why = self.reason().map(|why| format!("\n      on purpose: {why}")).unwrap_or_default();
        format!("    {text:?} ({id})\n      pykickstart: {theirs}\n      we: {ours}{why}\n")
    }
}

/// The cases of one command or section, and those that disagree.
#[derive(Default)]
struct Row<'a> {
    accepted: usize,
    refused: usize,
    differ: Vec<Disagreement<'a>>,
}

impl Row<'_> {
    fn cases(&self) -> usize {
        self.accepted + self.refused
    }
}

fn compare(cases: &[Case]) -> BTreeMap<&str, Row<'_>> {
    let mut rows: BTreeMap<&str, Row<'_>> = BTreeMap::new();
    for case in cases {
        let row = rows.entry(&case.of).or_default();
        let ours = ours(&case.text).err();
        *if case.accepted { &mut row.accepted } else { &mut row.refused } += 1;
        if ours.is_none() != case.accepted {
            row.differ.push(Disagreement { case, ours });
        }
    }
    rows
}

fn percent(cases: usize, differ: usize) -> f64 {
    100.0 * (cases - differ) as f64 / cases as f64
}

/// The table: one line for each command, with its first disagreements; the sum.
fn report(rows: &BTreeMap<&str, Row<'_>>) -> (String, f64) {
    let mut text = String::new();
    let (mut cases, mut differ, mut on_purpose) = (0, 0, 0);
    for (of, row) in rows {
        cases += row.cases();
        differ += row.differ.len();
        on_purpose += row.differ.iter().filter(|d| d.reason().is_some()).count();
        let parity = percent(row.cases(), row.differ.len());
        let (good, bad) = (row.accepted, row.refused);
        writeln!(text, "{of:24} {parity:6.2} %  {good:4} accepted {bad:4} refused").unwrap();
        text.extend(row.differ.iter().take(3).map(Disagreement::shown));
    }
    let parity = percent(cases, differ);
    writeln!(
        text,
        "parity {parity:.2} %: {differ} of {cases} verdicts differ, {on_purpose} of them on purpose"
    )
    .unwrap();
    (text, parity)
}

#[test]
fn our_verdicts_are_pykickstarts() {
    let (names, cases) = generated();
    assert!(cases.len() >= CASES, "only {} cases", cases.len());
    assert_eq!(names.len(), COMMANDS, "{names:?}");
    let rows = compare(&cases);
    for name in &names {
        let row = rows.get(name.as_str()).unwrap_or_else(|| panic!("no case of {name}"));
        let accepted = row.accepted >= OF_EACH || name == NEVER_ACCEPTED;
        assert!(accepted && row.refused >= OF_EACH, "too few cases of {name}");
    }
    let (text, parity) = report(&rows);
    println!("{text}");
    let low = |name: &&String| {
        let row = &rows[name.as_str()];
        percent(row.cases(), row.differ.len()) < WANTED_OF_EACH
    };
    let low: Vec<&String> = names.iter().filter(low).collect();
    assert!(parity >= WANTED && low.is_empty(), "{text}\ntoo low: {low:?}");
}
