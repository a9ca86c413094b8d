//! The screen: listeners of events, and everything else that labbuild prints.
//!
//! Progress goes to standard error (bars on a terminal, lines elsewhere), results to standard
//! output; `--json` puts both on standard output, one object per line. No other room prints.

mod bars;
mod json;
mod lines;
mod report;
mod table;
pub mod text;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;

use crate::event::{Event, Events};
use bars::Bars;
use lines::Lines;
pub use report::Report;
pub use table::table;
use text::Style;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    /// Plain lines.
    Plain,
    /// One JSON object per line on standard output.
    Json,
}

/// When colour is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How the screen behaves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How progress is shown.
    pub mode: Mode,
    /// Below 0: warnings, errors and results only. 1: output of steps. 2: every phase.
    pub verbosity: i8,
    /// When colour is used.
    pub color: Color,
}

/// The one place that prints. Cheap to clone; all clones are one screen.
#[derive(Clone)]
pub struct Screen(Arc<Mutex<Inner>>);

struct Inner {
    listener: Listener,
    verbosity: i8,
    style: Style,
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    /// The first failure to write a result.
    broken: Option<io::Error>,
}

enum Listener {
    Bars(Box<Bars>),
    Plain(Lines, Instant),
    Json,
}

impl Screen {
    /// Opens the screen on this process's standard output and error.
    pub fn start(options: Options) -> Screen {
        let style = Style { color: wants_color(options.color) };
        let listener = match options.mode {
            Mode::Json => Listener::Json,
            Mode::Auto if io::stderr().is_terminal() && options.verbosity >= 0 => {
                let target = indicatif::ProgressDrawTarget::stderr();
                Listener::Bars(Box::new(Bars::new(target, options.verbosity, style)))
            }
            _ => Listener::Plain(Lines::new(options.verbosity, style, true), Instant::now()),
        };
        let (stdout, stderr) = (Box::new(io::stdout()), Box::new(io::stderr()));
        Screen::with(listener, options.verbosity, style, stdout, stderr)
    }

    fn with(
        listener: Listener,
        verbosity: i8,
        style: Style,
        stdout: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
    ) -> Screen {
        let inner = Inner { listener, verbosity, style, stdout, stderr, broken: None };
        Screen(Arc::new(Mutex::new(inner)))
    }

    /// Where the core sends its events.
    pub fn events(&self) -> Events {
        let screen = self.clone();
        Events::new(move |event| screen.lock().event(&event))
    }

    /// Whether results are JSON.
    pub fn is_json(&self) -> bool {
        matches!(self.lock().listener, Listener::Json)
    }

    /// The colours of results, for text that is built before it is shown.
    pub fn style(&self) -> Style {
        self.lock().style
    }

    /// What a command has to say: `text` for people, `value` with `--json`.
    pub fn result(&self, text: &str, value: Value) {
        let mut inner = self.lock();
        match inner.listener {
            Listener::Json => inner.event(&Event::Result { value }),
            _ => inner.print(text),
        }
    }

    /// A result that is the same for people and programs (a URI, a script, a schema).
    pub fn print(&self, text: &str) {
        self.lock().print(text);
    }

    /// A line that is no result, for standard error: what a command in a guest wrote there.
    pub fn aside(&self, line: &str) {
        self.lock().say(line);
    }

    /// Shows an error.
    pub fn error(&self, report: &Report) {
        let mut inner = self.lock();
        if let Listener::Json = inner.listener {
            let line = json::line(&report.json());
            return inner.print(&line);
        }
        let text = report.text(inner.style);
        inner.say(&text);
    }

