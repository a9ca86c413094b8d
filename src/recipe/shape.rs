//! What a recipe may look like, declared once: the reader and the JSON Schema both come from it.
//!
//! A [`Shape`] can be read out of a [`Node`], reporting every fault on the way, and can describe
//! itself as JSON Schema. `object!` declares mappings, `words!` closed lists of words; the
//! leaves are in `leaf`.

use serde_json::{Map as Json, Value, json};

use super::model::Place;
use super::near;
use super::source::Report;
use super::yaml::{Key, Node, Tree};

/// Strings that hold a template are checked after it is filled in, not by the schema.
pub(super) const TEMPLATE: &str = r"\{\{|\{%";

/// Something that can stand in a recipe.
pub(super) trait Shape: Sized {
    /// What is expected, as in "expected … ".
    fn expected() -> String;
    /// Whether a value has the right form, whatever it holds.
    fn fits(node: &Node) -> bool;
    /// Reads a value that [`fits`](Self::fits); what is wrong with it is reported.
    fn take(node: &Node, report: &mut Report) -> Option<Self>;
    /// What would be right instead of a value that does not fit.
    fn remedy(_: &Node) -> Option<String> {
        None
    }
    /// Its JSON Schema; named parts go into `defs`.
    fn schema(defs: &mut Json<String, Value>) -> Value;

    /// Reads a value, reporting a wrong form too.
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        if matches!(node.tree, Tree::Faulty) {
            return None;
        }
        if Self::fits(node) {
            return Self::take(node, report);
        }
        let message = format!("expected {}, found {}", Self::expected(), node.describe());
        report.push(&node.at, message, Self::remedy(node));
        None
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub value: T,
    pub at: Place,
}

/// How a key stands to the others of its mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub(super) enum Need {
    /// Must be there.
    required,
    /// May be there.
    optional,
    /// Exactly one of the keys of this kind must be there.
    one,
    /// At least one of the keys of this kind must be there.
    some,
}

/// A declared key.
pub(super) struct KeyInfo {
    /// The field's name; in files `_` is written `-`.
    pub field: &'static str,
    pub need: Need,
    pub doc: &'static [&'static str],
}

impl KeyInfo {
    pub fn name(&self) -> String {
        self.field.replace('_', "-")
    }

    /// The first sentence about the key.
    fn summary(&self) -> String {
        let text = describe(self.doc);
        text.split_once(". ").map_or(text.clone(), |(first, _)| first.to_owned())
    }
}

/// Doc comment lines as one text.
pub(super) fn describe(doc: &[&str]) -> String {
    let text: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
    text.join(" ").trim().to_owned()
}

/// Reports unknown, missing and contradicting keys of a mapping; gives back the declared keys
/// that are there, or that a mistyped key was meant for.
pub(super) fn check_keys(node: &Node, keys: &[KeyInfo], report: &mut Report) -> Vec<String> {
    let Tree::Map(entries) = &node.tree else { return Vec::new() };
    let names: Vec<String> = keys.iter().map(KeyInfo::name).collect();
    let (known, unknown): (Vec<&Key>, Vec<&Key>) =
        entries.iter().map(|(key, _)| key).partition(|key| names.contains(&key.text));
    let mut given: Vec<String> = known.iter().map(|key| key.text.clone()).collect();
    for key in unknown {
        if report.is_full() {
            report.push(&key.at, String::new(), None);
            continue;
        }
        let left = names.iter().filter(|name| !given.contains(name)).map(String::as_str);
        let near = near::nearest(&key.text, left);
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known keys: {}", quoted(&names).join(", ")),
        };
        report.fault(&key.at, format!("unknown key `{}`", key.text), help);
        given.extend(near.map(str::to_owned));
    }
    check_needs(node, keys, &given, report);
    given
}

fn check_needs(node: &Node, keys: &[KeyInfo], given: &[String], report: &mut Report) {
    let of = |need| keys.iter().filter(move |key| key.need == need);
    for key in of(Need::required).filter(|key| !given.contains(&key.name())) {
        let help = format!("`{}`: {}", key.name(), key.summary());
        report.fault(&node.at, format!("missing key `{}`", key.name()), help);
    }
    check_group(node, of(Need::one).collect(), given, true, report);
    check_group(node, of(Need::some).collect(), given, false, report);
}

fn quoted(names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("`{name}`")).collect()
}

/// What a mapping is, by its first keys.
pub(super) fn expected_mapping(keys: &[KeyInfo]) -> String {
    let names: Vec<String> = keys.iter().take(4).map(KeyInfo::name).collect();
    let more = if keys.len() > names.len() { ", …" } else { "" };
    format!("a mapping of {}{more}", quoted(&names).join(", "))
}

