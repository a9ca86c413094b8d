//! The main job with real guests: build, check, freeze, boot again, seal, hand out, compare.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::mini::banner;
use support::{Labbuild, copy_repository, field, flip_a_bit, ground};

/// What the recipe waits for at every boot.
const AT_BOOT: [&str; 1] = ["It accepts connections"];

#[test]
fn two_node_from_an_empty_store_to_images_on_a_strangers_machine() {
    let store = ground().join("store");
    let labbuild = Labbuild::at(store.clone());
    if store.exists() {
        labbuild.run(&["down", "--all"]);
        fs::remove_dir_all(&store).unwrap();
    }
    let copy = ground().join("two-node");
    copy_repository(&copy);
    let recipe = copy.join("recipes/two-node");
    let recipe = recipe.to_str().unwrap();

    builds_and_runs(&labbuild, recipe);
    is_reached_from_other_terminals(&labbuild);
    boots_again_from_the_store(&labbuild, recipe);
    redoes_only_what_changed(&labbuild, recipe);
    two_labs_have_the_same_addresses(&labbuild, recipe);
    let images = seals_and_exports(&labbuild, recipe);
    travels_to_another_store(&images);
}

fn builds_and_runs(labbuild: &Labbuild, recipe: &str) {
    let events = labbuild.json(&["up", recipe]);
    assert_eq!(field(&events, "stage-finished", "stage"), labbuild.stages(recipe));
    let checks: Vec<&Value> = events.iter().filter(|e| e["kind"] == "check").collect();
    assert!(checks.len() >= 8, "only {} checks", checks.len());
    assert!(checks.iter().all(|c| c["ok"] == true));
    let again = labbuild.run(&["up", recipe]);
    assert!(support::text(&again.stderr).contains("up already"));
}

fn is_reached_from_other_terminals(labbuild: &Labbuild) {
    let status = labbuild.result(&["status"]);
    let machines = status["labs"][0]["machines"].as_array().unwrap().clone();
    assert_eq!(machines.len(), 2);
    assert!(machines.iter().all(|m| m["running"] == true));
    let addresses = labbuild.ok(&["exec", "controller", "--", "ip", "-br", "addr"]);
    assert!(addresses.contains("ens33") && addresses.contains("192.168.0.11/24"), "{addresses}");
    assert!(addresses.contains("ens37") && addresses.contains("172.16.251.11/24"), "{addresses}");
    labbuild.fails(7, &["exec", "compute1", "--", "sh", "-c", "exit 7"]);
    let name = labbuild.ok(&["ssh", "compute1", "--", "hostname"]);
    assert_eq!(name.trim(), "compute1");
    let uri = labbuild.ok(&["uri"]);
    let list = Command::new("virsh").args(["-c", uri.trim(), "list", "--name"]).output().unwrap();
    let list = support::text(&list.stdout);
    assert!(list.contains("controller") && list.contains("compute1"), "{list}");
}

fn boots_again_from_the_store(labbuild: &Labbuild, recipe: &str) {
    labbuild.ok(&["down"]);
    labbuild.assert_nothing_runs();
    let events = labbuild.json(&["up", recipe]);
    assert_eq!(field(&events, "step-started", "step"), AT_BOOT, "a step ran again");
    let marker = labbuild.ok(&["exec", "controller", "--", "systemctl", "is-active", "mariadb"]);
    assert_eq!(marker.trim(), "active");
}

/// Appends a check to the last stage: only that stage is run again.
fn redoes_only_what_changed(labbuild: &Labbuild, recipe: &str) {
    let all = labbuild.stages(recipe);
    let last = Path::new(recipe).join(format!("{}.yaml", all.last().unwrap()));
    let mut text = fs::read_to_string(&last).unwrap();
    assert!(text.contains("\nchecks:\n"));
    text = text.replacen(
        "\nchecks:\n",
        "\nchecks:\n  - machine: compute1\n    name: an added check\n    run: \"true\"\n",
        1,
    );
    fs::write(&last, text).unwrap();
    let plan = labbuild.result(&["plan", recipe]);
    let why = plan["plan"].as_array().unwrap().last().unwrap()["why"].to_string();
    assert!(why.contains("an added check"), "{why}");
    let events = labbuild.json(&["up", recipe]);
    assert_eq!(field(&events, "stage-started", "stage"), all[all.len() - 1..]);
}

