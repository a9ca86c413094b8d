//! The words after a command as options and arguments, by a table of what the command takes.
//!
//! Follows the option reader that Anaconda uses: `--name value`, `--name=value`, any
//! unambiguous beginning of a name, `--` before arguments that start with a dash.

use super::finding::Notes;
use super::suggest::did_you_mean;
use super::words::Word;

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    Text,
    Int,
    Bool,
    OneOf(&'static [&'static str]),
    /// One of these, in small or capital letters.
    AnyCase(&'static [&'static str]),
    /// Values between commas.
    List,
}

/// What labbuild does with an option that Anaconda knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Here {
    /// It is carried out.
    Used,
    /// It changes nothing for a lab machine.
    Harmless,
    /// Leaving it out would make another machine than the one asked for.
    Refused,
}

/// One option, under one or more names.
#[derive(Debug)]
pub(super) struct Opt {
    pub names: &'static [&'static str],
    pub takes: Takes,
    pub here: Here,
    /// Whether the command is wrong without it.
    pub required: bool,
}

impl Opt {
    const fn new(names: &'static [&'static str], takes: Takes) -> Opt {
        Opt { names, takes, here: Here::Used, required: false }
    }

    pub(super) const fn flag(names: &'static [&'static str]) -> Opt {
        Opt::new(names, Takes::Nothing)
    }

    pub(super) const fn text(names: &'static [&'static str]) -> Opt {
        Opt::new(names, Takes::Text)
    }

    pub(super) const fn list(names: &'static [&'static str]) -> Opt {
        Opt::new(names, Takes::List)
    }

    pub(super) const fn int(names: &'static [&'static str]) -> Opt {
        Opt::new(names, Takes::Int)
    }

    pub(super) const fn boolean(names: &'static [&'static str]) -> Opt {
        Opt::new(names, Takes::Bool)
    }

    pub(super) const fn one_of(
        names: &'static [&'static str],
        values: &'static [&'static str],
    ) -> Opt {
        Opt::new(names, Takes::OneOf(values))
    }

    pub(super) const fn any_case(
        names: &'static [&'static str],
        values: &'static [&'static str],
    ) -> Opt {
        Opt::new(names, Takes::AnyCase(values))
    }

    pub(super) const fn required(mut self) -> Opt {
        self.required = true;
        self
    }

    pub(super) const fn harmless(mut self) -> Opt {
        self.here = Here::Harmless;
        self
    }

    pub(super) const fn refused(mut self) -> Opt {
        self.here = Here::Refused;
        self
    }
}

/// How many words a command takes besides its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arguments {
    None,
    /// Exactly one, of this name.
    One(&'static str),
    /// One or none.
    Maybe,
    /// Any number, in one row.
    Any,
    /// Any number, anywhere between the options, none of which begins with a dash.
    Scattered,
    /// Everything is an argument; options are not looked at.
    Verbatim,
}

/// What a command takes.
#[derive(Debug)]
pub(super) struct Syntax {
    pub arguments: Arguments,
    pub options: &'static [Opt],
}

/// An option as it was given.
#[derive(Debug, Clone)]
pub(super) struct Given {
    /// The option's first name.
    pub name: &'static str,
    /// The name it was found under.
    pub spelt: &'static str,
    /// Where the option stands.
    pub column: u32,
    /// Its value and where that stands.
    pub value: Option<Word>,
}

/// The words of one command, sorted.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub given: Vec<Given>,
    pub arguments: Vec<Word>,
    /// Words that the command has no use for: unknown options, arguments too many.
    pub extra: Vec<Word>,
}

impl Parsed {
    /// The last use of an option: the one that counts.
    pub(super) fn last(&self, name: &str) -> Option<&Given> {
        self.given.iter().rev().find(|g| g.name == name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.last(name).is_some()
    }

    /// The value of the last use of an option.
    pub(super) fn value(&self, name: &str) -> Option<&Word> {
        self.last(name).and_then(|g| g.value.as_ref())
    }

    /// The value, unless it is empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.value(name).map(|w| w.text.clone()).filter(|t| !t.is_empty())
    }

    /// The comma-separated parts of the last use of an option, with their columns.
    pub(super) fn list(&self, name: &str) -> Vec<Word> {
        self.value(name).map(comma_parts).unwrap_or_default()
    }
}

