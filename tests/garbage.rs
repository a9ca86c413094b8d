//! What `gc` may free, and when.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::PathBuf;

use labbuild::store::{Store, StoredImages};
use support::Labbuild;
use support::stored::{id, machine, put_layer, record};

struct Ground {
    _dir: tempfile::TempDir,
    store: Store,
    labbuild: Labbuild,
}

impl Ground {
    fn new() -> Ground {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let labbuild = Labbuild::at(dir.path().to_owned());
        Ground { _dir: dir, store, labbuild }
    }

    /// Images as `up` of an exported folder takes them in: no snapshot of theirs is stored.
    fn put_images(&self, number: u8) -> StoredImages {
        let work = self.store.work_dir("testing").unwrap();
        let staged = work.path().join("images");
        fs::create_dir(&staged).unwrap();
        fs::write(staged.join("manifest.json"), "{}").unwrap();
        fs::write(staged.join("one.qcow2"), "disk").unwrap();
        self.store.put_images(&id(number), &staged).unwrap()
    }

    /// Records a lab whose machine stands on `backing`.
    fn put_lab(&self, name: &str, backing: Option<PathBuf>) {
        let mut record = record(name, None);
        let machine = machine(&self.store, name, "one");
        let machine = labbuild::lab::MachineRecord { backing, ..machine };
        record.machines.insert("one".into(), machine);
        record.write(&self.store).unwrap();
    }

    fn images(&self) -> usize {
        self.store.images().unwrap().len()
    }
}

#[tokio::test]
async fn nothing_is_freed_while_another_is_at_work() {
    let ground = Ground::new();
    // A base that was just made: nothing refers to it yet.
    put_layer(&ground.store, id(1), None).await;
    for lock in ["lab-pair", "base-0123", "build-pair"] {
        let held = ground.store.try_lock(lock, "making something").unwrap().unwrap();
        for how in ["--yes", "--dry-run"] {
            let said = ground.labbuild.fails(4, &["gc", how]);
            assert!(said.contains("making something"), "{said}");
        }
        assert!(ground.store.has_layer(&id(1)), "{lock}");
        drop(held);
    }
    assert!(ground.labbuild.ok(&["gc", "--dry-run"]).contains("layer "));
    assert!(ground.store.has_layer(&id(1)));
    ground.labbuild.ok(&["gc", "--yes"]);
    assert!(!ground.store.has_layer(&id(1)));
}

#[test]
fn nobody_begins_anything_while_garbage_is_freed() {
    let ground = Ground::new();
    ground.put_lab("a", None);
    let freeing = ground.store.try_lock_whole("freeing what nothing uses").unwrap().unwrap();
    let said = ground.labbuild.fails(4, &["down", "a"]);
    assert!(said.contains("freeing what nothing uses"), "{said}");
    drop(freeing);
    ground.labbuild.ok(&["down", "a"]);
}

#[test]
fn images_stay_as_long_as_a_lab_stands_on_them() {
    let ground = Ground::new();
    let (used, _idle) = (ground.put_images(1), ground.put_images(2));
    ground.put_lab("a", Some(used.dir.join("one.qcow2")));
    ground.labbuild.ok(&["gc", "--yes"]);
    assert_eq!(ground.images(), 1);
    assert!(used.dir.join("one.qcow2").exists());
    ground.labbuild.ok(&["down", "a"]);
    ground.labbuild.ok(&["gc", "--yes"]);
    assert_eq!(ground.images(), 0);
}

/// Records once did not say which images a lab stands on.
#[test]
fn all_images_stay_with_a_lab_that_does_not_say_which_it_needs() {
    let ground = Ground::new();
    ground.put_images(1);
    ground.put_lab("old", None);
    let path = ground.store.lab_dir("old").join("lab.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    record["machines"]["one"].as_object_mut().unwrap().remove("backing").unwrap();
    fs::write(&path, record.to_string()).unwrap();
    ground.labbuild.ok(&["gc", "--yes"]);
    assert_eq!(ground.images(), 1);
}

#[tokio::test]
async fn layers_stay_that_a_lab_stands_on_and_those_below() {
    let ground = Ground::new();
    put_layer(&ground.store, id(1), None).await;
    put_layer(&ground.store, id(2), Some(id(1))).await;
    put_layer(&ground.store, id(3), Some(id(1))).await;
    let mut record = record("a", None);
    let machine = machine(&ground.store, "a", "one");
    let machine = labbuild::lab::MachineRecord { layer: Some(id(2)), ..machine };
    record.machines.insert("one".into(), machine);
    record.write(&ground.store).unwrap();
    ground.labbuild.ok(&["gc", "--yes"]);
    let left = [1, 2, 3].map(|number| ground.store.has_layer(&id(number)));
    assert_eq!(left, [true, true, false]);
}
