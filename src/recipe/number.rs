//! The leaves of a recipe that are not text: numbers and truth values.
//!
//! A template always makes text, so text that came out of one may stand for either.

use serde_json::{Map as Json, Value, json};

use super::shape::{Shape, TEMPLATE};
use super::source::Report;
use super::yaml::{Kind, Node};

/// A whole number within bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Int<const MIN: i64, const MAX: i64>(pub i64);

impl<const MIN: i64, const MAX: i64> Shape for Int<MIN, MAX> {
    fn expected() -> String {
        format!("a number from {MIN} to {MAX}")
    }
    fn fits(node: &Node) -> bool {
        whole_number(node).is_some()
    }
    fn remedy(node: &Node) -> Option<String> {
        let scalar = node.scalar().filter(|scalar| scalar.kind == Kind::Text)?;
        scalar.text.parse::<i64>().is_ok().then(|| format!("write {} without quotes", scalar.text))
    }
    fn take(node: &Node, report: &mut Report) -> Option<Self> {
        let number = whole_number(node)?;
        if !(i128::from(MIN)..=i128::from(MAX)).contains(&number) {
            let help = format!("expected {}", Self::expected());
            report.fault(&node.at, format!("{number} is out of bounds"), help);
            return None;
        }
        i64::try_from(number).ok().map(Int)
    }
    fn schema(_: &mut Json<String, Value>) -> Value {
        or_template(json!({ "type": "integer", "minimum": MIN, "maximum": MAX }))
    }
}

fn whole_number(node: &Node) -> Option<i128> {
    let scalar = node.scalar()?;
    match scalar.kind {
        Kind::Int(number) => Some(number),
        Kind::Text if scalar.rendered => scalar.text.trim().parse().ok(),
        _ => None,
    }
}

impl Shape for bool {
    fn expected() -> String {
        "`true` or `false`".to_owned()
    }
    fn fits(node: &Node) -> bool {
        truth(node).is_some()
    }
    fn take(node: &Node, _: &mut Report) -> Option<Self> {
        truth(node)
    }
    fn remedy(node: &Node) -> Option<String> {
        let meant = match node.scalar()?.text.to_lowercase().as_str() {
            "yes" | "on" | "true" => "true",
            "no" | "off" | "false" => "false",
            _ => return None,
        };
        Some(format!("write `{meant}`, without quotes"))
    }
    fn schema(_: &mut Json<String, Value>) -> Value {
        or_template(json!({ "type": "boolean" }))
    }
}

fn truth(node: &Node) -> Option<bool> {
    let scalar = node.scalar()?;
    match scalar.kind {
        Kind::Bool(value) => Some(value),
        Kind::Text if scalar.rendered => scalar.text.trim().parse().ok(),
        _ => None,
    }
}

/// A key that is `true` or not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct True;

impl Shape for True {
    fn expected() -> String {
        "`true`".to_owned()
    }
    fn fits(node: &Node) -> bool {
        truth(node) == Some(true)
    }
    fn take(_: &Node, _: &mut Report) -> Option<Self> {
        Some(True)
    }
    fn remedy(_: &Node) -> Option<String> {
        Some("leave the key out if it is not so".to_owned())
    }
    fn schema(_: &mut Json<String, Value>) -> Value {
        json!({ "const": true })
    }
}

fn or_template(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "string", "pattern": TEMPLATE }] })
}