fn two_labs_have_the_same_addresses(labbuild: &Labbuild, recipe: &str) {
    labbuild.ok(&["down"]);
    for name in ["a", "b"] {
        labbuild.ok(&["up", recipe, "--name", name]);
    }
    for name in ["a", "b"] {
        let shown = labbuild.ok(&[
            "exec",
            "--name",
            name,
            "controller",
            "--",
            "ip",
            "-br",
            "addr",
            "show",
            "ens37",
        ]);
        assert!(shown.contains("172.16.251.11/24"), "{shown}");
        labbuild.ok(&[
            "exec",
            "--name",
            name,
            "compute1",
            "--",
            "ping",
            "-c1",
            "-W5",
            "172.16.251.11",
        ]);
    }
    // What is written in one is not in the other.
    labbuild.ok(&["exec", "--name", "a", "controller", "--", "touch", "/root/only-in-a"]);
    labbuild
        .fails(1, &["exec", "--name", "b", "controller", "--", "test", "-e", "/root/only-in-a"]);
    labbuild.ok(&["down", "--all"]);
    labbuild.assert_nothing_runs();
}

/// With a port of the host that leads to one of the machines.
fn seals_and_exports(labbuild: &Labbuild, recipe: &str) -> std::path::PathBuf {
    let lab = Path::new(recipe).join("lab.yaml");
    let text = fs::read_to_string(&lab).unwrap();
    let exposed = "expose:\n  - { name: login, machine: controller, port: 22 }\n";
    fs::write(&lab, format!("{text}{exposed}")).unwrap();
    labbuild.ok(&["build", recipe]);
    labbuild.assert_nothing_runs();
    let events = labbuild.json(&["build", recipe]);
    assert!(field(&events, "machine", "state").is_empty(), "the second build started machines");
    assert!(labbuild.ok(&["images"]).contains("two-node"));
    let dir = ground().join("exported");
    let _ = fs::remove_dir_all(&dir);
    labbuild.ok(&["export", recipe, dir.to_str().unwrap()]);
    let sums = Command::new("sha256sum").arg("-c").arg("SHA256SUMS").current_dir(&dir).output();
    assert!(sums.unwrap().status.success(), "sha256sum -c disagrees");
    dir
}

fn travels_to_another_store(images: &Path) {
    let store = ground().join("strangers-store");
    let labbuild = Labbuild::at(store.clone());
    if store.exists() {
        labbuild.run(&["down", "--all"]);
        fs::remove_dir_all(&store).unwrap();
    }
    let dir = images.to_str().unwrap();
    for file in ["compute1.qcow2", "manifest.json", "SHA256SUMS"] {
        flip_a_bit(&images.join(file));
        let error = labbuild.fails(1, &["up", dir]);
        assert!(error.contains(file), "the error does not name {file}: {error}");
        flip_a_bit(&images.join(file));
    }
    let verified = labbuild.result(&["verify", dir, "--boots", "2"]);
    assert_eq!(verified["identical"], true);
    labbuild.assert_nothing_runs();
    let events = labbuild.json(&["up", dir]);
    assert_eq!(field(&events, "step-started", "step"), AT_BOOT);
    let status = labbuild.result(&["status"]);
    let login = status["labs"][0]["exposed"][0]["location"].as_str().unwrap().parse().unwrap();
    assert!(banner(login).unwrap().starts_with("SSH-2.0-"));
    let name = labbuild.ok(&["exec", "controller", "--", "hostname", "--fqdn"]);
    assert_eq!(name.trim(), "controller.openstack.com");
    labbuild.ok(&["down"]);
    labbuild.assert_nothing_runs();
}
