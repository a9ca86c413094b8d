//! A recipe of one small machine whose base is an existing qcow2: the compute node's disk from
//! the main job's store.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use super::{Labbuild, base_disk, ground};

const LAB: &str = "\
schema: 1
name: mini
title: One machine
base: mini
networks:
  hostonly: { kind: host-only, subnet: 172.16.251.0/24, host: 172.16.251.1 }
machines:
  one:
    memory: 512 MiB
    disk: 10 GiB
    nics:
      - { name: ens37, network: hostonly, address: 172.16.251.12 }
stages: [10-first.yaml, 20-second.yaml]
";

const FIRST: &str = "\
title: First
steps:
  - name: A mark
    machine: one
    file: { path: /root/first, content: first }
checks:
  - machine: one
    run: cat /root/first
    expect: { stdout-is: first }
";

/// The second stage: one step with this script, and a check that wants both marks.
pub fn second(script: &str) -> String {
    format!(
        "title: Second
steps:
  - name: The step in question
    machine: one
    timeout: 20s
    run: |
      {script}
checks:
  - machine: one
    name: both marks
    run: cat /root/first /root/second
    expect: {{ stdout-contains: [first, second] }}
"
    )
}

/// Gives the machine the address of the recipe. Its disk was made for a machine of another lab, and
/// does not know this one's interface.
pub const OWN_ADDRESS: &str = "nic=$(ls /sys/class/net | grep -v lo); ip link set $nic up; \
                               ip addr replace 172.16.251.12/24 dev $nic";

pub struct Mini {
    pub labbuild: Labbuild,
    dir: PathBuf,
}

impl Mini {
    /// The recipe in a fresh folder, with a store of its own.
    pub fn new(name: &str) -> Mini {
        let mini = Mini::at(name);
        if mini.dir.exists() {
            mini.labbuild.run(&["down", "--all"]);
            fs::remove_dir_all(&mini.dir).unwrap();
        }
        mini.fill();
        mini
    }

    /// The recipe and the store that an earlier test may have left.
    pub fn kept(name: &str) -> Mini {
        let mini = Mini::at(name);
        mini.fill();
        mini
    }

    fn at(name: &str) -> Mini {
        let dir = ground().join(name);
        Mini { labbuild: Labbuild::at(dir.join("store")), dir }
    }

    fn fill(&self) {
        fs::create_dir_all(self.dir.join("mini/images")).unwrap();
        self.write("lab.yaml", LAB);
        self.write("10-first.yaml", FIRST);
        self.write("20-second.yaml", &second("echo second > /root/second"));
        self.write("images/mini.yaml", &base_definition());
    }

    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.dir.join("mini").join(file), text).unwrap();
    }

    /// Names a SHA-256 for the base that it has not; gives that.
    pub fn name_another_disk(&self) -> String {
        let definition = base_definition();
        let (head, _) = definition.rsplit_once("sha256: ").unwrap();
        let named = "ab".repeat(32);
        self.write("images/mini.yaml", &format!("{head}sha256: {named}\n"));
        named
    }

    /// Exposes port 22 under these names alone, each with more keys of its own.
    pub fn expose(&self, ports: &[(&str, &str)]) {
        let line = |(name, more): &(&str, &str)| {
            format!("  - {{ name: {name}, machine: one, port: 22, {more} }}\n")
        };
        let lines: String = ports.iter().map(line).collect();
        let key = if ports.is_empty() { "" } else { "expose:\n" };
        self.write("lab.yaml", &format!("{LAB}{key}{lines}"));
    }

    /// Where `labbuild status` says that an exposed port is.
    pub fn exposed(&self, name: &str) -> SocketAddr {
        let status = self.labbuild.result(&["status"]);
        let ports = status["labs"][0]["exposed"].as_array().unwrap().clone();
        let port = ports.iter().find(|port| port["name"] == name).unwrap();
        assert_eq!((&port["machine"], &port["forwarded"]), (&"one".into(), &true.into()));
        port["location"].as_str().unwrap().parse().unwrap()
    }

    pub fn recipe(&self) -> String {
        self.dir.join("mini").to_str().unwrap().to_owned()
    }

    pub fn finish(self) {
        self.labbuild.ok(&["down", "--all"]);
        self.labbuild.assert_nothing_runs();
    }
}

/// What an sshd says first.
pub fn banner(at: SocketAddr) -> std::io::Result<String> {
    let stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line)
}

pub fn base_definition() -> String {
    let (disk, sha256) = base_disk();
    format!(
        "kind: disk\ntitle: The compute node's disk\ntime: 2026-11-01T00:00:00Z\npath: {}\nsha256: {sha256}\n",
        disk.display()
    )
}
