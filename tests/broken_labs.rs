//! One lab that is broken, or whose hypervisor is gone, is no matter of the others.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;

use labbuild::backend::{AccelChoice, Clock};
use labbuild::event::Events;
use labbuild::lab::{self, Backing, Begun, Record, StartOptions};
use labbuild::store::Store;
use support::stored::{NOBODY, machine, record};
use support::{Labbuild, text};

struct Labs {
    _dir: tempfile::TempDir,
    store: Store,
    labbuild: Labbuild,
}

impl Labs {
    fn new() -> Labs {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let labbuild = Labbuild::at(dir.path().to_owned());
        Labs { _dir: dir, store, labbuild }
    }

    /// A good lab, one on a hypervisor that is gone, one with half a record, one without.
    fn of_all_kinds() -> Labs {
        let labs = Labs::new();
        record("good", None).write(&labs.store).unwrap();
        let mut far = record("far", Some(NOBODY));
        far.machines.insert("one".into(), machine(&labs.store, "far", "labbuild-far-one"));
        far.write(&labs.store).unwrap();
        fs::create_dir_all(labs.store.lab_dir("torn")).unwrap();
        fs::write(labs.store.lab_dir("torn").join("lab.json"), "{").unwrap();
        fs::create_dir_all(labs.store.lab_dir("empty").join("disks")).unwrap();
        labs
    }

    fn names(&self) -> Vec<String> {
        self.store.lab_names().unwrap()
    }
}

#[test]
fn status_shows_the_others_and_says_what_is_unknown() {
    let labs = Labs::of_all_kinds();
    let shown = labs.labbuild.ok(&["status"]);
    assert!(shown.contains("good (pair): down\n"), "{shown}");
    assert!(shown.contains("far: unknown, because cannot connect to qemu+unix:"), "{shown}");
    assert!(shown.contains("torn: unknown, because "), "{shown}");
    assert!(!shown.contains("empty"), "{shown}");
    let value = labs.labbuild.result(&["status"]);
    let all = value["labs"].as_array().unwrap();
    let states: Vec<_> = all.iter().map(|l| (l["name"].as_str(), l["state"].as_str())).collect();
    let expected = [("far", "unknown"), ("good", "down"), ("torn", "unknown")];
    assert_eq!(states, expected.map(|(name, state)| (Some(name), Some(state))));
    assert!(all[0]["unknown_because"].as_str().unwrap().contains("/nonexistent"), "{value}");
    assert!(all[1]["unknown_because"].is_null(), "{value}");
}

#[test]
fn status_of_one_lab_fails_when_it_is_unknown() {
    let labs = Labs::of_all_kinds();
    let said = labs.labbuild.fails(1, &["status", "far"]);
    assert!(said.contains("cannot connect to"), "{said}");
    let said = labs.labbuild.fails(1, &["status", "empty"]);
    assert!(said.contains("never started") && said.contains("labbuild down empty"), "{said}");
    let said = labs.labbuild.fails(2, &["status", "other"]);
    assert!(said.contains("there is no lab `other`"), "{said}");
}

#[test]
fn down_all_ends_the_rest_and_reports_every_failure() {
    let labs = Labs::of_all_kinds();
    let output = labs.labbuild.run(&["down", "--all"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(labs.names(), ["far", "torn"]);
    assert!(text(&output.stdout).contains("empty, good down"));
    let said = text(&output.stderr);
    assert!(said.contains("2 of 4 labs could not be ended"), "{said}");
    assert!(said.contains("far: cannot connect to"), "{said}");
    assert!(said.contains("torn: ") && said.contains("is damaged"), "{said}");
    assert!(said.contains("rm -r "), "{said}");
}

#[test]
fn down_all_passes_by_a_lab_that_another_command_holds() {
    let labs = Labs::new();
    for name in ["a", "b"] {
        record(name, None).write(&labs.store).unwrap();
    }
    let held = labs.store.try_lock("lab-a", "bringing up lab a").unwrap().unwrap();
    let said = labs.labbuild.fails(4, &["down", "--all"]);
    assert!(said.contains("a: another labbuild") && said.contains("bringing up lab a"), "{said}");
    assert_eq!(labs.names(), ["a"]);
    drop(held);
    labs.labbuild.ok(&["down", "--all"]);
    assert_eq!(labs.names(), [""; 0]);
}

#[test]
fn a_folder_without_a_record_is_cleared_away_by_name() {
    let labs = Labs::of_all_kinds();
    labs.labbuild.ok(&["down", "empty"]);
    assert_eq!(labs.names(), ["far", "good", "torn"]);
}

/// A start that comes no further than its overlays leaves a lab like any other.
#[tokio::test]
async fn a_start_that_fails_at_once_can_be_looked_at_and_ended() {
    for connect in [None, Some(NOBODY)] {
        let labs = Labs::new();
        let backing = Backing { file: "/nonexistent/disk.qcow2".into(), layer: None };
        let options = StartOptions {
            connect: connect.map(str::to_owned),
            accel: AccelChoice::Auto,
            clock: Clock::Host,
            unsafe_cache: false,
            self_exe: vec![],
            begun: Begun::default(),
        };
        for _again in 1..=2 {
            let backings = BTreeMap::from([("one".to_owned(), backing.clone())]);
            let record = record("cut-short", connect);
            let events = Events::none();
            let started = lab::start(&labs.store, record, &backings, &options, &events).await;
            let error = started.err().unwrap().to_string();
            assert!(error.contains("qemu-img"), "{error}");
        }
        let left = Record::read(&labs.store, "cut-short").unwrap().unwrap();
        assert_eq!(left.machines["one"].backing, Some(backing.file));
        let shown = labs.labbuild.ok(&["status", "cut-short"]);
        assert!(shown.contains("cut-short (pair): down\n"), "{shown}");
        labs.labbuild.ok(&["down"]);
        assert_eq!(labs.names(), [""; 0]);
    }
}
