//! The JSON Schema of recipes, from the same declarations that read them.

use serde_json::{Map as Json, Value, json};

use super::raw;
use super::shape::Shape;

/// The schema of `lab.yaml`, of stage files and of what either includes, in one document (draft
/// 2020-12).
///
/// The keys of a file tell which it is: `schema`, `name` or `stages` make it a lab, `machines`,
/// `networks` or `vars` what labs share, `title` a stage, and any other is what stages share. An
/// editor may also be pointed at `#/$defs/lab`, `commons`, `stage` or `part`.
pub fn schema() -> Value {
    let mut defs = Json::new();
    let part = raw::Part::schema(&mut defs);
    let kinds = [
        (&["title"][..], raw::Stage::schema(&mut defs)),
        (&["machines", "networks", "vars"], raw::Commons::schema(&mut defs)),
        (&["schema", "name", "stages"], raw::Lab::schema(&mut defs)),
    ];
    let mut schema = kinds.into_iter().fold(part, |otherwise, (marks, kind)| {
        let marked: Vec<Value> = marks.iter().map(|key| json!({ "required": [key] })).collect();
        json!({ "if": { "anyOf": marked }, "then": kind, "else": otherwise })
    });
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("labbuild recipe");
    schema["description"] =
        json!("A lab (`lab.yaml`), one of its stages, or a file that either includes.");
    schema["type"] = json!("object");
    excuse_included(&mut defs);
    schema["$defs"] = Value::Object(defs);
    schema
}

/// What a lab must have may stand in a file that it includes.
fn excuse_included(defs: &mut Json<String, Value>) {
    let elsewhere = ["networks", "machines"];
    if let Some(lab) = defs.get_mut("lab") {
        if let Some(required) = lab["required"].as_array_mut() {
            required.retain(|key| !elsewhere.iter().any(|elsewhere| key == elsewhere));
        }
        lab["anyOf"] = json!([{ "required": ["include"] }, { "required": elsewhere }]);
    }
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
