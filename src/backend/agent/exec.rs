//! Running a command in the guest: started by a small runner, followed live, never waited for
//! blindly, its whole session ended when its time is over or nobody waits for it any more.

use std::time::{Duration, Instant};

use qapi::qga::{GuestExecCaptureOutput, guest_exec, guest_exec_status, guest_file_close};

use super::files::WRITE_CHUNK;
use super::lines::{Captured, EndMark, Lines};
use super::request::{ExecRequest, ExecResult, Outcome, Stream};
use super::tail::{CHUNK, Tail};
use super::{Agent, AgentError, nonce};

const RUNNER: &str = include_str!("runner.sh");
const KILLER: &str = include_str!("kill.sh");

/// Most bytes per stream that the guest keeps for us; what comes after is dropped.
const MOST_OUTPUT: u64 = 32 << 20;
/// Script and input up to this size travel with the command; more is put into a file first.
const PAYLOAD_IN_COMMAND: usize = WRITE_CHUNK;
/// An agent that is silent for longer while a command runs is given up; systemd alone waits
/// 90 s for a process that does not want to end, before a reboot goes on.
const PATIENCE: Duration = Duration::from_secs(150);
/// Half seconds between TERM and KILL.
const BEFORE_KILL: &str = "10";
/// How long after a kill the last output is waited for.
const LAST_WORDS: Duration = Duration::from_secs(30);
/// What the runner may take to start the command; the command's time begins after that.
const TO_START: Duration = Duration::from_secs(60);
/// How often the runner is asked for, in case its mark never comes.
const ASK_EVERY: Duration = Duration::from_secs(2);

impl Agent {
    /// Runs a command, handing over each line of its output as it comes. A command that fails
    /// or runs out of time is a result; an error means that it could not be run or followed.
    ///
    /// Dropping the future ends the command in the guest (a task sees to it).
    pub async fn exec(
        &self,
        request: ExecRequest,
        mut on_line: impl FnMut(Stream, &str) + Send,
    ) -> Result<ExecResult, AgentError> {
        let mut run = Run::new(self);
        let outcome = match run.start(&request).await {
            Ok(()) => run.follow(request.timeout, &mut on_line).await,
            Err(e) => Err(e),
        };
        match outcome {
            Ok(outcome) => Ok(run.finish(outcome, &mut on_line).await),
            // Dropping what is still armed ends the command as far as the guest can be reached.
            Err(e) => Err(e),
        }
    }

    /// Runs one of our own scripts and gives back its standard output; anything but status 0 is
    /// [`AgentError::NotStarted`] with its last words.
    pub(super) async fn helper(&self, request: ExecRequest) -> Result<String, AgentError> {
        let result = self.exec(request, |_, _| {}).await?;
        if result.success() {
            return Ok(result.stdout.text());
        }
        let reason = match result.outcome {
            Outcome::TimedOut(after) => format!("no end within {} s", after.as_secs()),
            Outcome::Exited(_) => result.stderr.text().trim().to_owned(),
        };
        Err(AgentError::NotStarted { machine: self.name(), reason })
    }

    /// Starts a shell script in the guest and does not wait for it.
    pub(super) async fn fire(&self, script: &str, args: &[&str]) -> Result<i64, AgentError> {
        let script = &without_comments(script);
        let arg = ["-c", script, "labbuild"].iter().chain(args).map(|a| (*a).to_owned()).collect();
        let command = guest_exec {
            path: "/bin/sh".to_owned(),
            arg: Some(arg),
            env: None,
            input_data: None,
            capture_output: None,
        };
        Ok(self.call(command).await?.pid)
    }
}

/// A script of ours as it is sent: the agent writes every command line into its journal.
fn without_comments(script: &str) -> String {
    let is_code = |line: &&str| !line.trim_start().starts_with('#') && !line.is_empty();
    script.lines().filter(is_code).flat_map(|line| [line, "\n"]).collect()
}

/// One stream of a running command.
struct Feed {
    stream: Stream,
    tail: Tail,
    mark: EndMark,
    lines: Lines,
    kept: Captured,
}

impl Feed {
    fn new(stream: Stream, nonce: &str) -> Self {
        let file = if stream == Stream::Stdout { "out" } else { "err" };
        Feed {
            stream,
            tail: Tail::new(format!("/run/labbuild/{nonce}/{file}")),
            mark: EndMark::new(nonce),
            lines: Lines::default(),
            kept: Captured::default(),
        }
    }

    /// Reads what has come, not too much at a time; says how many bytes.
    async fn advance(
        &mut self,
        agent: &Agent,
        on_line: &mut (impl FnMut(Stream, &str) + Send),
    ) -> Result<usize, AgentError> {
        let mut moved = 0;
        for _ in 0..4 {
            if self.mark.status.is_some() {
                break;
            }
            let bytes = self.tail.read(agent).await?;
            let last = bytes.len() < CHUNK;
            moved += bytes.len();
            let own = self.mark.pass(&bytes);
            self.take(&own, on_line);
            if last {
                break;
            }
        }
        Ok(moved)
    }

