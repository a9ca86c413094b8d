//! Commands: streams, status, time, the end.

use std::time::{Duration, Instant};

use labbuild::backend::agent::{Captured, ExecRequest, Outcome, Stream};

use super::live::{guest, output, run, wait_for};

#[tokio::test]
async fn streams_status_and_environment() {
    let turn = guest(false).await;
    let mut lines = Vec::new();
    let script = "echo out; echo err >&2; cd /etc; printf '%s ' \"$HOME\" \"$PWD\" \"$X\"; exit 7";
    let request = ExecRequest::script(script).env("X", "a b'c");
    let result =
        turn.agent.exec(request, |s, line| lines.push((s, line.to_owned()))).await.unwrap();
    assert_eq!(result.outcome, Outcome::Exited(7));
    assert_eq!(result.stdout.text(), "out\n/root /etc a b'c ");
    assert_eq!(result.stderr.text(), "err\n");
    lines.sort();
    let out = |line: &str| (Stream::Stdout, line.to_owned());
    let expected = [out("/root /etc a b'c "), out("out"), (Stream::Stderr, "err".to_owned())];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn a_failing_line_ends_the_script() {
    let turn = guest(false).await;
    assert_eq!(run(&turn.agent, "false | true; echo no").await.outcome, Outcome::Exited(1));
    assert_eq!(run(&turn.agent, "echo $unset; echo no").await.outcome, Outcome::Exited(1));
    assert_eq!(run(&turn.agent, "kill -9 $$").await.outcome, Outcome::Exited(137));
}

#[tokio::test]
async fn argv_is_not_read_by_a_shell() {
    let turn = guest(false).await;
    let request = ExecRequest::argv(["printf", "%s|", "a b", "$HOME", "'\"\\", ""]);
    let result = turn.agent.exec(request, |_, _| {}).await.unwrap();
    assert_eq!(result.stdout.text(), "a b|$HOME|'\"\\||");
}

#[tokio::test]
async fn lines_arrive_while_the_command_runs() {
    let turn = guest(true).await;
    let start = Instant::now();
    let mut at = Vec::new();
    let request = ExecRequest::script("for i in 1 2 3 4; do echo $i; sleep 1; done; printf end");
    let result = turn
        .agent
        .exec(request, |_, line| at.push((line.to_owned(), start.elapsed())))
        .await
        .unwrap();
    let end = start.elapsed();
    eprintln!("{at:?}, ended after {end:?}");
    let lines: Vec<&str> = at.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(lines, ["1", "2", "3", "4", "end"]);
    assert!(result.success());
    // Each line came about a second after the one before, not all at the end.
    for pair in at[..4].windows(2) {
        assert!(pair[1].1 - pair[0].1 > Duration::from_millis(300), "{at:?}");
    }
    assert!(end - at[0].1 > Duration::from_secs(3));
}

#[tokio::test]
async fn much_output_comes_whole_and_only_its_end_is_kept() {
    let turn = guest(false).await;
    let (mut count, mut bytes, mut last) = (0_u64, 0, String::new());
    let script = "yes 'a line of forty-nine characters, more or less...' | head -c 10485760; echo; echo last >&2";
    let start = Instant::now();
    let request = ExecRequest::script(script.replace("yes ", "set +o pipefail; yes "));
    let result = turn
        .agent
        .exec(request, |_, line| {
            (count, bytes) = (count + 1, bytes + line.len() + 1);
            last = line.to_owned();
        })
        .await
        .unwrap();
    eprintln!("10 MiB in {:?}, {count} lines", start.elapsed());
    assert!(result.success(), "{:?}", result.outcome);
    assert_eq!(result.stdout.total, 10 * 1024 * 1024 + 1);
    assert_eq!(result.stdout.bytes.len(), Captured::KEPT);
    assert_eq!(bytes as u64, result.stdout.total + 5);
    assert!(result.stdout.is_cut());
}

#[tokio::test]
async fn long_more_than_the_guest_keeps_neither_blocks_nor_breaks_the_command() {
    let turn = guest(false).await;
    let start = Instant::now();
    let script = "head -c 41943040 /dev/zero; echo through >&2; exit 3";
    let result = run(&turn.agent, script).await;
    eprintln!("40 MiB in {:?}", start.elapsed());
    assert_eq!(result.outcome, Outcome::Exited(3));
    assert_eq!(result.stderr.text(), "through\n");
    assert_eq!(result.stdout.total, 32 << 20);
}

#[tokio::test]
async fn a_background_child_does_not_hold_the_command() {
    let turn = guest(false).await;
    let start = Instant::now();
    let result = run(&turn.agent, "sleep 1000 & echo $!; echo hi").await;
    eprintln!("background child: back after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(30));
    let text = result.stdout.text();
    let (pid, hi) = text.trim().split_once('\n').unwrap();
    assert_eq!(hi, "hi");
    assert_eq!(
        output(&turn.agent, &format!("tr '\\0' ' ' </proc/{pid}/cmdline; kill {pid}")).await,
        "sleep 1000"
    );
}

#[tokio::test]
async fn reopening_the_streams_loses_nothing() {
    let turn = guest(false).await;
    let script = "echo one >&2; echo two >/dev/stderr; echo three >&2; echo a; echo b >/dev/stdout";
    let request = ExecRequest::script(script).user("nobody").cwd("/");
    let result = turn.agent.exec(request, |_, _| {}).await.unwrap();
    assert_eq!(result.stderr.text(), "one\ntwo\nthree\n", "{result:?}");
    assert_eq!(result.stdout.text(), "a\nb\n");
}

#[tokio::test]
async fn binary_output_and_input_are_exact() {
    let turn = guest(false).await;
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i.wrapping_mul(i) / 7) as u8).collect();
    for length in [0, 1, 4096, 300_000] {
        let request = ExecRequest::argv(["cat"]).stdin(&bytes[..length]);
        let result = turn.agent.exec(request, |_, _| {}).await.unwrap();
        assert!(result.stdout.bytes == bytes[..length], "{length}");
    }
}

