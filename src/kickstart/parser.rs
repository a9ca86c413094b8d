//! Reads an answer file line by line: commands, sections, included files.
//!
//! Reading never stops at a fault; what cannot be understood is noted and passed over.

use std::rc::Rc;

use super::contradictions;
use super::finding::{Finding, Findings, Judge, Notes};
use super::model::{Kickstart, OnLine, Script};
use super::sections::{self, Header, KNOWN, Selection};
use super::source::{Line, Source};
use super::statement::{self, Statement};
use super::suggest::did_you_mean;
use super::words::{Comments, Unsplit, Word, split};
use crate::recipe::Faults;

/// How a caller finds an included file: its text, or why there is none.
type Load<'a> = &'a mut dyn FnMut(&str) -> Result<String, String>;

/// A kickstart as far as it could be understood, and all that is wrong with it.
#[derive(Debug)]
pub struct Reading {
    /// What was understood.
    pub kickstart: Kickstart,
    /// What is wrong, in reading order.
    pub findings: Vec<Finding>,
}

impl Reading {
    /// Whether RHEL 7's syntax alone would let the file pass. (`sshkey` does pass here:
    /// labbuild knows it although RHEL 7 does not.)
    pub fn anaconda_accepts(&self) -> bool {
        self.findings.iter().all(|finding| finding.judge != Judge::Anaconda)
    }

    /// The kickstart for Anaconda, or what RHEL 7's syntax refuses of it.
    pub fn for_anaconda(self) -> Result<Kickstart, Faults> {
        if self.anaconda_accepts() {
            return Ok(self.kickstart);
        }
        let refused = self.findings.into_iter().filter(|f| f.judge == Judge::Anaconda);
        Err(Faults(refused.map(|finding| finding.fault).collect()))
    }

    /// The kickstart for labbuild's own bootstrap, or all that either judge finds wrong.
    pub fn for_bootstrap(self) -> Result<Kickstart, Faults> {
        if self.findings.is_empty() {
            return Ok(self.kickstart);
        }
        Err(Faults(self.findings.into_iter().map(|finding| finding.fault).collect()))
    }
}

/// Reads an answer file as Anaconda would; every fault at once. What labbuild could not carry
/// out itself is in [`Kickstart::objections`].
///
/// `include` gives the text of a file named by `%include`, or says why not. Faults in such a
/// file name it.
pub fn parse(text: &str, file: &str, include: Load<'_>) -> Result<Kickstart, Faults> {
    read(text, file, include).for_anaconda()
}

/// Reads an answer file and tells apart what Anaconda and what labbuild finds wrong.
pub fn read(text: &str, file: &str, include: Load<'_>) -> Reading {
    let mut reader = Reader {
        source: Source::new(file, text),
        include,
        pending: None,
        findings: Findings::default(),
        statements: Vec::new(),
        selection: Selection::default(),
        scripts: Vec::new(),
        skipped: Vec::new(),
    };
    if text.trim().is_empty() {
        let line = Line { seq: 0, file: file.into(), number: 1, text: String::new() };
        Notes::new(&line, &mut reader.findings).refuse(1, "the kickstart is empty", None);
    }
    reader.run();
    reader.finish()
}

