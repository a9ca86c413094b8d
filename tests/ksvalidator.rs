//! The templates of the project against `ksvalidator`, the judge that Anaconda's own project
//! ships. Single lines are compared in `kickstart_parity.rs`.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use labbuild::base::Definition;
use labbuild::host::Cmd;
use labbuild::kickstart::{Command, Kickstart, ScriptKind, notices, parse, read, render};
use labbuild::plan::Plan;
use serde_json::{Value, json};

/// `ksvalidator`, or why there is none.
fn validator() -> String {
    let named = std::env::var_os("KSVALIDATOR").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("ksvalidator"));
    let found = named.into_iter().chain(on_path).find(|program| program.is_file());
    let missing = "ksvalidator is not installed: ./scripts/test installs it";
    found.expect(missing).to_str().unwrap().to_owned()
}

/// What `ksvalidator -v RHEL7` says about a text: `Err` holds its words.
fn verdict(validator: &str, text: &str) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ks.cfg");
    std::fs::write(&file, text).unwrap();
    let command = Cmd::new(validator).args(["-v", "RHEL7"]).arg(&file);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(command.run()).map(|_| ()).map_err(|error| error.to_string())
}

fn nic(name: &str, network: &str, address: Option<&str>, gateway: Option<&str>) -> Value {
    let kind = match network {
        "bridged" => "bridged",
        "hostonly" => "host-only",
        _ => "isolated",
    };
    json!({
        "name": name, "mac": "52:54:00:00:00:01", "network": network, "kind": kind,
        "address": address, "gateway": gateway,
        "netmask": address.map(|_| "255.255.255.0"), "prefix": address.map(|_| 24),
    })
}

/// What the recipe of two machines gives to its templates.
fn context(machine: &str) -> Value {
    let controller = json!([
        nic("ens33", "bridged", Some("192.168.0.11"), None),
        nic("ens37", "hostonly", Some("172.16.251.11"), None),
    ]);
    let compute1 = json!([
        nic("ens37", "hostonly", Some("172.16.251.12"), Some("172.16.251.11")),
        nic("ens38", "vmnet2", None, None),
    ]);
    let nics = if machine == "controller" { controller } else { compute1 };
    let network = |kind: &str, subnet: &str, host: Option<&str>, gateway: Option<&str>| {
        json!({ "kind": kind, "subnet": subnet, "netmask": "255.255.255.0", "prefix": 24,
                "host": host, "gateway": gateway })
    };
    json!({
        "lab": { "name": "two-node", "title": "Two machines, it's three networks" },
        "machine": { "name": machine, "cpus": 2, "memory_mib": 2048, "disk_mib": 20480,
                     "nics": nics },
        "machines": {},
        "networks": {
            "hostonly": network("host-only", "172.16.251.0/24", Some("172.16.251.1"), None),
            "bridged": network("bridged", "192.168.0.0/24", None, Some("192.168.0.1")),
            "vmnet2": network("isolated", "192.168.100.0/24", None, None),
        },
        "nameservers": ["192.168.0.1"],
        "vars": {},
    })
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kickstart")
}

fn rendered_with(machine: &str, context: &Value) -> String {
    let file = format!("{machine}.ks");
    let template = std::fs::read_to_string(folder().join(&file)).unwrap();
    let load = |name: &str| Ok(std::fs::read_to_string(folder().join(name)).ok());
    render(&template, &file, context, load).unwrap_or_else(|faults| panic!("{faults}"))
}

fn rendered(machine: &str) -> String {
    rendered_with(machine, &context(machine))
}

fn parsed(text: &str) -> Kickstart {
    let mut none = |name: &str| Err(format!("no `{name}`"));
    parse(text, "rendered.ks", &mut none).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

#[test]
fn templates_pass_the_validator_and_our_reader() {
    let validator = validator();
    for machine in ["controller", "compute1"] {
        let text = rendered(machine);
        insta::assert_snapshot!(machine, text);
        verdict(&validator, &text).unwrap_or_else(|words| panic!("{words}\n{text}"));
        let kickstart = parsed(&text);
        assert!(kickstart.commands.len() > 12);
        assert_eq!(kickstart.scripts.len(), 1);
    }
}

/// The kickstarts of the recipes that Anaconda installs, as it would get them.
#[test]
fn the_kickstarts_of_centos_pass_the_validator_and_prepare_the_guest() {
    let validator = validator();
    let plan = Plan::load(Path::new("recipes/openstack-pike"), &Default::default());
    let plan = plan.unwrap_or_else(|e| panic!("{e}"));
    for machine in &plan.machines {
        assert!(matches!(machine.definition, Definition::Installer(_)), "{}", machine.name);
        let Some(kickstart) = &machine.kickstart else { panic!("{} has none", machine.name) };
        let text = &kickstart.text;
        insta::assert_snapshot!(format!("centos-7-{}", machine.name), text);
        verdict(&validator, text).unwrap_or_else(|words| panic!("{words}\n{text}"));
        let ends =
            kickstart.commands.commands.iter().any(|c| matches!(c.value, Command::Poweroff { .. }));
        assert!(ends, "{}", machine.name);
        let hardware = plan.topology.machine(&machine.name).unwrap();
        for nic in &hardware.nics {
            let rule = format!(
                r#"ATTR{{address}}=="{}", ATTR{{type}}=="1", NAME="{}""#,
                nic.mac, nic.name
            );
            assert!(text.contains(&rule), "{rule}\n{text}");
        }
        judge_scripts(&kickstart.commands);
    }
}

/// `%post` before bash and shellcheck, and at work on a copy of what it edits.
fn judge_scripts(kickstart: &Kickstart) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("post");
    let post: Vec<_> =
        kickstart.scripts.iter().filter(|s| s.value.kind == ScriptKind::Post).collect();
    let [post] = post[..] else { panic!("one %post") };
    std::fs::write(&file, format!("#!/bin/bash\n{}", post.value.body)).unwrap();
    for program in [&["bash", "-n"][..], &["shellcheck", "--shell=bash", "--severity=warning"]] {
        let run = std::process::Command::new(program[0]).args(&program[1..]).arg(&file).output();
        let run = run.unwrap_or_else(|e| panic!("{program:?}: {e}; ./scripts/test installs it"));
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
    }
    let root = dir.path().display().to_string();
    let script =
        post.value.body.replace("/etc/", &format!("{root}/etc/")).replace("systemctl ", ": ");
    for (path, text) in [
        ("etc/sysconfig/qemu-ga", "# Comment\nBLACKLIST_RPC=guest-file-open,guest-exec\n"),
        ("etc/udev/rules.d/none", ""),
        ("etc/yum.repos.d/CentOS-Base.repo", BASE_REPO),
    ] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let run = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let read = |path: &str| std::fs::read_to_string(dir.path().join(path)).unwrap();
    assert_eq!(read("etc/sysconfig/qemu-ga"), "# Comment\nBLACKLIST_RPC=\n");
    let rules = read("etc/udev/rules.d/70-persistent-net.rules");
    assert_eq!(rules.lines().filter(|line| line.starts_with("SUBSYSTEM")).count(), 2, "{rules}");
    insta::assert_snapshot!("centos-7-base-repo", read("etc/yum.repos.d/CentOS-Base.repo"));
}