    fn take(&mut self, bytes: &[u8], on_line: &mut impl FnMut(Stream, &str)) {
        self.kept.push(bytes);
        let stream = self.stream;
        self.lines.push(bytes, |line| on_line(stream, line));
    }

    fn end(&mut self, on_line: &mut impl FnMut(Stream, &str)) -> Captured {
        let rest = self.mark.give_up();
        self.take(&rest, on_line);
        let stream = self.stream;
        self.lines.finish(|line| on_line(stream, line));
        self.kept.trim();
        std::mem::take(&mut self.kept)
    }
}

/// A command in the guest, from before its start to after its end.
struct Run {
    agent: Agent,
    nonce: String,
    runner: i64,
    out: Feed,
    err: Feed,
    /// Whether the output files were there once.
    seen: bool,
    /// The runner's own end, should its mark not come (a full `/run`, too much output).
    runner_ended: Option<(i32, Instant)>,
    /// Whether dropping must end the command.
    armed: bool,
}

impl Run {
    fn new(agent: &Agent) -> Self {
        let nonce = nonce();
        Run {
            agent: agent.clone(),
            out: Feed::new(Stream::Stdout, &nonce),
            err: Feed::new(Stream::Stderr, &nonce),
            nonce,
            runner: 0,
            seen: false,
            runner_ended: None,
            armed: false,
        }
    }

    async fn start(&mut self, request: &ExecRequest) -> Result<(), AgentError> {
        let script = request.script_text();
        let mut payload = script.as_bytes().to_vec();
        payload.extend_from_slice(request.stdin.as_deref().unwrap_or_default());
        self.armed = true;
        let mut file = String::new();
        if payload.len() > PAYLOAD_IN_COMMAND {
            file = format!("/run/labbuild/{}.in", self.nonce);
            self.agent.upload(&file, &std::mem::take(&mut payload)).await?;
        }
        let fixed = [
            "-c",
            &without_comments(RUNNER),
            "labbuild",
            &self.nonce,
            &script.len().to_string(),
            if request.stdin.is_some() { "rest" } else { "null" },
            &file,
            request.user.as_deref().unwrap_or_default(),
            request.cwd.as_deref().unwrap_or_default(),
            &MOST_OUTPUT.to_string(),
        ];
        let arg = fixed.map(String::from).into_iter().chain(request.words(&self.nonce));
        let command = guest_exec {
            path: "/bin/sh".to_owned(),
            arg: Some(arg.collect()),
            env: Some(request.variables()),
            input_data: (!payload.is_empty()).then_some(payload),
            capture_output: Some(GuestExecCaptureOutput::flag(true)),
        };
        self.runner = self.agent.call(command).await?.pid;
        Ok(())
    }

    /// Follows the output until the command has ended, or its time.
    async fn follow(
        &mut self,
        timeout: Duration,
        on_line: &mut (impl FnMut(Stream, &str) + Send),
    ) -> Result<Outcome, AgentError> {
        let mut watch = Watch::new(timeout);
        loop {
            tokio::time::sleep(watch.pause()).await;
            match self.advance(on_line).await {
                Ok(moved) => watch.heard(moved),
                Err(AgentError::Refused { .. }) => self.ask_for_runner().await?,
                Err(e) => watch.bear(e)?,
            }
            if let Some(outcome) = watch.outcome(self.status()) {
                return Ok(outcome);
            }
            if watch.is_time_to_kill() {
                self.agent.fire(KILLER, &[&self.nonce, BEFORE_KILL]).await?;
            }
            if watch.is_time_to_ask() {
                self.ask_for_runner().await?;
            }
        }
    }

    async fn advance(
        &mut self,
        on_line: &mut (impl FnMut(Stream, &str) + Send),
    ) -> Result<usize, AgentError> {
        let out = self.out.advance(&self.agent, on_line).await?;
        let err = self.err.advance(&self.agent, on_line).await?;
        self.seen = true;
        if let (Some((_, at)), true) = (&mut self.runner_ended, out + err > 0) {
            *at = Instant::now();
        }
        Ok(out + err)
    }

    /// The exit status, once both streams are read to their end.
    fn status(&self) -> Option<i32> {
        match (self.out.mark.status, self.err.mark.status, self.runner_ended) {
            (Some(status), Some(_), _) => Some(status),
            (_, _, Some((status, at))) if at.elapsed() > GRACE => Some(status),
            _ => None,
        }
    }

    /// Looks after the runner itself: it may have failed before it made the files, or be gone.
    async fn ask_for_runner(&mut self) -> Result<(), AgentError> {
        if self.runner_ended.is_some() {
            return if self.seen { Ok(()) } else { Err(self.lost()) };
        }
        let state = match self.agent.call(guest_exec_status { pid: self.runner }).await {
            Ok(state) => state,
            Err(AgentError::Silent { .. }) => return Ok(()),
            Err(AgentError::Refused { .. }) => return Err(self.lost()),
            Err(e) => return Err(e),
        };
        if !state.exited {
            return Ok(());
        }
        let status = state.exitcode.or(state.signal.map(|s| 128 + s)).unwrap_or(-1);
        self.runner_ended = Some((status as i32, Instant::now()));
        let words = state.err_data.unwrap_or_default();
        let reason = String::from_utf8_lossy(&words).trim().to_owned();
        // The runner says nothing by itself, whatever status the command gives it.
        if self.seen || status != SETUP_FAILED || reason.is_empty() {
            self.seen = true;
            return Ok(());
        }
        Err(AgentError::NotStarted { machine: self.agent.name(), reason })
    }

