//! Every XML that labbuild writes is judged by libvirt's own schemas.
#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use super::*;
use crate::backend::{
    AcceleratorKind, Boot, Clock, DomainSpec, InstallerBoot, NetworkMode, NetworkSpec, NicSpec,
};
use crate::host::Cmd;

fn spec() -> DomainSpec {
    DomainSpec {
        name: "two-node-controller".into(),
        machine: "controller".into(),
        uuid: "6e1f3c52-3b1c-4a5e-9a53-0f2f5d3b7a10".into(),
        cpus: 2,
        memory_mib: 2048,
        machine_type: "pc-q35-7.2".into(),
        cpu_model: "Nehalem".into(),
        disk: "/var/tmp/a lab/controller & <co>.qcow2".into(),
        disk_serial: "lab-controller".into(),
        nics: vec![
            NicSpec { network: "bridged".into(), mac: "52:54:00:aa:00:01".into() },
            NicSpec { network: "host & <\"only\">".into(), mac: "52:54:00:aa:00:02".into() },
        ],
        clock: Clock::Host,
        unsafe_cache: false,
        console_log: "/var/tmp/a lab/console.log".into(),
        boot: Boot::Disk,
    }
}

fn installer() -> InstallerBoot {
    InstallerBoot {
        kernel: "/var/tmp/a lab/kernel & <co>".into(),
        initrd: "/var/tmp/a lab/initrd".into(),
        command_line: "console=ttyS0 inst.ks=hd:LABEL=OEMDRV:/ks.cfg x=\"<&'\"".into(),
        volume: "/var/tmp/a lab/answers.img".into(),
    }
}

fn net(mode: NetworkMode) -> NetworkSpec {
    NetworkSpec {
        name: "two-node-net".into(),
        uuid: "9a7b6d0e-93a4-4d0a-8f5d-8a2c7c1f0b11".into(),
        mode,
        prefix: 24,
        bridge: Some("lb-1".into()),
    }
}

async fn valid(xml: &str, schema: &str) {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("it.xml");
    std::fs::write(&file, xml).unwrap();
    let judged = Cmd::new("virt-xml-validate").arg(&file).arg(schema).run().await;
    if let Err(error) = judged {
        panic!("{error}\n{xml}");
    }
}

#[test]
fn a_domain_in_full() {
    insta::assert_snapshot!(domain(&spec(), AcceleratorKind::Tcg).unwrap());
}

#[test]
fn only_emulated_machines_have_an_hpet() {
    for (accelerator, present) in [(AcceleratorKind::Kvm, "no"), (AcceleratorKind::Tcg, "yes")] {
        let xml = domain(&spec(), accelerator).unwrap();
        assert!(xml.contains(&format!(r#"<timer name="hpet" present="{present}"/>"#)), "{xml}");
    }
}

#[test]
fn an_installer_is_started_by_its_kernel_reads_its_answers_and_never_restarts() {
    let boot = Boot::Installer(installer());
    let xml = domain(&DomainSpec { boot, ..spec() }, AcceleratorKind::Tcg).unwrap();
    let plain = domain(&spec(), AcceleratorKind::Tcg).unwrap();
    let added = |line: &&str| !plain.lines().any(|known| known == *line);
    insta::assert_snapshot!(xml.lines().filter(added).collect::<Vec<_>>().join("\n"));
}

#[tokio::test]
async fn domains_are_valid_whatever_they_ask_for() {
    let fixed = DomainSpec { clock: Clock::Fixed(1_700_000_000), unsafe_cache: true, ..spec() };
    let many =
        (0..16).map(|i| NicSpec { network: "n".into(), mac: format!("52:54:00:aa:01:{i:02x}") });
    let crowded =
        DomainSpec { nics: many.collect(), machine_type: "pc-i440fx-7.2".into(), ..spec() };
    let lonely = DomainSpec { nics: vec![], cpus: 1, ..spec() };
    let installing = DomainSpec { boot: Boot::Installer(installer()), ..spec() };
    for spec in [spec(), fixed, crowded, lonely, installing] {
        for accelerator in [AcceleratorKind::Kvm, AcceleratorKind::Tcg] {
            valid(&domain(&spec, accelerator).unwrap(), "domain").await;
        }
    }
}

#[tokio::test]
async fn networks_are_valid_in_every_mode() {
    let gateway = Ipv4Addr::new(192, 168, 0, 1);
    let modes = [
        NetworkMode::HostOnly { host: Ipv4Addr::new(172, 16, 251, 1) },
        NetworkMode::Nat { gateway, dns_forwarder: None },
        NetworkMode::Nat { gateway, dns_forwarder: Some(Ipv4Addr::new(198, 18, 255, 3)) },
        NetworkMode::HostBridge { bridge: "br0".into() },
        NetworkMode::Isolated,
    ];
    let mut all = String::new();
    for mode in modes {
        let (xml, digest) = network(&net(mode)).unwrap();
        valid(&xml, "network").await;
        assert_eq!(digest_in(&xml), Some(digest));
        all.push_str(&xml);
        all.push('\n');
    }
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn a_snapshot_is_valid() {
    let xml = disk_snapshot(std::path::Path::new("/var/tmp/<a> & \"b\".qcow2")).unwrap();
    valid(&xml, "domainsnapshot").await;
    insta::assert_snapshot!(xml);
}

#[test]
fn what_xml_cannot_carry_is_refused_by_name() {
    let said = |change: fn(&mut DomainSpec)| {
        let mut spec = spec();
        change(&mut spec);
        domain(&spec, AcceleratorKind::Tcg).unwrap_err().to_string()
    };
    let all = [
        said(|s| s.name = "a\nb".into()),
        said(|s| s.name = "../a".into()),
        said(|s| s.uuid = String::new()),
        said(|s| s.disk = "relative.qcow2".into()),
        said(|s| s.disk_serial = "s".repeat(21)),
        said(|s| {
            let command_line = "console=ttyS0\ninit=/bin/sh".into();
            s.boot = Boot::Installer(InstallerBoot { command_line, ..installer() });
        }),
        said(|s| s.nics = vec![s.nics[0].clone(); 17]),
        network(&net(NetworkMode::HostBridge { bridge: "a-name-far-too-long".into() }))
            .unwrap_err()
            .to_string(),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_network_without_the_mark_is_not_ours() {
    assert_eq!(digest_in("<network><name>default</name></network>"), None);
    assert_eq!(digest_in("not xml <<"), None);
}
