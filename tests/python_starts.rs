//! What openstack-zed puts into every Python of its machines, tried out by a Python of the host.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use labbuild::recipe::{self, Action, FileEdit};

/// Where the files are in a machine.
const THERE: &str = "/usr/local/lib/python3.11/dist-packages";

#[test]
fn what_shortens_a_start_of_python_changes_nothing_else() {
    let lab = recipe::load(Path::new("recipes/openstack-zed"), &BTreeMap::new());
    let lab = lab.unwrap_or_else(|e| panic!("{e}"));
    let folder = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    for step in lab.stages.iter().flat_map(|stage| &stage.steps) {
        let Action::File { path, edit: FileEdit::Content(text), .. } = &step.action else {
            continue;
        };
        let Some(name) = path.strip_prefix(THERE).filter(|name| name.ends_with(".py")) else {
            continue;
        };
        let text = text.replace(THERE, folder.path().to_str().unwrap());
        fs::write(folder.path().join(name.trim_start_matches('/')), text).unwrap();
        written.push(name.to_owned());
    }
    assert!(written.len() >= 4, "{written:?}");
    let tries = Command::new("python3")
        .args([Path::new("tests/python_starts/tries.py"), folder.path()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(tries.status.success(), "{}", String::from_utf8_lossy(&tries.stderr));
}
