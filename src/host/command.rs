//! Running a program: arguments never pass a shell, the full line is in every error, and the
//! child does not outlive labbuild.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use std::os::unix::process::ExitStatusExt;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::HostError;

/// How much of standard error is kept for messages.
const STDERR_KEPT: usize = 64 * 1024;

/// More than any program is asked for, in bytes.
const STDOUT_LIMIT: u64 = 256 << 20;

/// A line of standard error longer than this is cut into several.
const LINE: u64 = 64 * 1024;

/// A command to run. Dropping the future of a run kills the child.
#[derive(Debug)]
pub struct Cmd {
    inner: Command,
    stdin: Option<Vec<u8>>,
    limit: u64,
}

/// What a successful command wrote.
#[derive(Debug)]
pub struct Output {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// The last of standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output as text, trimmed at the end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

impl Cmd {
    /// A command with nothing on standard input and the C.UTF-8 locale.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut inner = Command::new(program);
        inner.env("LC_ALL", "C.UTF-8").env("PATH", path()).kill_on_drop(true);
        Cmd { inner, stdin: None, limit: STDOUT_LIMIT }
    }

    /// One argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.inner.arg(arg);
        self
    }

    /// Several arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.inner.args(args);
        self
    }

    /// One environment variable.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(key, value);
        self
    }

    /// No variable of the caller's but `PATH`: what runs must not learn about the host.
    pub fn only_path(mut self) -> Self {
        self.inner.env_clear().env("LC_ALL", "C.UTF-8").env("PATH", path());
        self
    }

    /// Working directory.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.inner.current_dir(dir);
        self
    }

    /// Bytes for standard input.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// The most that may come from its standard output, in bytes: more is an error.
    pub fn at_most(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// The full command line, quoted as a shell would need it.
    pub fn line(&self) -> String {
        let command = self.inner.as_std();
        let words: Vec<OsString> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(OsStr::to_owned)
            .collect();
        let words: Vec<String> = words.iter().map(|w| w.to_string_lossy().into_owned()).collect();
        shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
    }

    /// Runs to the end; a failure of any kind is an error that holds the command line and the
    /// last lines of standard error.
    pub async fn run(self) -> Result<Output, HostError> {
        self.run_with(|_| {}).await
    }

    /// As [`run`](Self::run), handing over each line of standard error as it comes.
    pub async fn run_with(mut self, on_line: impl FnMut(&str)) -> Result<Output, HostError> {
        let line = self.line();
        let mut child = self.spawn_piped(&line)?;
        let (stdout, stderr) = talk(&mut child, self.stdin.take(), self.limit, on_line).await;
        let status = child.wait().await.map_err(|e| failed(&line, e.to_string(), String::new()))?;
        match (status.success(), stdout) {
            (true, Ok(stdout)) => Ok(Output { stdout, stderr }),
            (_, Err(e)) => Err(failed(&line, format!("wrote what could not be read: {e}"), stderr)),
            (false, _) => Err(failed(&line, describe(status), stderr)),
        }
    }

    /// As [`run_with`](Self::run_with), with standard output going to `stdout`.
    pub async fn run_into(
        mut self,
        stdout: Stdio,
        on_line: impl FnMut(&str),
    ) -> Result<(), HostError> {
        let line = self.line();
        self.inner.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        let mut child = self.inner.spawn().map_err(|e| not_started(&line, e))?;
        let stderr = keep_stderr(child.stderr.take(), on_line).await;
        let status = child.wait().await.map_err(|e| failed(&line, e.to_string(), String::new()))?;
        if status.success() { Ok(()) } else { Err(failed(&line, describe(status), stderr)) }
    }

    /// Runs with the caller's own terminal; gives back the exit status.
    pub async fn interactive(mut self) -> Result<i32, HostError> {
        let line = self.line();
        let mut child = self.inner.spawn().map_err(|e| not_started(&line, e))?;
        let status = child.wait().await.map_err(|e| failed(&line, e.to_string(), String::new()))?;
        Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
    }

    /// Starts a program that stays while the caller works; it is killed when the handle is dropped.
    pub fn start(mut self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Result<Child, HostError> {
        let line = self.line();
        self.inner.stdin(stdin).stdout(stdout).stderr(stderr);
        self.inner.spawn().map_err(|e| not_started(&line, e))
    }

    /// Starts a program that outlives labbuild, with nothing on its standard input and
    /// everything it writes going to `log`.
    pub fn start_detached(mut self, log: std::fs::File) -> Result<Child, HostError> {
        self.inner.kill_on_drop(false);
        let line = self.line();
        let copy = log.try_clone().map_err(|e| not_started(&line, e))?;
        self.start(Stdio::null(), log.into(), copy.into())
    }

    fn spawn_piped(&mut self, line: &str) -> Result<Child, HostError> {
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        self.inner
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| not_started(line, e))
    }
}