struct Reader<'a> {
    source: Source,
    include: Load<'a>,
    /// A line that was read too early.
    pending: Option<Rc<Line>>,
    findings: Findings,
    statements: Vec<Statement>,
    selection: Selection,
    scripts: Vec<OnLine<Script>>,
    skipped: Vec<OnLine<String>>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Rc<Line>> {
        self.pending.take().or_else(|| self.source.next())
    }

    fn run(&mut self) {
        let mut last = None;
        while let Some(line) = self.next() {
            if !line.is_blank_or_comment() {
                self.line(&line);
            }
            last = Some(line);
        }
        if let (true, Some(line)) = (self.source.is_too_long(), last) {
            self.object(&line, 1, "the kickstart has too many lines", "100000 at most");
        }
    }

    fn line(&mut self, line: &Rc<Line>) {
        let Some(words) = self.split(line, Comments::Dropped) else { return };
        let Some(first) = words.first() else { return };
        match first.text.as_str() {
            "%include" => self.include(line, &words),
            "%ksappend" => {
                let help = "write `%include NAME` for a file of the repository";
                self.object(line, first.column, "`%ksappend` is not supported", help);
            }
            name if name.starts_with('%') => self.section(Header { line: line.clone(), words }),
            _ => self.statements.extend(statement::read(line, &words, &mut self.findings)),
        }
    }

    fn split(&mut self, line: &Rc<Line>, comments: Comments) -> Option<Vec<Word>> {
        let error = match split(&line.text, comments) {
            Ok(words) => return Some(words),
            Err(error) => error,
        };
        let (column, message, help) = match error {
            Unsplit::OpenQuote(column) => {
                (column, "this quote is never closed", "a quoted word ends on the line it begins")
            }
            Unsplit::LoneBackslash(column) => (
                column,
                "nothing follows this backslash",
                "a kickstart command cannot go on in the next line",
            ),
        };
        self.refuse(line, column, message, help);
        None
    }

    fn include(&mut self, line: &Rc<Line>, words: &[Word]) {
        let Some(name) = words.get(1).filter(|w| !w.text.is_empty()) else {
            let column = words.first().map_or(1, |w| w.column);
            return self.refuse(line, column, "`%include` names no file", "write `%include NAME`");
        };
        if let Err(message) = self.source.include(&name.text, self.include) {
            self.object(line, name.column, message, "");
        }
    }

    fn section(&mut self, header: Header) {
        let known = KNOWN.contains(&header.name());
        if !known {
            self.unknown_section(&header);
        }
        if header.name() == "%end" {
            return;
        }
        let body = self.body(&header, known);
        match header.name() {
            "%packages" => self.selection.section(&header, &body, &mut self.findings),
            "%certificate" => sections::certificate(&header, &body, &mut self.findings),
            "%addon" | "%anaconda" => self.skip(&header),
            "%pre" | "%post" => {
                self.scripts.extend(sections::script(&header, &body, &mut self.findings));
            }
            "%pre-install" | "%onerror" | "%traceback" => {
                let script = sections::script(&header, &body, &mut self.findings);
                script.iter().for_each(|_| self.skip(&header));
            }
            _ => {}
        }
    }

    fn skip(&mut self, header: &Header) {
        let words: Vec<&str> = header.words.iter().take(2).map(|w| w.text.as_str()).collect();
        self.skipped.push(OnLine { line: header.line.number, value: words.join(" ") });
    }

    fn unknown_section(&mut self, header: &Header) {
        let (message, help) = if header.name() == "%end" {
            ("`%end` closes nothing".to_owned(), None)
        } else {
            let message = format!("unknown section `{}`", header.name());
            (message, did_you_mean(header.name(), KNOWN.iter().copied()))
        };
        self.refuse(&header.line, header.column(), message, &help.unwrap_or_default());
    }

    /// The lines up to `%end`.
    fn body(&mut self, header: &Header, known: bool) -> Vec<Rc<Line>> {
        let mut body = Vec::new();
        while let Some(line) = self.source.next() {
            match line.first_word() {
                "%end" => {
                    // Anaconda splits this line too, so an open quote on it is a fault.
                    let _ = self.split(&line, Comments::Kept);
                    return body;
                }
                "%include" => {
                    if let Some(words) = self.split(&line, Comments::Kept) {
                        self.include(&line, &words);
                    }
                }
                name if KNOWN.contains(&name) => {
                    if known {
                        self.unclosed(header, Some(&line));
                    }
                    self.pending = Some(line);
                    return body;
                }
                _ => body.push(line),
            }
        }
        if known {
            self.unclosed(header, None);
        }
        body
    }

    fn unclosed(&mut self, header: &Header, next: Option<&Line>) {
        let help = match next {
            Some(line) => {
                format!("add `%end` before `{}` on line {}", line.first_word(), line.number)
            }
            None => "add `%end` after its last line".to_owned(),
        };
        let message = format!("`{}` has no `%end`", header.name());
        self.refuse(&header.line, header.column(), message, &help);
    }

    fn refuse(&mut self, line: &Line, column: u32, message: impl Into<String>, help: &str) {
        let help = (!help.is_empty()).then(|| help.to_owned());
        Notes::new(line, &mut self.findings).refuse(column, message, help);
    }

    fn object(&mut self, line: &Line, column: u32, message: impl Into<String>, help: &str) {
        let help = (!help.is_empty()).then(|| help.to_owned());
        Notes::new(line, &mut self.findings).object(column, message, help);
    }

    fn finish(mut self) -> Reading {
        contradictions::find(&self.statements, &self.selection, &mut self.findings);
        let command = |s: Statement| OnLine { line: s.line.number, value: s.command };
        let findings = self.findings.sorted();
        let objections = findings.iter().filter(|f| f.judge == Judge::Labbuild);
        let kickstart = Kickstart {
            objections: objections.map(|finding| finding.fault.clone()).collect(),
            commands: self.statements.into_iter().map(command).collect(),
            packages: self.selection.packages(),
            scripts: self.scripts,
            skipped: self.skipped,
        };
        Reading { kickstart, findings }
    }
}
