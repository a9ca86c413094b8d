//! The notes' own lab, with real guests: OpenStack chapter by chapter. The tests whose names begin
//! with `long_` build the whole of it, which takes an hour and more where guests are emulated.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use support::{Labbuild, copy_repository, field, ground};

/// What a lab of all chapters answers, right at the first time of asking.
const ASKED: [(&str, &str); 4] = [
    ("openstack token issue -f value -c id | cut -c 1-5", "gAAAA\n"),
    ("openstack image list -f value -c Name -c Status", "tiny active\n"),
    (
        "openstack compute service list -f value -c Binary -c Host -c State --sort-column Binary",
        "nova-compute compute1 up\nnova-conductor controller up\nnova-scheduler controller up\n",
    ),
    (
        "openstack network agent list -f value -c Alive -c Binary --sort-column Binary",
        "True neutron-dhcp-agent\nTrue neutron-linuxbridge-agent\nTrue neutron-metadata-agent\n",
    ),
];

/// What of a machine must be the same however its chapters were built: packages, units, and
/// every file of /etc that is not made at random or for this one copy. Units are read from their
/// files: systemd itself may be too busy, right after the last chapter, to answer in its 25 s.
const END: &str = r"
set -euo pipefail
dpkg-query -W
systemctl --root=/ list-unit-files --no-legend --state=enabled | awk '{ print $1 }'
find /etc -type f ! -path '*/ssh/ssh_host_*' ! -path '*/fernet-keys/*' ! -path '*/credential-keys/*' \
  ! -name initiatorname.iscsi ! -name machine-id ! -name 'ssl-cert-snakeoil*' ! -name '*-' \
  ! -name ld.so.cache ! -name adjtime ! -path '/etc/libvirt/*' ! -path '/etc/iptables/rules.*' \
  -exec sha256sum {} + | sort -k 2
# Rules are saved with the time, and with how many packets they saw.
rules=/etc/iptables/rules.v4
if [ -e $rules ]; then sed -E '/^#/d; s/ \[[0-9]+:[0-9]+\]$//' $rules; fi
";

/// A store and a copy of the recipes, whatever is there.
fn ground_of(name: &str) -> (Labbuild, PathBuf) {
    let dir = ground().join(name);
    (Labbuild::at(dir.join("store")), dir.join("repository"))
}

/// An emptied store and a copy of the recipes, of which this lab keeps its first `chapters`.
fn prepare(name: &str, chapters: usize) -> (Labbuild, String) {
    let (labbuild, copy) = ground_of(name);
    if labbuild.store.exists() {
        labbuild.run(&["down", "--all"]);
        fs::remove_dir_all(&labbuild.store).unwrap();
    }
    copy_repository(&copy);
    let recipe = copy.join("recipes/openstack-zed");
    keep_chapters(&recipe.join("lab.yaml"), chapters);
    (labbuild, recipe.to_str().unwrap().to_owned())
}

/// Cuts the list of stages, which is the last thing in the file.
fn keep_chapters(file: &Path, chapters: usize) {
    let text = fs::read_to_string(file).unwrap();
    let (head, list) = text.split_once("\nstages:\n").unwrap();
    let kept: Vec<&str> = list.lines().filter(|l| l.contains(".yaml")).take(chapters).collect();
    fs::write(file, format!("{head}\nstages:\n{}\n", kept.join("\n"))).unwrap();
}

fn ask_as(labbuild: &Labbuild, who: &str, command: &str) -> String {
    let script = format!(". /root/{who}-openrc; {command}");
    labbuild.ok(&["exec", "controller", "--", "bash", "-c", &script])
}

fn assert_all_checks_hold(events: &[Value], at_least: usize) {
    let checks: Vec<&Value> = events.iter().filter(|e| e["kind"] == "check").collect();
    assert!(checks.len() >= at_least, "only {} checks", checks.len());
    assert!(checks.iter().all(|c| c["ok"] == true));
}

/// Steps that only wait may run when a lab comes from the store; no other may.
fn assert_only_waits_ran(events: &[Value]) {
    let ran = field(events, "step-started", "step");
    assert!(!ran.is_empty(), "nothing was waited for");
    let waits = ["answer", "accepts connections", "reported"];
    let waits = |step: &String| waits.iter().any(|words| step.contains(words));
    assert!(ran.iter().all(waits), "{ran:?}");
}

#[test]
fn the_first_three_chapters_are_built_and_come_back() {
    let (labbuild, recipe) = prepare("openstack-3", 3);
    let events = labbuild.json(&["up", &recipe]);
    let expected = ["10-system", "20-environment", "30-keystone"];
    assert_eq!(field(&events, "stage-finished", "stage"), expected);
    assert_all_checks_hold(&events, 30);
    labbuild.ok(&["down"]);
    labbuild.assert_nothing_runs();
    let events = labbuild.json(&["up", &recipe]);
    assert_only_waits_ran(&events);
    let (command, answer) = ASKED[0];
    assert_eq!(ask_as(&labbuild, "admin", command), answer);
    assert_eq!(ask_as(&labbuild, "demo", command), answer);
    labbuild.ok(&["down"]);
}

