//! `labbuild schema`: the JSON Schema of recipe files, for editors.

use serde_json::{Value, json};

use crate::cli::{SchemaArgs, SchemaKind};
use crate::commands::{Context, Failure};
use crate::recipe;

/// Prints the schema.
pub fn run(ctx: &Context, args: &SchemaArgs) -> Result<(), Failure> {
    let schema = match args.which {
        None => recipe::schema(),
        Some(SchemaKind::Lab) => only("lab", recipe::schema()),
        Some(SchemaKind::Stage) => only("stage", recipe::schema()),
        Some(SchemaKind::Commons) => only("commons", recipe::schema()),
        Some(SchemaKind::Part) => only("part", recipe::schema()),
    };
    ctx.screen.print(&format!("{schema:#}"));
    Ok(())
}

/// The schema of one kind of file: the same definitions, entered elsewhere.
fn only(kind: &str, mut schema: Value) -> Value {
    json!({
        "$schema": schema["$schema"].take(),
        "title": format!("labbuild {kind} file"),
        "$ref": format!("#/$defs/{kind}"),
        "$defs": schema["$defs"].take(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_file_has_a_schema_that_stands_alone() {
        for kind in ["lab", "stage", "commons", "part"] {
            let schema = only(kind, recipe::schema());
            assert!(schema["$defs"][kind].is_object(), "{kind}");
            let validator = jsonschema::validator_for(&schema).unwrap();
            assert!(!validator.is_valid(&json!({ "no-such-key": 1 })), "{kind}");
        }
        let stage = jsonschema::validator_for(&only("stage", recipe::schema())).unwrap();
        assert!(stage.is_valid(&json!({
            "title": "t",
            "steps": [{ "name": "n", "machine": "m", "run": "true" }],
        })));
    }
}
