//! The commands: one file each, wiring only. What is common to them is here: the context they
//! get, the runtime they run on, and what a signal does.

pub mod build;
pub mod completions;
pub mod console;
pub mod doctor;
pub mod down;
pub mod exec;
pub mod failure;
pub mod gc;
pub mod graph;
pub mod images;
pub mod internal;
pub mod man;
pub mod plan;
pub mod schema;
pub mod setup;
pub mod ssh;
pub mod status;
mod trust;
pub mod up;
pub mod uri;
pub mod validate;
mod variables;
pub mod verify;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::{Cli, Command, Globals};
use crate::event::Events;
use crate::host::files;
use crate::ui::{Color, Mode, Options, Screen};
pub use failure::{Failure, Reason};

/// How long calls that block (libvirt's) may still take after a command has ended.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// What every command gets.
pub struct Context {
    /// Flags that every command knows.
    pub globals: Globals,
    /// Where results go.
    pub screen: Screen,
    /// Where the core's events go.
    pub events: Events,
    /// Cancelled on the first Ctrl-C or SIGTERM.
    pub cancel: CancellationToken,
}

impl Context {
    /// The context of a run with these flags.
    pub fn new(globals: Globals) -> Context {
        let screen = Screen::start(options(&globals));
        let events = screen.events();
        Context { globals, screen, events, cancel: CancellationToken::new() }
    }

    /// The folder of the store, absolute; it need not be there yet.
    pub fn store_dir(&self) -> Result<PathBuf, Failure> {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        if let Some(dir) = &self.globals.store {
            return std::path::absolute(dir)
                .map_err(|e| Failure::usage(format!("--store {}: {e}", dir.display())));
        }
        absolute("XDG_DATA_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
            .map(|data| data.join("labbuild"))
            .ok_or_else(|| Failure::environment("neither XDG_DATA_HOME nor HOME names a folder"))
    }
}

fn options(globals: &Globals) -> Options {
    let loud = i8::try_from(globals.verbose).unwrap_or(i8::MAX);
    Options {
        mode: if globals.json { Mode::Json } else { Mode::Auto },
        verbosity: if globals.quiet { -1 } else { loud },
        color: globals.color,
    }
}

/// Roles that labbuild starts itself in and that come before screens and threads.
pub fn early(cli: &Cli) -> Option<ExitCode> {
    match &cli.command {
        Command::Internal(args) => internal::early(args),
        _ => None,
    }
}

/// Carries a command out and closes the screen; gives back the exit code.
pub fn run(cli: Cli) -> u8 {
    // What works on a tree in the cage gives files the modes that they have in a system.
    if !matches!(cli.command, Command::Internal(_)) {
        files::keep_private();
    }
    let ctx = Context::new(cli.globals);
    let outcome = dispatch(&ctx, cli.command);
    ctx.screen.clear();
    let outcome = settle(&ctx, outcome);
    if let Some(report) = outcome.as_ref().err().and_then(Failure::report) {
        ctx.screen.error(&report);
    }
    let code = outcome.map_or_else(|f| f.reason.exit_code(), |()| 0);
    close(&ctx.screen, code)
}

/// Whatever a command says that was interrupted before it was done: it was interrupted.
fn settle(ctx: &Context, outcome: Result<(), Failure>) -> Result<(), Failure> {
    match outcome {
        Err(Failure { hints, .. }) if ctx.cancel.is_cancelled() => {
            Err(Failure { hints, ..Failure::interrupted() })
        }
        other => other,
    }
}

/// A result that nobody could read is a failure.
fn close(screen: &Screen, code: u8) -> u8 {
    let Err(error) = screen.finish() else { return code };
    let failure = Failure::failed(format!("cannot write to standard output: {error}"));
    failure.report().iter().for_each(|report| screen.error(report));
    if code == 0 { failure.reason.exit_code() } else { code }
}

/// What the parser of the command line has to say: help and version are no errors.
pub fn usage(error: &clap::Error, json: bool) -> u8 {
    if !json || !error.use_stderr() {
        // Nobody listens: nothing to be done about it.
        let _ = error.print();
        return u8::try_from(error.exit_code()).unwrap_or(2);
    }
    let screen = Screen::start(Options { mode: Mode::Json, verbosity: 0, color: Color::Never });
    let text = error.render().to_string();
    let failure = Failure::usage(text.trim().trim_start_matches("error: "));
    failure.report().iter().for_each(|report| screen.error(report));
    close(&screen, failure.reason.exit_code())
}

fn dispatch(ctx: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Validate(args) => validate::run(ctx, &args),
        Command::Schema(args) => schema::run(ctx, &args),
        Command::Graph(args) => graph::run(ctx, &args),
        Command::Completions(args) => completions::run(ctx, &args),
        Command::Man(args) => man::run(ctx, &args),
        Command::Doctor(args) => block_on(ctx, interruptible(ctx, doctor::run(ctx, args))),
        Command::Plan(args) => plan::run(ctx, &args),
        Command::Images(args) => images::run(ctx, &args),
        Command::Gc(args) => gc::run(ctx, &args),
        Command::Logs(args) => console::logs(ctx, &args),
        // These clean up by themselves when `ctx.cancel` fires, or must come to their end.
        Command::Up(args) => block_on(ctx, up::run(ctx, args)),
        Command::Build(args) => block_on(ctx, build::run(ctx, args)),
        Command::Verify(args) => block_on(ctx, verify::run(ctx, args)),
        Command::Down(args) => block_on(ctx, down::run(ctx, args)),
        Command::Status(args) => block_on(ctx, interruptible(ctx, status::run(ctx, args))),
        Command::Exec(args) => block_on(ctx, interruptible(ctx, exec::run(ctx, args))),
        Command::Ssh(args) => block_on(ctx, interruptible(ctx, ssh::run(ctx, args))),
        Command::Console(args) => block_on(ctx, interruptible(ctx, console::run(ctx, args))),
        Command::Uri(args) => block_on(ctx, interruptible(ctx, uri::run(ctx, args))),
        Command::Export(args) => block_on(ctx, interruptible(ctx, images::export(ctx, args))),
        Command::Internal(args) => block_on(ctx, interruptible(ctx, internal::run(args))),
    }
}

