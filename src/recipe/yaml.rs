//! YAML text as a tree of values that know their place and how they were written.
//!
//! serde stops at its first error, so the reader deserialises into this tree, and the shapes
//! of a recipe are then read out of it by code that can go on after a fault.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, MessageFormatter, Spanned, UserMessageFormatter};

use super::model::Place;
use super::source::{Report, Source};

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Where: for a list or mapping under a key, the key.
    pub at: Place,
    /// What.
    pub tree: Tree,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Scalar(Scalar),
    List(Vec<Node>),
    /// Entries in the order written; keys are unique.
    Map(Vec<(Key, Node)>),
    /// Reported already; whoever reads it gets nothing and says nothing.
    Faulty,
}

/// A key of a mapping, as written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub at: Place,
    pub text: String,
}

impl Key {
    /// The key as a text of its own.
    pub fn as_node(&self) -> Node {
        let scalar = Scalar { text: self.text.clone(), kind: Kind::Text, rendered: false };
        Node { at: self.at.clone(), tree: Tree::Scalar(scalar) }
    }
}

/// A value that is neither list nor mapping.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scalar {
    /// As the author wrote it: `0644` stays `0644`.
    pub text: String,
    pub kind: Kind,
    /// The text came out of a template, so `"2"` may stand for the number.
    pub rendered: bool,
}

/// What YAML 1.2 takes a scalar for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i128),
    Float,
    Text,
}

impl Node {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Tree::Map(entries) = &self.tree else { return None };
        entries.iter().find(|(name, _)| name.text == key).map(|(_, value)| value)
    }

    /// The scalar it is, if it is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.tree {
            Tree::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Whether the author wrote nothing here.
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.kind == Kind::Null)
    }

    /// What it is, for a message.
    pub fn describe(&self) -> String {
        match &self.tree {
            Tree::List(_) => "a list".to_owned(),
            Tree::Map(_) | Tree::Faulty => "a mapping".to_owned(),
            Tree::Scalar(Scalar { kind, text, .. }) => match kind {
                Kind::Null => "nothing".to_owned(),
                Kind::Bool(_) => format!("the truth value `{text}`"),
                Kind::Int(_) | Kind::Float => format!("the number {text}"),
                Kind::Text => format!("the text `{text}`"),
            },
        }
    }
}

/// The tree of a whole file, or nothing if its syntax is broken (which is then reported).
pub(super) fn parse(source: &Source, report: &mut Report) -> Option<Node> {
    match serde_saphyr::from_str_with_options::<Raw>(&source.text, options()) {
        Ok(raw) => Some(Grower { source, report }.node(raw, None)),
        Err(error) => {
            syntax_fault(source, error.without_snippet(), report);
            None
        }
    }
}

/// YAML 1.2 truth values; limits far above any recipe and far below any harm.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        budget: serde_saphyr::budget! { max_depth: 64, max_nodes: 100_000, max_aliases: 1_000 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
    }
}

fn syntax_fault(source: &Source, error: &serde_saphyr::Error, report: &mut Report) {
    let at = match error.location() {
        Some(at) if at != Location::UNKNOWN => source.place(at.line() as u32, at.column() as u32),
        _ => source.place(1, 1),
    };
    let message = UserMessageFormatter.format_message(error).into_owned();
    let help = syntax_help(source.line(at.line), &message);
    report.push(&at, message, help);
}

/// Remedies by what the parser says; the first that applies.
const REMEDIES: [(&str, &str); 9] = [
    (
        "mapping values are not allowed",
        "text that holds `: ` needs quotes, and keys of one mapping need the same indentation",
    ),
    ("illegal placement of ':'", "is a `[`, `{` or quote above it not closed?"),
    ("only valid inside a block", "is a `[`, `{` or quote above it not closed?"),
    ("unclosed quote", "text that begins with a quote ends with the same quote"),
    ("too large or too complex", "a recipe is small: do its aliases unfold each other?"),
    ("multiple found", "a recipe file is one document: remove the `---` between the two"),
    ("reference to unknown value", "an alias `*name` needs an anchor `&name` above it"),
    ("unsupported tag", "tags mean nothing in a recipe; text that begins with `!` needs quotes"),
    ("expected '-' indicator", "list entries begin with `- `, all with the same indentation"),
];

