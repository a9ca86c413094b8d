//! `labbuild validate`: reads every recipe given and reports every fault in all of them.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::ValidateArgs;
use crate::commands::failure::count;
use crate::commands::{Context, Failure, Reason};
use crate::plan::Plan;
use crate::recipe::Lab;
use crate::ui::text::clean;

/// Validates; a fault anywhere is exit code 2.
pub fn run(ctx: &Context, args: &ValidateArgs) -> Result<(), Failure> {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    let variables = args.variables.values()?;
    for path in &args.recipes {
        match Plan::load(path, &variables).map_err(Failure::from) {
            Ok(plan) => good.push((path, plan.lab)),
            Err(failure) => bad.push(failure),
        }
    }
    if !bad.is_empty() {
        return Err(together(bad, args.recipes.len()));
    }
    let text: Vec<String> = good.iter().map(|(path, lab)| line(path, lab)).collect();
    let value: Vec<Value> = good.iter().map(|(path, lab)| summary(path, lab)).collect();
    ctx.screen.result(&text.join("\n"), json!({ "recipes": value }));
    Ok(())
}

fn line(path: &Path, lab: &Lab) -> String {
    let steps = lab.stages.iter().map(|s| s.steps.len()).sum();
    let checks = lab.stages.iter().map(|s| s.checks.len()).sum();
    let counts = [
        count(lab.machines.len(), "machine"),
        count(lab.networks.len(), "network"),
        count(lab.stages.len(), "stage"),
        count(steps, "step"),
        count(checks, "check"),
    ];
    let path = clean(&path.display().to_string());
    format!("{path}: {} is valid ({})", lab.name, counts.join(", "))
}

fn summary(path: &Path, lab: &Lab) -> Value {
    let stages: Vec<&str> = lab.stages.iter().map(|s| s.name.as_str()).collect();
    let machines: Vec<&str> = lab.machines.iter().map(|m| m.name.as_str()).collect();
    json!({ "path": path, "lab": lab.name, "machines": machines, "stages": stages })
}

/// All failures as one.
fn together(bad: Vec<Failure>, of: usize) -> Failure {
    let faults: Vec<Value> =
        bad.iter().filter_map(|f| f.data.as_deref()?.as_array()).flatten().cloned().collect();
    let broken = bad.len();
    let reason = worst(&bad);
    let mut hints: Vec<String> = bad.iter().flat_map(|f| f.hints.clone()).collect();
    hints.dedup();
    let words: Vec<String> = bad.into_iter().map(|f| f.message).collect();
    let heading = format!("{broken} of {} cannot be used", count(of, "recipe"));
    let mut failure = Failure::new(reason, format!("{heading}\n\n{}", words.join("\n\n")));
    failure.hints = hints;
    failure.data = Some(Box::new(Value::from(faults)));
    failure
}

/// A recipe that is wrong outweighs one that could not be read.
fn worst(bad: &[Failure]) -> Reason {
    let usage = bad.iter().map(|f| f.reason).find(|r| *r == Reason::Usage);
    usage.or(bad.first().map(|f| f.reason)).unwrap_or(Reason::Usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Fault, Faults, Place};

    fn fault(file: &str, line: u32) -> Failure {
        Failure::from(Faults(vec![Fault {
            at: Place { file: file.into(), line, column: 3 },
            text: "  memroy: 2 GiB".into(),
            message: "unknown key `memroy`".into(),
            help: Some("did you mean `memory`?".into()),
        }]))
    }

    #[test]
    fn faults_of_all_recipes_come_together() {
        let failure = together(vec![fault("a/lab.yaml", 7), fault("b/lab.yaml", 9)], 3);
        insta::assert_snapshot!(failure.message);
        assert_eq!(failure.reason, Reason::Usage);
        let data = failure.data.unwrap();
        assert_eq!(data.as_array().map(Vec::len), Some(2));
        assert_eq!(data[1]["line"], 9);
    }
}
