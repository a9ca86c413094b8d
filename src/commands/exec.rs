//! `labbuild exec`: a command in a machine, through the guest agent.

use std::time::Duration;

use crate::backend::agent::{ExecRequest, Outcome, Stream};
use crate::cli::ExecArgs;
use crate::commands::{Context, Failure};

/// A person may leave a command running; a month is no limit to them.
const NO_LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Runs the command; ends with its exit status.
pub async fn run(ctx: &Context, args: ExecArgs) -> Result<(), Failure> {
    let running = ctx.running(args.lab.name.as_deref()).await?;
    let agent = running.agent(&args.machine)?;
    let words = args.command.iter().map(|word| {
        word.to_str().map(str::to_owned).ok_or_else(|| Failure::usage("arguments must be UTF-8"))
    });
    let words = words.collect::<Result<Vec<String>, Failure>>()?;
    let screen = ctx.screen.clone();
    let show = move |stream: Stream, line: &str| match stream {
        Stream::Stdout => screen.print(&format!("{line}\n")),
        Stream::Stderr => screen.aside(line),
    };
    let request = ExecRequest::argv(words).timeout(NO_LIMIT);
    let result = agent.exec(request, show).await.map_err(Failure::failed)?;
    match result.outcome {
        Outcome::Exited(status) => Failure::pass(status),
        Outcome::TimedOut(_) => Err(Failure::failed("the command ran for a month and was ended")),
    }
}
