//! Files of strangers: folders of images and recipes that try to write, read or hang where they should
//! not. Each attack aims at a marker that the test made.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use labbuild::digest::Digest;
use serde_json::{Value, json};

const UNTOUCHED: &str = "untouched\n";

struct Ground {
    dir: tempfile::TempDir,
}

impl Ground {
    fn new() -> Ground {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("marker"), UNTOUCHED).unwrap();
        Ground { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_labbuild"));
        command.env_remove("LABBUILD_STORE").env_remove("LABBUILD_CONNECT").stdin(Stdio::null());
        let begun = Instant::now();
        let output = command.arg("--store").arg(self.path("store")).args(args).output().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "{args:?}");
        assert_eq!(fs::read_to_string(self.path("marker")).unwrap(), UNTOUCHED);
        output
    }

    /// The command fails, and says this.
    fn refused(&self, args: &[&str], word: &str) {
        let output = self.run(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(matches!(output.status.code(), Some(1..=4)), "{args:?}: {said}");
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

/// A folder of images of one machine, `a`, which is changed before it is signed.
struct Images {
    folder: PathBuf,
    manifest: Value,
    sums: Vec<(String, String)>,
}

impl Images {
    fn new(ground: &Ground) -> Images {
        let folder = ground.path("deep/er/folder");
        fs::create_dir_all(&folder).unwrap();
        let disk = folder.join("a.qcow2");
        let mut create = Command::new("qemu-img");
        create.args(["create", "-q", "-f", "qcow2"]).arg(&disk).arg("1G");
        assert!(create.status().unwrap().success());
        let bytes = fs::read(&disk).unwrap();
        let image = json!({
            "machine": "a", "file": "a.qcow2", "size": bytes.len(), "virtual_size": 1 << 30,
            "sha256": Digest::of(&bytes), "kickstart": null,
        });
        let manifest = json!({
            "format": 2, "labbuild": "0.1.0", "stage": "s",
            "snapshot": "0".repeat(64), "recipe": "1".repeat(64),
            "topology": { "lab": "e", "title": "t", "networks": [network()], "machines": [machine("a")] },
            "readiness": { "waits": [], "exposed": [] }, "images": [image],
        });
        let sums = vec![(Digest::of(&bytes).to_string(), "a.qcow2".to_owned())];
        Images { folder, manifest, sums }
    }

    fn write(&self) -> String {
        let text = self.manifest.to_string();
        let mut sums = format!("{}  manifest.json\n", Digest::of(&text));
        for (digest, file) in &self.sums {
            sums.push_str(&format!("{digest}  {file}\n"));
        }
        fs::write(self.folder.join("manifest.json"), text).unwrap();
        fs::write(self.folder.join("SHA256SUMS"), sums).unwrap();
        self.folder.to_string_lossy().into_owned()
    }

    /// A further image, with its entry in the list of digests.
    fn add_image(&mut self, machine: &str, file: &str, bytes: &[u8]) {
        let digest = Digest::of(bytes).to_string();
        let image = json!({
            "machine": machine, "file": file, "size": bytes.len(), "virtual_size": 1 << 30,
            "sha256": digest, "kickstart": null,
        });
        self.manifest["images"].as_array_mut().unwrap().push(image);
        self.sums.push((digest, file.to_owned()));
    }
}

fn machine(name: &str) -> Value {
    json!({
        "name": name, "uuid": "34c9ce95-3aa1-84f7-acc7-5947c5c0f246", "cpus": 1, "memory_mib": 256,
        "disk_bytes": 1 << 30, "disk_serial": "lb0", "machine_type": "pc-q35-7.2",
        "cpu_model": "Nehalem",
        "nics": [{ "name": "ens3", "network": "n", "mac": "52:54:00:00:00:01", "address": "192.168.7.5" }],
    })
}

fn network() -> Value {
    json!({
        "name": "n", "uuid": "34c9ce95-3aa1-84f7-acc7-5947c5c0f247", "kind": "host-only",
        "network": "192.168.7.0", "prefix": 24, "host": "192.168.7.1", "gateway": null, "bridge": null,
    })
}

#[test]
fn two_machines_of_one_name_let_no_image_out_of_its_folder() {
    let ground = Ground::new();
    let mut images = Images::new(&ground);
    let twin = images.manifest["topology"]["machines"][0].clone();
    images.manifest["topology"]["machines"].as_array_mut().unwrap().push(twin);
    // What the same path means beside the folder, and where the images are copied to.
    fs::write(ground.path("deep/marker"), "overwritten\n").unwrap();
    for up in 1..7 {
        let mut images = Images {
            folder: images.folder.clone(),
            manifest: images.manifest.clone(),
            sums: images.sums.clone(),
        };
        images.add_image("x", &format!("{}marker", "../".repeat(up)), b"overwritten\n");
        ground.refused(&["up", &images.write()], "the images are not used");
    }
}

#[test]
fn an_image_of_no_machine_or_with_another_name_is_refused_by_name() {
    let ground = Ground::new();
    for (machine, file, word) in [
        ("x", "x.qcow2", "which is no machine of it"),
        ("a", "a.qcow2", "no image or several"),
        ("a", "../a.qcow2", "not a.qcow2"),
        ("a", "/etc/cron.d/evil", "not a.qcow2"),
        ("a", "b.qcow2", "not a.qcow2"),
        ("a/../../x", "a/../../x.qcow2", "no machine of it"),
    ] {
        let mut images = Images::new(&ground);
        images.add_image(machine, file, b"overwritten\n");
        ground.refused(&["up", &images.write()], word);
        fs::remove_dir_all(images.folder).unwrap();
    }
}

#[test]
fn an_image_that_is_a_link_or_not_what_the_manifest_says_is_not_copied() {
    let ground = Ground::new();
    let images = Images::new(&ground);
    let folder = images.write();
    let disk = images.folder.join("a.qcow2");
    let whole = fs::read(&disk).unwrap();
    fs::rename(&disk, ground.path("elsewhere.qcow2")).unwrap();
    symlink(ground.path("elsewhere.qcow2"), &disk).unwrap();
    ground.refused(&["up", &folder], "it is a link");
    fs::remove_file(&disk).unwrap();
    fs::write(&disk, &whole[..whole.len() - 1]).unwrap();
    ground.refused(&["up", &folder], "bytes, not");
    let mut other = whole.clone();
    *other.last_mut().unwrap() ^= 1;
    fs::write(&disk, &other).unwrap();
    ground.refused(&["up", &folder], "SHA-256");
    // A backing file, with digests that fit.
    let mut backed = whole;
    backed[15] = 104;
    fs::write(&disk, &backed).unwrap();
    let mut images = Images { folder: images.folder, ..Images::new(&Ground::new()) };
    images.manifest["images"][0]["sha256"] = json!(Digest::of(&backed));
    images.sums[0].0 = Digest::of(&backed).to_string();
    ground.refused(&["up", &images.write()], "backing file");
    assert!(!ground.path("store/imported").exists());
}

#[test]
fn a_manifest_that_never_ends_or_waits_is_refused_at_once() {
    let ground = Ground::new();
    let images = Images::new(&ground);
    let folder = images.write();
    for name in ["manifest.json", "SHA256SUMS"] {
        let file = images.folder.join(name);
        let private = ground.path("marker");
        for target in [Path::new("/proc/self/pagemap"), Path::new("/proc/kmsg"), &private] {
            fs::remove_file(&file).unwrap();
            symlink(target, &file).unwrap();
            ground.refused(&["up", &folder], "link");
        }
        fs::remove_file(&file).unwrap();
        fs::File::create(&file).unwrap().set_len(20 << 30).unwrap();
        ground.refused(&["up", &folder], "are allowed");
        images.write();
    }
}

const LAB: &str = "schema: 1\nname: e\ntitle: E\nbase: mine\nstages: [10.yaml]\nnetworks:\n  n: { kind: host-only, subnet: 192.168.7.0/24, host: 192.168.7.1 }\nmachines:\n  a:\n    memory: 1 GiB\n    disk: 10 GiB\n    kickstart: a.ks\n    nics: [{ name: ens3, network: n, address: 192.168.7.5 }]\n";
const STAGE: &str = "title: S\nsteps: [{ name: N, machine: a, run: 'true' }]\n";
const BASE: &str = "kind: bootstrap\ntitle: N\nsuite: n\narchitecture: amd64\nvariant: important\ntime: 2026-11-01T00:00:00Z\nsources: [\"deb http://127.0.0.1:9 n main\"]\npackages: []\n";
const KICKSTART: &str = "lang en_US.UTF-8\nkeyboard us\ntimezone Etc/UTC --utc\nrootpw secret\nclearpart --all\npart / --size=1 --grow\n%packages\n%end\n";

fn recipe(ground: &Ground, name: &str) -> PathBuf {
    let folder = ground.path(name);
    fs::create_dir(&folder).unwrap();
    for (file, text) in
        [("lab.yaml", LAB), ("10.yaml", STAGE), ("mine.yaml", BASE), ("a.ks", KICKSTART)]
    {
        fs::write(folder.join(file), text).unwrap();
    }
    folder
}

fn replaced_by_link(file: &Path, target: &Path) {
    let _ = fs::remove_file(file);
    symlink(target, file).unwrap();
}

#[test]
fn a_recipes_files_are_its_own_and_have_an_end() {
    let ground = Ground::new();
    fs::write(ground.path("private"), "secret-of-the-user: 1\n").unwrap();
    for file in ["lab.yaml", "10.yaml", "mine.yaml", "a.ks", "labbuild.lock"] {
        let folder = recipe(&ground, "recipe");
        let shown = folder.to_string_lossy().into_owned();
        assert_eq!(ground.run(&["plan", &shown]).status.code(), Some(0));
        let private = ground.path("private");
        for target in [Path::new("/proc/self/pagemap"), Path::new("/proc/kmsg"), &private] {
            replaced_by_link(&folder.join(file), target);
            let output = ground.run(&["plan", &shown]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success(), "{file} {target:?}");
            assert!(!said.contains("secret-of"), "{said}");
        }
        fs::remove_file(folder.join(file)).unwrap();
        fs::File::create(folder.join(file)).unwrap().set_len(20 << 30).unwrap();
        ground.refused(&["plan", &shown], "are allowed");
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn a_disk_base_shows_nothing_of_a_private_file() {
    let ground = Ground::new();
    let folder = recipe(&ground, "recipe");
    fs::write(ground.path("private"), "secret of the user\n").unwrap();
    let digest = Digest::of("secret of the user\n").to_string();
    let private = ground.path("private").to_string_lossy().into_owned();
    for path in [&private, "/proc/kmsg", "/dev/zero", "/proc/self/pagemap"] {
        let base = format!(
            "kind: disk\ntitle: D\npath: {path}\nsha256: \"{}\"\ntime: 2026-11-01T00:00:00Z\n",
            "0".repeat(64)
        );
        fs::write(folder.join("mine.yaml"), base).unwrap();
        fs::write(folder.join("lab.yaml"), LAB.replace("    kickstart: a.ks\n", "")).unwrap();
        let output = ground.run(&["build", &folder.to_string_lossy()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(!said.contains(&digest) && !said.contains("secret of"), "{said}");
        assert!(said.contains("not a qcow2") || said.contains("not a regular file"), "{said}");
    }
}

#[test]
fn a_kickstart_that_doubles_a_text_is_a_fault_and_not_the_end_of_memory() {
    let ground = Ground::new();
    let folder = recipe(&ground, "recipe");
    let doubled = "{% set a = a ~ a %}".repeat(36);
    fs::write(folder.join("a.ks"), format!("{{% set a = 'x' %}}{doubled}\n{KICKSTART}")).unwrap();
    ground.refused(&["plan", &folder.to_string_lossy()], "too long a text");
}

/// What a recipe is drawn as, with its title from a variable.
fn title(ground: &Ground, folder: &Path, args: &[&str]) -> Output {
    let recipe = folder.to_string_lossy();
    ground.run(&[&["graph", &recipe][..], args].concat())
}

#[test]
fn a_secret_comes_from_a_file_and_a_bad_file_is_named() {
    let ground = Ground::new();
    let folder = recipe(&ground, "recipe");
    let lab = LAB.replace("title: E", "title: \"{{ motto }}\"\nvars: { motto: none }");
    fs::write(folder.join("lab.yaml"), lab).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        fs::write(ground.path(name), bytes).unwrap();
        format!("motto={}", ground.path(name).display())
    };
    let set = file("secret", b"to the letter\n");
    let drawn = title(&ground, &folder, &["--set-file", &set]);
    assert!(String::from_utf8_lossy(&drawn.stdout).contains("to the letter"));
    let large = file("large", &[b'x'; (64 << 10) + 1]);
    let binary = file("binary", &[0xff]);
    let here = format!("motto={}", ground.dir.path().display());
    for (args, word) in [
        (&["--set-file", "motto=/no/such/file"][..], "/no/such/file"),
        (&["--set-file", &large], "are allowed"),
        (&["--set-file", &binary], "UTF-8"),
        (&["--set-file", &here], "folder"),
        (&["--set-file", "motto=/proc/self/environ"], "regular file"),
        (&["--set-file", &set, "--set", "motto=x"], "set twice"),
        (&["--set-file", &set, "--set-file", &set], "set twice"),
        (&["--set-file", "motto=-", "--set-file", "b=-"], "standard input"),
        (&["--set-file", "motto"], "KEY=FILE"),
    ] {
        let output = title(&ground, &folder, args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(word), "{args:?}: {said}");
    }
}

#[test]
fn a_store_is_its_owners_alone_whatever_it_was() {
    use std::os::unix::fs::PermissionsExt;
    let ground = Ground::new();
    let folder = recipe(&ground, "recipe").to_string_lossy().into_owned();
    fs::create_dir(ground.path("store")).unwrap();
    fs::set_permissions(ground.path("store"), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(!ground.run(&["up", &folder]).status.success());
    let mut folders = vec![ground.path("store")];
    let mut seen = 0;
    while let Some(path) = folders.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        assert_eq!(meta.permissions().mode() & 0o077, 0, "{}", path.display());
        seen += 1;
        if meta.is_dir() {
            folders.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    assert!(seen > 2, "a store was made");
}

#[test]
fn faults_and_files_without_end_and_names_that_steer_a_terminal_do_no_harm() {
    let ground = Ground::new();
    let folder = recipe(&ground, "recipe");
    let shown = folder.to_string_lossy().into_owned();
    let keys: String = (0..40_000).map(|i| format!("key{i}: 1\n")).collect();
    fs::write(folder.join("lab.yaml"), format!("{LAB}{keys}")).unwrap();
    let begun = Instant::now();
    ground.refused(&["validate", &shown], "39900 more faults");
    assert!(begun.elapsed() < Duration::from_secs(10));
    fs::write(folder.join("lab.yaml"), LAB).unwrap();
    let stage = "title: S\nsteps: [{ name: N, machine: a, copy: { from: big, to: /big } }]\n";
    fs::write(folder.join("10.yaml"), stage).unwrap();
    fs::File::create(folder.join("big")).unwrap().set_len(1 << 40).unwrap();
    ground.refused(&["validate", &shown], "may have 1 GiB");
    fs::remove_dir_all(&folder).unwrap();
    let steering = recipe(&ground, "a\u{1b}[31mb\u{202e}c").to_string_lossy().into_owned();
    let drawing = ground.path("x\u{1b}[2Jy.svg").to_string_lossy().into_owned();
    for args in
        [&["validate", &steering][..], &["plan", &steering], &["graph", &steering, "-o", &drawing]]
    {
        let output = ground.run(args);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said:?}");
    }
}

/// The environment is emptied on the way into a cage, but not of how to fetch.
#[test]
fn what_fetches_uses_the_proxy_of_the_environment() {
    use std::io::{BufRead, BufReader};
    let ground = Ground::new();
    let folder = recipe(&ground, "recipe");
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (stream, _) = proxy.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    });
    let mut up = Command::new(env!("CARGO_BIN_EXE_labbuild"));
    up.arg("--store").arg(ground.path("store")).arg("up").arg(&folder).stdin(Stdio::null());
    assert!(!up.env("http_proxy", address).output().unwrap().status.success());
    let line = asked.join().unwrap();
    assert!(line.starts_with("GET http://127.0.0.1:9/dists/n/"), "{line}");
}
