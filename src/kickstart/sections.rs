//! What stands between `%name` and `%end`: packages and scripts.

use std::rc::Rc;

use super::finding::{Findings, Notes};
use super::model::{OnLine, Packages, Script, ScriptKind};
use super::options::{Arguments, Opt, Parsed, Syntax, report_extra, sort};
use super::source::Line;
use super::words::Word;

static SCRIPT: Syntax = Syntax { arguments: Arguments::None, options: SCRIPT_OPTIONS };
static POST: Syntax = Syntax { arguments: Arguments::None, options: POST_OPTIONS };
static PACKAGES: Syntax = Syntax { arguments: Arguments::None, options: PACKAGES_OPTIONS };
static GROUP: Syntax = Syntax { arguments: Arguments::None, options: GROUP_OPTIONS };
static CERTIFICATE: Syntax = Syntax { arguments: Arguments::None, options: CERTIFICATE_OPTIONS };

const SCRIPT_OPTIONS: &[Opt] = &[
    Opt::flag(&["--erroronfail"]),
    Opt::text(&["--interpreter"]),
    Opt::text(&["--log", "--logfile"]),
];

const POST_OPTIONS: &[Opt] = &[
    Opt::flag(&["--erroronfail"]),
    Opt::text(&["--interpreter"]),
    Opt::text(&["--log", "--logfile"]),
    Opt::flag(&["--nochroot"]),
];

const PACKAGES_OPTIONS: &[Opt] = &[
    Opt::flag(&["--excludedocs"]),
    Opt::flag(&["--ignoremissing"]),
    Opt::flag(&["--default"]),
    Opt::text(&["--instLangs"]),
    Opt::flag(&["--multilib"]),
    Opt::flag(&["--nocore"]),
    Opt::int(&["--timeout"]),
    Opt::int(&["--retries"]),
    Opt::flag(&["--nobase"]).harmless(),
];

const GROUP_OPTIONS: &[Opt] = &[Opt::flag(&["--nodefaults"]), Opt::flag(&["--optional"])];

const CERTIFICATE_OPTIONS: &[Opt] =
    &[Opt::text(&["--filename"]), Opt::text(&["--dir"]), Opt::text(&["--type"])];

/// Every section that Anaconda knows.
pub(super) const KNOWN: &[&str] = &[
    "%packages",
    "%pre",
    "%post",
    "%pre-install",
    "%onerror",
    "%traceback",
    "%addon",
    "%anaconda",
    "%certificate",
];

/// A section's header: its line and the words on it.
pub(super) struct Header {
    pub line: Rc<Line>,
    pub words: Vec<Word>,
}

impl Header {
    pub(super) fn name(&self) -> &str {
        self.words.first().map_or("", |w| w.text.as_str())
    }

    pub(super) fn column(&self) -> u32 {
        self.words.first().map_or(1, |w| w.column)
    }

    fn options(&self, syntax: &'static Syntax, notes: &mut Notes<'_>) -> Parsed {
        let parsed = sort(self.words.get(1..).unwrap_or_default(), syntax, notes);
        report_extra(self.name(), &parsed, syntax, notes);
        parsed
    }
}

/// A script section. A section without a body is none.
pub(super) fn script(
    header: &Header,
    body: &[Rc<Line>],
    findings: &mut Findings,
) -> Option<OnLine<Script>> {
    let is_post = header.name() == "%post";
    let mut notes = Notes::new(&header.line, findings);
    let parsed = header.options(if is_post { &POST } else { &SCRIPT }, &mut notes);
    let interpreter = absolute(&parsed, "--interpreter", &mut notes);
    let log = absolute(&parsed, "--log", &mut notes);
    let script = Script {
        kind: if is_post { ScriptKind::Post } else { ScriptKind::Pre },
        nochroot: parsed.has("--nochroot"),
        interpreter: interpreter.unwrap_or_else(|| "/bin/sh".to_owned()),
        erroronfail: parsed.has("--erroronfail"),
        log,
        body: body.iter().map(|line| format!("{}\n", line.text)).collect(),
    };
    let line = header.line.number;
    (!script.body.trim().is_empty()).then_some(OnLine { line, value: script })
}

fn absolute(parsed: &Parsed, option: &str, notes: &mut Notes<'_>) -> Option<String> {
    let word = parsed.value(option)?;
    if !word.text.starts_with('/') {
        let message = format!("`{}` is not an absolute path", word.text);
        notes.object(word.column, message, Some(format!("write `{option}=/…`")));
    }
    Some(word.text.clone())
}

/// `%certificate`: newer than RHEL 7's Anaconda, though `ksvalidator` lets it pass.
pub(super) fn certificate(header: &Header, body: &[Rc<Line>], findings: &mut Findings) {
    let mut notes = Notes::new(&header.line, findings);
    let column = header.column();
    let parsed = header.options(&CERTIFICATE, &mut notes);
    if !parsed.has("--filename") {
        notes.refuse(column, "`%certificate` names no file", Some("add `--filename=…`".into()));
    }
    if parsed.text("--dir").is_none() && parsed.text("--type").is_none() {
        notes.refuse(column, "`%certificate` names no place", Some("add `--dir=/…`".into()));
    }
    if body.iter().all(|line| line.text.trim().is_empty()) {
        notes.refuse(column, "`%certificate` is empty", None);
    }
    let help = "put the certificate there in `%post`".to_owned();
    let message = "`%certificate` is known to newer Anacondas but not supported by labbuild";
    notes.object(column, message, Some(help));
}

