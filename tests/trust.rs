//! What `labbuild plan --trust` tells somebody about a recipe that is not theirs.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn plan(recipe: &Path, args: &[&str]) -> Output {
    let store = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_labbuild"));
    command.env_remove("LABBUILD_STORE").env_remove("LABBUILD_CONNECT");
    let output = command.arg("--store").arg(store.path()).arg("plan").arg(recipe).args(args);
    let output = output.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn said(recipe: &Path) -> String {
    let text = String::from_utf8(plan(recipe, &["--trust"]).stdout).unwrap();
    text[text.find("\nWhat ").unwrap()..].to_owned()
}

fn value(recipe: &Path) -> Value {
    let output = plan(recipe, &["--json"]);
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["value"]["trust"].clone()
}

fn shipped(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes").join(name)
}

#[test]
fn a_shipped_recipe_is_told_whole() {
    insta::assert_snapshot!(said(&shipped("two-node")));
}

#[test]
fn without_the_flag_people_see_the_stages_alone_and_programs_see_all() {
    let recipe = shipped("two-node");
    let text = String::from_utf8(plan(&recipe, &[]).stdout).unwrap();
    assert!(text.contains("20-mariadb") && !text.contains("127.0.0.1"), "{text}");
    let value = value(&recipe);
    assert_eq!(value["bases"][0]["place"], "cage");
    assert_eq!(value["bases"][0]["scripts"][0]["section"], "%post");
    assert_eq!(value["machines"][1]["machine"], "compute1");
    assert_eq!(value["networks"][1]["leads_out"], true);
}

#[test]
fn what_an_installer_fetches_and_what_is_opened_and_copied_is_told() {
    let said = said(&shipped("openstack-pike"));
    for words in [
        "a machine boots the installer, with the way out",
        "downloads its kernel https://",
        "what it installs is for the installer to check",
        "packages in the guest",
        "tiny-image.sh to /root/tiny-image.sh of controller",
        "dashboard: port 8080, or a free one, leads to port 80 of controller",
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
}

const LAB: &str = "schema: 1\nname: odd\ntitle: Odd\nbase: BASE\n\
networks: { inside: { kind: isolated, subnet: 10.9.0.0/24 } }\n\
machines: { a: { cpus: 1, memory: 1 GiB, disk: 4 GiB, KICKSTART\
nics: [{ name: eth0, network: inside, address: 10.9.0.2 }] } }\n\
stages: [10.yaml]\n";
const OTHERS: &str = "kind: bootstrap\ntitle: Somebody's Debian\nsuite: bookworm\narchitecture: amd64\n\
variant: important\ntime: 2026-11-01T00:00:00Z\nsources:\n\
- deb default bookworm main\n- deb [signed-by=theirs.asc] https://debs.example/x there main extra\n\
packages: [cron, udev]\n";
const KEY: &str =
    "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n";
const KICKSTART: &str = "lang en_US.UTF-8\nrootpw --lock\npart / --grow --size=1\n%packages\ncron\nless\n%end\n\
%post --interpreter=/usr/bin/perl\n1;\n%end\n";

fn recipe(base: &str, kickstart: bool) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let key = if kickstart { "kickstart: a.ks, " } else { "" };
    write("lab.yaml", &LAB.replace("BASE", base).replace("KICKSTART", key));
    write("10.yaml", "title: S\nsteps: [{ name: N, machine: a, copy: { from: f, to: /f } }]\n");
    write("f", "x");
    for folder in ["images", "kickstart"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    write("kickstart/a.ks", KICKSTART);
    write("images/others.yaml", OTHERS);
    write("images/theirs.asc", KEY);
    let disk = "kind: disk\ntitle: A disk\ntime: 2026-11-01T00:00:00Z\nurl: https://disks.example/d.qcow2\n";
    write("images/disk.yaml", &format!("{disk}sha256: {}\n", "0".repeat(64)));
    dir
}

#[test]
fn archives_of_strangers_are_told_with_their_keys_and_packages_are_counted_once() {
    let dir = recipe("others", true);
    let said = said(dir.path());
    for words in [
        "from https://debs.example/x there main extra; signed by theirs.asc, which comes with the recipe",
        "from this host's archive, or Debian's, bookworm main; signed by a key of this host",
        "3 packages by name",
        "run by /usr/bin/perl",
        "%post at a.ks:8",
        "f to /f of a",
        "inside 10.9.0.0/24: its machines alone",
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
}

#[test]
fn a_download_is_told_with_what_it_must_be() {
    let dir = recipe("disk", false);
    let said = said(dir.path());
    let zeros = "0".repeat(64);
    let line = format!("downloads its disk https://disks.example/d.qcow2; SHA-256 {zeros}");
    assert!(said.contains(&line), "{said}");
    assert!(said.contains("nothing runs"), "{said}");
    assert_eq!(value(dir.path())["bases"][0]["files"][0]["download"], true);
}
