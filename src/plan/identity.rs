//! From inputs to identities: what a stage and its layers are called.
//!
//! A stage's id covers the state it starts from and everything it does; a layer's id covers its
//! stage and its machine. Positions in files are no inputs: moving a step down a line changes
//! nothing.

use serde_json::Value;

use super::topology::Topology;
use crate::digest::{Digest, LayerId};
use crate::host::HostError;
use crate::recipe::Stage;
use crate::steps;
use crate::store::Input;

/// Raised whenever the same inputs begin to mean something else.
const MEANING: &str = "labbuild stage 1";

/// The inputs of one stage apart from the state it starts from.
pub fn stage_inputs(stage: &Stage, topology: &Topology) -> Result<Vec<Input>, HostError> {
    let mut inputs = vec![input("format", &Value::from(MEANING))];
    for machine in &topology.machines {
        inputs.push(input(&format!("hardware of {}", machine.name), &to_value(machine)));
    }
    for network in &topology.networks {
        inputs.push(input(&format!("network {}", network.name), &to_value(network)));
    }
    for (i, step) in stage.steps.iter().enumerate() {
        inputs.push(input(&format!("step {} `{}`", i + 1, step.name), &steps::identity(step)?));
    }
    for (i, check) in stage.checks.iter().enumerate() {
        let label = format!("check {} `{}`", i + 1, check.name);
        inputs.push(input(&label, &steps::check_identity(check)));
    }
    Ok(inputs)
}

fn to_value(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// One labelled input.
pub fn input(label: &str, value: &Value) -> Input {
    Input { label: label.to_owned(), digest: Digest::of(value.to_string()) }
}

/// The id of a thing that follows from inputs.
pub fn id_of(kind: &str, inputs: &[Input]) -> LayerId {
    let head = (kind, kind.as_bytes());
    let rest = inputs.iter().map(|i| (i.label.as_str(), i.digest.bytes().as_slice()));
    LayerId::of_inputs(std::iter::once(head).chain(rest))
}

/// The id of the layer that a stage writes on a machine.
pub fn layer_id(stage: &LayerId, machine: &str) -> LayerId {
    LayerId::of_inputs([
        ("layer of stage", stage.bytes().as_slice()),
        ("machine", machine.as_bytes()),
    ])
}

/// What changed between two lists of inputs, for people; the parent state is left out when
/// something nearer changed too.
pub fn changes(old: &[Input], new: &[Input]) -> Vec<String> {
    let find =
        |list: &[Input], label: &str| list.iter().find(|i| i.label == label).map(|i| i.digest);
    let mut found = Vec::new();
    for i in new {
        match find(old, &i.label) {
            None => found.push(format!("{} is new", i.label)),
            Some(digest) if digest != i.digest => found.push(format!("{} changed", i.label)),
            Some(_) => {}
        }
    }
    let gone = old.iter().filter(|i| find(new, &i.label).is_none());
    found.extend(gone.map(|i| format!("{} is gone", i.label)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[(&str, &str)]) -> Vec<Input> {
        items.iter().map(|(l, v)| input(l, &Value::from(*v))).collect()
    }

    #[test]
    fn changes_name_the_input() {
        let old = list(&[("step 1 `a`", "x"), ("step 2 `b`", "y")]);
        let new = list(&[("step 1 `a`", "z"), ("step 2 `c`", "y")]);
        assert_eq!(
            changes(&old, &new),
            ["step 1 `a` changed", "step 2 `c` is new", "step 2 `b` is gone"]
        );
    }

    #[test]
    fn order_and_kind_matter() {
        let a = list(&[("x", "1"), ("y", "2")]);
        let b = list(&[("y", "2"), ("x", "1")]);
        assert_ne!(id_of("stage", &a), id_of("stage", &b));
        assert_ne!(id_of("stage", &a), id_of("base", &a));
    }
}
