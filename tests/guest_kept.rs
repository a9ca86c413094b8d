//! What is kept while something else is done or goes wrong: running labs, stored images, copies.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use labbuild::store::Store;
use serde_json::Value;
use support::mini::{Mini, base_definition, second};
use support::{copy, field, flip_a_bit, ground, signal};

/// What is written there is gone with the machine's power.
const MARK: &str = "/run/mark";

#[test]
fn a_running_lab_is_not_ended_by_what_never_begins() {
    let mini = Mini::new("kept-running");
    mini.labbuild.ok(&["up", &mini.recipe()]);
    mini.labbuild.ok(&["exec", "one", "--", "touch", MARK]);
    a_name_is_not_taken_from_it(&mini);
    a_base_that_cannot_be_made_ends_nothing(&mini);
    ctrl_c_while_waiting_ends_nothing(&mini);
    // A change that can be made is made: the machine is another one.
    mini.labbuild.ok(&["up", &mini.recipe()]);
    mini.labbuild.fails(1, &["exec", "one", "--", "test", "-e", MARK]);
    mini.finish();
}

fn still_runs(mini: &Mini) {
    mini.labbuild.ok(&["exec", "one", "--", "test", "-e", MARK]);
}

fn a_name_is_not_taken_from_it(mini: &Mini) {
    let other = ground().join("kept-other");
    copy(Path::new(&mini.recipe()), &other);
    let error = mini.labbuild.fails(4, &["up", other.to_str().unwrap()]);
    for part in ["another lab mini runs", &mini.recipe(), "labbuild down mini", "--name OTHER"] {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
    still_runs(mini);
}

fn a_base_that_cannot_be_made_ends_nothing(mini: &Mini) {
    mini.name_another_disk();
    mini.labbuild.fails(1, &["up", &mini.recipe()]);
    mini.write("images/mini.yaml", &base_definition());
    still_runs(mini);
}

/// Leaves a second stage that is to be built.
fn ctrl_c_while_waiting_ends_nothing(mini: &Mini) {
    mini.write("20-second.yaml", &second("sleep 1; echo second > /root/second"));
    let store = Store::open(&mini.labbuild.store).unwrap();
    let builder = store.try_lock("build-mini", "building in a test").unwrap().unwrap();
    let said = ground().join("kept-waiting.log");
    let mut command = mini.labbuild.command(&["up", &mini.recipe()]);
    command.stderr(fs::File::create(&said).unwrap());
    let mut up = command.spawn().unwrap();
    let begun = Instant::now();
    while !fs::read_to_string(&said).unwrap().contains("building in a test; waiting for it") {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not wait");
        std::thread::sleep(Duration::from_millis(100));
    }
    signal(&up, "-INT");
    assert_eq!(up.wait().unwrap().code(), Some(130));
    drop(builder);
    still_runs(mini);
}

#[test]
fn images_follow_their_recipe_and_copies_are_mended() {
    let mini = Mini::new("kept-images");
    mini.labbuild.ok(&["build", &mini.recipe()]);
    let before = images(&mini);
    offers_a_new_port_without_building(&mini);
    assert_eq!(images(&mini), before);
    a_damaged_copy_is_made_anew(&mini);
    mini.finish();
}

/// The machines' images in the manifest that `export` would hand out.
fn images(mini: &Mini) -> Value {
    mini.labbuild.result(&["build", &mini.recipe()])["manifest"]["images"].clone()
}

fn offers_a_new_port_without_building(mini: &Mini) {
    mini.expose(&[("login", "")]);
    let events = mini.labbuild.json(&["build", &mini.recipe()]);
    assert!(field(&events, "machine", "state").is_empty(), "machines were started");
    let notices = field(&events, "notice", "text").join("\n");
    assert!(notices.contains("what a start of them waits for or offers is new"), "{notices}");
}

fn a_damaged_copy_is_made_anew(mini: &Mini) {
    let dir = ground().join("kept-exported");
    let _ = fs::remove_dir_all(&dir);
    let dir = dir.to_str().unwrap();
    mini.labbuild.ok(&["export", &mini.recipe(), dir]);
    let up = || mini.labbuild.json(&["up", dir]);
    assert_eq!(field(&up(), "warning", "text"), Vec::<String>::new());
    mini.labbuild.ok(&["down"]);
    flip_a_bit(&only_copy(&mini.labbuild.store));
    let warnings = field(&up(), "warning", "text").join("\n");
    assert!(warnings.contains("is damaged; made anew"), "{warnings}");
    // It is the machine of the export: with its port, and what its stages wrote.
    assert!(mini.exposed("login").port() > 0);
    assert_eq!(mini.labbuild.ok(&["exec", "one", "--", "cat", "/root/second"]).trim(), "second");
    mini.labbuild.ok(&["down"]);
}

/// The image of the only folder that was taken in.
fn only_copy(store: &Path) -> PathBuf {
    let folders: Vec<_> = fs::read_dir(store.join("imported")).unwrap().flatten().collect();
    assert_eq!(folders.len(), 1);
    folders[0].path().join("one.qcow2")
}
