//! Recipes with faults, each with the whole message it must give, and one without.
//!
//! Every folder of `tests/recipes` is loaded; what is said is held against `expected.snap` in it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use labbuild::recipe::{self, Action, InstallWhen, Lab, LoadError};
use serde_json::Value;

fn none() -> BTreeMap<String, String> {
    BTreeMap::new()
}

fn set(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

fn broken() -> Vec<PathBuf> {
    let entries = Path::new("tests/recipes").read_dir().unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

#[test]
fn every_broken_recipe_says_all_that_is_wrong_with_it() {
    let folders = broken();
    assert!(folders.len() >= 14);
    for folder in folders {
        let said = match recipe::load(&folder, &none()) {
            Ok(_) => panic!("{} has no faults", folder.display()),
            Err(error) => error.to_string(),
        };
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(Path::new("..").join(&folder));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!("expected", said));
    }
}

/// Recipes whose faults a schema can see.
const STRUCTURAL: [&str; 11] = [
    "actions",
    "bad-values",
    "empty-lab",
    "empty-stage",
    "exposed",
    "leading-out",
    "missing-keys",
    "newer-format",
    "tags-and-lists",
    "unknown-keys",
    "wrong-types",
];

fn schema_accepts(schema: &jsonschema::Validator, file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap();
    let options = serde_saphyr::options! { strict_booleans: true };
    let value: Value = serde_saphyr::from_str_with_options(&text, options).unwrap();
    schema.is_valid(&value)
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file() && path.extension().is_some_and(|e| e == "yaml")).collect()
}

#[test]
fn the_schema_accepts_what_is_right_and_refuses_what_is_wrong_in_form() {
    let schema = jsonschema::validator_for(&recipe::schema()).unwrap();
    let shipped = [
        "recipes/openstack-pike",
        "recipes/openstack-zed",
        "recipes/two-node",
        "stages",
        "stages/openstack",
        "stages/system",
    ]
    .map(Path::new);
    for file in shipped.into_iter().flat_map(yaml_files) {
        assert!(schema_accepts(&schema, &file), "{}", file.display());
    }
    for name in STRUCTURAL {
        let files = yaml_files(&Path::new("tests/recipes").join(name));
        assert!(files.iter().any(|file| !schema_accepts(&schema, file)), "{name}");
    }
    // What only the whole lab can tell is not the schema's business.
    for name in ["deadlock", "addresses", "gateways"] {
        for file in yaml_files(&Path::new("tests/recipes").join(name)) {
            assert!(schema_accepts(&schema, &file), "{}", file.display());
        }
    }
}

#[test]
fn what_the_schema_refuses_the_reader_refuses() {
    let schema = jsonschema::validator_for(&recipe::schema()).unwrap();
    let lab = fs::read_to_string("recipes/two-node/lab.yaml").unwrap();
    let right: Value = serde_saphyr::from_str(&lab).unwrap();
    let folder = two_node();
    for (pointer, key) in [("", "x"), ("/machines/compute1", "ram"), ("/networks/vmnet2", "y")] {
        let mut wrong = right.clone();
        wrong.pointer_mut(pointer).unwrap()[key] = Value::from(1);
        assert!(!schema.is_valid(&wrong), "{pointer}");
        // JSON is YAML.
        fs::write(folder.path().join("lab/lab.yaml"), wrong.to_string()).unwrap();
        let said = recipe::load(&folder.path().join("lab"), &none()).unwrap_err().to_string();
        assert!(said.contains(&format!("unknown key `{key}`")), "{said}");
    }
}

/// The recipe in a folder of its own, with kickstarts and shared stages beside it.
fn two_node() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let parts = ["stages", "stages/system"].map(|part| (part, part));
    for (from, to) in [("recipes/two-node", "lab")].into_iter().chain(parts) {
        let to = root.path().join(to);
        fs::create_dir_all(&to).unwrap();
        for file in yaml_files(Path::new(from)) {
            fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }
    fs::create_dir(root.path().join("kickstart")).unwrap();
    for name in ["controller.ks", "compute1.ks"] {
        fs::write(root.path().join("kickstart").join(name), "text\n").unwrap();
    }
    root
}

