//! The `labbuild` program: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser;
use labbuild::cli::Cli;
use labbuild::commands;

fn main() -> ExitCode {
    let code = match Cli::try_parse() {
        Ok(cli) => match commands::early(&cli) {
            Some(code) => return code,
            None => commands::run(cli),
        },
        Err(error) => commands::usage(&error, std::env::args_os().any(|a| a == "--json")),
    };
    ExitCode::from(code)
}
