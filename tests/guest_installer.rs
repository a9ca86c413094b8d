//! The life of a base of kind *installer*, from the machine that boots to the layer that is
//! stored, and every way in which it fails. What boots is a fixture (see `installer_fixture`): the
//! media of a real installer are not here.

#![allow(clippy::unwrap_used)]

#[path = "installer_fixture/mod.rs"]
mod installer_fixture;
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use installer_fixture::Fixture;
use labbuild::digest::Digest;
use serde_json::Value;
use support::{Labbuild, ground, signal, text};

const LAB: &str = "\
schema: 1
name: fixture
title: A machine that a fixture installs
base: fixture
networks:
  bridged: { kind: bridged, subnet: 192.168.0.0/24, gateway: 192.168.0.1 }
  quiet: { kind: isolated, subnet: 192.168.100.0/24 }
machines:
  one:
    memory: 256 MiB
    disk: 1 GiB
    kickstart: one.ks
    nics:
      - { name: ens33, network: bridged, address: 192.168.0.5 }
      - { name: ens38, network: quiet }
stages: [10-nothing.yaml]
";

/// Never reached: what the fixture installs has no system that could run it.
const STAGE: &str = "\
title: Nothing
steps:
  - { name: Nothing, machine: one, run: \"true\" }
";

const KICKSTART: &str = "\
cmdline
network --hostname={{ machine.name }}.example.org
rootpw --iscrypted $6$salt$aHashThatIsNobodysBusiness
poweroff
";

/// The time within which each failure must be told, on a busy host that emulates.
const SOON: Duration = Duration::from_secs(150);

/// A recipe with a store of its own.
struct Recipe {
    dir: PathBuf,
    labbuild: Labbuild,
    fixture: Fixture,
}

impl Recipe {
    fn new(name: &str) -> Recipe {
        let dir = ground().join(name);
        let labbuild = Labbuild::at(dir.join("store"));
        if dir.exists() {
            labbuild.run(&["down", "--all"]);
            fs::remove_dir_all(&dir).unwrap();
        }
        fs::create_dir_all(dir.join("lab/images")).unwrap();
        let recipe = Recipe { dir, labbuild, fixture: Fixture::make() };
        recipe.write("lab.yaml", LAB);
        recipe.write("10-nothing.yaml", STAGE);
        recipe.write("one.ks", KICKSTART);
        recipe
    }

    fn write(&self, file: &str, content: &str) {
        fs::write(self.dir.join("lab").join(file), content).unwrap();
    }

    /// Tells the fixture what to do.
    fn tell(&self, word: &str, stall: &str) {
        let file = |path: &Path| {
            format!("{{ path: {}, sha256: {} }}", path.display(), Digest::of_file(path).unwrap())
        };
        let (kernel, initrd) = (file(&self.fixture.kernel), file(&self.fixture.initrd));
        let definition = format!(
            "kind: installer\ntitle: The fixture, told to {word}\ndriver: anaconda\n\
             kernel: {kernel}\ninitrd: {initrd}\ncmdline: [fixture={word}]\n\
             memory: 256 MiB\nstall: {stall}\ntime: 2026-11-01T00:00:00Z\n"
        );
        self.write("images/fixture.yaml", &definition);
    }

    fn path(&self) -> String {
        self.dir.join("lab").to_str().unwrap().to_owned()
    }

    fn console(&self) -> PathBuf {
        self.labbuild.store.join("logs/fixture-one.install.log")
    }

    fn layers(&self) -> Vec<PathBuf> {
        entries(&self.labbuild.store.join("layers"))
    }

    /// No layer, nothing half-made, no process, no folder for sockets.
    fn assert_nothing_is_left(&self) {
        self.labbuild.assert_nothing_runs();
        assert_eq!(self.layers(), Vec::<PathBuf>::new());
        let work = entries(&self.labbuild.store.join("work"));
        let folders: Vec<&PathBuf> = work.iter().filter(|path| path.is_dir()).collect();
        assert_eq!(folders, Vec::<&PathBuf>::new());
    }

    /// Starts `up`; its events arrive on standard output.
    fn start(&self) -> Child {
        let mut up = self.labbuild.command(&["--json", "up", &self.path()]);
        up.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Starts `up` and returns when the installer has said this.
    fn start_until(&self, wanted: &str) -> Child {
        // Not what an earlier installer said.
        let _ = fs::remove_file(self.console());
        let mut up = self.start();
        let deadline = Instant::now() + SOON;
        let said = || fs::read(self.console()).map(|bytes| text(&bytes)).unwrap_or_default();
        while !said().contains(wanted) {
            assert!(up.try_wait().unwrap().is_none(), "up ended before `{wanted}`");
            assert!(Instant::now() < deadline, "no `{wanted}` in {}", said());
            std::thread::sleep(Duration::from_millis(200));
        }
        up
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The events of `up` until the base is stored and the lab itself begins to boot. It has no
/// system that could answer, so it is interrupted there.
fn events_until_stored(up: &mut Child) -> Vec<Value> {
    let lines = BufReader::new(up.stdout.take().unwrap()).lines();
    let mut events = Vec::new();
    for line in lines {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let booting = event["kind"] == "machine" && event["state"] == "booting";
        events.push(event);
        if booting {
            signal(up, "-INT");
        }
    }
    assert_eq!(up.wait().unwrap().code(), Some(130));
    events
}

/// A file on the first partition of a layer's disk.
fn on_disk(layer: &Path, file: &str) -> String {
    let raw = layer.with_extension("raw");
    let convert = ["convert", "-O", "raw"];
    let made = Command::new("qemu-img").args(convert).args([layer, &raw]).status().unwrap();
    assert!(made.success());
    let at = format!("{}?offset=1048576", raw.display());
    let read = Command::new("/sbin/debugfs").args(["-R", &format!("cat {file}"), &at]).output();
    fs::remove_file(&raw).unwrap();
    text(&read.unwrap().stdout)
}

#[test]
fn what_is_installed_becomes_a_layer() {
    let recipe = Recipe::new("installer");
    recipe.tell("install", "60s");
    let events = events_until_stored(&mut recipe.start());
    recipe.labbuild.assert_nothing_runs();

    // The console was followed, and is kept.
    let said = support::field(&events, "task-progress", "message");
    for progress in ["Creating ext2 on /dev/vda1", "Installing mark (", "Running post-install"] {
        assert!(said.iter().any(|message| message.starts_with(progress)), "{said:?}");
    }
    let shown = support::field(&events, "output", "line");
    assert!(shown.iter().any(|line| line == "fixture: told to install"), "{shown:?}");
    let console = fs::read(recipe.console()).unwrap();
    assert!(text(&console).contains("fixture: ks.cfg: network --hostname=one.example.org"));

    // What the fixture wrote is on the disk of the layer.
    let [layer] = recipe.layers().try_into().unwrap();
    let copy = recipe.dir.join("copy.qcow2");
    fs::copy(layer.join("disk.qcow2"), &copy).unwrap();
    assert_eq!(on_disk(&copy, "/root/mark"), "installed by the fixture\n");
    assert_eq!(on_disk(&copy, "/etc/hostname"), "one.example.org\n");
    let kickstart = KICKSTART.replace("{{ machine.name }}", "one");
    assert_eq!(on_disk(&copy, "/root/anaconda-ks.cfg"), kickstart);
    let cmdline = on_disk(&copy, "/root/cmdline");
    for word in ["inst.ks=hd:LABEL=OEMDRV:/ks.cfg", "ifname=ens38:", "nameserver=192.168.0.1"] {
        assert!(cmdline.contains(word), "{cmdline}");
    }
    assert!(cmdline.contains("ip=192.168.0.5::192.168.0.1:255.255.255.0:one:ens33:none"));

    // The lock says what was booted, and the plan that there is nothing to do.
    let lock = fs::read_to_string(recipe.dir.join("lab/labbuild.lock")).unwrap();
    let kernel = Digest::of_file(&recipe.fixture.kernel).unwrap().to_string();
    assert!(lock.contains("installer initrd") && lock.contains(&kernel), "{lock}");
    let plan = recipe.labbuild.result(&["plan", &recipe.path()]);
    assert_eq!(plan["plan"][0]["stored"], true, "{plan}");
    recipe.labbuild.ok(&["down", "--all"]);
}

#[test]
fn each_failure_is_told_soon_with_the_last_lines_and_leaves_nothing() {
    let recipe = Recipe::new("installer-failing");
    // Half a minute: on a busy host that emulates, a kernel may be silent for long, too.
    let failures = [
        ("traceback", "the installer failed: Traceback", "the fixture was told to fail"),
        ("ask", "asks a question, and nobody is there", "Please make your choice"),
        ("reboot", "started again instead of powering off", "Restarting system"),
        ("power-off-early", "powered off before the installer had finished", "Power down"),
        ("stall", "nothing new on the console for 30 s", "waiting for the network"),
    ];
    for (word, reason, line) in failures {
        recipe.tell(word, if word == "stall" { "30s" } else { "60s" });
        let begun = Instant::now();
        let error = recipe.labbuild.fails(1, &["up", &recipe.path()]);
        assert!(begun.elapsed() < SOON, "{word} took {:?}", begun.elapsed());
        let heading = error.lines().find(|l| l.starts_with("error: one was not installed: "));
        assert!(heading.is_some_and(|heading| heading.contains(reason)), "{word}: {error}");
        // The last lines, and the file that has all.
        assert!(error.lines().any(|l| l.contains("| ") && l.contains(line)), "{word}: {error}");
        assert!(error.contains(recipe.console().to_str().unwrap()), "{word}: {error}");
        let console = text(&fs::read(recipe.console()).unwrap());
        assert!(console.contains(&format!("fixture: told to {word}")), "{console}");
        recipe.assert_nothing_is_left();
    }
}

#[test]
fn interrupted_or_killed_nothing_goes_on() {
    let recipe = Recipe::new("installer-interrupted");
    recipe.tell("stall", "10m");
    let mut up = recipe.start_until("waiting for the network");
    signal(&up, "-INT");
    assert_eq!(up.wait().unwrap().code(), Some(130));
    recipe.assert_nothing_is_left();

    let mut up = recipe.start_until("waiting for the network");
    up.kill().unwrap();
    up.wait().unwrap();
    // Without another command.
    recipe.labbuild.assert_nothing_runs();
    // The next one sweeps the folder.
    recipe.labbuild.ok(&["status"]);
    recipe.assert_nothing_is_left();
}

#[test]
fn nothing_unverified_is_booted() {
    let recipe = Recipe::new("installer-unverified");
    recipe.tell("install", "60s");
    let file = recipe.dir.join("lab/images/fixture.yaml");
    let good = fs::read_to_string(&file).unwrap();
    let kernel = Digest::of_file(&recipe.fixture.kernel).unwrap().to_string();

    fs::write(&file, good.replace(&kernel, &"ab".repeat(32))).unwrap();
    let error = recipe.labbuild.fails(1, &["up", &recipe.path()]);
    assert!(error.contains(&kernel) && error.contains(&"ab".repeat(32)), "{error}");

    // A digest that is to come from a file which does not have it yet.
    let awaited = good.replace(&format!(", sha256: {kernel}"), "") + "sums: fixture.sums\n";
    fs::write(&file, awaited).unwrap();
    recipe.write("images/fixture.sums", "# to be filled\n");
    recipe.labbuild.ok(&["validate", &recipe.path()]);
    let plan = recipe.labbuild.ok(&["plan", &recipe.path()]);
    assert!(plan.contains("fixture.sums names no SHA-256 of `vmlinuz"), "{plan}");
    let error = recipe.labbuild.fails(1, &["up", &recipe.path()]);
    assert!(error.contains("nothing unverified is booted"), "{error}");
    recipe.assert_nothing_is_left();
    assert!(!recipe.console().exists(), "nothing was booted");
}
