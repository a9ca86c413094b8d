//! Every action of a recipe, and checks, in the guest.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use labbuild::event::{Event, Events};
use labbuild::recipe::{
    Action, Check, Condition, Expect, FileEdit, IniSection, InstallWhen, Place, Retry, Secrecy,
    ServiceState, Step,
};
use labbuild::steps::{self, GuestOs, Log, Reason, StepContext, StepError};

use super::live::{Turn, guest, output};

/// A context whose events and log are kept.
pub struct Bench {
    pub ctx: StepContext,
    events: Arc<Mutex<Vec<Event>>>,
    log: SharedLog,
    _turn: Turn,
}

#[derive(Clone, Default)]
struct SharedLog(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for SharedLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub async fn bench(alone: bool) -> Bench {
    let turn = guest(alone).await;
    let (events, log) = (Arc::new(Mutex::new(Vec::new())), SharedLog::default());
    let sink = events.clone();
    let ctx = StepContext {
        agent: turn.agent.clone(),
        os: GuestOs::named("debian-12").unwrap(),
        events: Events::new(move |event| sink.lock().unwrap().push(event)),
        log: Some(Log::new(log.clone())),
    };
    Bench { ctx, events, log, _turn: turn }
}

impl Bench {
    pub async fn does(&self, action: Action) {
        if let Err(e) = steps::perform(&self.ctx, &step(action)).await {
            panic!("{e}");
        }
    }

    pub async fn fails(&self, step: Step) -> StepError {
        steps::perform(&self.ctx, &step).await.unwrap_err()
    }

    pub async fn prints(&self, script: &str) -> String {
        output(&self.ctx.agent, script).await
    }

    pub fn logged(&self) -> String {
        String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap()
    }

    pub fn output(&self) -> Vec<String> {
        let line = |event: &Event| match event {
            Event::Output { line, .. } => Some(line.clone()),
            _ => None,
        };
        self.events.lock().unwrap().iter().filter_map(line).collect()
    }
}

fn place() -> Place {
    Place { file: "10-system.yaml".into(), line: 7, column: 5 }
}

pub fn step(action: Action) -> Step {
    Step {
        name: "under test".into(),
        id: None,
        machines: vec!["guest".into()],
        after: vec![],
        action,
        timeout: Duration::from_secs(120),
        retry: Retry::NEVER,
        secret: Secrecy::Open,
        at_boot: false,
        at: place(),
    }
}

fn run(script: &str) -> Action {
    Action::Run { script: script.into() }
}

pub fn write(path: &str, edit: FileEdit) -> Action {
    Action::File { path: path.into(), edit, mode: None, owner: None }
}

pub fn wait_for(condition: Condition, services: &[&str]) -> Action {
    let services = services.iter().map(|name| (*name).to_owned()).collect();
    Action::WaitFor { condition, services }
}

pub fn port(port: u16) -> Condition {
    Condition::Port { host: "127.0.0.1".into(), port }
}

pub fn service(name: &str, enabled: Option<bool>, state: Option<ServiceState>) -> Action {
    Action::Service { names: vec![name.into()], enabled, state }
}

#[tokio::test]
async fn run_tells_of_itself() {
    let bench = bench(false).await;
    bench.does(run("echo one; echo two >&2")).await;
    let mut lines = bench.output();
    lines.sort();
    assert_eq!(lines, ["one", "two"]);
    let events = bench.events.lock().unwrap().clone();
    assert!(matches!(&events[0], Event::StepStarted { at, .. } if at == "10-system.yaml:7"));
    assert!(matches!(events.last(), Some(Event::StepFinished { ok: true, .. })));
    let log = String::from_utf8(bench.log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("guest | step: under test (10-system.yaml:7)\n"), "{log}");
    assert!(log.contains("guest | two\n"), "{log}");
}

#[tokio::test]
async fn a_failure_shows_its_last_lines() {
    let bench = bench(false).await;
    let error = bench.fails(step(run("seq 1 30; echo no such thing >&2; exit 3"))).await;
    let text = error.to_string();
    assert!(
        text.starts_with("10-system.yaml:7: step `under test` failed on guest: exit status 3\n"),
        "{text}"
    );
    assert_eq!(error.output.len(), 20);
    assert!(text.contains("\n  | 30"), "{text}");
    assert!(text.contains("\n  | no such thing"), "{text}");
}

#[tokio::test]
async fn a_step_has_its_time() {
    let bench = bench(false).await;
    let mut slow = step(run("echo begun; sleep 600"));
    slow.timeout = Duration::from_secs(3);
    let error = bench.fails(slow).await;
    assert!(matches!(error.reason, Reason::TimedOut(_)), "{error}");
    assert!(error.to_string().contains("not done after 3 s, ended\n  | begun"), "{error}");
}

#[tokio::test]
async fn a_step_is_tried_again() {
    let bench = bench(false).await;
    bench.prints("rm -f /tmp/tries").await;
    let mut third = step(run("echo x >>/tmp/tries; [[ $(wc -l </tmp/tries) == 3 ]]"));
    third.retry = Retry { times: 1, delay: Duration::from_millis(10) };
    let error = bench.fails(third.clone()).await;
    assert!(
        error.to_string().contains("failed on guest (tried 2 times): exit status 1"),
        "{error}"
    );
    steps::perform(&bench.ctx, &third).await.unwrap();
}

#[tokio::test]
async fn a_secret_step_leaves_no_trace() {
    let bench = bench(false).await;
    let mut secret =
        step(run("echo the-password; grep -c the-password /run/labbuild/*/script; exit 9"));
    secret.secret = Secrecy::Whole;
    let error = bench.fails(secret).await;
    let log = String::from_utf8(bench.log.0.lock().unwrap().clone()).unwrap();
    let all = format!("{error} {error:?} {log} {:?}", bench.events.lock().unwrap());
    assert!(!all.contains("the-password"), "{all}");
    assert!(all.contains("withheld"), "{all}");
    let wait = wait_for(Condition::Command("true the-password".into()), &[]);
    let waiting = Step { secret: Secrecy::Whole, ..step(wait) };
    steps::perform(&bench.ctx, &waiting).await.unwrap();
    // Nor in the guest: neither a file nor the journal.
    let script = r#"
        grep -rl 'the-passwor[d]' /run/labbuild /tmp /var/tmp 2>/dev/null | grep -v "${0%/*}" || true
        journalctl -b --no-pager | grep -c 'the-passwor[d]' || true"#;
    assert_eq!(bench.prints(script).await, "0");
}

#[tokio::test]
async fn files_become_what_they_should_be_and_stay() {
    let bench = bench(false).await;
    let path = "/var/tmp/labbuild-file/x";
    bench.prints("rm -rf /var/tmp/labbuild-file").await;
    let looks = "stat -c '%a %U %Y' /var/tmp/labbuild-file/x; cat /var/tmp/labbuild-file/x";
    bench.does(write(path, FileEdit::Content("one\n".into()))).await;
    bench
        .prints("chmod 600 /var/tmp/labbuild-file/x; touch -d @1000 /var/tmp/labbuild-file/x")
        .await;
    let append = || write(path, FileEdit::Append("two\nthree\n".into()));
    bench.does(append()).await;
    bench.prints("touch -d @1000 /var/tmp/labbuild-file/x").await;
    bench.does(append()).await;
    let lines = || FileEdit::Lines(vec!["two".into(), "four".into()]);
    assert_eq!(bench.prints(looks).await, "600 root 1000\none\ntwo\nthree");
    bench.does(write(path, lines())).await;
    assert!(bench.prints(looks).await.ends_with("\none\ntwo\nthree\nfour"));
    bench.does(write(path, FileEdit::Absent)).await;
    bench.does(write(path, FileEdit::Absent)).await;
    assert_eq!(bench.prints("ls -A /var/tmp/labbuild-file").await, "");
    bench.prints("printf '\\377' >/var/tmp/labbuild-file/x").await;
    let error = bench.fails(step(append())).await.to_string();
    assert!(error.contains("is not UTF-8 text"), "{error}");
}

#[tokio::test]
async fn a_file_is_copied() {
    let bench = bench(false).await;
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("image.bin");
    let bytes: Vec<u8> =
        (0..700_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    std::fs::write(&source, &bytes).unwrap();
    let copy = |source: PathBuf| Action::Copy {
        from: "image.bin".into(),
        source,
        to: "/var/tmp/labbuild-copy/image".into(),
        mode: Some(0o755),
        owner: Some("nobody".into()),
    };
    bench.does(copy(source.clone())).await;
    bench.does(copy(source.clone())).await;
    let digest = labbuild::digest::Digest::of(&bytes);
    let there = bench
        .prints("cd /var/tmp/labbuild-copy; stat -c '%a %U' image; sha256sum <image; ls | wc -l")
        .await;
    assert_eq!(there, format!("755 nobody\n{digest}  -\n1"));
    let error = bench.fails(step(copy(dir.path().join("none")))).await.to_string();
    assert!(error.contains("cannot read"), "{error}");
}

#[tokio::test]
async fn an_ini_file_is_edited_where_it_stands() {
    let bench = bench(false).await;
    let path = "/var/tmp/labbuild.conf";
    let text = "[DEFAULT]\n\n[database]\n# About it\n#connection = <None>\n";
    bench.does(write(path, FileEdit::Content(text.into()))).await;
    bench.prints("chown nobody /var/tmp/labbuild.conf; chmod 640 /var/tmp/labbuild.conf").await;
    let keys = vec![("connection".to_owned(), Some("mysql://g:g@controller/g".to_owned()))];
    let set = vec![IniSection { name: "database".into(), keys }];
    bench.does(Action::Ini { path: path.into(), set }).await;
    let there =
        bench.prints("stat -c '%a %U' /var/tmp/labbuild.conf; cat /var/tmp/labbuild.conf").await;
    assert_eq!(there, format!("640 nobody\n{text}connection = mysql://g:g@controller/g"));
}

#[tokio::test]
async fn packages_of_the_base_are_verified() {
    let bench = bench(false).await;
    let packages = |names: &[&str]| Action::Packages {
        install: names.iter().map(|n| (*n).to_owned()).collect(),
        when: InstallWhen::InBase,
    };
    bench.does(packages(&["cron", "iptables"])).await;
    let error =
        bench.fails(step(packages(&["cron", "mariadb-server", "no-such"]))).await.to_string();
    assert!(
        error.contains("not installed in the base image: mariadb-server, no-such; "),
        "{error}"
    );
}

/// A package with a service, in a repository of its own, so that no network is needed.
const REPOSITORY: &str = r#"
dpkg --purge labbuild-test-daemon >/dev/null 2>&1 || true
rm -rf /var/tmp/repo /etc/apt/sources.list.d/* /etc/apt/sources.list /run/of-the-daemon
mkdir -p /var/tmp/repo/p/DEBIAN /var/tmp/repo/p/lib/systemd/system
cd /var/tmp/repo
printf '%s\n' 'Package: labbuild-test-daemon' 'Version: 1' 'Architecture: all' \
    'Maintainer: Test <test@example.org>' 'Description: a service' >p/DEBIAN/control
printf '%s\n' '[Service]' 'ExecStart=/bin/sh -c "touch /run/of-the-daemon; exec sleep infinity"' \
    '[Install]' 'WantedBy=multi-user.target' >p/lib/systemd/system/labbuild-test-daemon.service
cat >p/DEBIAN/postinst <<'END'
#!/bin/sh
set -e
deb-systemd-helper enable labbuild-test-daemon.service
deb-systemd-invoke start labbuild-test-daemon.service
END
chmod 755 p/DEBIAN/postinst
dpkg-deb --build p d.deb >/dev/null
{ dpkg-deb --field d.deb; echo Filename: ./d.deb; echo "Size: $(stat -c %s d.deb)"
  echo "SHA256: $(sha256sum <d.deb | cut -d ' ' -f 1)"; } >Packages
echo 'deb [trusted=yes] file:/var/tmp/repo ./' >/etc/apt/sources.list
"#;

#[tokio::test]
async fn packages_in_the_guest_come_without_running_services() {
    let bench = bench(true).await;
    bench.prints(REPOSITORY).await;
    let name = "labbuild-test-daemon";
    let packages = |name: &str| {
        let install = vec![name.to_owned(), "cron".into()];
        Step {
            timeout: Duration::from_secs(300),
            ..step(Action::Packages { install, when: InstallWhen::InGuest })
        }
    };
    let start = Instant::now();
    if let Err(e) = steps::perform(&bench.ctx, &packages(name)).await {
        panic!("{e}");
    }
    eprintln!("installed in {:?}", start.elapsed());
    let state = format!(
        "systemctl is-enabled {name} || true; systemctl is-active {name} || true; ls /run/of-the-daemon /usr/sbin/policy-rc.d 2>/dev/null || true; systemctl is-enabled cron"
    );
    assert_eq!(bench.prints(&state).await, "disabled\ninactive\nenabled");
    bench.does(service(name, Some(true), Some(ServiceState::Started))).await;
    assert_eq!(bench.prints(&state).await, "enabled\nactive\n/run/of-the-daemon\nenabled");
    let error = bench.fails(packages("no-such-package")).await.to_string();
    assert!(error.contains("exit status 100"), "{error}");
    assert!(error.contains("E: Unable to locate package no-such-package"), "{error}");
    bench.prints(&format!("systemctl stop {name}; dpkg --purge {name}")).await;
}

#[tokio::test]
async fn services_are_brought_to_their_state() {
    let bench = bench(true).await;
    let state = "systemctl is-enabled cron || true; systemctl is-active cron || true";
    bench.does(service("crond", Some(false), Some(ServiceState::Stopped))).await;
    assert_eq!(bench.prints(state).await, "disabled\ninactive");
    bench.does(service("crond.service", Some(true), Some(ServiceState::Started))).await;
    assert_eq!(bench.prints(state).await, "enabled\nactive");
    let pid = "systemctl show -p MainPID --value cron";
    let before = bench.prints(pid).await;
    bench.does(service("cron", None, Some(ServiceState::Started))).await;
    assert_eq!(bench.prints(pid).await, before);
    bench.does(service("cron", None, Some(ServiceState::Restarted))).await;
    assert_ne!(bench.prints(pid).await, before);
}

#[tokio::test]
async fn a_service_that_fails_brings_its_journal() {
    let bench = bench(true).await;
    let unit = "[Service]\nExecStart=/bin/sh -c 'echo cannot open /etc/thing.conf; exit 4'\n";
    bench.does(write("/run/systemd/system/broken.service", FileEdit::Content(unit.into()))).await;
    bench.prints("systemctl daemon-reload").await;
    let error =
        bench.fails(step(service("broken", None, Some(ServiceState::Started)))).await.to_string();
    eprintln!("{error}");
    assert!(error.contains("broken ended right after it was started"), "{error}");
    assert!(error.contains("  systemctl status broken:\n"), "{error}");
    assert!(error.contains("status=4"), "{error}");
    assert!(error.contains("  | cannot open /etc/thing.conf"), "{error}");
    let error =
        bench.fails(step(service("no-such", None, Some(ServiceState::Started)))).await.to_string();
    assert!(error.contains("Unit no-such.service not found"), "{error}");
}

#[tokio::test]
async fn sql_without_a_client_says_so() {
    let bench = bench(false).await;
    let sql = Action::Sql { script: "SELECT 1;".into(), database: None, password: None };
    let error = bench.fails(step(sql)).await.to_string();
    let has_one = !bench.prints("command -v mariadb || true").await.is_empty();
    assert!(has_one || error.contains("no MariaDB or MySQL client in the guest"), "{error}");
}

/// What `sql` hands to the client, seen by a client of the test's own.
#[tokio::test]
async fn sql_reaches_the_client_and_the_password_no_command_line() {
    let bench = bench(true).await;
    let client = "#!/bin/bash\necho \"args: $*\"; echo \"line: $(tr '\\0' ' ' </proc/$$/cmdline)\"; echo \"pwd: $MYSQL_PWD\"; cat\n";
    let path = "/usr/local/bin/mariadb";
    bench
        .does(Action::File {
            path: path.into(),
            edit: FileEdit::Content(client.into()),
            mode: Some(0o755),
            owner: None,
        })
        .await;
    let script = "CREATE DATABASE glance; -- $HOME 'quoted'".to_owned();
    let database = Some("glance".into());
    bench
        .does(Action::Sql { script: script.clone(), database, password: Some("s3cret".into()) })
        .await;
    bench.does(write(path, FileEdit::Absent)).await;
    let lines = bench.output();
    assert_eq!(lines[0], "args: --protocol=socket --user=root --batch --database=glance");
    assert!(!lines[1].contains("s3cret"), "{lines:?}");
    assert_eq!(lines[2..], ["pwd: s3cret".to_owned(), script]);
}

#[tokio::test]
async fn waiting_ends_when_it_is_so() {
    let bench = bench(false).await;
    bench.prints("rm -f /tmp/looks").await;
    let third = "echo x >>/tmp/looks; echo looking; [[ $(wc -l </tmp/looks) -ge 3 ]]";
    bench.does(wait_for(Condition::Command(third.into()), &[])).await;
    assert_eq!(bench.prints("wc -l </tmp/looks").await, "3");
    assert_eq!(bench.output()[..2], ["exit status 1", "looking"]);
    bench.does(wait_for(Condition::Unit("crond".into()), &[])).await;
    bench.does(wait_for(port(22), &["ssh"])).await;
    let mut never = step(wait_for(port(1), &[]));
    never.timeout = Duration::from_secs(4);
    let error = bench.fails(never).await.to_string();
    assert!(
        error.contains(
            "not done after 4 s, ended\n  | nothing accepts connections on 127.0.0.1 port 1"
        ),
        "{error}"
    );
    let mut never = step(wait_for(Condition::Unit("no-such".into()), &[]));
    never.timeout = Duration::from_secs(4);
    let error = bench.fails(never).await.to_string();
    assert!(error.contains("  | no-such is inactive"), "{error}");
    assert!(error.contains("systemctl status no-such"), "{error}");
}

#[tokio::test]
async fn a_reboot_step_ends_when_services_have_started() {
    let bench = bench(true).await;
    let before = bench.ctx.agent.boot_id().await.unwrap();
    let reboot = Step { timeout: Duration::from_secs(300), ..step(Action::Reboot) };
    if let Err(e) = steps::perform(&bench.ctx, &reboot).await {
        panic!("{e}");
    }
    assert_ne!(bench.ctx.agent.boot_id().await.unwrap(), before);
    assert_eq!(bench.prints("systemctl is-active cron").await, "active");
}

fn check(script: &str, expect: Expect) -> Check {
    Check {
        name: "a check".into(),
        machines: vec!["guest".into()],
        run: script.into(),
        expect,
        timeout: Duration::from_secs(30),
        retry: Retry::NEVER,
        at: place(),
    }
}

fn succeeds() -> Expect {
    Expect {
        status: 0,
        stdout_contains: vec![],
        stdout_lacks: vec![],
        stdout_is: None,
        stdout_matches: None,
    }
}

#[tokio::test]
async fn a_check_passes_only_by_its_expectation() {
    let bench = bench(false).await;
    let is = |text: &str| Expect { stdout_is: Some(text.into()), ..succeeds() };
    steps::check(&bench.ctx, &check("echo active", is("active"))).await.unwrap();
    let status = Expect { status: 4, ..succeeds() };
    steps::check(&bench.ctx, &check("exit 4", status.clone())).await.unwrap();
    let failure =
        async |check: Check| steps::check(&bench.ctx, &check).await.unwrap_err().to_string();
    let text = failure(check("echo inactive; exit 3", is("active"))).await;
    let expected = "10-system.yaml:7: check `a check` failed on guest: expected exit status 0, got \
                    exit status 3; standard output differs\n    expected \"active\"\n    got      \
                    \"inactive\"\n  | inactive";
    assert_eq!(text, expected);
    let text = failure(check("no-such-command", succeeds())).await;
    assert!(text.contains("got exit status 127") && text.contains("command not found"), "{text}");
    let slow = Check { timeout: Duration::from_secs(3), ..check("sleep 60", succeeds()) };
    assert!(failure(slow).await.contains("not done after 3 s, ended"));
    let again =
        Check { retry: Retry { times: 2, delay: Duration::ZERO }, ..check("exit 5", status) };
    assert!(failure(again).await.contains("on guest (tried 3 times): expected exit status 4"));
    let ok: Vec<bool> = bench
        .events
        .lock()
        .unwrap()
        .iter()
        .filter_map(|e| match e {
            Event::Check { ok, .. } => Some(*ok),
            _ => None,
        })
        .collect();
    assert_eq!(ok, [true, true, false, false, false, false]);
}