/// From nothing to the last chapter in one go, and again from the store.
#[test]
fn long_the_whole_lab_is_built_and_comes_back() {
    let (labbuild, recipe) = prepare("openstack", usize::MAX);
    for machine in ["controller", "compute1"] {
        let _ = fs::remove_file(end_file(machine));
    }
    let begun = Instant::now();
    let events = labbuild.json(&["up", &recipe]);
    let built = begun.elapsed();
    assert_eq!(field(&events, "stage-finished", "stage"), labbuild.stages(&recipe));
    assert_all_checks_hold(&events, 55);
    in_one_go(&labbuild);
    labbuild.ok(&["down"]);
    labbuild.assert_nothing_runs();
    let begun = Instant::now();
    let events = labbuild.json(&["up", &recipe]);
    let started = begun.elapsed();
    for (command, answer) in ASKED {
        assert_eq!(ask_as(&labbuild, "admin", command), answer, "{command}");
    }
    assert_only_waits_ran(&events);
    let (built, started) = (built.as_secs(), started.as_secs());
    let times =
        format!("openstack-zed: built in {built} s, started from the store in {started} s\n");
    // Printed by scripts/test: nextest shows nothing of what a passed test wrote.
    fs::write(ground().join("openstack-times"), times).unwrap();
    a_browser_on_the_host_sees_the_dashboard(&labbuild);
    labbuild.ok(&["down"]);
}

fn a_browser_on_the_host_sees_the_dashboard(labbuild: &Labbuild) {
    let status = labbuild.result(&["status"]);
    let url = status["labs"][0]["exposed"][0]["location"].as_str().unwrap().to_owned();
    let picture = ground().join("dashboard.png");
    let shot = Command::new("scripts/dashboard-shot").arg(url).arg(&picture).output().unwrap();
    assert!(shot.status.success(), "{}", support::text(&shot.stderr));
    let said = support::text(&shot.stdout);
    assert!(said.contains("Overview") && said.contains("/horizon/project/"), "{said}");
    assert!(fs::read(&picture).unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
}

fn end_of(labbuild: &Labbuild, machine: &str) -> String {
    labbuild.ok(&["exec", machine, "--", "bash", "-c", END])
}

/// Where the end of the run in one go is kept for the run in pieces.
fn end_file(machine: &str) -> PathBuf {
    ground().join(format!("openstack-end-{machine}"))
}

fn in_one_go(labbuild: &Labbuild) {
    for machine in ["controller", "compute1"] {
        fs::write(end_file(machine), end_of(labbuild, machine)).unwrap();
    }
}

/// What the last two chapters leave, each by itself.
fn trouble_is_there_or_cured(labbuild: &Labbuild, stage: &str) {
    let services = "openstack compute service list --service nova-compute 2>&1 || true";
    if !["90-trouble", "95-cured"].contains(&stage) {
        return;
    }
    let answer = ask_as(labbuild, "admin", services);
    let broken = stage == "90-trouble";
    assert_eq!(answer.contains("503"), broken, "{answer}");
    assert_eq!(answer.contains("compute1"), !broken, "{answer}");
}

/// Every chapter in an `up` of its own, everything stopped in between, ends where one `up` of all
/// of them does; the lab is broken and cured on the way. Runs after
/// `long_the_whole_lab_is_built_and_comes_back`, on the bases that it made.
#[test]
fn long_then_chapter_by_chapter_to_the_same_end() {
    let ends = ["controller", "compute1"].map(|machine| {
        let end = fs::read_to_string(end_file(machine));
        (machine, end.expect("the run in one go leaves its end here"))
    });
    let (labbuild, copy) = ground_of("openstack");
    let recipe = copy.join("recipes/openstack-zed").to_str().unwrap().to_owned();
    let stages = labbuild.stages(&recipe);
    for stage in &stages {
        labbuild.ok(&["down", "--all"]);
        // Nothing but the bases is left of the run in one go.
        let afresh: &[&str] = if stage == &stages[0] { &["--from", stage] } else { &[] };
        let events = labbuild.json(&[&["up", &recipe, "--to", stage], afresh].concat());
        assert_eq!(field(&events, "stage-finished", "stage"), [stage.as_str()]);
        trouble_is_there_or_cured(&labbuild, stage);
    }
    for (command, answer) in ASKED {
        assert_eq!(ask_as(&labbuild, "admin", command), answer, "{command}");
    }
    for (machine, there) in &ends {
        let here = end_of(&labbuild, machine);
        let here: BTreeSet<&str> = here.lines().collect();
        let there: BTreeSet<&str> = there.lines().collect();
        assert!(here.len() > 500, "{machine}: only {} lines", here.len());
        let differ: Vec<&&str> = here.symmetric_difference(&there).collect();
        assert_eq!(differ, Vec::<&&str>::new(), "{machine} ended differently");
    }
    labbuild.ok(&["down"]);
}
