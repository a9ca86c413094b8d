//! The JSON Schema of recipes, from the same declarations that read them.

use serde_json::{Map as Json, Value, json};

use super::raw;
use super::shape::Shape;

/// The schema of `lab.yaml` and of stage files, in one document (draft 2020-12).
///
/// A file with the key `schema`, `machines`, `networks` or `stages` is held against
/// `#/$defs/lab`, any other against `#/$defs/stage`; an editor may also be pointed at either.
pub fn schema() -> Value {
    let mut defs = Json::new();
    let lab = raw::Lab::schema(&mut defs);
    let stage = raw::Stage::schema(&mut defs);
    let marks = ["schema", "machines", "networks", "stages"];
    let is_lab: Vec<Value> = marks.iter().map(|key| json!({ "required": [key] })).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "labbuild recipe",
        "description": "A lab (`lab.yaml`) or one of its stages.",
        "type": "object",
        "if": { "anyOf": is_lab },
        "then": lab,
        "else": stage,
        "$defs": defs,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn is_a_valid_schema_that_says_what_every_key_means() {
        let schema = schema();
        assert!(jsonschema::draft202012::meta::is_valid(&schema));
        for (name, part) in schema["$defs"].as_object().unwrap() {
            assert!(part["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
            for (key, value) in part["properties"].as_object().unwrap() {
                let text = value["description"].as_str().unwrap_or_default();
                assert!(text.len() > 10, "{name}.{key}: {text}");
            }
        }
    }

    #[test]
    fn offers_every_action_of_a_step() {
        let schema = schema();
        let keys = &schema["$defs"]["step"]["properties"];
        for action in
            ["run", "file", "copy", "ini", "packages", "service", "sql", "reboot", "wait-for"]
        {
            assert!(keys[action].is_object(), "{action}");
        }
        insta::assert_snapshot!(serde_json::to_string_pretty(&schema).unwrap());
    }
}
