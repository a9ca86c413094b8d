//! The commands that only Anaconda has a use for, where the table of [`super::foreign`] cannot
//! say all there is to be right about them.

use super::foreign::{NVDIMM_RECONFIGURE, NVDIMM_USE};
use super::model::Command;
use super::options::one_of;
use super::rules;
use super::statement::Args;
use super::suggest::did_you_mean;
use super::syntax;
use super::words::{Comments, Word, split};

pub(super) fn foreign(args: &mut Args<'_, '_>) -> Option<Command> {
    Some(Command::Foreign { name: args.name.to_owned() })
}

/// The volume is named with its group.
pub(super) fn snapshot(args: &mut Args<'_, '_>) -> Option<Command> {
    let word = args.argument()?.clone();
    let parts: Vec<&str> = word.text.split('/').collect();
    if parts.len() != 2 || parts.iter().any(|part| part.is_empty()) {
        let message = format!("`{}` does not name a logical volume", word.text);
        args.refuse_at(word.column, message, "write `GROUP/VOLUME`");
    }
    foreign(args)
}

pub(super) fn ostreesetup(args: &mut Args<'_, '_>) -> Option<Command> {
    let word = args.parsed.value("--url").cloned();
    let known = |text: &str| ["file:", "http:", "https:"].iter().any(|p| text.starts_with(p));
    if let Some(word) = word.filter(|word| !known(&word.text)) {
        let message = format!("`{}` is not a place for `--url`", word.text);
        args.refuse_at(word.column, message, "it begins with `file:`, `http:` or `https:`");
    }
    foreign(args)
}

/// What it needs depends on what it is to do.
pub(super) fn nvdimm(args: &mut Args<'_, '_>) -> Option<Command> {
    let word = args.argument()?.clone();
    let options = syntax::find("nvdimm").map_or(&[][..], |entry| entry.syntax.options);
    match word.text.as_str() {
        "reconfigure" => rules::check(args, options, NVDIMM_RECONFIGURE),
        "use" => rules::check(args, options, NVDIMM_USE),
        other => {
            let help = format!("it takes {}", one_of(&["reconfigure", "use"]));
            args.refuse_at(word.column, format!("`nvdimm` cannot `{other}`"), &help);
        }
    }
    foreign(args)
}

pub(super) fn device(args: &mut Args<'_, '_>) -> Option<Command> {
    if args.parsed.arguments.len() != 1 {
        let column = args.parsed.arguments.get(1).map_or(args.column, |word| word.column);
        args.refuse_at(column, "`device` takes the name of one module", "like `device e1000`");
    }
    foreign(args)
}

/// Options of `realm join`, as `realmd` reads them; those with a value are marked.
const JOIN: [(&str, bool); 6] = [
    ("--client-software", true),
    ("--server-software", true),
    ("--membership-software", true),
    ("--one-time-password", true),
    ("--no-password", false),
    ("--computer-ou", true),
];

/// A line for another program: `join`, its options, one realm. To it, `#` begins no comment.
pub(super) fn realm(args: &mut Args<'_, '_>) -> Option<Command> {
    let text = args.notes.line.text.clone();
    let words = split(&text, Comments::Kept).unwrap_or_default();
    let Some(join) = words.get(1).filter(|word| word.text == "join") else {
        args.refuse("`realm` does not join one", "write `realm join REALM`");
        return None;
    };
    let names = past_options(args, words.get(2..).unwrap_or_default())?;
    if names.len() != 1 {
        let column = names.get(1).map_or(join.column, |word| word.column);
        args.refuse_at(column, "`realm join` takes one realm", "its options come before it");
    }
    foreign(args)
}

/// The words after the options.
fn past_options<'w>(args: &mut Args<'_, '_>, words: &'w [Word]) -> Option<&'w [Word]> {
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if word.text == "--" {
            return Some(after);
        }
        if word.text == "-" || !word.text.starts_with('-') {
            break;
        }
        rest = match join_option(&word.text) {
            Some(true) => after.get(1..).or_else(|| missing(args, word))?,
            Some(false) => after,
            None => {
                let names = JOIN.map(|(name, _)| name);
                let name = word.text.split('=').next().unwrap_or_default();
                let help = did_you_mean(name, names).unwrap_or_else(|| one_of(&names));
                args.refuse_at(word.column, format!("`realm join` has no option `{name}`"), &help);
                return None;
            }
        };
    }
    Some(rest)
}

fn missing<'w>(args: &mut Args<'_, '_>, word: &Word) -> Option<&'w [Word]> {
    let message = format!("`{}` needs a value", word.text);
    args.refuse_at(word.column, message, &format!("write `{}=VALUE`", word.text));
    None
}

/// Whether the word is an option of `join` whose value is still to come.
fn join_option(word: &str) -> Option<bool> {
    let (name, value) = word.split_once('=').map_or((word, None), |(n, v)| (n, Some(v)));
    let mut found = JOIN.iter().filter(|(known, _)| known.starts_with(name));
    match (found.next(), found.next()) {
        (Some((_, takes)), None) if name.len() > 2 && (*takes || value.is_none()) => {
            Some(*takes && value.is_none())
        }
        _ => None,
    }
}
