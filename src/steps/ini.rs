//! A small editor of INI files: sets and removes keys, leaves everything else as it stands.
//!
//! Comments, order, spacing and line ends stay. A key is set where it stands; else after the
//! commented-out line that documents it (`#connection = <None>`); else below the key that is named
//! before it, as a reader would write both; else at its section's end; else in a new section. The dialect is that of oslo.config (several sections of one name,
//! several lines of one key, values continued on deeper lines), which covers my.cnf and its like.

use crate::recipe::IniSection;

/// The text with the keys of `wanted` set and removed. Setting twice changes nothing more.
pub fn edit(text: &str, wanted: &[IniSection]) -> String {
    let mut file = File::read(text);
    for section in wanted {
        let mut before = None;
        for (key, values) in grouped(&section.keys) {
            file.set(&section.name, key, &values, before);
            before = Some(key);
        }
    }
    file.write()
}

/// Each key once, in the order first named, with all its values; none means that it goes.
fn grouped(keys: &[(String, Option<String>)]) -> Vec<(&str, Vec<&str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for (key, value) in keys {
        let at = groups.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.extend(value.as_deref());
    }
    groups
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Blank,
    Comment,
    Header(String),
    /// A key and all between it and its value.
    Key(String),
    /// Goes on with the value of the key above.
    More,
}

#[derive(Debug, Clone)]
struct Line {
    text: String,
    kind: Kind,
}

struct File {
    lines: Vec<Line>,
    newline: &'static str,
    /// Whether the last line had its newline.
    ended: bool,
}

impl File {
    fn read(text: &str) -> File {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let mut lines: Vec<Line> = Vec::new();
        let mut depth = None;
        for text in text.lines() {
            let kind = classify(text, depth);
            depth = match &kind {
                Kind::Key(_) => Some(indent(text)),
                Kind::More => depth,
                _ => None,
            };
            lines.push(Line { text: text.to_owned(), kind });
        }
        File { lines, newline, ended: text.is_empty() || text.ends_with('\n') }
    }

    fn write(&self) -> String {
        let texts: Vec<&str> = self.lines.iter().map(|line| line.text.as_str()).collect();
        let mut text = texts.join(self.newline);
        if self.ended && !self.lines.is_empty() {
            text.push_str(self.newline);
        }
        text
    }

    /// `before` is the key that was set before this one.
    fn set(&mut self, section: &str, key: &str, values: &[&str], before: Option<&str>) {
        let present = self.occurrences(section, key);
        if present.len() == values.len() {
            self.replace_each(&present, values);
            return;
        }
        let place = present.first().map(|first| (*first, self.style_of(*first)));
        for at in present.iter().rev() {
            let end = self.value_end(*at);
            self.lines.drain(*at..end);
        }
        if values.is_empty() {
            return;
        }
        let (at, style) = place.unwrap_or_else(|| self.place_for(section, key, before));
        let new = values.iter().flat_map(|value| style.lines(key, value));
        self.lines.splice(at..at, new);
    }

    fn replace_each(&mut self, present: &[usize], values: &[&str]) {
        for (at, value) in present.iter().zip(values).rev() {
            let end = self.value_end(*at);
            if self.value_at(*at) == *value {
                continue;
            }
            let (style, key) = (self.style_of(*at), self.key_at(*at));
            self.lines.splice(*at..end, style.lines(&key, value));
        }
    }

    fn key_at(&self, at: usize) -> String {
        match &self.lines[at].kind {
            Kind::Key(key) => key.clone(),
            _ => String::new(),
        }
    }

    /// The whole value as it would be written in a recipe.
    fn value_at(&self, at: usize) -> String {
        let first = split_key(&self.lines[at].text).map_or("", |(_, _, value)| value);
        let more = self.lines[at + 1..self.value_end(at)].iter().map(|line| line.text.trim());
        std::iter::once(first.trim()).chain(more).collect::<Vec<_>>().join("\n")
    }

    /// Lines of `key` in all sections of that name. Keys before the first section count as
    /// `DEFAULT`'s, and are the only ones of the section without a name.
    fn occurrences(&self, section: &str, key: &str) -> Vec<usize> {
        let is_it = |name: &str| name == section || (name.is_empty() && section == "DEFAULT");
        let mut current = "";
        let mut found = Vec::new();
        for (at, line) in self.lines.iter().enumerate() {
            match &line.kind {
                Kind::Header(name) => current = name,
                Kind::Key(name) if name == key && is_it(current) => found.push(at),
                _ => {}
            }
        }
        found
    }

    /// The line after the value that begins at `at`.
    fn value_end(&self, at: usize) -> usize {
        let more = self.lines[at + 1..].iter().take_while(|line| line.kind == Kind::More);
        at + 1 + more.count()
    }

    /// Where a key that is not there yet belongs, and how it is written there.
    fn place_for(&mut self, section: &str, key: &str, before: Option<&str>) -> (usize, Style) {
        let bodies = self.bodies(section);
        for documented in [is_commented_tight, is_commented_loose] {
            for (start, end) in &bodies {
                let is_it = |at: &usize| documented(&self.lines[*at].text, key);
                if let Some(at) = (*start..*end).find(is_it) {
                    let style =
                        Style::read(self.lines[at].text.trim_start_matches(['#', ';', ' ']));
                    return (at + 1, style);
                }
            }
        }
        let neighbour = before.and_then(|before| self.occurrences(section, before).pop());
        if let Some(at) = neighbour {
            return (self.value_end(at), self.style_of(at));
        }
        let (start, end) = bodies.first().copied().unwrap_or_else(|| self.add_section(section));
        let at = self.body_end(start, end);
        let last_key = (start..at).rev().find(|at| matches!(self.lines[*at].kind, Kind::Key(_)));
        (at, last_key.map_or(Style::USUAL, |at| self.style_of(at)))
    }