#[tokio::test]
async fn large_input_goes_by_file() {
    let turn = guest(false).await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let request = ExecRequest::script("sha256sum; ls /run/labbuild/*.in 2>/dev/null || true")
        .stdin(bytes.clone());
    let result = turn.agent.exec(request, |_, _| {}).await.unwrap();
    let digest = labbuild::digest::Digest::of(&bytes);
    assert_eq!(result.stdout.text(), format!("{digest}  -\n"));
}

#[tokio::test]
async fn time_over_ends_the_whole_session() {
    let turn = guest(false).await;
    let script = "trap '' TERM; echo started; bash -c 'trap \"\" TERM; sleep 7777' & (set -m; sleep 8888 & wait) & wait; sleep 9999";
    let request = ExecRequest::script(script).timeout(Duration::from_secs(4));
    let start = Instant::now();
    let result = turn.agent.exec(request, |_, _| {}).await.unwrap();
    eprintln!("time over after {:?}: {:?}", start.elapsed(), result.outcome);
    assert_eq!(result.outcome, Outcome::TimedOut(Duration::from_secs(4)));
    assert_eq!(result.stdout.text(), "started\n");
    for process in ["7777", "8888", "9999"] {
        assert_eq!(wait_for(&turn.agent, &count_of(process), "0").await, "0", "{process}");
    }
}

#[tokio::test]
async fn dropping_the_future_ends_the_command() {
    let turn = guest(false).await;
    let request = ExecRequest::script("echo up; sleep 6666").timeout(Duration::from_secs(600));
    let (send, mut up) = tokio::sync::mpsc::unbounded_channel();
    let exec = turn.agent.exec(request, move |_, _| send.send(()).unwrap());
    tokio::select! {
        _ = exec => panic!("it ended"),
        _ = async { up.recv().await; tokio::time::sleep(Duration::from_millis(500)).await } => {}
    }
    assert_eq!(wait_for(&turn.agent, &count_of("6666"), "0").await, "0");
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let turn = guest(false).await;
    let why = async |request| turn.agent.exec(request, |_, _| {}).await.unwrap_err().to_string();
    assert_eq!(
        why(ExecRequest::argv(["no-such-program"])).await,
        "no-such-program: no such command in the guest (guest)"
    );
    assert_eq!(
        why(ExecRequest::argv(["true"]).cwd("/no/such")).await,
        "there is no folder /no/such in the guest (guest)"
    );
    assert_eq!(
        why(ExecRequest::argv(["true"]).user("nemo")).await,
        "there is no user nemo in the guest (guest)"
    );
}

#[tokio::test]
async fn commands_run_beside_one_another() {
    let turn = guest(false).await;
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let agent = turn.agent.clone();
        let script = "date +%s%N; sleep 20; date +%s%N";
        tasks.push(tokio::spawn(async move { output(&agent, script).await }));
    }
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for task in tasks {
        let text = task.await.unwrap();
        let (start, end) = text.split_once('\n').unwrap();
        starts.push(start.parse::<u64>().unwrap());
        ends.push(end.parse::<u64>().unwrap());
    }
    eprintln!("starts {starts:?}, ends {ends:?}");
    assert!(starts.iter().max() < ends.iter().min());
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let turn = guest(true).await;
    for _ in 0..5 {
        output(&turn.agent, "true").await;
    }
    // The folder of this very command is there, and no other after a moment.
    let left = wait_for(&turn.agent, "ls /run/labbuild | wc -l", "1").await;
    assert_eq!(left, "1");
    // So are the handles of its two streams, once they are followed, and no others.
    let handles = "sleep 1; ls -l /proc/$(pidof qemu-ga)/fd | grep -c /run/labbuild || true";
    assert_eq!(wait_for(&turn.agent, handles, "2").await, "2");
}

/// Counts processes that have `word` as an argument (not the counting one).
fn count_of(word: &str) -> String {
    format!(
        "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -cx '[{}]{}' || true",
        &word[..1],
        &word[1..]
    )
}