/// As CentOS 7 installs it, but for all comments and most sections.
const BASE_REPO: &str = "\
[base]
name=CentOS-$releasever - Base
mirrorlist=http://mirrorlist.centos.org/?release=$releasever&arch=$basearch&repo=os&infra=$infra
#baseurl=http://mirror.centos.org/centos/$releasever/os/$basearch/
gpgcheck=1
gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-CentOS-7

[updates]
name=CentOS-$releasever - Updates
mirrorlist=http://mirrorlist.centos.org/?release=$releasever&arch=$basearch&repo=updates&infra=$infra
#baseurl=http://mirror.centos.org/centos/$releasever/updates/$basearch/
";

#[test]
fn templates_name_every_interface_and_one_way_out() {
    for (machine, gateway) in [("controller", "192.168.0.1"), ("compute1", "172.16.251.11")] {
        let kickstart = parsed(&rendered(machine));
        let lines: Vec<_> = kickstart
            .commands
            .iter()
            .filter_map(|c| match &c.value {
                Command::Network(network) => Some(network),
                _ => None,
            })
            .collect();
        assert_eq!(lines.iter().filter(|n| n.device.is_some()).count(), 2);
        assert!(lines.iter().any(|n| n.hostname.as_deref() == Some(machine)));
        let out: Vec<_> = lines.iter().filter(|n| n.gateway.is_some()).collect();
        assert_eq!(out.len(), 1, "{machine}");
        assert_eq!(out[0].gateway, Some(gateway.parse().unwrap()));
        assert_eq!(out[0].nameservers.len(), 1);
    }
    let plain = parsed(&rendered("compute1"));
    let bare = |c: &Command| matches!(c, Command::Network(n) if n.noipv4 && n.ip.is_none());
    assert!(plain.commands.iter().any(|c| bare(&c.value)), "ens38 has no address");
}

#[test]
fn a_password_from_the_recipe_stays_one_word() {
    let validator = validator();
    let mut context = context("controller");
    context["vars"]["root_password"] = json!("it's #1 \\ \"x\"");
    let text = rendered_with("controller", &context);
    verdict(&validator, &text).unwrap();
    let password = labbuild::kickstart::Password::Plain("it's #1 \\ \"x\"".to_owned());
    let wanted = Command::Rootpw { password: Some(password), lock: false };
    assert!(parsed(&text).commands.iter().any(|c| c.value == wanted));
}

#[test]
fn templates_are_met_with_few_notices() {
    let said: Vec<String> =
        notices(&parsed(&rendered("controller"))).into_iter().map(|(_, text)| text).collect();
    assert_eq!(
        said,
        [
            "selinux: Debian 12 has no SELinux policy by default; ignored",
            "@core: Debian has no such package groups; ignored",
        ]
    );
}

#[test]
fn no_damage_to_a_template_makes_the_reader_panic() {
    let text = rendered("controller");
    let look = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let reading = read(&text, "t.ks", &mut |_| Err("none".to_owned()));
        for finding in &reading.findings {
            assert!(!finding.fault.to_string().is_empty());
        }
        notices(&reading.kickstart);
    };
    for end in 0..=text.len() {
        look(&text.as_bytes()[..end]);
    }
    let mut bytes = text.into_bytes();
    for at in 0..bytes.len() {
        for bit in [0, 3, 5, 7] {
            bytes[at] ^= 1 << bit;
            // The damaged line and its neighbours are enough: lines are read one by one.
            let from = at.saturating_sub(100);
            look(&bytes[from..bytes.len().min(at + 100)]);
            bytes[at] ^= 1 << bit;
        }
    }
}
