//! What goes wrong with a real guest: failing, hanging and interrupted builds, and what is left.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use support::mini::{Mini, OWN_ADDRESS, banner, second};
use support::{field, signal};

#[test]
fn a_failing_step_is_a_place_to_stand() {
    let mini = Mini::new("failing");
    mini.write("20-second.yaml", &second("echo about to fail; ls /no/such/file"));
    let error = mini.labbuild.fails(1, &["up", &mini.recipe()]);
    for part in [
        "20-second.yaml:3",
        "The step in question",
        "/no/such/file",
        "labbuild ssh --name mini one",
        "labbuild up",
    ] {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
    // The machine is as the step left it.
    assert_eq!(mini.labbuild.ok(&["exec", "one", "--", "cat", "/root/first"]).trim(), "first");
    assert!(mini.labbuild.ok(&["status"]).contains("failed in 20-second"));
    // A step that hangs is ended by its timeout.
    mini.write("20-second.yaml", &second("sleep 1000"));
    let error = mini.labbuild.fails(1, &["up", &mini.recipe()]);
    assert!(error.contains("20 s") && error.contains("20-second.yaml:3"), "{error}");
    // A check that does not hold stores nothing.
    mini.write("20-second.yaml", &second("echo wrong > /root/second"));
    let error = mini.labbuild.fails(1, &["up", &mini.recipe()]);
    assert!(error.contains("both marks") && error.contains("wrong"), "{error}");
    // Mended, it goes on from the first stage; a port that is exposed meanwhile changes nothing there.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = taken.local_addr().unwrap().port();
    mini.expose(&[("login", &format!("host-port: {wanted}"))]);
    mini.write("20-second.yaml", &second("echo second > /root/second"));
    let events = mini.labbuild.json(&["up", &mini.recipe()]);
    assert_eq!(field(&events, "stage-reused", "stage"), ["10-first"]);
    assert_eq!(field(&events, "stage-finished", "stage"), ["20-second"]);
    exposed_ports_lead_into_the_machine(&mini, &events, taken);
    mini.finish();
}

/// `events` are those of the `up` that was to expose sshd on the port that the test itself holds.
fn exposed_ports_lead_into_the_machine(mini: &Mini, events: &[Value], taken: TcpListener) {
    let wanted = taken.local_addr().unwrap().port();
    let login = mini.exposed("login");
    assert_ne!(login.port(), wanted);
    let warnings = field(events, "warning", "text").join("\n");
    assert!(warnings.contains(&format!("login is on port {}", login.port())), "{warnings}");
    assert!(warnings.contains(&wanted.to_string()), "{warnings}");
    mini.labbuild.ok(&["exec", "one", "--", "sh", "-c", OWN_ADDRESS]);
    assert!(banner(login).unwrap().starts_with("SSH-2.0-"));
    mini.labbuild.ok(&["down"]);
    assert!(banner(login).is_err());
}

#[test]
fn killed_at_any_moment_the_next_up_succeeds() {
    let mini = Mini::new("killed");
    let moments: &[u64] = if std::env::var_os("LABBUILD_LONG_TESTS").is_some() {
        &[100, 400, 900, 1500, 2500, 5000, 12_000, 25_000, 35_000, 45_000]
    } else {
        &[700, 3000, 28_000]
    };
    for (i, moment) in moments.iter().enumerate() {
        // Another text each time, so that there is something to build.
        mini.write("20-second.yaml", &second(&format!("sleep 3; echo second {i} > /root/second")));
        let mut up = mini.labbuild.spawn(&["up", &mini.recipe()]);
        std::thread::sleep(Duration::from_millis(*moment));
        up.kill().unwrap();
        up.wait().unwrap();
        mini.labbuild.ok(&["up", &mini.recipe()]);
        let mark = mini.labbuild.ok(&["exec", "one", "--", "cat", "/root/second"]);
        assert_eq!(mark.trim(), format!("second {i}"));
        mini.labbuild.ok(&["down"]);
        mini.labbuild.assert_nothing_runs();
        assert_eq!(files_in(&mini.labbuild.store.join("work")), Vec::<PathBuf>::new());
    }
    mini.finish();
}

#[test]
fn ctrl_c_leaves_nothing_running() {
    let mini = Mini::new("interrupted");
    let mut up = mini.labbuild.spawn(&["up", &mini.recipe()]);
    std::thread::sleep(Duration::from_secs(15));
    signal(&up, "-INT");
    assert_eq!(up.wait().unwrap().code(), Some(130));
    mini.labbuild.assert_nothing_runs();
    mini.labbuild.ok(&["up", &mini.recipe()]);
    mini.finish();
}

#[test]
fn a_second_labbuild_says_who_is_at_work() {
    let mini = Mini::new("busy");
    let mut up = mini.labbuild.spawn(&["up", &mini.recipe()]);
    std::thread::sleep(Duration::from_secs(4));
    let error = mini.labbuild.fails(4, &["up", &mini.recipe()]);
    assert!(error.contains(&up.id().to_string()), "{error}");
    // Looking is always allowed.
    mini.labbuild.ok(&["status"]);
    assert!(up.wait().unwrap().success());
    mini.finish();
}

/// A disk whose digest is not the one named is refused, with both.
#[test]
fn another_disk_than_the_one_named_is_refused() {
    let mini = Mini::new("other-disk");
    let named = mini.name_another_disk();
    let error = mini.labbuild.fails(1, &["up", &mini.recipe()]);
    assert!(error.contains(&named), "{error}");
    mini.finish();
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    entries.filter(|p| p.is_dir()).collect()
}