    fn lost(&self) -> AgentError {
        AgentError::Lost { machine: self.agent.name() }
    }

    /// Cleans up behind a command that has ended.
    async fn finish(
        mut self,
        outcome: Outcome,
        on_line: &mut impl FnMut(Stream, &str),
    ) -> ExecResult {
        let (stdout, stderr) = (self.out.end(on_line), self.err.end(on_line));
        self.out.tail.close(&self.agent).await;
        self.err.tail.close(&self.agent).await;
        // Should it fail, `/run` is empty again after the next boot.
        let _ = self.agent.fire(r#"rm -rf "/run/labbuild/$1""#, &[&self.nonce]).await;
        self.armed = false;
        ExecResult { outcome, stdout, stderr }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.armed {
            return;
        }
        let (agent, nonce) = (self.agent.clone(), std::mem::take(&mut self.nonce));
        let handles = [self.out.tail.take_handle(), self.err.tail.take_handle()];
        runtime.spawn(async move {
            let _ = agent.fire(KILLER, &[&nonce, BEFORE_KILL, "clean"]).await;
            for handle in handles.into_iter().flatten() {
                let _ = agent.call(guest_file_close { handle }).await;
            }
        });
    }
}

/// The clock of a followed command: when to look, ask, kill and give up.
struct Watch {
    timeout: Duration,
    /// When its time is over.
    end: Instant,
    started: bool,
    heard: Instant,
    /// When output last came.
    moved: Instant,
    asked: Instant,
    killed: Option<Instant>,
    pause: Duration,
}

/// Pauses between two looks at the output: at first, after a while of nothing, and at most. A look
/// costs an emulated machine some 30 ms of its processor, so a command that has been quiet for long
/// is looked at as rarely as is still a small part of its time.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGER: Duration = Duration::from_millis(400);
const LONGEST: Duration = Duration::from_secs(2);
/// What a pause may be of the time in which nothing came.
const PART_OF_QUIET: u32 = 20;
/// How long after the runner's end its mark may still come.
const GRACE: Duration = Duration::from_secs(1);
/// The runner's status when it could not start the command.
const SETUP_FAILED: i64 = 125;

impl Watch {
    fn new(timeout: Duration) -> Self {
        let now = Instant::now();
        let end = now + timeout + TO_START;
        let (killed, pause) = (None, SHORTEST);
        Watch { timeout, end, started: false, heard: now, moved: now, asked: now, killed, pause }
    }

    /// Until the next look: none while there is more to read, longer the less there is, never
    /// beyond the command's time.
    fn pause(&self) -> Duration {
        let left = match self.killed {
            Some(_) => self.pause,
            None => self.end.saturating_duration_since(Instant::now()),
        };
        self.pause.min(left)
    }

    /// The agent answered, with so many bytes of output.
    fn heard(&mut self, moved: usize) {
        self.heard = Instant::now();
        if !std::mem::replace(&mut self.started, true) {
            self.end = self.heard + self.timeout;
        }
        if moved > 0 {
            self.moved = self.heard;
        }
        let most = (self.moved.elapsed() / PART_OF_QUIET).clamp(LONGER, LONGEST);
        self.pause = match moved {
            0 => (self.pause.max(SHORTEST) * 5 / 4).min(most),
            n if n >= CHUNK => Duration::ZERO,
            _ => SHORTEST,
        };
    }

    /// Bears an agent that is silent for a while; no other error.
    fn bear(&self, e: AgentError) -> Result<(), AgentError> {
        let silent = self.heard.elapsed();
        match e {
            AgentError::Silent { .. } if silent < PATIENCE => Ok(()),
            AgentError::Silent { machine, reason, .. } => {
                Err(AgentError::Silent { machine, silent, reason })
            }
            e => Err(e),
        }
    }

    fn outcome(&self, status: Option<i32>) -> Option<Outcome> {
        let late = self.killed.is_some_and(|at| at.elapsed() > LAST_WORDS);
        match (status, self.killed) {
            (Some(status), None) => Some(Outcome::Exited(status)),
            (Some(_), Some(_)) => Some(Outcome::TimedOut(self.timeout)),
            (None, _) => late.then_some(Outcome::TimedOut(self.timeout)),
        }
    }

    /// Says so once.
    fn is_time_to_kill(&mut self) -> bool {
        let now = self.killed.is_none() && Instant::now() >= self.end;
        if now {
            self.killed = Some(Instant::now());
        }
        now
    }

    /// Says so every few seconds.
    fn is_time_to_ask(&mut self) -> bool {
        let now = self.asked.elapsed() > ASK_EVERY;
        if now {
            self.asked = Instant::now();
        }
        now
    }
}