fn check_group(
    node: &Node,
    group: Vec<&KeyInfo>,
    given: &[String],
    only_one: bool,
    report: &mut Report,
) {
    let list = |keys: &[&KeyInfo], joint: &str| {
        let names: Vec<String> = keys.iter().map(|key| key.name()).collect();
        quoted(&names).join(joint)
    };
    let there: Vec<&KeyInfo> =
        group.iter().copied().filter(|key| given.contains(&key.name())).collect();
    let how_many = if only_one { "exactly" } else { "at least" };
    let help = format!("give {how_many} one of {}", list(&group, ", "));
    if there.is_empty() && !group.is_empty() {
        report.fault(&node.at, "nothing to do here", help);
    } else if there.len() > 1 && only_one {
        let message = format!("{} exclude each other", list(&there, " and "));
        let at = second_place(node, &there).unwrap_or(&node.at);
        report.fault(at, message, help);
    }
}

/// Where the second of some keys stands.
fn second_place<'a>(node: &'a Node, keys: &[&KeyInfo]) -> Option<&'a Place> {
    let Tree::Map(entries) = &node.tree else { return None };
    let named = |key: &Key| keys.iter().any(|info| info.name() == key.text);
    entries.iter().filter(|(key, _)| named(key)).nth(1).map(|(key, _)| &key.at)
}

/// Reads one key of a mapping, if it is there.
pub(super) fn read_key<T: Shape>(node: &Node, field: &str, report: &mut Report) -> Option<At<T>> {
    let value = node.get(&field.replace('_', "-"))?;
    if value.is_null() && !T::fits(value) {
        let message = format!("`{}` has no value", field.replace('_', "-"));
        let help = format!("expected {}", T::expected());
        report.fault(&value.at, message, help);
        return None;
    }
    let read = T::read(value, report)?;
    Some(At { value: read, at: value.at.clone() })
}

