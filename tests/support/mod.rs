//! What the tests with real guests share: a store, a copy of the recipes, and labbuild run as a
//! user runs it.

#![allow(dead_code, clippy::unwrap_used, clippy::print_stderr)]

pub mod archive;
pub mod mini;
pub mod stored;

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// labbuild with one store.
pub struct Labbuild {
    pub store: PathBuf,
}

/// Folder for all guest tests of one checkout; the bases in it are made once.
pub fn ground() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("guests");
    fs::create_dir_all(&dir).unwrap();
    dir
}

impl Labbuild {
    pub fn at(store: PathBuf) -> Self {
        Labbuild { store }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_labbuild"));
        command.arg("--store").arg(&self.store).args(args).stdin(Stdio::null());
        command.env_remove("LABBUILD_STORE").env_remove("LABBUILD_CONNECT");
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        let begun = Instant::now();
        let output = self.command(args).output().unwrap();
        eprintln!(
            "--- labbuild {}: {} after {:.1} s\n{}{}",
            args.join(" "),
            output.status,
            begun.elapsed().as_secs_f64(),
            text(&output.stderr),
            text(&output.stdout)
        );
        output
    }

    /// Runs and insists on success; gives standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "labbuild {} failed", args.join(" "));
        text(&output.stdout)
    }

    /// Runs and insists on this exit code; gives standard error.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "labbuild {}", args.join(" "));
        text(&output.stderr)
    }

    /// Runs with `--json` and gives every object.
    pub fn json(&self, args: &[&str]) -> Vec<Value> {
        let all = self.ok(&[&["--json"], args].concat());
        all.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The `result` of a command run with `--json`.
    pub fn result(&self, args: &[&str]) -> Value {
        let events = self.json(args);
        let last = events.iter().rev().find(|e| e["kind"] == "result");
        last.expect("a result")["value"].clone()
    }

    /// The stages of a recipe, in order, as `plan` names them.
    pub fn stages(&self, recipe: &str) -> Vec<String> {
        let plan = self.result(&["plan", recipe]);
        let lines = plan["plan"].as_array().unwrap();
        let names = lines.iter().map(|l| l["stage"].as_str().unwrap().to_owned());
        names.filter(|name| !name.starts_with("base of")).collect()
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Processes whose command line names this store.
    pub fn processes(&self) -> Vec<String> {
        let store = self.store.to_string_lossy().into_owned();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok());
        pids.filter_map(|e| {
            let line = fs::read(e.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let zombie = fs::read_to_string(e.path().join("stat")).ok()?.contains(") Z ");
            (line.contains(&store) && !zombie).then_some(line)
        })
        .collect()
    }

    /// Nothing of this store runs, a moment of grace allowed.
    pub fn assert_nothing_runs(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.processes().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(200));
        }
        assert_eq!(self.processes(), Vec::<String>::new(), "processes are left");
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The compute node's base disk and its SHA-256, from the store that the main job's test fills. That
/// test runs first (see .config/nextest.toml); where it has not run, the base is made here.
pub fn base_disk() -> (PathBuf, String) {
    let store = ground().join("store");
    if let Some(found) = find_base_disk(&store) {
        return found;
    }
    let copy = ground().join("two-node");
    copy_repository(&copy);
    let recipe = copy.join("recipes/two-node");
    let labbuild = Labbuild::at(store.clone());
    labbuild.ok(&["up", recipe.to_str().unwrap(), "--to", "10-system"]);
    labbuild.ok(&["down", "--all"]);
    find_base_disk(&store).expect("the base of compute1, just made")
}

fn find_base_disk(store: &Path) -> Option<(PathBuf, String)> {
    let entries = fs::read_dir(store.join("layers")).into_iter().flatten().flatten();
    entries.map(|e| e.path()).find_map(|dir| {
        let text = fs::read_to_string(dir.join("layer.json")).ok()?;
        let meta: Value = serde_json::from_str(&text).ok()?;
        let digest = meta["digest"].as_str()?.to_owned();
        (meta["title"] == "base of compute1").then(|| (dir.join("disk.qcow2"), digest))
    })
}

/// Copies `recipes`, `stages`, `kickstart` and `images` of the repository into a fresh folder.
pub fn copy_repository(to: &Path) {
    let _ = fs::remove_dir_all(to);
    for part in ["recipes", "stages", "kickstart", "images"] {
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(part), &to.join(part));
    }
}

/// Sends a signal, `-INT` for one.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Copies a folder; what was at `to` is gone.
pub fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

/// Flips one bit in the middle of a file; twice is never.
pub fn flip_a_bit(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let middle = SeekFrom::Start(file.metadata().unwrap().len() / 2);
    let mut byte = [0];
    file.seek(middle).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(middle).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}

/// Names of events of one kind, by one of their fields.
pub fn field(events: &[Value], kind: &str, name: &str) -> Vec<String> {
    let of_kind = events.iter().filter(|e| e["kind"] == kind);
    of_kind.map(|e| e[name].as_str().unwrap_or_default().to_owned()).collect()
}