/// The parts of `a,b , c` that are not empty.
pub(super) fn comma_parts(word: &Word) -> Vec<Word> {
    let mut column = word.column;
    let mut parts = Vec::new();
    for part in word.text.split(',') {
        let lead = part.chars().take_while(|c| c.is_whitespace()).count();
        if !part.trim().is_empty() {
            let text = part.trim().to_owned();
            parts.push(Word { text, column: column.saturating_add(chars(lead)) });
        }
        column = column.saturating_add(chars(part.chars().count() + 1));
    }
    parts
}

/// The texts of some words.
pub(super) fn texts(words: Vec<Word>) -> Vec<String> {
    words.into_iter().map(|w| w.text).collect()
}

fn chars(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Sorts `words` by `syntax`. Faults of values go to `notes`; what is left over is in `extra`.
pub(super) fn sort(words: &[Word], syntax: &Syntax, notes: &mut Notes<'_>) -> Parsed {
    if syntax.arguments == Arguments::Verbatim {
        return Parsed { arguments: words.to_vec(), ..Parsed::default() };
    }
    let mut sorter = Sorter { syntax, notes, parsed: Parsed::default(), row_taken: false };
    let mut at = 0;
    while at < words.len() {
        at = match sorter.kind(&words[at], false) {
            Kind::Argument | Kind::Dashes => sorter.row(words, at),
            Kind::Option(found) => sorter.option(words, at, found),
            Kind::Unknown => {
                sorter.parsed.extra.push(words[at].clone());
                at + 1
            }
            Kind::Ambiguous(names) => {
                sorter.ambiguous(&words[at], &names);
                at + 1
            }
        };
    }
    sorter.parsed
}

/// What a word is, seen alone.
enum Kind {
    Argument,
    Dashes,
    Option(Found),
    Unknown,
    Ambiguous(Vec<&'static str>),
}

/// An option recognised in a word.
#[derive(Clone)]
struct Found {
    opt: &'static Opt,
    spelt: &'static str,
    /// What stands after `=`.
    value: Option<Word>,
}

struct Sorter<'a, 'n> {
    syntax: &'a Syntax,
    notes: &'a mut Notes<'n>,
    parsed: Parsed,
    row_taken: bool,
}

impl Sorter<'_, '_> {
    fn kind(&self, word: &Word, after_dashes: bool) -> Kind {
        let text = word.text.as_str();
        if after_dashes || !text.starts_with('-') || text == "-" {
            return Kind::Argument;
        }
        if text == "--" {
            return Kind::Dashes;
        }
        let mut found = self.candidates(word);
        match found.len() {
            0 if is_negative_number(text) || text.contains(' ') => Kind::Argument,
            0 => Kind::Unknown,
            1 => Kind::Option(found.remove(0)),
            _ => Kind::Ambiguous(found.into_iter().map(|f| f.spelt).collect()),
        }
    }

    /// The options a word may mean: an exact name alone, else every name it is a beginning of.
    fn candidates(&self, word: &Word) -> Vec<Found> {
        let (name, value) = match word.text.split_once('=') {
            Some((name, value)) => {
                let column = word.column.saturating_add(chars(name.chars().count() + 1));
                (name, Some(Word { text: value.to_owned(), column }))
            }
            None => (word.text.as_str(), None),
        };
        let mut found = Vec::new();
        for opt in self.syntax.options {
            for &spelt in opt.names {
                let hit = Found { opt, spelt, value: value.clone() };
                if spelt == name {
                    return vec![hit];
                }
                if name.starts_with("--") && spelt.starts_with(name) {
                    found.push(hit);
                }
            }
        }
        found
    }

    /// A row of arguments between options. Only the first row can be the command's own.
    fn row(&mut self, words: &[Word], from: usize) -> usize {
        let mut dashes = false;
        let mut row = Vec::new();
        let mut at = from;
        while at < words.len() {
            match self.kind(&words[at], dashes) {
                Kind::Dashes => dashes = true,
                Kind::Argument => {}
                _ => break,
            }
            row.push(words[at].clone());
            at += 1;
        }
        self.take_row(row);
        at
    }

    fn take_row(&mut self, mut row: Vec<Word>) {
        if self.syntax.arguments == Arguments::Scattered {
            let dashed = |w: &Word| w.text.starts_with('-');
            let (extra, row): (Vec<Word>, Vec<Word>) = row.into_iter().partition(dashed);
            self.parsed.extra.extend(extra);
            return self.parsed.arguments.extend(row);
        }
        if self.row_taken || self.syntax.arguments == Arguments::None {
            self.parsed.extra.extend(row);
            return;
        }
        let wanted = match self.syntax.arguments {
            Arguments::Any => usize::MAX,
            _ => 1,
        };
        // One `--` is punctuation when it leads to the argument; otherwise it is left over.
        let lead = row.iter().position(|w| w.text == "--").filter(|at| *at <= wanted);
        if let Some(at) = lead {
            row.remove(at);
        }
        self.row_taken = true;
        let rest = row.split_off(wanted.min(row.len()));
        self.parsed.arguments = row;
        self.parsed.extra.extend(rest);
    }

    fn option(&mut self, words: &[Word], at: usize, found: Found) -> usize {
        let word = &words[at];
        let Found { opt, spelt, value } = found;
        let mut next = at + 1;
        let value = match (opt.takes, value) {
            (Takes::Nothing, Some(value)) => {
                let message = format!("`{spelt}` takes no value");
                self.notes.refuse(value.column, message, Some(format!("write `{spelt}` alone")));
                None
            }
            (Takes::Nothing, None) => None,
            (_, Some(value)) => Some(value),
            (_, None) => match words.get(next).map(|w| (w, self.kind(w, false))) {
                Some((value, Kind::Argument)) => {
                    next += 1;
                    Some(value.clone())
                }
                _ => {
                    let help = format!("write `{spelt}=VALUE`");
                    let message = format!("`{spelt}` needs a value");
                    self.notes.refuse(word.column, message, Some(help));
                    None
                }
            },
        };
        if let Some(value) = &value {
            self.check_value(opt, spelt, value);
        }
        if opt.here == Here::Refused {
            let message = format!("`{spelt}` is known to Anaconda but not supported by labbuild");
            self.notes.object(word.column, message, None);
        }
        self.parsed.given.push(Given { name: opt.names[0], spelt, column: word.column, value });
        next
    }

    fn check_value(&mut self, opt: &Opt, spelt: &str, value: &Word) {
        let text = &value.text;
        let (ok, help) = match opt.takes {
            Takes::Nothing | Takes::Text | Takes::List => return,
            Takes::Int => (is_integer(text), "a whole number".to_owned()),
            Takes::Bool => (boolean(text).is_some(), "`yes` or `no`".to_owned()),
            Takes::OneOf(values) => (values.contains(&text.as_str()), one_of(values)),
            Takes::AnyCase(values) => {
                (values.contains(&text.to_lowercase().as_str()), one_of(values))
            }
        };
        if !ok {
            let message = format!("`{text}` is not a value of `{spelt}`");
            self.notes.refuse(value.column, message, Some(format!("it takes {help}")));
        }
    }

    fn ambiguous(&mut self, word: &Word, names: &[&str]) {
        let message = format!("`{}` can mean more than one option", word.text);
        self.notes.refuse(word.column, message, Some(format!("write one of {}", one_of(names))));
    }
}

/// Reports what is left over: unknown options, or arguments too many.
pub(super) fn report_extra(command: &str, parsed: &Parsed, syntax: &Syntax, notes: &mut Notes<'_>) {
    let mut after_unknown = false;
    for word in &parsed.extra {
        let is_option = word.text.starts_with("--") && word.text != "--";
        if ["rootpw", "sshpw"].contains(&command) && !is_option {
            // The word may be part of a password, which no message shows.
            let help = "quote one with blanks; one that begins with `-` stands after `--`";
            let message = format!("`{command}` takes one password");
            notes.refuse(word.column, message, Some(help.to_owned()));
        } else if word.text.starts_with('-') && word.text.len() > 1 && word.text != "--" {
            let name = word.text.split('=').next().unwrap_or_default();
            let known = syntax.options.iter().flat_map(|o| o.names.iter().copied());
            let help = did_you_mean(name, known).or_else(|| all_options(syntax));
            notes.refuse(word.column, format!("`{command}` has no option `{name}`"), help);
        } else if !after_unknown {
            let message = format!("`{command}` has no use for `{}`", word.text);
            notes.refuse(word.column, message, too_many(syntax.arguments));
        }
        // What follows an unknown option is most likely its value: one fault is enough.
        after_unknown = is_option;
    }
}

fn all_options(syntax: &Syntax) -> Option<String> {
    let names: Vec<&str> =
        syntax.options.iter().filter(|o| o.here == Here::Used).map(|o| o.names[0]).collect();
    (!names.is_empty()).then(|| format!("its options: {}", names.join(", ")))
}

fn too_many(arguments: Arguments) -> Option<String> {
    let help = match arguments {
        Arguments::None => "it takes only options",
        Arguments::One(_) | Arguments::Maybe => "it takes one word; quote it if it has spaces",
        Arguments::Any | Arguments::Scattered | Arguments::Verbatim => {
            "write its words together, before the options"
        }
    };
    Some(help.to_owned())
}

/// "`a`, `b` or `c`".
pub(super) fn one_of(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|v| format!("`{v}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// The booleans of a kickstart.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "on" | "yes" | "true" | "1" => Some(true),
        "off" | "no" | "false" | "0" => Some(false),
        _ => None,
    }
}

/// `-5`, `-.5`, `-1.5`.
fn is_negative_number(text: &str) -> bool {
    let digits = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_ascii_digit());
    let Some(rest) = text.strip_prefix('-') else { return false };
    match rest.split_once('.') {
        Some((whole, part)) => (whole.is_empty() || digits(whole)) && digits(part),
        None => digits(rest),
    }
}

/// An integer as Anaconda reads one: sign, blanks around it and `_` between digits allowed.
fn is_integer(text: &str) -> bool {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits.split('_').all(|run| !run.is_empty() && run.chars().all(|c| c.is_ascii_digit()))
}

/// The value of an integer that [`is_integer`]; `None` when it is not or does not fit.
pub(super) fn integer(text: &str) -> Option<i64> {
    is_integer(text).then(|| text.trim().replace('_', "").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::finding::Findings;
    use super::super::source::Line;
    use super::super::words::{Comments, split};
    use super::*;

    const SYNTAX: Syntax = Syntax {
        arguments: Arguments::One("mount point"),
        options: &[
            Opt::int(&["--size"]),
            Opt::flag(&["--grow"]),
            Opt::text(&["--fstype", "--type"]),
            Opt::text(&["--fsoptions"]),
        ],
    };

    fn read(line: &str) -> (Parsed, Vec<String>) {
        let source = Line::new(0, "t.ks", 1, line);
        let mut findings = Findings::default();
        let mut notes = Notes::new(&source, &mut findings);
        let words = split(line, Comments::Dropped).unwrap();
        let parsed = sort(&words, &SYNTAX, &mut notes);
        report_extra("part", &parsed, &SYNTAX, &mut notes);
        let faults = findings.into_faults();
        (parsed, faults.iter().map(|f| format!("{}: {}", f.at.column, f.message)).collect())
    }

    #[test]
    fn values_stand_after_an_equals_sign_or_alone() {
        let (parsed, faults) = read("/ --size=5 --fstype ext4");
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(parsed.value("--size").unwrap(), &Word { text: "5".into(), column: 10 });
        assert_eq!(parsed.text("--fstype").unwrap(), "ext4");
        assert_eq!(parsed.arguments[0].text, "/");
    }

    #[test]
    fn beginnings_of_names_are_enough_when_only_one_fits() {
        assert!(read("/ --siz 5 --g").1.is_empty());
        assert_eq!(read("/ --fs=x").1, ["3: `--fs=x` can mean more than one option"]);
        assert_eq!(read("/ --ty=x").0.text("--fstype").unwrap(), "x");
    }

    #[test]
    fn a_dash_word_is_no_value_unless_it_is_a_number_or_has_a_space() {
        assert_eq!(read("/ --size --grow").1, ["3: `--size` needs a value"]);
        assert!(read("/ --size -5").1.is_empty());
        assert!(read("/ --fsoptions '-o x'").1.is_empty());
        assert_eq!(read("/ --size").1, ["3: `--size` needs a value"]);
    }

    #[test]
    fn faults_point_at_the_word() {
        assert_eq!(read("/ --size=x").1, ["10: `x` is not a value of `--size`"]);
        assert_eq!(read("/ --grow=1").1, ["10: `--grow` takes no value"]);
        assert_eq!(read("/ --siez=3 y").1, ["3: `part` has no option `--siez`"]);
        assert_eq!(read("/ /home").1, ["3: `part` has no use for `/home`"]);
    }

    #[test]
    fn two_dashes_lead_to_an_argument() {
        assert_eq!(read("-- --odd").0.arguments[0].text, "--odd");
        assert_eq!(read("/ --grow -- x").1.len(), 2);
    }

    #[test]
    fn integers_are_read_as_anaconda_does() {
        for good in ["5", "+5", "-5", " 7 ", "1_000"] {
            assert!(integer(good).is_some(), "{good}");
        }
        for bad in ["", "x", "1.5", "_1", "1__0", "5M", "--5"] {
            assert!(integer(bad).is_none(), "{bad}");
        }
    }
}
