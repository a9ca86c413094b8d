//! `--locked` as a script meets it: without a lock that answers, nothing is made and nothing lost.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use labbuild::store::{Snapshot, Store};
use support::{Labbuild, stored};

/// Two-node without its lock, and an empty store.
struct Unlocked {
    root: tempfile::TempDir,
    labbuild: Labbuild,
}

impl Unlocked {
    fn new() -> Unlocked {
        let root = tempfile::tempdir().unwrap();
        for part in ["recipes/two-node", "stages", "kickstart", "images"] {
            support::copy(Path::new(part), &root.path().join(part));
        }
        let labbuild = Labbuild::at(root.path().join("store"));
        let unlocked = Unlocked { root, labbuild };
        let _ = fs::remove_file(unlocked.lock());
        unlocked
    }

    fn recipe(&self) -> PathBuf {
        self.root.path().join("recipes/two-node")
    }

    fn lock(&self) -> PathBuf {
        self.recipe().join("labbuild.lock")
    }

    /// Runs `up` or `build`, which fail and say why.
    fn refuses(&self, args: &[&str]) {
        let recipe = self.recipe();
        let said =
            self.labbuild.fails(1, &[args, &["--locked", recipe.to_str().unwrap()]].concat());
        for machine in ["controller", "compute1"] {
            assert!(said.contains(&format!("base of {machine}: it is not in the lock")), "{said}");
        }
        assert!(!self.lock().exists());
    }
}

#[test]
fn up_and_build_fail_where_there_is_no_lock() {
    let unlocked = Unlocked::new();
    for command in ["up", "build"] {
        unlocked.refuses(&[command]);
        let made = |part: &str| unlocked.labbuild.store.join(part).exists();
        assert!(!made("layers") && !made("work"));
    }
}

#[tokio::test]
async fn no_stage_is_forgotten_for_what_is_refused() {
    let unlocked = Unlocked::new();
    let store = Store::open(&unlocked.labbuild.store).unwrap();
    stored::put_layer(&store, stored::id(1), None).await;
    let snapshot = Snapshot {
        format: 1,
        id: stored::id(2),
        lab: "two-node".to_owned(),
        stage: "20-mariadb".to_owned(),
        machines: BTreeMap::from([("controller".to_owned(), stored::id(1))]),
        clock: None,
        inputs: vec![],
    };
    store.put_snapshot(&snapshot).unwrap();
    for command in ["up", "build"] {
        unlocked.refuses(&[command, "--from", "20-mariadb"]);
        assert!(store.snapshot(&snapshot.id).unwrap().is_some());
    }
}
