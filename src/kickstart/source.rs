//! The lines of a kickstart in reading order, those of `%include`d files in their place.

use std::rc::Rc;
use std::sync::Arc;

/// How deep files may include each other.
const DEPTH: usize = 8;
/// How many lines a kickstart may have in all.
const LINES: u32 = 100_000;

/// One line and where it comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Running number over all files, for sorting.
    pub seq: u32,
    pub file: Arc<str>,
    /// Line in its file, from 1.
    pub number: u32,
    /// Without the newline.
    pub text: String,
}

impl Line {
    #[cfg(test)]
    pub(super) fn new(seq: u32, file: &str, number: u32, text: &str) -> Line {
        Line { seq, file: file.into(), number, text: text.to_owned() }
    }

    /// Column of the first character that is not blank.
    pub(super) fn start(&self) -> u32 {
        let blanks = self.text.chars().take_while(|c| c.is_whitespace()).count();
        u32::try_from(blanks + 1).unwrap_or(u32::MAX)
    }

    /// The first word, unquoted, as it stands.
    pub(super) fn first_word(&self) -> &str {
        self.text.split_whitespace().next().unwrap_or_default()
    }

    pub(super) fn is_blank_or_comment(&self) -> bool {
        let text = self.text.trim_start();
        text.is_empty() || text.starts_with('#')
    }
}

struct Open {
    file: Arc<str>,
    lines: std::vec::IntoIter<String>,
    number: u32,
}

/// A kickstart being read.
pub(super) struct Source {
    stack: Vec<Open>,
    seq: u32,
}

impl Source {
    pub(super) fn new(file: &str, text: &str) -> Source {
        let mut source = Source { stack: Vec::new(), seq: 0 };
        source.open(file, text);
        source
    }

    fn open(&mut self, file: &str, text: &str) {
        let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
        let mut lines = lines;
        // The part after the last newline is a line only if something stands there.
        if lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        self.stack.push(Open { file: file.into(), lines: lines.into_iter(), number: 0 });
    }

    /// Reads `name` next, then goes on after the current line. The error is a clause.
    pub(super) fn include(
        &mut self,
        name: &str,
        load: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<(), String> {
        if let Some(at) = self.stack.iter().position(|open| &*open.file == name) {
            let mut chain: Vec<&str> = self.stack[at..].iter().map(|open| &*open.file).collect();
            chain.push(name);
            return Err(format!("`{name}` includes itself: {}", chain.join(" → ")));
        }
        if self.stack.len() > DEPTH {
            return Err(format!("`{name}` would be the {}th file inside another", DEPTH + 1));
        }
        let text = load(name).map_err(|why| format!("cannot include `{name}`: {why}"))?;
        self.open(name, &text);
        Ok(())
    }

    /// Whether the text was cut off because it had too many lines.
    pub(super) fn is_too_long(&self) -> bool {
        self.seq >= LINES
    }

    /// The next line, whichever file it is in.
    pub(super) fn next(&mut self) -> Option<Rc<Line>> {
        if self.is_too_long() {
            return None;
        }
        loop {
            let open = self.stack.last_mut()?;
            if let Some(text) = open.lines.next() {
                open.number += 1;
                self.seq += 1;
                let (file, number) = (open.file.clone(), open.number);
                return Some(Rc::new(Line { seq: self.seq, file, number, text }));
            }
            self.stack.pop();
        }
    }
}