/// Runs a command on a runtime of its own, with Ctrl-C and SIGTERM wired to `ctx.cancel`.
fn block_on(
    ctx: &Context,
    command: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::environment(format!("cannot start threads: {e}")))?;
    let outcome = runtime.block_on(async {
        let signals = watch_signals(ctx)?;
        tokio::pin!(command, signals);
        tokio::select! {
            outcome = &mut command => outcome,
            () = &mut signals => Err(Failure::interrupted()),
        }
    });
    runtime.shutdown_timeout(LAST_CALLS);
    outcome
}

/// Drops a command that has nothing to clean up as soon as the user wants to stop.
async fn interruptible(
    ctx: &Context,
    command: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    tokio::select! {
        outcome = command => outcome,
        () = ctx.cancel.cancelled() => Err(Failure::interrupted()),
    }
}

/// The first signal asks the command to stop; those after it only say that it is stopping.
fn watch_signals(ctx: &Context) -> Result<impl Future<Output = ()> + use<>, Failure> {
    let listen = |kind| {
        signal(kind).map_err(|e| Failure::environment(format!("cannot listen for signals: {e}")))
    };
    let (mut interrupt, mut terminate) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let (cancel, events) = (ctx.cancel.clone(), ctx.events.clone());
    Ok(async move {
        loop {
            either(&mut interrupt, &mut terminate).await;
            let again = cancel.is_cancelled();
            cancel.cancel();
            events.warning(if again { "already stopping" } else { "stopping …" });
        }
    })
}

async fn either(a: &mut Signal, b: &mut Signal) {
    tokio::select! {
        _ = a.recv() => {}
        _ = b.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    fn context(args: &[&str]) -> Context {
        let words = ["labbuild", "--quiet"].iter().chain(args).chain(&["doctor"]);
        Context::new(Cli::try_parse_from(words).unwrap().globals)
    }

    #[test]
    fn a_signal_cancels_and_a_second_one_does_not_kill() {
        let ctx = context(&[]);
        let outcome = block_on(&ctx, async {
            kill_process(getpid(), Signal::TERM).unwrap();
            ctx.cancel.cancelled().await;
            kill_process(getpid(), Signal::INT).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            Err(Failure::failed("cut short").hint("go on with up"))
        });
        let failure = settle(&ctx, outcome).unwrap_err();
        assert_eq!(failure.reason.exit_code(), 130);
        assert_eq!(failure.hints, ["go on with up"]);
    }

    #[test]
    fn a_command_without_clean_up_is_dropped() {
        let ctx = context(&[]);
        let outcome = block_on(&ctx, async {
            kill_process(getpid(), Signal::INT).unwrap();
            interruptible(&ctx, std::future::pending()).await
        });
        assert_eq!(outcome.unwrap_err().reason, Reason::Interrupted);
    }

    #[test]
    fn the_store_is_absolute() {
        let ctx = context(&["--store", "here"]);
        let dir = ctx.store_dir().unwrap();
        assert!(dir.is_absolute() && dir.ends_with("here"), "{}", dir.display());
    }
}