/// The JSON Schema of a mapping, as a reference into `defs`.
pub(super) fn object_schema(
    name: &str,
    doc: &[&str],
    keys: &[KeyInfo],
    schemas: Vec<Value>,
    defs: &mut Json<String, Value>,
) -> Value {
    let properties: Json<String, Value> = keys
        .iter()
        .zip(schemas)
        .map(|(key, schema)| (key.name(), documented(key, schema)))
        .collect();
    let names = |need| keys.iter().filter(move |key| key.need == need).map(KeyInfo::name);
    let mut schema = json!({
        "type": "object",
        "description": describe(doc),
        "properties": properties,
        "additionalProperties": false,
    });
    let required: Vec<String> = names(Need::required).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    for (need, word) in [(Need::one, "oneOf"), (Need::some, "anyOf")] {
        let each: Vec<Value> = names(need).map(|name| json!({ "required": [name] })).collect();
        if !each.is_empty() {
            schema[word] = json!(each);
        }
    }
    let name = name.to_lowercase();
    defs.insert(name.clone(), schema);
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn documented(key: &KeyInfo, mut schema: Value) -> Value {
    schema["description"] = json!(describe(key.doc));
    schema
}

/// Declares a mapping: its keys, what stands under them, and what they mean.
///
/// Every field is optional in the struct, so that one fault does not hide the next.
macro_rules! object {
    (
        $(#[doc = $doc:literal])*
        $name:ident {
            $($(#[doc = $key_doc:literal])* $need:ident $field:ident: $ty:ty,)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug)]
        // The declaration lists every key there is; not all of them are looked at again.
        #[allow(dead_code)]
        pub(in crate::recipe) struct $name {
            /// Where it begins.
            pub at: Place,
            /// Keys that are there, readable or not.
            pub given: Vec<String>,
            $($(#[doc = $key_doc])* pub $field: Option<At<$ty>>,)*
        }

        impl $name {
            const KEYS: &[KeyInfo] = &[$(KeyInfo {
                field: stringify!($field),
                need: Need::$need,
                doc: &[$($key_doc),*],
            }),*];
        }

        impl Shape for $name {
            fn expected() -> String {
                expected_mapping(Self::KEYS)
            }
            fn fits(node: &Node) -> bool {
                matches!(node.tree, Tree::Map(_))
            }
            fn take(node: &Node, report: &mut Report) -> Option<Self> {
                Some($name {
                    at: node.at.clone(),
                    given: check_keys(node, Self::KEYS, report),
                    $($field: read_key(node, stringify!($field), report),)*
                })
            }
            fn schema(defs: &mut Json<String, Value>) -> Value {
                let schemas = vec![$(<$ty as Shape>::schema(defs)),*];
                object_schema(stringify!($name), &[$($doc),*], Self::KEYS, schemas, defs)
            }
        }
    };
}
pub(super) use object;

/// Declares the words that stand for the values of an enum.
macro_rules! words {
    ($name:ident: $expected:literal { $($word:literal => $value:expr,)* }) => {
        impl Shape for $name {
            fn expected() -> String {
                $expected.to_owned()
            }
            fn fits(node: &Node) -> bool {
                node.scalar().is_some_and(|scalar| scalar.kind == Kind::Text)
            }
            fn take(node: &Node, report: &mut Report) -> Option<Self> {
                let text = node.scalar()?.text.as_str();
                match text {
                    $($word => return Some($value),)*
                    _ => {}
                }
                let help = near::suggestion(text, "it may be", [$($word),*]);
                report.push(&node.at, format!("`{text}` is not {}", $expected), help);
                None
            }
            fn schema(_: &mut Json<String, Value>) -> Value {
                let template = json!({ "type": "string", "pattern": TEMPLATE });
                json!({ "anyOf": [{ "type": "string", "enum": [$($word),*] }, template] })
            }
        }
    };
}
pub(super) use words;

/// A list with at least one entry.
impl<T: Shape> Shape for Vec<At<T>> {
    fn expected() -> String {
        format!("a list (each entry: {})", T::expected())
    }
    fn fits(node: &Node) -> bool {
        matches!(node.tree, Tree::List(_))
    }
    fn take(node: &Node, report: &mut Report) -> Option<Self> {
        let Tree::List(items) = &node.tree else { return None };
        if items.is_empty() {
            report.fault(
                &node.at,
                "an empty list",
                "give at least one entry, or leave the key out",
            );
        }
        let read = |item: &Node| {
            let value = T::read(item, report)?;
            Some(At { value, at: item.at.clone() })
        };
        Some(items.iter().filter_map(read).collect())
    }
    fn schema(defs: &mut Json<String, Value>) -> Value {
        json!({ "type": "array", "items": T::schema(defs), "minItems": 1 })
    }
}

/// A mapping with names of the author's choosing.
#[derive(Debug)]
pub(super) struct Named<K, V> {
    /// In the order written; a value that could not be read still has its name.
    pub entries: Vec<(At<K>, Option<V>)>,
    /// The names as written, well-formed or not.
    pub names: Vec<String>,
}

impl<K: Shape, V: Shape> Shape for Named<K, V> {
    fn expected() -> String {
        format!("a mapping from {} to {}", K::expected(), V::expected())
    }
    fn fits(node: &Node) -> bool {
        matches!(node.tree, Tree::Map(_))
    }
    fn take(node: &Node, report: &mut Report) -> Option<Self> {
        let Tree::Map(map) = &node.tree else { return None };
        if map.is_empty() {
            report.fault(&node.at, "an empty mapping", "give at least one entry");
        }
        let mut entries = Vec::new();
        for (key, value) in map {
            let name = K::read(&key.as_node(), report);
            let value = V::read(value, report);
            entries.extend(name.map(|name| (At { value: name, at: key.at.clone() }, value)));
        }
        Some(Named { entries, names: map.iter().map(|(key, _)| key.text.clone()).collect() })
    }
    fn schema(defs: &mut Json<String, Value>) -> Value {
        let names = K::schema(defs);
        json!({
            "type": "object",
            "propertyNames": names,
            "additionalProperties": V::schema(defs),
            "minProperties": 1,
        })
    }
}

/// A short way and a long way to write one thing.
#[derive(Debug)]
pub(super) enum Either<A, B> {
    Short(A),
    Long(B),
}

impl<A: Shape, B: Shape> Shape for Either<A, B> {
    fn expected() -> String {
        format!("{} or {}", A::expected(), B::expected())
    }
    fn fits(node: &Node) -> bool {
        A::fits(node) || B::fits(node)
    }
    fn take(node: &Node, report: &mut Report) -> Option<Self> {
        match A::fits(node) {
            true => A::take(node, report).map(Either::Short),
            false => B::take(node, report).map(Either::Long),
        }
    }
    fn remedy(node: &Node) -> Option<String> {
        A::remedy(node).or_else(|| B::remedy(node))
    }
    fn schema(defs: &mut Json<String, Value>) -> Value {
        json!({ "anyOf": [A::schema(defs), B::schema(defs)] })
    }
}

/// One of something, or a list of them.
pub(super) type OneOrMore<T> = Either<T, Vec<At<T>>>;

impl<T> At<OneOrMore<T>> {
    /// The values, each with its place.
    pub fn each(&self) -> Vec<(&T, &Place)> {
        match &self.value {
            Either::Short(value) => vec![(value, &self.at)],
            Either::Long(list) => list.iter().map(|item| (&item.value, &item.at)).collect(),
        }
    }
}
