//! One command line on its way from words to a typed command.

use std::net::Ipv4Addr;
use std::rc::Rc;

use super::finding::{Findings, Notes};
use super::model::{Command, Password};
use super::options::{Arguments, Given, Parsed, integer, report_extra, sort};
use super::rules;
use super::source::Line;
use super::suggest::nearest;
use super::syntax::{Entry, Fate, OTHER_RELEASES, find, known_names};
use super::words::Word;

/// A command that was understood, with what is needed to point into its line later.
pub(super) struct Statement {
    pub line: Rc<Line>,
    /// Column of the command's name.
    pub column: u32,
    /// The command's name as written.
    pub name: String,
    pub parsed: Parsed,
    pub command: Command,
}

/// What a command's conversion sees: its words and where to complain.
pub(super) struct Args<'a, 'n> {
    /// The command's name as written.
    pub name: &'a str,
    /// Column of the command's name.
    pub column: u32,
    pub parsed: &'a Parsed,
    pub notes: &'a mut Notes<'n>,
}

/// Reads one command line, already split into words.
pub(super) fn read(line: &Rc<Line>, words: &[Word], findings: &mut Findings) -> Option<Statement> {
    let (name, rest) = words.split_first()?;
    let mut notes = Notes::new(line, findings);
    let Some(entry) = find(&name.text) else {
        refuse_command(name, &mut notes);
        return None;
    };
    let parsed = sort(rest, &entry.syntax, &mut notes);
    report_extra(&name.text, &parsed, &entry.syntax, &mut notes);
    let command = build(entry, name, &parsed, &mut notes)?;
    let name_text = name.text.clone();
    Some(Statement { line: line.clone(), column: name.column, name: name_text, parsed, command })
}

fn build(entry: &Entry, name: &Word, parsed: &Parsed, notes: &mut Notes<'_>) -> Option<Command> {
    if let (Arguments::One(what), true) = (entry.syntax.arguments, parsed.arguments.is_empty()) {
        notes.refuse(name.column, format!("`{}` needs a {what}", name.text), None);
        return None;
    }
    let mut args = Args { name: &name.text, column: name.column, parsed, notes };
    rules::check(&mut args, entry.syntax.options, entry.rules);
    if let Fate::Refused(instead) = entry.fate {
        let message = format!("`{}` is known to Anaconda but not supported by labbuild", args.name);
        args.object_at(args.column, message, instead);
    }
    (entry.build)(&mut args)
}

fn refuse_command(name: &Word, notes: &mut Notes<'_>) {
    let text = name.text.as_str();
    if let Some((_, help)) = OTHER_RELEASES.iter().find(|(known, _)| *known == text) {
        let message = format!("`{text}` is not a command of RHEL 7");
        return notes.refuse(name.column, message, Some((*help).to_owned()));
    }
    let help = nearest(text, known_names()).map(|near| format!("did you mean `{near}`?"));
    notes.refuse(name.column, format!("unknown command `{text}`"), help);
}

impl Args<'_, '_> {
    /// The first argument.
    pub(super) fn argument(&self) -> Option<&Word> {
        self.parsed.arguments.first()
    }

    /// Anaconda refuses the command as a whole, unless a word of it was refused already: what
    /// is missing is most likely what was misspelt.
    pub(super) fn refuse(&mut self, message: impl Into<String>, help: &str) {
        if self.parsed.extra.is_empty() {
            self.refuse_at(self.column, message, help);
        }
    }

    pub(super) fn refuse_at(&mut self, column: u32, message: impl Into<String>, help: &str) {
        self.notes.refuse(column, message, (!help.is_empty()).then(|| help.to_owned()));
    }

    /// labbuild refuses the command as a whole, on the same condition.
    pub(super) fn object(&mut self, message: impl Into<String>, help: &str) {
        if self.parsed.extra.is_empty() {
            self.object_at(self.column, message, help);
        }
    }

    pub(super) fn object_at(&mut self, column: u32, message: impl Into<String>, help: &str) {
        self.notes.object(column, message, (!help.is_empty()).then(|| help.to_owned()));
    }

    /// Column of an option, or of the command if it is not there.
    pub(super) fn column_of(&self, name: &str) -> u32 {
        self.parsed.last(name).map_or(self.column, |given| given.column)
    }

    /// Of these options at most one may be given.
    pub(super) fn exclusive(&mut self, names: &[&str]) {
        let mut given: Vec<&Given> =
            self.parsed.given.iter().filter(|g| names.contains(&g.name)).collect();
        given.dedup_by_key(|g| g.name);
        if let [first, second, ..] = given[..] {
            let message = format!("`{}` contradicts `{}`", second.spelt, first.spelt);
            self.notes.object(second.column, message, Some("keep one of them".to_owned()));
        }
    }

    /// The value of an integer option in a range.
    pub(super) fn number(&mut self, name: &str, low: i64, high: i64) -> Option<i64> {
        let word = self.parsed.value(name)?;
        // What is no integer at all has been refused by the option reader.
        let is_written = word.text.chars().any(|c| c.is_ascii_digit());
        match integer(&word.text) {
            Some(n) if (low..=high).contains(&n) => Some(n),
            Some(_) => self.out_of_range(name, word, low, high),
            None if is_written && word.text.chars().all(|c| !c.is_alphabetic()) => {
                self.out_of_range(name, word, low, high)
            }
            None => None,
        }
    }

    fn out_of_range(&mut self, name: &str, word: &Word, low: i64, high: i64) -> Option<i64> {
        let message = format!("`{}` is out of range for `{name}`", word.text);
        self.notes.object(word.column, message, Some(format!("from {low} to {high}")));
        None
    }

    /// An IPv4 address given to an option.
    pub(super) fn address(&mut self, name: &str) -> Option<Ipv4Addr> {
        let word = self.parsed.value(name)?;
        self.address_word(name, word)
    }

    pub(super) fn address_word(&mut self, name: &str, word: &Word) -> Option<Ipv4Addr> {
        let address = word.text.parse().ok();
        if address.is_none() {
            let message = format!("`{}` is not an IPv4 address", word.text);
            let help = format!("write `{name}=192.168.0.11`, for example");
            self.notes.object(word.column, message, Some(help));
        }
        address
    }

    /// A password given as `word`, read as `--iscrypted` and `--plaintext` say.
    pub(super) fn password(&mut self, word: Option<&Word>) -> Option<Password> {
        self.exclusive(&["--iscrypted", "--plaintext"]);
        let word = word?;
        let crypted = self.parsed.has("--iscrypted");
        if crypted && !word.text.starts_with(['$', '*', '!']) {
            let help = "a hash of `openssl passwd -6` begins with `$6$`";
            self.object_at(word.column, "this is not a password hash", help);
        }
        let text = word.text.clone();
        Some(if crypted { Password::Crypted(text) } else { Password::Plain(text) })
    }
}