/// A line of `%packages`, for contradictions.
pub(super) struct Named {
    pub line: Rc<Line>,
    pub column: u32,
    pub name: String,
}

/// All `%packages` sections of a kickstart, taken together.
#[derive(Default)]
pub(super) struct Selection {
    header: Option<u32>,
    options: Vec<String>,
    groups: Vec<Named>,
    pub install: Vec<Named>,
    pub exclude: Vec<Named>,
}

impl Selection {
    pub(super) fn section(&mut self, header: &Header, body: &[Rc<Line>], findings: &mut Findings) {
        self.header.get_or_insert(header.line.number);
        self.header_options(header, &mut Notes::new(&header.line, findings));
        for line in body.iter().filter(|line| !line.is_blank_or_comment()) {
            self.line(line, &mut Notes::new(line, findings));
        }
    }

    fn header_options(&mut self, header: &Header, notes: &mut Notes<'_>) {
        let parsed = header.options(&PACKAGES, notes);
        for other in ["--nocore", "--nobase"] {
            if let (Some(a), Some(b)) = (parsed.last("--default"), parsed.last(other)) {
                let message = format!("`--default` contradicts `{other}`");
                let help = Some("keep one of them".to_owned());
                notes.refuse(a.column.max(b.column), message, help);
            }
        }
        for given in &parsed.given {
            let option = match &given.value {
                Some(word) => format!("{}={}", given.name, word.text),
                None => given.name.to_owned(),
            };
            if !self.options.contains(&option) {
                self.options.push(option);
            }
        }
    }

    fn line(&mut self, line: &Rc<Line>, notes: &mut Notes<'_>) {
        let text = line.text.split('#').next().unwrap_or_default().trim();
        let column = line.start();
        if let Some(group) = text.strip_prefix("@^") {
            self.group(group, column + 2, notes);
        } else if let Some(group) = text.strip_prefix('@') {
            self.group(group, column + 1, notes);
        } else if let Some(rest) = text.strip_prefix('-') {
            self.excluded(rest, column + 1, notes);
        } else {
            let name = package(text, column, notes);
            self.install.push(Named { line: line.clone(), column, name });
        }
    }

    fn group(&mut self, text: &str, column: u32, notes: &mut Notes<'_>) {
        let words = blank_separated(text, column);
        let parsed = sort(&words, &GROUP, notes);
        if let (Some(a), Some(b)) = (parsed.last("--nodefaults"), parsed.last("--optional")) {
            let message = "`--nodefaults` contradicts `--optional`";
            notes.refuse(a.column.max(b.column), message, Some("keep one of them".to_owned()));
        }
        let (options, names): (Vec<&Word>, Vec<&Word>) =
            parsed.extra.iter().partition(|w| w.text.starts_with('-'));
        for word in options {
            let message = format!("a group has no option `{}`", word.text);
            notes.object(word.column, message, Some("`--nodefaults` or `--optional`".to_owned()));
        }
        let name = names.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ");
        if name.is_empty() {
            notes.object(column, "`@` names no group", Some("write `@core`".to_owned()));
        }
        self.groups.push(Named { line: Rc::new(copy(notes.line)), column, name });
    }

    fn excluded(&mut self, rest: &str, column: u32, notes: &mut Notes<'_>) {
        if rest.is_empty() {
            let help = Some("write `-NAME` to leave a package out".to_owned());
            return notes.refuse(column - 1, "`-` names no package", help);
        }
        if let Some(group) = rest.strip_prefix('@') {
            let group = group.trim_start_matches('^');
            return self.groups.retain(|named| named.name != group);
        }
        let name = package(rest, column, notes);
        self.exclude.push(Named { line: Rc::new(copy(notes.line)), column, name });
    }

    /// The typed section, if there was one.
    pub(super) fn packages(self) -> Option<OnLine<Packages>> {
        let plain = |named: Vec<Named>| {
            named.into_iter().map(|n| OnLine { line: n.line.number, value: n.name }).collect()
        };
        let value = Packages {
            groups: plain(self.groups),
            install: plain(self.install),
            exclude: plain(self.exclude),
            options: self.options,
        };
        self.header.map(|line| OnLine { line, value })
    }
}

fn copy(line: &Line) -> Line {
    Line { seq: line.seq, file: line.file.clone(), number: line.number, text: line.text.clone() }
}

/// A package's name; faults go to `notes`.
fn package(text: &str, column: u32, notes: &mut Notes<'_>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+._:*?-".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '*');
    if text.split_whitespace().count() > 1 {
        let message = format!("`{text}` is more than one word");
        notes.object(column, message, Some("write one package per line".to_owned()));
    } else if !starts || !text.chars().all(plain) {
        notes.object(column, format!("`{text}` cannot be the name of a package"), None);
    }
    text.to_owned()
}

/// The words of a line that knows no quotes.
fn blank_separated(text: &str, first: u32) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut inside = false;
    for (at, c) in (first..).zip(text.chars()) {
        match (c.is_whitespace(), inside) {
            (true, _) => inside = false,
            (false, false) => {
                inside = true;
                words.push(Word { text: c.to_string(), column: at });
            }
            (false, true) => words.iter_mut().last().into_iter().for_each(|w| w.text.push(c)),
        }
    }
    words
}
