//! `--locked` as a script meets it: without a lock that answers, nothing is made.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::{Command, Stdio};

#[test]
fn up_and_build_fail_where_there_is_no_lock() {
    let root = tempfile::tempdir().unwrap();
    for part in ["recipes/two-node", "stages", "kickstart", "images"] {
        let to = root.path().join(part);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        assert!(Command::new("cp").arg("-r").arg(part).arg(&to).status().unwrap().success());
    }
    let recipe = root.path().join("recipes/two-node");
    let lock = recipe.join("labbuild.lock");
    let _ = fs::remove_file(&lock);
    let store = root.path().join("store");
    for command in ["up", "build"] {
        let mut labbuild = Command::new(env!("CARGO_BIN_EXE_labbuild"));
        labbuild.env_remove("LABBUILD_CONNECT").stdin(Stdio::null());
        labbuild.arg("--store").arg(&store).args([command, "--locked"]).arg(&recipe);
        let output = labbuild.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        for machine in ["controller", "compute1"] {
            assert!(said.contains(&format!("base of {machine}: it is not in the lock")), "{said}");
        }
        assert!(!lock.exists() && !store.join("layers").exists() && !store.join("work").exists());
    }
}