fn syntax_help(line: &str, message: &str) -> Option<String> {
    let indent = &line[..line.len() - line.trim_start().len()];
    if indent.contains('\t') {
        return Some("YAML indents with spaces, never with tabs".to_owned());
    }
    if line.contains("{{") {
        return Some("a value that begins with `{{` needs quotes: \"{{ name }}\"".to_owned());
    }
    let remedy = REMEDIES.iter().find(|(said, _)| message.contains(said));
    remedy.map(|(_, help)| (*help).to_owned())
}

/// A value as serde hands it over, before its text is looked up.
#[derive(Debug)]
struct Raw {
    at: Location,
    tree: RawTree,
}

#[derive(Debug)]
enum RawTree {
    Scalar(Kind, String),
    List(Vec<Raw>),
    Map(Vec<(Raw, Raw)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<RawTree>::deserialize(deserializer)?;
        Ok(Raw { at: spanned.defined, tree: spanned.value })
    }
}

impl<'de> Deserialize<'de> for RawTree {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawTree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<RawTree, E> {
        Ok(RawTree::Scalar(Kind::Bool(value), value.to_string()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<RawTree, E> {
        Ok(RawTree::Scalar(Kind::Int(value.into()), value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<RawTree, E> {
        Ok(RawTree::Scalar(Kind::Int(value.into()), value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<RawTree, E> {
        Ok(RawTree::Scalar(Kind::Float, value.to_string()))
    }
    fn visit_str<E>(self, value: &str) -> Result<RawTree, E> {
        Ok(RawTree::Scalar(Kind::Text, value.to_owned()))
    }
    fn visit_unit<E>(self) -> Result<RawTree, E> {
        Ok(RawTree::Scalar(Kind::Null, String::new()))
    }
    fn visit_none<E>(self) -> Result<RawTree, E> {
        Ok(RawTree::Scalar(Kind::Null, String::new()))
    }
    fn visit_some<D: serde::Deserializer<'de>>(self, inner: D) -> Result<RawTree, D::Error> {
        inner.deserialize_any(self)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawTree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(RawTree::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<RawTree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(RawTree::Map(map))
    }
}

/// Turns raw values into nodes: places, texts as written, unique keys.
struct Grower<'a> {
    source: &'a Source,
    report: &'a mut Report,
}

impl Grower<'_> {
    fn node(&mut self, raw: Raw, key: Option<&Place>) -> Node {
        let own = self.place(raw.at);
        let of_key = || key.cloned().unwrap_or_else(|| own.clone());
        match raw.tree {
            RawTree::Scalar(kind, text) => {
                let at = if kind == Kind::Null { of_key() } else { own };
                let text = self.as_written(raw.at, kind, text);
                Node { at, tree: Tree::Scalar(Scalar { text, kind, rendered: false }) }
            }
            RawTree::List(items) => {
                let items = items.into_iter().map(|item| self.node(item, None)).collect();
                Node { at: of_key(), tree: Tree::List(items) }
            }
            RawTree::Map(entries) => Node { at: of_key(), tree: self.map(entries) },
        }
    }

    fn map(&mut self, entries: Vec<(Raw, Raw)>) -> Tree {
        let mut map: Vec<(Key, Node)> = Vec::new();
        let mut first_lines: HashMap<String, u32> = HashMap::new();
        for (key, value) in entries {
            let Some(key) = self.key(key) else { return Tree::Faulty };
            let value = self.node(value, Some(&key.at));
            match first_lines.get(&key.text) {
                Some(line) => {
                    let message = format!("the key `{}` is given twice", key.text);
                    let help = format!("the first one is on line {line}");
                    self.report.fault(&key.at, message, help);
                }
                None => {
                    first_lines.insert(key.text.clone(), key.at.line);
                    map.push((key, value));
                }
            }
        }
        Tree::Map(map)
    }

    fn key(&mut self, raw: Raw) -> Option<Key> {
        let at = self.place(raw.at);
        let (message, help) = match raw.tree {
            RawTree::Scalar(Kind::Null, _) => {
                ("a key without a name", "write the key before the colon")
            }
            RawTree::Scalar(kind, text) => {
                return Some(Key { at, text: self.as_written(raw.at, kind, text) });
            }
            RawTree::Map(_) => (
                "a mapping cannot be a key",
                "a value that begins with `{{` needs quotes: \"{{ name }}\"",
            ),
            RawTree::List(_) => ("a list cannot be a key", "write one key per line"),
        };
        self.report.fault(&at, message, help);
        None
    }

    fn place(&self, at: Location) -> Place {
        self.source.place((at.line() as u32).max(1), (at.column() as u32).max(1))
    }

    /// The source text of a number or truth value; `text` where that cannot be told.
    fn as_written(&self, at: Location, kind: Kind, text: String) -> String {
        if !matches!(kind, Kind::Bool(_) | Kind::Int(_) | Kind::Float) {
            return text;
        }
        let span = at.span();
        let written = span.byte_offset().zip(span.byte_len()).and_then(|(start, length)| {
            self.source.text.get(start as usize..(start + length) as usize)
        });
        written.map(str::trim).filter(|text| !text.is_empty()).map_or(text, str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> (Option<Node>, String) {
        let mut report = Report::default();
        let source = report.admit("x.yaml", text.as_bytes()).unwrap();
        let node = parse(&source, &mut report);
        (node, report.into_faults().to_string())
    }

    fn scalar<'a>(node: &'a Node, key: &str) -> (&'a str, Kind, u32, u32) {
        let node = node.get(key).unwrap();
        let Tree::Scalar(scalar) = &node.tree else { panic!("{node:?}") };
        (&scalar.text, scalar.kind, node.at.line, node.at.column)
    }

    #[test]
    fn scalars_keep_their_text_kind_and_place() {
        let (node, faults) = read(
            "a: 0644\nb: yes\nc: 11211\nd: true\ne: 1.50\nf: 'x'\ng:\nh: 0x1F\nü: ä b\ni: |\n  t\n",
        );
        assert_eq!(faults, "");
        let node = node.unwrap();
        assert_eq!(scalar(&node, "a"), ("0644", Kind::Float, 1, 4));
        assert_eq!(scalar(&node, "b"), ("yes", Kind::Text, 2, 4));
        assert_eq!(scalar(&node, "c"), ("11211", Kind::Int(11211), 3, 4));
        assert_eq!(scalar(&node, "d"), ("true", Kind::Bool(true), 4, 4));
        assert_eq!(scalar(&node, "e"), ("1.50", Kind::Float, 5, 4));
        assert_eq!(scalar(&node, "f"), ("x", Kind::Text, 6, 4));
        assert_eq!(scalar(&node, "g"), ("", Kind::Null, 7, 1));
        assert_eq!(scalar(&node, "h"), ("0x1F", Kind::Int(31), 8, 4));
        assert_eq!(scalar(&node, "ü"), ("ä b", Kind::Text, 9, 4));
        assert_eq!(scalar(&node, "i"), ("t\n", Kind::Text, 11, 3));
    }

    #[test]
    fn aliased_values_keep_the_place_where_they_are_written() {
        let (node, faults) = read("a: &x { k: 007 }\nb: *x\nc:\n  <<: *x\n  l: 1\n");
        assert_eq!(faults, "");
        let node = node.unwrap();
        assert_eq!(scalar(node.get("b").unwrap(), "k"), ("007", Kind::Float, 1, 12));
        assert_eq!(scalar(node.get("c").unwrap(), "k"), ("007", Kind::Float, 1, 12));
    }

    #[test]
    fn every_twice_given_key_is_reported() {
        let (_, faults) = read("a: 1\nb: 2\na: 3\nb: 4\n");
        insta::assert_snapshot!(faults);
    }

    #[test]
    fn syntax_errors_have_a_place_and_a_remedy() {
        let all: Vec<String> = [
            "a:\n\tb: 1\n",
            "a: b: c\n",
            "a: {{ x }}\n",
            "a: [1, 2\nb: 3\n",
            "a: 'x\n",
            "- a\nb: 1\n",
            "a: *nowhere\n",
            "a: 1\n---\nb: 2\n",
            "a: !vault x\n",
            "? [x]\n: 1\n",
            "a: \u{0}\n",
        ]
        .iter()
        .map(|text| read(text).1)
        .collect();
        insta::assert_snapshot!(all.join("\n\n"));
    }

    #[test]
    fn alias_bombs_and_deep_nesting_end_early() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..9 {
            let items = vec![format!("*a{}", i - 1); 10].join(", ");
            bomb.push_str(&format!("a{i}: &a{i} [{items}]\n"));
        }
        let (node, faults) = read(&bomb);
        assert!(node.is_none() && faults.starts_with("x.yaml:"), "{faults}");
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        assert!(read(&deep).0.is_none());
    }
}