    /// Asks a yes-or-no question; `None` where nobody can answer.
    pub fn confirm(&self, question: &str) -> Option<bool> {
        let mut inner = self.lock();
        let json = matches!(inner.listener, Listener::Json);
        if json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return None;
        }
        inner.suspend(|stderr| {
            write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).ok()?;
            let mut answer = String::new();
            io::stdin().read_line(&mut answer).ok()?;
            Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
        })
    }

    /// Takes the bars off the screen for good (before a program that uses the terminal itself).
    pub fn clear(&self) {
        if let Listener::Bars(bars) = &mut self.lock().listener {
            bars.finish();
        }
    }

    /// Closes the screen. An error means that a result could not be written; that the reader
    /// had seen enough (`labbuild status | head -1`) is none.
    pub fn finish(&self) -> io::Result<()> {
        self.clear();
        let mut inner = self.lock();
        let flushed = inner.stdout.flush();
        match inner.broken.take().map_or(flushed, Err) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn event(&mut self, event: &Event) {
        match &mut self.listener {
            Listener::Bars(bars) => bars.event(event),
            Listener::Plain(lines, started) => {
                let now = started.elapsed();
                for line in lines.render(event, now) {
                    // Nobody reads standard error any more: no reason to stop a build.
                    let _ = writeln!(self.stderr, "[{:7.1}] {line}", now.as_secs_f64());
                }
            }
            Listener::Json if self.verbosity >= 0 || matters(event) => {
                self.print(&json::line(event));
            }
            Listener::Json => {}
        }
    }

    /// Writes to standard output, with a newline at the end.
    fn print(&mut self, text: &str) {
        let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let stdout = &mut self.stdout;
        let mut write = || write!(stdout, "{text}{newline}").and_then(|()| stdout.flush());
        let outcome = match &mut self.listener {
            Listener::Bars(bars) => bars.suspend(write),
            _ => write(),
        };
        if let Err(e) = outcome {
            self.broken.get_or_insert(e);
        }
    }

    /// Writes to standard error.
    fn say(&mut self, text: &str) {
        self.suspend(|stderr| {
            let _ = writeln!(stderr, "{text}");
        });
    }

    fn suspend<R>(&mut self, f: impl FnOnce(&mut dyn Write) -> R) -> R {
        let stderr = &mut self.stderr;
        match &mut self.listener {
            Listener::Bars(bars) => bars.suspend(|| f(stderr)),
            _ => f(stderr),
        }
    }
}

/// What even a quiet reader of JSON gets.
fn matters(event: &Event) -> bool {
    matches!(event, Event::Warning { .. } | Event::Result { .. })
}

fn wants_color(color: Color) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|t| t == "dumb");
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => io::stderr().is_terminal() && !set("NO_COLOR") && !dumb,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Buffer {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Refuses every byte.
    struct Refuses(io::ErrorKind);

    impl Write for Refuses {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const BARE: Style = Style { color: false };

    fn plain(stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Screen {
        let listener = Listener::Plain(Lines::new(0, BARE, true), Instant::now());
        Screen::with(listener, 0, BARE, stdout, stderr)
    }

    #[test]
    fn progress_and_results_go_separate_ways() {
        let (out, err) = (Buffer::default(), Buffer::default());
        let screen = plain(Box::new(out.clone()), Box::new(err.clone()));
        screen.events().warning("careful");
        screen.result("done", Value::from(1));
        assert_eq!(out.text(), "done\n");
        assert!(err.text().starts_with("[    0."), "{}", err.text());
        assert!(err.text().ends_with("] warning: careful\n"), "{}", err.text());
    }

    #[test]
    fn json_puts_events_results_and_errors_on_one_stream() {
        let (out, err) = (Buffer::default(), Buffer::default());
        let (stdout, stderr) = (Box::new(out.clone()), Box::new(err.clone()));
        let screen = Screen::with(Listener::Json, 0, BARE, stdout, stderr);
        screen.events().notice("n");
        screen.result("for people", Value::from(7));
        screen.error(&Report {
            reason: "usage",
            exit_code: 2,
            message: "m".into(),
            hints: Vec::new(),
            data: Value::Null,
        });
        let text = out.text();
        let kinds: Vec<Value> = text
            .lines()
            .map(|l| serde_json::from_str::<Value>(l).unwrap()["kind"].clone())
            .collect();
        assert_eq!(kinds, ["notice", "result", "error"]);
        assert_eq!(err.text(), "");
    }

    #[test]
    fn a_reader_who_leaves_is_no_error_and_a_full_disk_is_one() {
        let screen = |kind| plain(Box::new(Refuses(kind)), Box::new(Buffer::default()));
        let gone = screen(io::ErrorKind::BrokenPipe);
        gone.print("x");
        assert!(gone.finish().is_ok());
        let full = screen(io::ErrorKind::StorageFull);
        full.print("x");
        assert_eq!(full.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
