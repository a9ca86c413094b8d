//! `labbuild completions`: a completion script for a shell.

use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs};
use crate::commands::{Context, Failure};

/// Prints the script.
pub fn run(ctx: &Context, args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "labbuild", &mut script);
    ctx.screen.print(&String::from_utf8_lossy(&script));
    Ok(())
}
