//! What recipes share changes no recipe: a lab whose parts stand in files of their own is the lab
//! that has them in place, down to the name of every layer.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use labbuild::digest::LayerId;
use labbuild::plan::Plan;
use labbuild::recipe::{self, Lab};

const HEAD: &str =
    "schema: 1\nname: shared\ntitle: Shared\nbase: debian-12\nstages: [10-all.yaml]\n";

const NETWORKS: &str = "\
networks:
  hostonly: { kind: host-only, subnet: 172.16.251.0/24, host: 172.16.251.1 }
  bridged: { kind: bridged, subnet: 192.168.0.0/24, gateway: 192.168.0.1 }
";

const MACHINES: &str = "\
machines:
  controller:
    memory: 1 GiB
    disk: 10 GiB
    kickstart: controller.ks
    nics: [{ name: ens33, network: bridged, address: 192.168.0.11 }]
";

const VARS: &str = "vars:\n  word: shared\n";

const FIRST: &str = "  - { name: First, machine: all, id: first, run: \"echo {{ word }}\" }\n";
const SECOND: &str =
    "  - { name: Second, machine: controller, after: first, copy: { from: a, to: /a } }\n";
const THIRD: &str = "  - { name: Third, machine: all, packages: [cron] }\n";
const CHECK: &str =
    "  - { machine: all, run: \"cat /a {{ machines.controller.addresses.bridged }}\" }\n";
const LAST: &str = "  - { machine: all, run: test -e /a }\n";

/// A folder with the recipe's files, and with bases and kickstarts above it.
fn recipe_of(files: &[(&str, String)]) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    for part in ["images", "kickstart"] {
        fs::create_dir(root.path().join(part)).unwrap();
        for entry in Path::new(part).read_dir().unwrap().map(|entry| entry.unwrap()) {
            if entry.path().is_file() {
                fs::copy(entry.path(), root.path().join(part).join(entry.file_name())).unwrap();
            }
        }
    }
    for (name, text) in files.iter().chain([&("lab/a", "a\n".to_owned())]) {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let dir = root.path().join("lab");
    (root, dir)
}

fn in_place(steps: &[&str]) -> Vec<(&'static str, String)> {
    let steps = steps.concat();
    vec![
        ("lab/lab.yaml", [HEAD, NETWORKS, MACHINES, VARS].concat()),
        ("lab/10-all.yaml", format!("title: T\nsteps:\n{steps}checks:\n{CHECK}{LAST}")),
    ]
}

fn in_files() -> Vec<(&'static str, String)> {
    let includes = "include: [both/outside.yaml, both/vars.yaml]\n";
    let steps = format!("steps:\n{FIRST}  - include: both/second.yaml\n{THIRD}");
    let checks = format!("checks:\n  - include: checks.yaml\n{LAST}");
    vec![
        ("lab/lab.yaml", [HEAD, includes].concat()),
        ("lab/10-all.yaml", format!("title: T\n{steps}{checks}")),
        ("stages/both/outside.yaml", [NETWORKS, MACHINES].concat()),
        ("stages/both/vars.yaml", VARS.to_owned()),
        ("stages/both/second.yaml", format!("# A comment.\nsteps:\n{SECOND}")),
        ("lab/checks.yaml", format!("checks:\n{CHECK}")),
    ]
}

/// The names of a recipe's layers after each stage, as if its bases were there.
fn layers(files: &[(&str, String)]) -> Vec<LayerId> {
    let (_root, dir) = recipe_of(files);
    let plan = Plan::load(&dir, &BTreeMap::new()).unwrap_or_else(|e| panic!("{e}"));
    let base = |machine: &labbuild::plan::MachinePlan| {
        (machine.name.clone(), LayerId::of_inputs([("asked", machine.inputs.bytes().as_slice())]))
    };
    let bases = plan.machines.iter().map(base).collect();
    plan.targets(&bases).iter().map(|t| labbuild::plan::layer_id(&t.id, "controller")).collect()
}

fn load(files: &[(&str, String)]) -> (tempfile::TempDir, Lab) {
    let (root, dir) = recipe_of(files);
    let lab = recipe::load(&dir, &BTreeMap::new()).unwrap_or_else(|e| panic!("{e}"));
    (root, lab)
}

#[test]
fn the_name_of_a_layer_tells_nothing_of_the_files_its_steps_came_from() {
    let whole = layers(&in_place(&[FIRST, SECOND, THIRD]));
    assert_eq!(layers(&in_files()), whole);
    // Where a step stands among the others counts.
    assert_ne!(layers(&in_place(&[FIRST, THIRD, SECOND])), whole);
}

#[test]
fn every_step_and_check_knows_its_own_file() {
    let (_root, lab) = load(&in_files());
    let stage = &lab.stages[0];
    let places = |at: &recipe::Place| {
        let name = Path::new(&*at.file).file_name().unwrap().to_str().unwrap();
        format!("{name}:{}:{}", at.line, at.column)
    };
    let steps: Vec<String> = stage.steps.iter().map(|step| places(&step.at)).collect();
    assert_eq!(steps, ["10-all.yaml:3:5", "second.yaml:3:5", "10-all.yaml:5:5"]);
    let checks: Vec<String> = stage.checks.iter().map(|check| places(&check.at)).collect();
    assert_eq!(checks, ["checks.yaml:2:5", "10-all.yaml:8:5"]);
    let sources: Vec<&str> = lab.sources.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        sources,
        [
            "lab.yaml",
            "both/outside.yaml",
            "both/vars.yaml",
            "10-all.yaml",
            "both/second.yaml",
            "checks.yaml"
        ]
    );
}

#[test]
fn what_an_included_step_hides_is_known() {
    let mut files = in_files();
    let step = "  - { name: Second, machine: all, secret: values, run: \"echo {{ word }}\" }\n";
    files[4].1 = format!("steps:\n{step}");
    let (_root, lab) = load(&files);
    assert_eq!(lab.stages[0].steps[1].secret, recipe::Secrecy::Values(vec!["shared".to_owned()]));
}

#[test]
fn a_recipe_may_set_a_shared_variable_anew_and_the_command_line_has_the_last_word() {
    let mut files = in_files();
    files[0].1.push_str("vars: { word: own }\n");
    let (_root, lab) = load(&files);
    assert_eq!(lab.vars["word"], "own");
    let (_root, dir) = recipe_of(&files);
    let set = BTreeMap::from([("word".to_owned(), "last".to_owned())]);
    assert_eq!(recipe::load(&dir, &set).unwrap().vars["word"], "last");
}

#[test]
fn own_machines_come_after_included_ones() {
    let mut files = in_files();
    files[0]
        .1
        .push_str("machines:\n  alone: { memory: 1 GiB, disk: 1 GiB, kickstart: compute1.ks }\n");
    let (_root, lab) = load(&files);
    let names: Vec<&str> = lab.machines.iter().map(|machine| machine.name.as_str()).collect();
    assert_eq!(names, ["controller", "alone"]);
}

#[test]
fn the_schema_knows_every_kind_of_file() {
    let schema = jsonschema::validator_for(&recipe::schema()).unwrap();
    let valid = |text: &str| {
        let value: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        schema.is_valid(&value)
    };
    for (name, text) in in_files() {
        assert!(valid(&text), "{name}\n{text}");
        assert!(!valid(&format!("{text}\nno-such-key: 1\n")), "{name}");
    }
}
