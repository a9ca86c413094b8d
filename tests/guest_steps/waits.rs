//! Waits that come to nothing say why: which service, and what it wrote last.

use std::time::{Duration, Instant};

use labbuild::recipe::{Action, Condition, FileEdit, Secrecy, Step};

use super::actions::{Bench, bench, port, step, wait_for, write};

/// A service that ends at its start; with `again`, it is started again and again.
async fn broken(bench: &Bench, name: &str, again: bool) {
    let restart = if again { "Restart=always\nRestartSec=1\n" } else { "" };
    let unit = format!(
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\n{restart}\
         ExecStart=/bin/sh -c 'echo {name} cannot bind: token-4711 in use; exit 4'\n"
    );
    let path = format!("/run/systemd/system/{name}.service");
    bench.does(write(&path, FileEdit::Content(unit))).await;
    bench.prints("systemctl daemon-reload").await;
    bench.prints(&format!("systemctl start {name} || true")).await;
}

/// Nothing that has failed is left for other tests.
async fn clear(bench: &Bench, name: &str) {
    let path = format!("/run/systemd/system/{name}.service");
    bench.prints(&format!("systemctl stop {name}; rm {path}; systemctl daemon-reload")).await;
    bench.prints("systemctl reset-failed").await;
}

#[tokio::test]
async fn a_service_that_crashes_at_its_start_ends_the_wait_with_its_journal() {
    let bench = bench(true).await;
    bench.prints("systemctl reset-failed").await;
    broken(&bench, "crashed", false).await;

    // A unit that has failed for good ends the wait long before its time.
    let waits = [(port(9292), &["crashed"][..]), (Condition::Unit("crashed".into()), &[])];
    for (condition, services) in waits {
        let wait = step(wait_for(condition, services));
        let begun = Instant::now();
        let error = bench.fails(wait.clone()).await.to_string();
        eprintln!("after {:?}: {error}", begun.elapsed());
        assert!(begun.elapsed() < wait.timeout / 2, "{:?}", begun.elapsed());
        assert!(error.contains("crashed has failed: waiting any longer is no use"), "{error}");
        assert!(error.contains("  systemctl status crashed:\n"), "{error}");
        assert!(error.contains("status=4"), "{error}");
        let line = "  | crashed cannot bind: token-4711 in use";
        assert!(error.contains(line), "{error}");
    }

    // Where no unit is named, those that have failed are shown.
    let unnamed = Step { timeout: Duration::from_secs(2), ..step(wait_for(port(9292), &[])) };
    let error = bench.fails(unnamed.clone()).await.to_string();
    assert!(error.contains("  | crashed cannot bind: token-4711 in use"), "{error}");

    // A secret step shows nothing of it, or all but the values it knows.
    let secret = Step { secret: Secrecy::Whole, ..unnamed.clone() };
    let error = bench.fails(secret).await.to_string();
    assert!(!error.contains("cannot bind") && error.contains("withheld"), "{error}");
    let values = Secrecy::Values(vec!["token-4711".into()]);
    let error = bench.fails(Step { secret: values, ..unnamed }).await.to_string();
    assert!(error.contains("  | crashed cannot bind: *** in use"), "{error}");
    assert!(!error.contains("token-4711"), "{error}");
    clear(&bench, "crashed").await;
}

#[tokio::test]
async fn a_service_that_crashes_again_and_again_is_shown_when_the_time_is_over() {
    let bench = bench(true).await;
    bench.prints("systemctl reset-failed").await;
    broken(&bench, "restless", true).await;
    let wait = step(wait_for(port(9292), &["restless"]));
    let error = bench.fails(Step { timeout: Duration::from_secs(4), ..wait }).await.to_string();
    assert!(error.contains("not done after 4 s, ended"), "{error}");
    assert!(error.contains("  | nothing accepts connections on 127.0.0.1 port 9292"), "{error}");
    assert!(error.contains("  | restless cannot bind: token-4711 in use"), "{error}");
    clear(&bench, "restless").await;
}

/// The values that a `secret: values` step knows of stay out of everything; the rest is shown.
#[tokio::test]
async fn a_step_with_secret_values_shows_the_rest() {
    let bench = bench(false).await;
    let run = Action::Run { script: "echo Access denied for root using s3cr3t >&2; exit 1".into() };
    let secret = Secrecy::Values(vec!["s3cr3t".into()]);
    let error = bench.fails(Step { secret, ..step(run) }).await;
    assert_eq!(error.output, ["Access denied for root using ***"]);
    assert_eq!(bench.output(), error.output);
    let all = format!("{error} {:?} {}", error, bench.logged());
    assert!(!all.contains("s3cr3t") && bench.logged().contains("using ***"), "{all}");
}
