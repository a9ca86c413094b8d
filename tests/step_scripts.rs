//! The scripts that steps run in a guest, here on the host with a `systemctl` of the test's own, which
//! answers from a file.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Prints the state of a unit: the first line of `states`, which is then gone but for the last one.
const SYSTEMCTL: &str = r#"#!/usr/bin/env bash
cd "${0%/*}"
state=$(head -n 1 states)
if [[ $(wc -l <states) -gt 1 ]]; then sed -i 1d states; fi
case " $* " in
    *" is-failed "*) [[ $state == failed ]] ;;
    *" is-active "*) echo "$state"; [[ $state == active ]] ;;
    *) exit 64 ;;
esac
"#;

struct Bench(tempfile::TempDir);

impl Bench {
    /// A place where units are in these states, one after the other.
    fn new(states: &[&str]) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let systemctl = dir.path().join("systemctl");
        fs::write(&systemctl, SYSTEMCTL).unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.path().join("states"), states.join("\n") + "\n").unwrap();
        Bench(dir)
    }

    fn start(&self, arguments: &[&str], input: &str) -> Child {
        let script = fs::read_to_string("src/steps/scripts/wait-for.sh").unwrap();
        let path = format!("{}:{}", self.0.path().display(), std::env::var("PATH").unwrap());
        let mut child = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script, "bash"])
            .args(arguments)
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child
    }

    fn wait_for(&self, arguments: &[&str], input: &str) -> Output {
        self.start(arguments, input).wait_with_output().unwrap()
    }
}

fn said(output: &Output) -> String {
    let all = [output.stdout.clone(), output.stderr.clone()].concat();
    String::from_utf8_lossy(&all).into_owned()
}

/// A port of this machine on which nothing listens.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

#[test]
fn a_wait_ends_when_a_unit_behind_it_has_failed_for_good() {
    let bench = Bench::new(&["activating", "failed"]);
    let port = closed_port();
    let output = bench.wait_for(&["glance-api", "port", "127.0.0.1", &port], "");
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "nothing accepts connections on 127.0.0.1 port {port}\n\
         glance-api has failed: waiting any longer is no use\n"
    );
    assert_eq!(said(&output), expected);
}

#[test]
fn a_unit_that_comes_back_is_waited_for() {
    let bench = Bench::new(&["failed", "failed", "failed", "failed", "active"]);
    let output = bench.wait_for(&["cron", "unit", "cron"], "");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said(&output), "cron is failed\n");
}

#[test]
fn a_wait_without_units_goes_on_until_it_is_so() {
    let bench = Bench::new(&["failed"]);
    let mark = bench.0.path().join("mark");
    let command = format!("echo looking; test -e {}", mark.display());
    let mut child = bench.start(&["", "command"], &command);
    std::thread::sleep(Duration::from_secs(4));
    assert!(child.try_wait().unwrap().is_none(), "it ended early");
    fs::write(&mark, "").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said(&output), "exit status 1\nlooking\n");
}

#[test]
fn an_open_port_is_seen_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = Bench::new(&["failed"]).wait_for(&["a b", "port", "127.0.0.1", &port], "");
    assert!(output.status.success() && said(&output).is_empty(), "{output:?}");
}
