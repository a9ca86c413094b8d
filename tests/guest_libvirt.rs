//! A real sandbox, real networks, a real guest: what the lab stands on, seen at work.
//!
//! The guest's disk is the base of the compute node that the main job's test makes; it is only
//! ever read.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use labbuild::backend::{
    AccelChoice, Backend, BackendError, Boot, Clock, DomainSpec, Guest, LibvirtBackend,
    NetworkMode, NetworkSpec, NicSpec,
};
use labbuild::event::Events;
use labbuild::host::Cmd;
use labbuild::host::ids::hand_over;
use labbuild::sandbox::{Sandbox, SandboxError, SandboxOptions, Shown, UPLINK_DNS, runtime_dir};
use serde_json::{Value, json};

const HOST: Ipv4Addr = Ipv4Addr::new(172, 16, 251, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(172, 16, 251, 11);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);

fn test_disk() -> PathBuf {
    support::base_disk().0
}

/// A sandbox that ends with the test, however the test ends.
struct Lab {
    root: tempfile::TempDir,
    sandbox: Sandbox,
}

impl Lab {
    async fn start(uplink: bool) -> Lab {
        let root = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(options(root.path(), uplink)).await;
        Lab { sandbox: sandbox.unwrap_or_else(|e| panic!("{e}")), root }
    }

    fn backend(&self) -> LibvirtBackend {
        LibvirtBackend::connect(&self.sandbox.uri(), AccelChoice::Auto).unwrap()
    }

    fn path(&self) -> &Path {
        self.root.path()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.path().join("keeper.lock")).unwrap_or_default();
        if let (Ok(true), Some(pid)) = (
            self.sandbox.is_alive(),
            pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw),
        ) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = std::fs::remove_dir_all(self.sandbox.runtime());
    }
}

fn options(root: &Path, uplink: bool) -> SandboxOptions {
    SandboxOptions {
        shown: vec![Shown::to_write(root), Shown::to_read(support::ground().join("store/layers"))],
        root: root.to_owned(),
        runtime: runtime_dir(root).unwrap(),
        self_exe: [env!("CARGO_BIN_EXE_labbuild"), "internal"].map(Into::into).to_vec(),
        uplink,
        events: Events::none(),
    }
}

fn network(name: &str, last: u8, mode: NetworkMode) -> NetworkSpec {
    NetworkSpec {
        name: name.into(),
        uuid: format!("9a7b6d0e-93a4-4d0a-8f5d-8a2c7c1f0b{last:02x}"),
        mode,
        prefix: 24,
        bridge: Some(format!("lb-{name}")),
    }
}

fn all_networks() -> [NetworkSpec; 3] {
    let nat = NetworkMode::Nat { gateway: GATEWAY, dns_forwarder: Some(UPLINK_DNS) };
    [
        network("bridged", 1, nat),
        network("hostonly", 2, NetworkMode::HostOnly { host: HOST }),
        network("vmnet2", 3, NetworkMode::Isolated),
    ]
}

fn domain(disk: PathBuf, folder: &Path) -> DomainSpec {
    let nic = |network: &str, last: u8| NicSpec {
        network: network.into(),
        mac: format!("52:54:00:aa:00:{last:02x}"),
    };
    DomainSpec {
        name: "two-node-controller".into(),
        machine: "controller".into(),
        uuid: "6e1f3c52-3b1c-4a5e-9a53-0f2f5d3b7a10".into(),
        cpus: 1,
        memory_mib: 512,
        machine_type: "pc-q35-7.2".into(),
        cpu_model: "Nehalem".into(),
        disk,
        disk_serial: "lab-controller".into(),
        nics: vec![nic("bridged", 1), nic("hostonly", 2), nic("vmnet2", 3)],
        clock: Clock::Fixed(1_800_000_000),
        unsafe_cache: true,
        console_log: folder.join("console.log"),
        boot: Boot::Disk,
    }
}

async fn overlay(file: &Path, backing: &Path) {
    let made = Cmd::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]);
    made.arg(backing).arg(file).run().await.unwrap();
    // It is made while the lab runs: where root starts one, nobody inside is root.
    hand_over(file).unwrap();
}

