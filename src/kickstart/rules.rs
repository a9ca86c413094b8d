//! What the options and arguments of one command mean for each other, as data.
//!
//! An option counts when it says something: a flag that is there, a number that is not 0, a text
//! that is not empty. So does Anaconda's own reader.

use super::options::{Given, Opt, Parsed, Takes, comma_parts, integer};
use super::statement::Args;

/// In place of an option's name: the first argument.
pub(super) const ARGUMENT: &str = "an argument";
/// In place of an option's name: the arguments after the first.
pub(super) const MEMBERS: &str = "members";

/// One rule. Whatever it names is an option, [`ARGUMENT`] or [`MEMBERS`].
#[derive(Debug)]
pub(super) enum Rule {
    /// At least one of these.
    AnyOf(&'static [&'static str]),
    /// No two of these.
    AtMostOne(&'static [&'static str]),
    /// One of these, and no other.
    ExactlyOne(&'static [&'static str]),
    /// One of these options, and no other, whatever it says.
    OneWritten(&'static [&'static str]),
    /// The first only where one of the others is.
    Needs(&'static str, &'static [&'static str]),
    /// The number that an option takes, from the lowest to the highest.
    Range(&'static str, i64, i64),
}

/// Notes what a command lacks and which rules it breaks.
pub(super) fn check(args: &mut Args<'_, '_>, options: &[Opt], rules: &[Rule]) {
    for opt in options.iter().filter(|opt| opt.required && !args.parsed.has(opt.names[0])) {
        let help = format!("add `{}=…`", opt.names[0]);
        args.refuse(format!("`{}` needs `{}`", args.name, opt.names[0]), &help);
    }
    for rule in rules {
        let mut checker = Checker { args, options };
        match rule {
            Rule::AnyOf(names) => checker.any_of(names),
            Rule::AtMostOne(names) => checker.at_most_one(names),
            Rule::ExactlyOne(names) => {
                checker.any_of(names);
                checker.at_most_one(names);
            }
            Rule::OneWritten(names) => checker.one_written(names),
            Rule::Needs(name, others) => checker.needs(name, others),
            Rule::Range(name, low, high) => checker.range(name, *low, *high),
        }
    }
}

struct Checker<'c, 'a, 'n> {
    args: &'c mut Args<'a, 'n>,
    options: &'c [Opt],
}

impl Checker<'_, '_, '_> {
    fn says(&self, name: &str) -> bool {
        let parsed: &Parsed = self.args.parsed;
        match name {
            ARGUMENT => !parsed.arguments.is_empty(),
            MEMBERS => parsed.arguments.len() > 1,
            _ => parsed.last(name).is_some_and(|given| self.is_said(given)),
        }
    }

    fn is_said(&self, given: &Given) -> bool {
        let takes = self.options.iter().find(|o| o.names[0] == given.name).map(|o| o.takes);
        match (&given.value, takes) {
            (None, _) => true,
            (Some(word), Some(Takes::Int)) => {
                word.text.contains(|c: char| ('1'..='9').contains(&c))
            }
            (Some(word), Some(Takes::List)) => !comma_parts(word).is_empty(),
            (Some(word), _) => !word.text.is_empty(),
        }
    }

    fn any_of(&mut self, names: &[&str]) {
        if !names.iter().any(|name| self.says(name)) {
            let message = format!("`{}` needs {}", self.args.name, one_of(names));
            self.args.refuse(message, "");
        }
    }

    fn one_written(&mut self, names: &[&str]) {
        let written = |name: &&str| self.args.parsed.has(name);
        let written: Vec<&str> = names.iter().copied().filter(written).collect();
        if written.is_empty() {
            let message = format!("`{}` needs {}", self.args.name, one_of(names));
            self.args.refuse(message, "");
        }
        self.contradicting(written);
    }

    fn at_most_one(&mut self, names: &[&str]) {
        self.contradicting(names.iter().copied().filter(|name| self.says(name)).collect());
    }

    fn contradicting(&mut self, mut said: Vec<&str>) {
        said.sort_by_key(|name| self.column(name));
        if let [first, second, ..] = said[..] {
            let message = format!("{} contradicts {}", shown(second), shown(first));
            let column = self.column(second);
            self.args.refuse_at(column, message, "keep one of them");
        }
    }

    fn needs(&mut self, name: &str, others: &[&str]) {
        if self.says(name) && !others.iter().any(|other| self.says(other)) {
            let column = self.column(name);
            self.args.refuse_at(column, format!("{} needs {}", shown(name), one_of(others)), "");
        }
    }

    fn range(&mut self, name: &str, low: i64, high: i64) {
        let Some(word) = self.args.parsed.value(name) else { return };
        if integer(&word.text).is_some_and(|number| !(low..=high).contains(&number)) {
            let message = format!("`{}` is out of range for `{name}`", word.text);
            let help = if high == i64::MAX {
                format!("{low} or more")
            } else {
                format!("from {low} to {high}")
            };
            self.args.refuse_at(word.column, message, &help);
        }
    }

    fn column(&self, name: &str) -> u32 {
        let at = |index: usize| self.args.parsed.arguments.get(index).map(|word| word.column);
        match name {
            ARGUMENT => at(0).unwrap_or(self.args.column),
            MEMBERS => at(1).unwrap_or(self.args.column),
            _ => self.args.column_of(name),
        }
    }
}

/// An option in backticks, words as they are.
fn shown(name: &str) -> String {
    if name.starts_with('-') { format!("`{name}`") } else { name.to_owned() }
}

/// "`--a`, `--b` or members".
fn one_of(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().map(|name| shown(name)).collect();
    match shown.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => shown.concat(),
    }
}
