//! The scripts in the recipes of the project, after their templates are filled in, before two
//! judges: bash, and shellcheck.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use labbuild::recipe::{self, Action, Condition, Lab};

/// A script of a recipe and where it stands.
struct Script {
    at: String,
    text: String,
}

fn recipes() -> Vec<PathBuf> {
    let folders = fs::read_dir("recipes").unwrap().map(|entry| entry.unwrap().path());
    folders.filter(|folder| folder.join("lab.yaml").is_file()).collect()
}

/// The recipe with every stage file of its folder, in the order of names: those that `stages:`
/// does not list yet are held to the same standard.
fn with_all_stages(folder: &Path) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let copy = root.path().join("lab");
    let parts = [(folder, copy.clone())].into_iter().chain(
        ["stages", "kickstart", "images"].map(|part| (Path::new(part), root.path().join(part))),
    );
    for (from, to) in parts {
        let copied = Command::new("cp").arg("-r").args([from, &to]).status().unwrap();
        assert!(copied.success());
    }
    let text = fs::read_to_string(copy.join("lab.yaml")).unwrap();
    let (head, listed) = text.split_once("\nstages:\n").unwrap();
    let listed = listed.lines().filter_map(|line| line.trim().strip_prefix("- "));
    let own = fs::read_dir(&copy).unwrap();
    let own = own.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let own = own.filter(|name| name.ends_with(".yaml") && name != "lab.yaml");
    let all: std::collections::BTreeSet<String> = listed.map(str::to_owned).chain(own).collect();
    let lines: String = all.iter().map(|name| format!("  - {name}\n")).collect();
    fs::write(copy.join("lab.yaml"), format!("{head}\nstages:\n{lines}")).unwrap();
    (root, copy)
}

fn scripts(lab: &Lab) -> Vec<Script> {
    let steps = lab.stages.iter().flat_map(|stage| &stage.steps).filter_map(|step| {
        let text = match &step.action {
            Action::Run { script } => script,
            Action::WaitFor { condition: Condition::Command(command), .. } => command,
            _ => return None,
        };
        Some(Script { at: step.at.to_string(), text: text.clone() })
    });
    let checks = lab.stages.iter().flat_map(|stage| &stage.checks);
    let checks = checks.map(|check| Script { at: check.at.to_string(), text: check.run.clone() });
    steps.chain(checks).collect()
}

/// What a judge has against a script; nothing when it passes.
fn complaint(program: &str, arguments: &[&str], script: &Script, file: &Path) -> Option<String> {
    // As the guest runs it.
    fs::write(file, format!("set -euo pipefail\n{}", script.text)).unwrap();
    let judged = Command::new(program).args(arguments).arg(file).output();
    let judged = judged.unwrap_or_else(|e| panic!("{program}: {e}; ./scripts/test installs it"));
    let said = [judged.stdout, judged.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (!judged.status.success()).then(|| format!("{} ({program}):\n{said}", script.at))
}

#[test]
fn every_script_of_every_recipe_passes_bash_and_shellcheck() {
    let mut complaints = Vec::new();
    let mut judged = 0;
    for folder in recipes() {
        let (root, copy) = with_all_stages(&folder);
        let lab = recipe::load(&copy, &BTreeMap::new()).unwrap_or_else(|e| panic!("{e}"));
        let file = root.path().join("script");
        for script in scripts(&lab) {
            judged += 1;
            complaints.extend(complaint("bash", &["-n"], &script, &file));
            let severity = ["--shell=bash", "--severity=warning"];
            complaints.extend(complaint("shellcheck", &severity, &script, &file));
        }
    }
    assert!(judged > 20, "only {judged} scripts");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// A table of a recipe's README: section of the notes, stage file and line, check.
#[test]
fn the_tables_of_both_openstack_labs_point_at_steps_and_name_checks() {
    for folder in ["recipes/openstack-pike", "recipes/openstack-zed"] {
        table_points_at_steps_and_names_checks(Path::new(folder));
    }
}

fn table_points_at_steps_and_names_checks(folder: &Path) {
    let lab = recipe::load(folder, &BTreeMap::new()).unwrap_or_else(|e| panic!("{e}"));
    let checks: Vec<&str> = lab
        .stages
        .iter()
        .flat_map(|stage| &stage.checks)
        .map(|check| check.name.as_str())
        .collect();
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let (_, table) = readme.split_once("| section of the notes |").unwrap();
    let mut places = 0;
    for row in table.lines().skip(2).take_while(|row| row.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, files, named] = cells[..] else { panic!("{row}") };
        for place in files.split(", ").map(|place| place.trim_matches('`')) {
            let Some((file, line)) = place.split_once(':') else { continue };
            let own = folder.join(file);
            let path = if own.is_file() { own } else { Path::new("stages").join(file) };
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{place}: {e}"));
            let line = text.lines().nth(line.parse::<usize>().unwrap() - 1).unwrap_or_default();
            assert!(line.starts_with("  - "), "{}: {place}: {line}", folder.display());
            places += 1;
        }
        for name in named.split("; ") {
            assert!(checks.contains(&name), "{}: no check is called {name}", folder.display());
        }
    }
    assert!(places > 30, "only {places} places");
}