/// Feeds and drains the child's three streams at once.
async fn talk(
    child: &mut Child,
    input: Option<Vec<u8>>,
    limit: u64,
    on_line: impl FnMut(&str),
) -> (std::io::Result<Vec<u8>>, String) {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async move {
        if let (Some(mut pipe), Some(bytes)) = (stdin, input) {
            // A child that does not read all its input says so by its exit status.
            let _ = pipe.write_all(&bytes).await;
        }
    };
    let collect = async move {
        let mut bytes = Vec::new();
        if let Some(pipe) = stdout {
            // Whoever writes on meets a closed pipe.
            pipe.take(limit + 1).read_to_end(&mut bytes).await?;
        }
        if bytes.len() as u64 > limit {
            return Err(std::io::Error::other(format!("more than {limit} bytes")));
        }
        Ok(bytes)
    };
    let ((), out, err) = tokio::join!(feed, collect, keep_stderr(stderr, on_line));
    (out, err)
}

/// A line without its end, or as much of it as is taken at once.
async fn next_line(reader: &mut (impl AsyncBufRead + Unpin)) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let count = reader.take(LINE).read_until(b'\n', &mut bytes).await.ok()?;
    bytes.pop_if(|last| *last == b'\n');
    (count > 0).then_some(bytes)
}

async fn keep_stderr(
    pipe: Option<tokio::process::ChildStderr>,
    mut on_line: impl FnMut(&str),
) -> String {
    let mut kept = String::new();
    let Some(pipe) = pipe else { return kept };
    let mut reader = BufReader::new(pipe);
    while let Some(bytes) = next_line(&mut reader).await {
        let line = String::from_utf8_lossy(&bytes);
        on_line(&line);
        kept.push_str(&line);
        kept.push('\n');
        if kept.len() > 2 * STDERR_KEPT {
            let cut = kept.as_bytes()[..kept.len() - STDERR_KEPT]
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |at| at + 1);
            kept.drain(..cut);
        }
    }
    kept
}

/// An ordinary user's PATH leaves out where e2fsprogs, util-linux and libvirt put programs.
fn path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    path
}

fn program_of(line: &str) -> String {
    let first = line.split_whitespace().next().unwrap_or_default();
    first.rsplit('/').next().unwrap_or_default().to_owned()
}

fn not_started(line: &str, e: std::io::Error) -> HostError {
    if e.kind() == std::io::ErrorKind::NotFound {
        return HostError::Missing { program: program_of(line), command: line.to_owned() };
    }
    failed(line, format!("could not be started: {e}"), String::new())
}

fn failed(line: &str, status: String, stderr: String) -> HostError {
    HostError::Failed { program: program_of(line), status, command: line.to_owned(), stderr }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_and_input_pass_through() {
        let out = Cmd::new("cat").stdin("hello\n").run().await.unwrap();
        assert_eq!(out.text(), "hello");
    }

    #[tokio::test]
    async fn a_failure_names_the_whole_line_and_the_last_words() {
        let error = Cmd::new("sh")
            .args(["-c", "echo 'no such thing' >&2; exit 3"])
            .run()
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status 3"), "{text}");
        assert!(text.contains("sh -c"), "{text}");
        assert!(text.contains("| no such thing"), "{text}");
    }

    #[tokio::test]
    async fn output_without_end_is_an_error_and_lines_without_end_are_cut() {
        let yes = Cmd::new("sh").args(["-c", "yes"]).at_most(1000).run().await.unwrap_err();
        assert!(yes.to_string().contains("more than 1000 bytes"), "{yes}");
        let mut longest = 0;
        let zeros = Cmd::new("sh").args(["-c", "head -c 300000 /dev/zero >&2"]);
        zeros.run_with(|line| longest = longest.max(line.len())).await.unwrap();
        assert_eq!(longest, 64 * 1024);
    }

    #[tokio::test]
    async fn a_missing_program_is_told_apart() {
        let error = Cmd::new("no-such-program-at-all").run().await.unwrap_err();
        assert!(matches!(error, HostError::Missing { .. }));
    }
}
