#![allow(clippy::unwrap_used)]
use super::super::{TopologyMachine, TopologyNic};
use super::*;

fn topology() -> Topology {
    let network = |name: &str, kind, third| TopologyNetwork {
        name: name.into(),
        uuid: "u".into(),
        kind,
        network: Ipv4Addr::new(10, 0, third, 0),
        prefix: 24,
        host: Some(Ipv4Addr::new(10, 0, third, 1)),
        gateway: None,
        bridge: None,
    };
    let nic = |network: &str, address: [u8; 4]| TopologyNic {
        name: format!("on-{network}"),
        network: network.into(),
        mac: "52:54:00:00:00:01".into(),
        address: Some(address.into()),
    };
    let machine = TopologyMachine {
        name: "web".into(),
        uuid: "u".into(),
        cpus: 1,
        memory_mib: 512,
        disk_bytes: 1 << 30,
        disk_serial: "lb0".into(),
        machine_type: "pc-q35-7.2".into(),
        cpu_model: "Nehalem".into(),
        // The last one is outside its network.
        nics: vec![
            nic("inside", [10, 0, 1, 7]),
            nic("shut", [10, 0, 2, 7]),
            nic("inside", [8, 8, 8, 8]),
        ],
    };
    Topology {
        lab: "t".into(),
        title: String::new(),
        networks: vec![
            network("inside", NetworkKind::HostOnly, 1),
            network("shut", NetworkKind::Isolated, 2),
        ],
        machines: vec![machine],
    }
}

fn sound() -> Readiness {
    let wait = |condition| Wait {
        name: "It answers".into(),
        machines: vec!["web".into()],
        timeout: 300,
        condition,
        services: vec!["apache2.service".into()],
        secret: false,
    };
    let port = Expose {
        name: "pages".into(),
        machine: "web".into(),
        address: Ipv4Addr::new(10, 0, 1, 7),
        port: 80,
        host_port: Some(8080),
        path: Some("/horizon/".into()),
    };
    Readiness {
        waits: vec![
            wait(Condition::Port { host: "127.0.0.1".into(), port: 80 }),
            wait(Condition::Unit("cron".into())),
            wait(Condition::Command("curl -f http://web/".into())),
        ],
        exposed: vec![port],
    }
}

fn refused(spoil: impl FnOnce(&mut Readiness)) -> String {
    let mut it = sound();
    spoil(&mut it);
    it.check(&topology()).unwrap_err()
}

#[test]
fn what_a_recipe_wants_travels_and_comes_back() {
    assert_eq!(sound().check(&topology()), Ok(()));
    let text = serde_json::to_string(&sound()).unwrap();
    assert_eq!(serde_json::from_str::<Readiness>(&text).unwrap(), sound());

    let at = Place { file: "manifest.json".into(), line: 1, column: 1 };
    let stage = sound().stage("20-web", &at).unwrap();
    let again: Vec<Wait> = stage.steps.iter().filter_map(Wait::of).collect();
    assert_eq!(again, sound().waits);
    assert!(Readiness::default().stage("20-web", &at).is_none());
}

#[test]
fn a_secret_wait_stays_secret() {
    let at = Place { file: "manifest.json".into(), line: 1, column: 1 };
    let mut it = sound();
    it.waits[0].secret = true;
    let stage = it.stage("20-web", &at).unwrap();
    assert_eq!(stage.steps[0].secret, Secrecy::Whole);
    assert_eq!(stage.steps[1].secret, Secrecy::Open);
}

#[test]
fn a_port_leads_to_its_machine_and_nowhere_else() {
    let elsewhere: [[u8; 4]; 4] = [[127, 0, 0, 1], [10, 0, 1, 8], [10, 0, 2, 7], [8, 8, 8, 8]];
    for address in elsewhere {
        let error = refused(|it| it.exposed[0].address = address.into());
        assert!(error.contains("exposed port pages: its address"), "{error}");
    }
    let error = refused(|it| it.exposed[0].machine = "db".into());
    assert!(error.contains("its machine is not there"), "{error}");
    assert!(refused(|it| it.exposed[0].port = 0).contains("0 is no port"));
    assert!(refused(|it| it.exposed[0].host_port = Some(0)).contains("0 is no port"));
    assert!(refused(|it| it.exposed.push(it.exposed[0].clone())).contains("two exposed ports"));
    for path in ["horizon", "/\u{1b}]0;x", "/a b", "//\n"] {
        let error = refused(|it| it.exposed[0].path = Some(path.into()));
        assert!(error.contains("not the path of a URL"), "{error}");
    }
    assert!(refused(|it| it.exposed[0].name = "a\u{1b}".into()).contains(r"a\u{1b}"));
}

#[test]
fn waits_are_those_of_a_recipe() {
    assert!(refused(|it| it.waits[0].name = "x\u{1b}[2J".into()).contains("not plain text"));
    assert!(refused(|it| it.waits[0].machines.clear()).contains("no machine"));
    assert!(refused(|it| it.waits[0].machines.push("db".into())).contains("not there"));
    for timeout in [0, LONGEST_WAIT + 1, u64::MAX] {
        assert!(refused(|it| it.waits[0].timeout = timeout).contains("timeout"));
    }
    let host = "a; b".to_owned();
    let bad = [
        Condition::Port { host, port: 80 },
        Condition::Port { host: "web".into(), port: 0 },
        Condition::Unit("--now".into()),
        Condition::Unit(String::new()),
        Condition::Command("x\0".into()),
        Condition::Command("x".repeat(LONGEST_COMMAND + 1)),
    ];
    for condition in bad {
        let error = refused(|it| it.waits[0].condition = condition);
        assert!(error.contains("what it waits for is not valid"), "{error}");
    }
    assert!(refused(|it| it.waits[0].services = vec!["a b".into()]).contains("not valid"));
    assert!(refused(|it| it.waits = vec![it.waits[0].clone(); MOST + 1]).contains("more than"));
}