    /// From the line after its header to the next header, for each section of that name.
    fn bodies(&self, section: &str) -> Vec<(usize, usize)> {
        let header = |at: &usize| matches!(self.lines[*at].kind, Kind::Header(_));
        let starts: Vec<usize> = if section.is_empty() {
            vec![0]
        } else {
            let is_it = |line: &Line| line.kind == Kind::Header(section.to_owned());
            let found = self.lines.iter().enumerate().filter(|(_, line)| is_it(line));
            found.map(|(at, _)| at + 1).collect()
        };
        let end = |start| (start..self.lines.len()).find(header).unwrap_or(self.lines.len());
        starts.into_iter().map(|start| (start, end(start))).collect()
    }

    /// After the last line that belongs to the body: trailing blank lines do not, nor does a
    /// comment that stands directly above the next header.
    fn body_end(&self, start: usize, end: usize) -> usize {
        let blank = |at: &usize| self.lines[*at].kind == Kind::Blank;
        let mut comment = end;
        if end < self.lines.len() {
            while comment > start && self.lines[comment - 1].kind == Kind::Comment {
                comment -= 1;
            }
        }
        // One that reaches up to something else belongs to that.
        let own = comment > start && comment < end && blank(&(comment - 1));
        let mut at = if own { comment } else { end };
        while at > start && blank(&(at - 1)) {
            at -= 1;
        }
        at
    }

    fn add_section(&mut self, section: &str) -> (usize, usize) {
        let blank = |line: &Line| line.kind == Kind::Blank;
        if self.lines.last().is_some_and(|line| !blank(line)) {
            self.lines.push(Line { text: String::new(), kind: Kind::Blank });
        }
        let kind = Kind::Header(section.to_owned());
        self.lines.push(Line { text: format!("[{section}]"), kind });
        self.ended = true;
        (self.lines.len(), self.lines.len())
    }

    fn style_of(&self, at: usize) -> Style {
        Style::read(&self.lines[at].text)
    }
}

/// How a key is written: what stands before it and between it and its value.
#[derive(Debug, Clone)]
struct Style {
    indent: String,
    between: String,
}

impl Style {
    const USUAL: Style = Style { indent: String::new(), between: String::new() };

    fn read(line: &str) -> Style {
        let indent = line[..indent(line)].to_owned();
        let between = split_key(line).map_or("", |(_, between, _)| between);
        // `key =` without a value has lost the space after it; a bare key never had any.
        let space = between.starts_with([' ', '\t']) && between.ends_with(['=', ':']);
        let between = if space { format!("{between} ") } else { between.to_owned() };
        Style { indent, between }
    }

    /// The lines of a value; further lines of it are set deeper.
    fn lines(&self, key: &str, value: &str) -> Vec<Line> {
        let between = if self.between.is_empty() { " = " } else { &self.between };
        let mut parts = value.lines();
        let first = format!("{}{key}{between}{}", self.indent, parts.next().unwrap_or_default());
        let first = Line { text: first.trim_end().to_owned(), kind: Kind::Key(key.to_owned()) };
        let more = parts.filter(|part| !part.trim().is_empty()).map(|part| Line {
            text: format!("{}    {}", self.indent, part.trim()),
            kind: Kind::More,
        });
        std::iter::once(first).chain(more).collect()
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn classify(line: &str, key_indent: Option<usize>) -> Kind {
    let text = line.trim();
    match text.chars().next() {
        None => Kind::Blank,
        Some('#' | ';') => Kind::Comment,
        _ if key_indent.is_some_and(|depth| indent(line) > depth) => Kind::More,
        Some('[') => match text[1..].split_once(']') {
            Some((name, _)) => Kind::Header(name.trim().to_owned()),
            None => Kind::Comment,
        },
        Some(_) => Kind::Key(split_key(line).map_or(text, |(key, ..)| key).to_owned()),
    }
}

/// Key, what is between (delimiter with its spaces), value.
fn split_key(line: &str) -> Option<(&str, &str, &str)> {
    let line = line.trim();
    let at = line.find(['=', ':'])?;
    let key = line[..at].trim_end();
    let value = line[at + 1..].trim_start();
    Some((key, &line[key.len()..line.len() - value.len()], value))
}

/// `#key = value`: how the sample files of oslo document a default.
fn is_commented_tight(line: &str, key: &str) -> bool {
    let line = line.trim_start();
    line.strip_prefix(['#', ';']).is_some_and(|rest| names(rest, key))
}

/// `# key = value`, which may also be a sentence.
fn is_commented_loose(line: &str, key: &str) -> bool {
    let line = line.trim_start();
    line.strip_prefix(['#', ';']).is_some_and(|rest| names(rest.trim_start(), key))
}

fn names(rest: &str, key: &str) -> bool {
    let after = rest.strip_prefix(key).map(str::trim_start);
    after.is_some_and(|after| after.starts_with(['=', ':']))
}

#[cfg(test)]
#[path = "ini_tests.rs"]
mod tests;
