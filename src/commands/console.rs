//! `labbuild console` and `labbuild logs`: the serial console, live and as it was.

use crate::cli::{LogsArgs, MachineArgs};
use crate::commands::{Context, Failure};
use crate::host::{Cmd, HostError};
use crate::lab;

/// Connects the terminal, by virsh.
pub async fn run(ctx: &Context, args: MachineArgs) -> Result<(), Failure> {
    let running = ctx.running(args.lab.name.as_deref()).await?;
    running.guest(&args.machine)?;
    let domain = &running.record.machines[&args.machine].domain;
    let uri = running.backend.uri();
    let virsh = Cmd::new("virsh").args(["-q", "-c", uri, "console", "--safe", domain]);
    Failure::pass(virsh.interactive().await?)
}

/// Prints what the console has shown.
pub fn logs(ctx: &Context, args: &LogsArgs) -> Result<(), Failure> {
    let store = ctx.store()?;
    let name = lab::choose(&store, args.lab.name.as_deref())?;
    let file = format!("{}.console.log", args.machine);
    let path = store.lab_dir(&name).join("log").join(file);
    let bytes = std::fs::read(&path).map_err(HostError::file("read", &path))?;
    ctx.screen.print(&crate::ui::text::clean_lines(&String::from_utf8_lossy(&bytes)));
    Ok(())
}
