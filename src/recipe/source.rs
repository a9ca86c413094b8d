//! Files as they were read, and the list of faults found in them.
//!
//! Everything that checks a recipe holds a [`Report`]: a fault goes in with its place, and the
//! line it stands on is looked up here.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::fault::{Fault, Faults};
use super::model::Place;
use crate::host::foreign;

/// Files above this are not recipes.
const LARGEST: u64 = foreign::limits::TEXT;

/// A file's text and the name that people know it by.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub name: Arc<str>,
    pub text: String,
}

impl Source {
    pub fn new(name: &str, text: &str) -> Self {
        Source { name: name.into(), text: text.to_owned() }
    }

    /// A place in this file.
    pub fn place(&self, line: u32, column: u32) -> Place {
        Place { file: self.name.clone(), line, column }
    }

    /// A line (from 1) without its newline.
    pub fn line(&self, line: u32) -> &str {
        let index = (line as usize).saturating_sub(1);
        self.text.split('\n').nth(index).map_or("", |text| text.trim_end_matches('\r'))
    }

    fn place_of_byte(&self, offset: usize) -> Place {
        let before = &self.text.as_bytes()[..offset];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
        self.place(line as u32, column as u32)
    }
}

/// The bytes of a recipe file; none of a file above the limit, and never from a device.
pub(super) fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    foreign::read(path, LARGEST)
}

/// So many faults are told; nobody mends more at once, and a stranger could have made any number.
const MOST_FAULTS: usize = 100;

/// Faults found so far, and the files they were found in.
#[derive(Debug, Default)]
pub(super) struct Report {
    sources: Vec<Source>,
    faults: Vec<Fault>,
    /// How many were found beyond [`MOST_FAULTS`], and where the first of them was.
    further: Option<(usize, Place)>,
}

impl Report {
    /// Takes a file in; says what is wrong with bytes that are not a recipe's text.
    pub fn admit(&mut self, name: &str, bytes: &[u8]) -> Option<Source> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let source = Source::new(name, &String::from_utf8_lossy(bytes));
        self.sources.push(source.clone());
        if bytes.len() as u64 > LARGEST {
            let help = "a recipe file may hold 1 MiB; put large content beside it and use `copy`";
            self.fault(&source.place(1, 1), "the file is too large", help);
            return None;
        }
        if let Err(error) = std::str::from_utf8(bytes) {
            let byte = bytes[error.valid_up_to()];
            let message = format!("byte 0x{byte:02x} is not UTF-8 text");
            self.fault(
                &source.place_of_byte(error.valid_up_to()),
                message,
                "save the file as UTF-8",
            );
            return None;
        }
        Some(source)
    }

    /// Adds a fault with its remedy.
    pub fn fault(&mut self, at: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.push(at, message.into(), Some(help.into()));
    }

    /// Adds a fault, with a remedy where there is one.
    pub fn push(&mut self, at: &Place, message: String, help: Option<String>) {
        if self.is_full() {
            let (count, _) = self.further.get_or_insert_with(|| (0, at.clone()));
            *count += 1;
            return;
        }
        let text = self.source(&at.file).map_or("", |source| source.line(at.line));
        let text = shortened(text, at.column);
        // A line of a file must not be able to steer the terminal it is shown on.
        let text = text.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}");
        let fault = Fault { at: at.clone(), text, message, help };
        // A value used twice through an alias is one fault.
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Whether no more faults are told: what would be right need not be looked for.
    pub fn is_full(&self) -> bool {
        self.faults.len() >= MOST_FAULTS
    }

    /// Whether nothing was found yet.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// Name and text of the files taken in.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| &*source.name == name)
    }

    /// All faults, in the order the files were read and by line.
    pub fn into_faults(self) -> Faults {
        let Report { sources, mut faults, further } = self;
        let order = |fault: &Fault| {
            let file = sources.iter().position(|source| source.name == fault.at.file);
            (file, fault.at.line, fault.at.column)
        };
        faults.sort_by_key(order);
        faults.extend(further.map(|(count, at)| Fault {
            at,
            text: String::new(),
            message: format!("{count} more faults, from here on, are not shown"),
            help: None,
        }));
        Faults(faults)
    }
}

/// A line that fits a screen; nothing where the place is beyond that.
fn shortened(line: &str, column: u32) -> String {
    const WIDEST: usize = 240;
    match line.char_indices().nth(WIDEST) {
        None => line.to_owned(),
        Some(_) if column as usize > WIDEST => String::new(),
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bytes_that_are_not_utf8_are_pointed_at() {
        let mut report = Report::default();
        assert!(report.admit("a.yaml", b"x: 1\nt: \xc3\xa4\xff\n").is_none());
        let faults = report.into_faults();
        assert_eq!((faults.0[0].at.line, faults.0[0].at.column), (2, 5));
        assert_eq!(faults.0[0].message, "byte 0xff is not UTF-8 text");
    }

    #[test]
    fn a_file_above_the_limit_is_refused() {
        let mut report = Report::default();
        assert!(report.admit("a.yaml", &vec![b' '; LARGEST as usize + 1]).is_none());
        assert_eq!(report.into_faults().0[0].message, "the file is too large");
    }

    #[test]
    fn faults_come_in_file_and_line_order_and_once() {
        let mut report = Report::default();
        let first = report.admit("b.yaml", b"1\n2\n").unwrap();
        let second = report.admit("a.yaml", b"1\n").unwrap();
        for at in [second.place(1, 1), first.place(2, 1), first.place(1, 1), first.place(2, 1)] {
            report.fault(&at, "x", "y");
        }
        let places: Vec<String> =
            report.into_faults().0.iter().map(|fault| fault.at.to_string()).collect();
        assert_eq!(places, ["b.yaml:1", "b.yaml:2", "a.yaml:1"]);
    }

    #[test]
    fn faults_without_end_are_counted_and_not_kept() {
        let mut report = Report::default();
        let source = report.admit("a.yaml", b"1\n").unwrap();
        for column in 1..=MOST_FAULTS as u32 + 7 {
            report.fault(&source.place(1, column), "x", "y");
        }
        let faults = report.into_faults().0;
        assert_eq!(faults.len(), MOST_FAULTS + 1);
        assert!(faults[MOST_FAULTS].message.starts_with("7 more faults"));
    }

    #[test]
    fn shown_lines_cannot_flood_or_steer_a_terminal() {
        let mut report = Report::default();
        let text = format!("a: \u{1b}[2J\n{}\n", "x".repeat(5000));
        let source = report.admit("a.yaml", text.as_bytes()).unwrap();
        for at in [source.place(1, 1), source.place(2, 1), source.place(2, 4000)] {
            report.fault(&at, "x", "y");
        }
        let faults = report.into_faults().0;
        assert_eq!(faults[0].text, "a: \u{fffd}[2J");
        assert_eq!(faults[1].text.chars().count(), 241);
        assert_eq!(faults[2].text, "");
    }

    #[test]
    fn a_directory_is_not_read() {
        assert!(read_bytes(Path::new("/")).is_err());
    }
}