fn load_two_node(overrides: &BTreeMap<String, String>) -> Lab {
    let root = two_node();
    recipe::load(&root.path().join("lab"), overrides).unwrap_or_else(|error| panic!("{error}"))
}

fn actions(lab: &Lab) -> impl Iterator<Item = &Action> {
    lab.stages.iter().flat_map(|stage| &stage.steps).map(|step| &step.action)
}

#[test]
fn two_node_is_chapter_one() {
    let lab = load_two_node(&none());
    let address = |machine: usize, nic: usize| {
        let nic = &lab.machines[machine].nics[nic];
        let text = |address: Option<_>| address.map(|a: std::net::Ipv4Addr| a.to_string());
        (nic.name.as_str(), nic.network.as_str(), text(nic.address), text(nic.gateway))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(address(0, 0), ("ens33", "bridged", some("192.168.0.11"), some("192.168.0.1")));
    assert_eq!(address(0, 1), ("ens37", "hostonly", some("172.16.251.11"), None));
    assert_eq!(address(1, 0), ("ens37", "hostonly", some("172.16.251.12"), some("172.16.251.11")));
    assert_eq!(address(1, 1), ("ens38", "vmnet2", None, None));
    let stages: Vec<&str> = lab.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(stages, ["10-system", "20-mariadb"]);
    let all = serde_json::to_string(&actions(&lab).collect::<Vec<_>>()).unwrap();
    for part in [
        r"172.16.251.11 controller.openstack.com controller\n172.16.251.12 compute1.openstack.com",
        "*/3 * * * * /usr/sbin/ntpdate 192.168.0.1 &> /dev/null",
        "POSTROUTING -s 172.16.251.0/24 -j SNAT --to-source 192.168.0.11",
        "mariadb-server",
        "\"reboot\"",
    ] {
        assert!(all.contains(part), "{part}\n{all}");
    }
    let in_base = |action: &Action| match action {
        Action::Packages { when, .. } => *when == InstallWhen::InBase,
        _ => true,
    };
    assert!(actions(&lab).all(in_base));
}

#[test]
fn overrides_reach_every_text_and_must_be_declared() {
    let lab = load_two_node(&set("domain", "example.org"));
    let all = serde_json::to_string(&actions(&lab).collect::<Vec<_>>()).unwrap();
    assert!(all.contains("controller.example.org controller") && !all.contains("openstack.com"));
    let said = recipe::load(&two_node().path().join("lab"), &set("domian", "x")).unwrap_err();
    let LoadError::Faults(faults) = said else { panic!("{said}") };
    let [fault] = &faults.0[..] else { panic!("{faults}") };
    assert!(fault.message.contains("the command line sets `domian`"), "{fault}");
    assert_eq!(fault.help.as_deref(), Some("did you mean `domain`?"));
}

#[test]
fn no_truncation_of_a_recipe_is_more_than_a_fault() {
    let folder = two_node();
    let lab = folder.path().join("lab");
    for file in [lab.join("lab.yaml"), folder.path().join("stages/10-system.yaml")] {
        let whole = fs::read(&file).unwrap();
        // A stride without a rhythm of its own lands in every kind of place.
        for end in (0..whole.len()).step_by(29) {
            fs::write(&file, &whole[..end]).unwrap();
            match recipe::load(&lab, &none()) {
                Ok(loaded) => assert_eq!(loaded.name, "two-node"),
                Err(LoadError::Faults(faults)) => assert!(!faults.0.is_empty()),
                Err(other) => panic!("{end}: {other}"),
            }
        }
        fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn a_recipe_may_be_named_by_its_file_and_messages_are_relative() {
    let here = std::env::current_dir().unwrap();
    let by_file = recipe::load(&here.join("tests/recipes/tabs/lab.yaml"), &none()).unwrap_err();
    let by_folder = recipe::load(Path::new("./tests/recipes/tabs/"), &none()).unwrap_err();
    assert_eq!(by_file.to_string(), by_folder.to_string());
    assert!(by_file.to_string().starts_with("tests/recipes/tabs/10-system.yaml:"));
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let gone = recipe::load(&folder.path().join("nowhere"), &none()).unwrap_err();
    assert!(matches!(&gone, LoadError::NotFound { .. }), "{gone}");
    assert!(gone.to_string().contains("nowhere"), "{gone}");
}

const EVERYTHING: &str = r#"
title: Every action, in every form
steps:
  - { name: run, machine: a, run: "echo {{ word | sh }}", secret: true, timeout: 1m30s, retry: 3 }
  - { name: content, id: one, machine: [a, b], file: { path: /x, content: "", mode: "0600", owner: root:adm } }
  - { name: append, machine: all, after: one, file: { path: /x, append: y } }
  - { name: lines, machine: b, after: [one], file: { path: /x, lines: [y, "{{ word }}"] } }
  - { name: absent, machine: b, file: { path: /x, absent: true } }
  - { name: copy, machine: a, copy: { from: 10.yaml, to: /y, mode: "755" }, retry: { times: 2, delay: 0s } }
  - name: ini
    machine: a
    ini: { path: /z, set: { DEFAULT: { port: 11211, debug: true, mode: 0644, word: yes, gone: null, also: } } }
  - { name: packages, machine: a, packages: [cron] }
  - { name: more packages, machine: a, packages: { names: [cron, g++], install: in-guest } }
  - { name: service, machine: a, service: { name: [cron, ssh.service], enabled: "{{ truth }}", state: reloaded } }
  - { name: sql, machine: a, sql: SELECT 1 }
  - { name: more sql, machine: a, sql: { script: SELECT 1, database: nova, password: "{{ word }}" } }
  - { name: reboot, machine: a, reboot: true }
  - { name: port, machine: a, wait-for: { port: "{{ port }}", host: b } }
  - { name: own port, machine: a, wait-for: { port: 80 } }
  - { name: unit, machine: a, wait-for: { unit: cron } }
  - { name: command, machine: a, wait-for: { command: test -e /x, service: cron } }
  - { name: services, machine: a, wait-for: { port: 9292, service: [httpd, memcached] } }
  - { name: values, machine: a, secret: values, run: "echo {{ word | sh }} {{ port }}" }
checks:
  - { machine: a, run: "\n  first\nsecond" }
  - machine: all
    name: named
    run: ls
    timeout: 5s
    retry: { times: 4 }
    expect: { status: 2, stdout-contains: x, stdout-lacks: [y, z], stdout-is: "", stdout-matches: ^a$ }
"#;

#[test]
fn every_form_of_every_action_is_read_and_fits_the_schema() {
    let folder = tempfile::tempdir().unwrap();
    let lab = "{ schema: 1, name: every, title: T, base: b, networks: { n: { kind: isolated, \
               subnet: 10.0.0.0/30 }, h: { kind: host-only, subnet: 10.0.1.0/30, host: 10.0.1.1 } }, machines: { a: { memory: '{{ mem }} MiB', disk: 1GiB, \
               cpus: '{{ cpus }}' }, b: { base: c, memory: 64 MiB, disk: 2 TiB, \
               hardware: { cpu-model: host } }, d: { memory: 1 GiB, disk: 1 GiB, \
               nics: [{ name: e, network: h, address: 10.0.1.2 }] } }, vars: { word: it's, truth: true, port: 0o120, \
               mem: 128, cpus: 3 }, stages: [10.yaml], expose: [ \
               { name: web, machine: d, port: '{{ port }}', host-port: 8080, path: '/{{ word }}/' }, \
               { name: ssh, machine: d, port: 22 } ] }";
    fs::write(folder.path().join("lab.yaml"), lab).unwrap();
    fs::write(folder.path().join("10.yaml"), EVERYTHING).unwrap();
    let schema = jsonschema::validator_for(&recipe::schema()).unwrap();
    for file in yaml_files(folder.path()) {
        assert!(schema_accepts(&schema, &file), "{}", file.display());
    }
    let lab =
        recipe::load(folder.path(), &set("port", "8080")).unwrap_or_else(|error| panic!("{error}"));
    let shown = format!("{:#?}\n{:#?}\n{:#?}", lab.machines, lab.exposed, lab.stages);
    let shown = shown.replace(&lab.dir.display().to_string(), "DIR");
    // Places are not the point here, and hold the folder's name.
    let lines: Vec<&str> = shown.lines().filter(|line| !line.contains("file: \"")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}