/// Boots a guest on all three networks and waits for its agent.
async fn boot(lab: &Lab, disk: PathBuf) -> (LibvirtBackend, Arc<dyn Guest>) {
    let backend = lab.backend();
    for spec in all_networks() {
        backend.ensure_network(&spec).unwrap();
    }
    let guest = backend.start_domain(&domain(disk, lab.path())).unwrap();
    wait_for_agent(&*guest).await;
    let (status, out) = sh(&*guest, "mount -o remount,rw /").await;
    assert_eq!(status, 0, "{out}");
    (backend, guest)
}

async fn wait_for_agent(guest: &dyn Guest) {
    let deadline = Instant::now() + Duration::from_secs(240);
    loop {
        match guest.agent(r#"{"execute":"guest-ping"}"#, Duration::from_secs(3)) {
            Ok(_) => return,
            Err(BackendError::AgentAbsent { .. }) if Instant::now() < deadline => {}
            Err(e) => panic!("{e}"),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn ask(guest: &dyn Guest, command: &str, arguments: Value) -> Value {
    let command = json!({ "execute": command, "arguments": arguments }).to_string();
    let reply = guest.agent(&command, Duration::from_secs(20)).unwrap_or_else(|e| panic!("{e}"));
    serde_json::from_str::<Value>(&reply).unwrap()["return"].clone()
}

/// Runs a shell script in the guest; gives exit status and output.
async fn sh(guest: &dyn Guest, script: &str) -> (i64, String) {
    let started = ask(
        guest,
        "guest-exec",
        json!({ "path": "/bin/sh", "arg": ["-c", format!("set -e; ({script}) >/run/t.out 2>&1 </dev/null")] }),
    );
    let deadline = Instant::now() + Duration::from_secs(120);
    let status = loop {
        let status = ask(guest, "guest-exec-status", json!({ "pid": started["pid"] }));
        if status["exited"] == true {
            break status["exitcode"].as_i64().unwrap_or(-1);
        }
        assert!(Instant::now() < deadline, "{script} does not end");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let handle = ask(guest, "guest-file-open", json!({ "path": "/run/t.out", "mode": "r" }));
    let read = ask(guest, "guest-file-read", json!({ "handle": handle, "count": 65536 }));
    ask(guest, "guest-file-close", json!({ "handle": handle }));
    (status, decoded(read["buf-b64"].as_str().unwrap()))
}

fn decoded(base64: &str) -> String {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = base64.bytes().filter(|c| *c != b'=').collect();
    let mut bytes = Vec::new();
    for chunk in digits.chunks(4) {
        let bits = chunk.iter().fold(0u32, |bits, c| bits << 6 | u32::from(value(*c)));
        let bits = bits << (6 * (4 - chunk.len()));
        bytes.extend(bits.to_be_bytes()[1..chunk.len()].iter());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Processes whose command line holds this text.
fn processes(text: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| entry.file_name().to_str() != Some(own.as_str()))
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}

/// Every process that shares a network namespace with this one.
fn in_namespace(link: &Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| std::fs::read_link(entry.path().join("ns/net")).is_ok_and(|l| l == link))
        .map(|entry| std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default())
        .collect()
}

struct Running {
    keeper: i32,
    init: i32,
    namespace: PathBuf,
}

fn running(lab: &Lab) -> Running {
    let lock = std::fs::read_to_string(lab.path().join("keeper.lock")).unwrap();
    let state = std::fs::read_to_string(lab.path().join("keeper.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    let init = i32::try_from(state["init"].as_i64().unwrap()).unwrap();
    let namespace = std::fs::read_link(format!("/proc/{init}/ns/net")).unwrap();
    Running { keeper: lock.trim().parse().unwrap(), init, namespace }
}

/// A child of `parent` by its program name; the parent's own number when no name is wanted.
fn child(parent: i32, name: &str) -> i32 {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (front, rest) = stat.rsplit_once(')')?;
            let of = rest.split_whitespace().nth(1)?.parse::<i32>().ok()?;
            let called = front.split_once('(')?.1 == name;
            (of == parent && called).then(|| entry.file_name().to_str()?.parse().ok())?
        })
        .next()
        .unwrap_or_else(|| panic!("process {parent} has no child {name}"))
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_sandbox_stands_is_found_and_leaves_nothing() {
    let started = Instant::now();
    let lab = Lab::start(true).await;
    println!("started in {:?}", started.elapsed());
    let virsh = Cmd::new("virsh").arg("-c").arg(lab.sandbox.uri()).args(["list", "--all"]);
    virsh.run().await.unwrap();
    let found = Sandbox::open(lab.path()).await.unwrap().unwrap();
    assert_eq!(found.uri(), lab.sandbox.uri());
    let again = Sandbox::start(options(lab.path(), true)).await.unwrap_err();
    assert!(matches!(again, SandboxError::Running { .. }), "{again}");
    let words = found.enter().unwrap();
    let inside = Cmd::new(&words[0]).args(&words[1..]).args(["sh", "-c", "id -u; ip -br addr"]);
    let inside = inside.run().await.unwrap().text();
    assert!(inside.starts_with(&rustix::process::getuid().as_raw().to_string()), "{inside}");
    assert!(inside.contains("198.18.255.100/24"), "{inside}");
    found.stop().await.unwrap();
    assert!(Sandbox::open(lab.path()).await.unwrap().is_none());
    assert_eq!(processes(lab.path().to_str().unwrap()), Vec::<String>::new());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(lab.path().to_str().unwrap()), "{mounts}");
}

#[tokio::test]
async fn a_start_that_fails_says_why_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut options = options(root.path(), false);
    options.self_exe = vec!["/bin/sh".into(), "-c".into(), "echo broken keeper; exit 7".into()];
    let error = Sandbox::start(options).await.unwrap_err().to_string();
    assert!(error.contains("exit status: 7") && error.contains("| broken keeper"), "{error}");
    assert!(Sandbox::open(root.path()).await.unwrap().is_none());
}

#[tokio::test]
async fn killing_any_part_ends_all_of_it() {
    for part in ["keeper", "unshare", "init", "libvirtd", "slirp4netns"] {
        let lab = Lab::start(true).await;
        let backend = lab.backend();
        backend.ensure_network(&all_networks()[0]).unwrap();
        let running = running(&lab);
        assert!(in_namespace(&running.namespace).iter().any(|name| name == "dnsmasq\n"));
        let victim = match part {
            "keeper" => running.keeper,
            "init" => running.init,
            "libvirtd" => child(running.init, part),
            _ => child(running.keeper, part),
        };
        kill(victim);
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let mut left = processes(lab.path().to_str().unwrap());
            left.extend(processes(lab.sandbox.runtime().to_str().unwrap()));
            left.extend(in_namespace(&running.namespace));
            if left.is_empty() && !lab.sandbox.is_alive().unwrap() {
                break;
            }
            assert!(Instant::now() < deadline, "{part} was killed and {left:?} are left");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // And the folder is as good as new.
        let again = Sandbox::start(options(lab.path(), false)).await.unwrap();
        again.stop().await.unwrap();
    }
}

#[tokio::test]
async fn networks_are_left_alone_mended_and_refused() {
    let lab = Lab::start(false).await;
    let backend = lab.backend();
    let [nat, hostonly, isolated] = all_networks();
    for spec in [&nat, &hostonly, &isolated, &nat] {
        backend.ensure_network(spec).unwrap();
    }
    let daemons = in_namespace(&running(&lab).namespace);
    let daemons = daemons.iter().filter(|name| *name == "dnsmasq\n").count();
    assert_eq!(daemons, 1, "only the network with a gateway needs a resolver");
    let changed = NetworkSpec { prefix: 16, ..hostonly.clone() };
    let error = backend.ensure_network(&changed).unwrap_err().to_string();
    assert!(error.contains("runs with another definition"), "{error}");
    let foreign = NetworkSpec { uuid: isolated.uuid.replace("9a7b", "1111"), ..isolated.clone() };
    let error = backend.ensure_network(&foreign).unwrap_err().to_string();
    assert!(error.contains("not made by labbuild for this lab"), "{error}");
    let virsh = |args: &[&str]| Cmd::new("virsh").arg("-c").arg(lab.sandbox.uri()).args(args);
    virsh(&["net-destroy", "hostonly"]).run().await.unwrap();
    backend.ensure_network(&changed).unwrap();
    let shown = virsh(&["net-dumpxml", "hostonly"]).run().await.unwrap().text();
    assert!(shown.contains("prefix='16'"), "{shown}");
    for name in ["bridged", "hostonly", "vmnet2", "absent"] {
        backend.remove_network(name).unwrap();
    }
    assert_eq!(virsh(&["net-list", "--all", "--name"]).run().await.unwrap().text(), "");
    lab.sandbox.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_start_says_so_before_libvirt_does() {
    let lab = Lab::start(false).await;
    let backend = lab.backend();
    let spec = domain(lab.path().join("absent.qcow2"), lab.path());
    let error = backend.start_domain(&spec).err().unwrap().to_string();
    assert!(error.contains("the disk of machine controller") && error.contains("absent.qcow2"));
    assert!(backend.find_domain("absent", "controller").unwrap().is_none());
    let forced = LibvirtBackend::connect(&lab.sandbox.uri(), AccelChoice::Kvm);
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    if !flags.contains(" vmx") && !flags.contains(" svm") {
        let error = forced.err().unwrap().to_string();
        assert!(error.contains("no vmx or svm flag"), "{error}");
    }
}

#[tokio::test]
async fn a_guest_talks_and_is_reached_through_the_door() {
    let lab = Lab::start(true).await;
    let disk = lab.path().join("top.qcow2");
    overlay(&disk, &test_disk()).await;
    let (backend, guest) = boot(&lab, disk.clone()).await;
    println!("accelerator: {:?}", backend.accelerator());
    let (status, out) = sh(&*guest, &configure()).await;
    assert_eq!(status, 0, "{out}");
    let (status, out) = sh(&*guest, "ping -c1 -W5 192.168.0.1 && ping -c1 -W5 172.16.251.1").await;
    assert_eq!(status, 0, "{out}");
    greets(&lab).await;
    refuses(&*guest);
    hardware_is_as_declared(&*guest).await;
    guest.set_time(1_900_000_000).unwrap();
    let (_, now) = sh(&*guest, "date +%s").await;
    let now: u64 = now.trim().parse().unwrap();
    assert!((1_900_000_000..1_900_000_120).contains(&now), "{now}");
    let taken = backend.start_domain(&domain(disk, lab.path())).err().unwrap();
    assert!(matches!(taken, BackendError::Conflict(_)), "{taken}");
    guest.request_shutdown().unwrap();
    let asked = Instant::now();
    while guest.is_running().unwrap() {
        let console = || std::fs::read_to_string(lab.path().join("console.log")).unwrap();
        let patience = Duration::from_secs(180);
        assert!(asked.elapsed() < patience, "the guest does not power off:\n{}", console());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("powered off in {:?}", asked.elapsed());
    assert!(backend.find_domain("two-node-controller", "controller").unwrap().is_none());
    guest.destroy().unwrap();
    let console = std::fs::read_to_string(lab.path().join("console.log")).unwrap();
    assert!(console.contains("login:"), "{console}");
    lab.sandbox.stop().await.unwrap();
}

/// Addresses by MAC, whatever the guest calls its interfaces.
fn configure() -> String {
    let address = |last: u8, ip: &str| {
        format!(
            "d=$(basename $(dirname $(grep -l aa:00:{last:02x} /sys/class/net/*/address))); \
             ip link set $d up; ip addr replace {ip}/24 dev $d; "
        )
    };
    format!(
        "set -e; {}{}ip route replace default via {GATEWAY}",
        address(1, "192.168.0.11"),
        address(2, &GUEST.to_string())
    )
}

async fn greets(lab: &Lab) {
    let port = lab.sandbox.forward(0, GUEST, 22).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(90);
    // The agent may answer before the guest's sshd does.
    while greeting(port).await.is_none_or(|greeting| &greeting != b"SSH-2.0-") {
        assert!(Instant::now() < deadline, "the guest's sshd is not reached");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let closed = std::net::SocketAddrV4::new(GUEST, 9);
    let error = lab.sandbox.connect(closed).await.unwrap_err().to_string();
    assert!(error.contains("172.16.251.11:9") && error.contains("refused"), "{error}");
}

async fn greeting(port: u16) -> Option<[u8; 8]> {
    let read = move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut greeting = [0; 8];
        stream.read_exact(&mut greeting).ok().map(|()| greeting)
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

fn refuses(guest: &dyn Guest) {
    let no_such = r#"{"execute":"guest-no-such-command"}"#;
    let error = guest.agent(no_such, Duration::from_secs(10)).unwrap_err();
    assert!(
        matches!(&error, BackendError::AgentRefused { command, .. } if command == "guest-no-such-command"),
        "{error:?}"
    );
}

async fn hardware_is_as_declared(guest: &dyn Guest) {
    let script = "cat /sys/class/dmi/id/product_uuid /sys/block/vda/serial; echo; \
                  for n in /sys/class/net/*/device; do echo $(readlink -f $n) $(cat $n/../address \
                  $(dirname $n)/address 2>/dev/null); done; date +%Y";
    let (_, out) = sh(guest, script).await;
    assert!(out.contains("6e1f3c52-3b1c-4a5e-9a53-0f2f5d3b7a10"), "{out}");
    assert!(out.contains("lab-controller"), "{out}");
    for (slot, mac) in [("08", "01"), ("09", "02"), ("0a", "03")] {
        let line = out.lines().find(|line| line.contains(&format!("0000:00:{slot}.0")));
        assert!(line.is_some_and(|l| l.contains(&format!("aa:00:{mac}"))), "{out}");
    }
    assert!(out.contains("2027"), "the clock starts where the spec says: {out}");
}

#[tokio::test]
async fn snapshots_of_a_running_guest_carry_their_files() {
    let lab = Lab::start(false).await;
    let layer = |n: u32| lab.path().join(format!("layer{n}.qcow2"));
    overlay(&layer(0), &test_disk()).await;
    let (_, guest) = boot(&lab, layer(0)).await;
    for n in 1..=3 {
        let (status, out) = sh(&*guest, &format!("echo {n} > /root/stage{n} && sync")).await;
        assert_eq!(status, 0, "{out}");
        ask(&*guest, "guest-fsfreeze-freeze", json!({}));
        let started = Instant::now();
        guest.snapshot_disk(&layer(n)).unwrap();
        println!("snapshot {n} in {:?}", started.elapsed());
        ask(&*guest, "guest-fsfreeze-thaw", json!({}));
    }
    let (status, _) = sh(&*guest, "echo lost > /root/stage4 && sync").await;
    assert_eq!(status, 0);
    guest.destroy().unwrap();
    assert!(!guest.is_running().unwrap());
    lab.sandbox.stop().await.unwrap();
    boots_from_copies(&layer).await;
}

/// Copies the closed layers elsewhere, each upon the one before, and boots from them: the files
/// of the first three stages are there, and what came after the last snapshot is not.
async fn boots_from_copies(layer: &impl Fn(u32) -> PathBuf) {
    let lab = Lab::start(false).await;
    let copy = |n: u32| lab.path().join(format!("copy{n}.qcow2"));
    for n in 0..3 {
        std::fs::copy(layer(n), copy(n)).unwrap();
        let below = if n == 0 { test_disk() } else { copy(n - 1) };
        let rebase =
            Cmd::new("qemu-img").args(["rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b"]);
        rebase.arg(&below).arg(copy(n)).run().await.unwrap();
        hand_over(&copy(n)).unwrap();
    }
    let top = lab.path().join("top.qcow2");
    overlay(&top, &copy(2)).await;
    let (_, guest) = boot(&lab, top).await;
    let (_, out) = sh(&*guest, "cat /root/stage*").await;
    assert_eq!(out, "1\n2\n3\n");
    lab.sandbox.stop().await.unwrap();
}

#[tokio::test]
async fn two_labs_have_the_same_addresses_at_once() {
    let labs = [Lab::start(true).await, Lab::start(true).await];
    for lab in &labs {
        for spec in all_networks() {
            lab.backend().ensure_network(&spec).unwrap();
        }
    }
    let mut bridges = Vec::new();
    for lab in &labs {
        let words = lab.sandbox.enter().unwrap();
        let inside = Cmd::new(&words[0]).args(&words[1..]).args(["ip", "-br", "addr"]);
        let text = inside.run().await.unwrap().text();
        assert!(text.contains("172.16.251.1/24") && text.contains("192.168.0.1/24"), "{text}");
        bridges.push(running(lab).namespace);
    }
    assert_ne!(bridges[0], bridges[1]);
    assert!(!Path::new("/sys/class/net/lb-hostonly").exists(), "nothing changes on the host");
    for lab in &labs {
        lab.sandbox.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_forwarded_port_in_use_is_refused() {
    let lab = Lab::start(false).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = lab.sandbox.forward(port, GUEST, 22).await.unwrap_err().to_string();
    assert!(error.contains("in use") && error.contains(&port.to_string()), "{error}");
    lab.sandbox.stop().await.unwrap();
}
