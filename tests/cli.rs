//! The program as a user or a script meets it: exit codes, streams, help, pipes.
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::process::{Command, Output, Stdio};

fn labbuild() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_labbuild"));
    command.env_remove("LABBUILD_STORE").env_remove("LABBUILD_CONNECT").stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    labbuild().args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_goes_to_standard_output_and_names_the_exit_codes() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    for word in ["up ", "validate", "Exit status:", "130"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    assert!(!text.contains("internal"), "{text}");
}

#[test]
fn wrong_usage_is_exit_code_2_and_on_standard_error() {
    for args in [&["no-such-command"][..], &["up", "--no-such-flag"], &[], &["gc", "-q", "-v"]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(stdout(&output), "", "{args:?}");
        assert!(!stderr(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn with_json_even_wrong_usage_is_an_object() {
    let output = run(&["--json", "no-such-command"]);
    assert_eq!(output.status.code(), Some(2));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["kind"], "error");
    assert_eq!(value["exit_code"], 2);
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_recipe_that_is_not_there_is_exit_code_2() {
    let output = run(&["validate", "/no/such/recipe"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/no/such/recipe"), "{}", stderr(&output));
}

const LAB: &str = "\
schema: 1
name: pair
title: Two machines
base: debian-12
networks:
  hostonly: { kind: host-only, subnet: 172.16.251.0/24, host: 172.16.251.1 }
machines:
  one:
    cpus: 1
    memory: 1 GiB
    disk: 10 GiB
    nics: [{ name: ens37, network: hostonly, address: 172.16.251.11 }]
  two:
    cpus: 1
    memory: 1 GiB
    disk: 10 GiB
    nics: [{ name: ens37, network: hostonly, address: 172.16.251.12 }]
stages: [10-first.yaml]
";
const STAGE: &str = "title: First\nsteps: [{ name: Nothing, machine: one, run: 'true' }]\n";

/// A folder with a good recipe.
fn recipe() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lab.yaml"), LAB).unwrap();
    std::fs::write(dir.path().join("10-first.yaml"), STAGE).unwrap();
    std::fs::create_dir(dir.path().join("images")).unwrap();
    let disk = format!(
        "kind: disk\ntitle: A disk\ntime: 2026-11-01T00:00:00Z\npath: disk.qcow2\nsha256: {}\n",
        "0".repeat(64)
    );
    std::fs::write(dir.path().join("images/debian-12.yaml"), disk).unwrap();
    dir
}

#[test]
fn a_valid_recipe_is_counted_and_a_broken_one_shown_with_place_and_remedy() {
    let good = recipe();
    let good = good.path().to_str().unwrap();
    let output = run(&["validate", good]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output)
            .contains("pair is valid (2 machines, 1 network, 1 stage, 1 step, 0 checks)")
    );
    let output = run(&["validate", good, "tests/recipes/unknown-keys"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("1 of 2 recipes cannot be used"), "{}", stderr(&output));
    assert!(stderr(&output).contains("tests/recipes/unknown-keys/lab.yaml:"));
    let json = run(&["validate", "--json", "tests/recipes/unknown-keys"]);
    let value: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(value["data"].as_array().unwrap().len() > 1, "{value}");
    assert!(value["data"][0]["line"].is_u64(), "{value}");
}

/// What the host offers is none of the machines' business: the same stages, under the same names.
#[test]
fn exposing_a_port_builds_nothing_again() {
    let dir = recipe();
    let targets = || {
        let plan = labbuild::plan::Plan::load(dir.path(), &Default::default()).unwrap();
        plan.targets(&plan.bases().unwrap())
    };
    let before = targets();
    let exposed = "expose:\n  - { name: web, machine: one, port: 80, host-port: 8080, path: / }\n";
    std::fs::write(dir.path().join("lab.yaml"), format!("{LAB}{exposed}")).unwrap();
    let after = targets();
    assert_eq!(before[0].id, after[0].id);
    assert_eq!(before[0].inputs, after[0].inputs);
    std::fs::write(dir.path().join("10-first.yaml"), STAGE.replace("'true'", "'false'")).unwrap();
    assert_ne!(targets()[0].id, after[0].id);
}

#[test]
fn a_graph_goes_to_a_file_or_to_standard_output() {
    let dir = recipe();
    let file = dir.path().join("lab.svg");
    let output = labbuild().arg("graph").arg(dir.path()).arg("-o").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let drawn = std::fs::read_to_string(&file).unwrap();
    assert_eq!(drawn, stdout(&run(&["graph", dir.path().to_str().unwrap()])));
    for text in ["Two machines", "172.16.251.11", "172.16.251.12", "hostonly"] {
        assert!(drawn.contains(text), "{text}");
    }
}

#[test]
fn a_reader_who_leaves_early_is_no_panic() {
    let mut child = labbuild()
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut words = String::new();
    child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert_eq!((child.wait().unwrap().code(), words.as_str()), (Some(0), ""));
}

#[test]
fn a_full_disk_is_a_failure() {
    let full = std::fs::File::create("/dev/full").unwrap();
    let output = labbuild().args(["completions", "zsh"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot write to standard output"), "{}", stderr(&output));
}

#[test]
fn every_command_gets_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let output = labbuild().args(["man", "--dir"]).arg(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for page in ["labbuild.1", "labbuild-up.1", "labbuild-doctor.1"] {
        assert!(dir.path().join(page).is_file(), "{page}");
    }
}

#[test]
fn doctor_reports_the_same_to_people_and_programs() {
    let (text, json) = (run(&["doctor"]), run(&["doctor", "--json"]));
    assert_eq!(text.status.code(), json.status.code());
    let first = stdout(&json);
    let first = first.lines().next().unwrap();
    let value: serde_json::Value = serde_json::from_str(first).unwrap();
    let ok = value["value"]["ok"].as_bool().unwrap();
    assert_eq!(text.status.code(), Some(if ok { 0 } else { 3 }));
    for finding in value["value"]["findings"].as_array().unwrap() {
        let name = finding["name"].as_str().unwrap();
        assert!(stdout(&text).contains(name), "{name}");
        assert!(finding["state"] != "missing" || finding["mend"].is_string(), "{finding}");
    }
}

#[test]
fn doctor_without_a_path_names_what_it_misses_and_how_to_mend_it() {
    let empty = tempfile::tempdir().unwrap();
    let output = labbuild().arg("doctor").env("PATH", empty.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stdout(&output).contains("MISSING"), "{}", stdout(&output));
    assert!(stderr(&output).contains("sudo apt-get install"), "{}", stderr(&output));
}

#[test]
fn the_store_is_named_by_flag_or_environment() {
    let output = labbuild().arg("doctor").env("LABBUILD_STORE", "/tmp/by-env").output().unwrap();
    assert!(stdout(&output).contains("/tmp/by-env"), "{}", stdout(&output));
    let output = labbuild()
        .args(["doctor", "--store", "/tmp/by-flag"])
        .env("LABBUILD_STORE", "/tmp/by-env")
        .output()
        .unwrap();
    assert!(stdout(&output).contains("/tmp/by-flag"), "{}", stdout(&output));
}
