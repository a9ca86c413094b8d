//! `labbuild console` and `labbuild logs`: the serial console, live and as it was.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::cli::{LogsArgs, MachineArgs};
use crate::commands::{Context, Failure};
use crate::host::{Cmd, HostError, foreign};
use crate::lab;
use crate::ui::text::clean;

/// A longer line is printed as several, in bytes.
const LONGEST_LINE: u64 = 64 << 10;

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
    let older = path.with_extension("log.0");
    if older.exists() {
        print_file(ctx, &older)?;
    }
    print_file(ctx, &path)
}

/// A guest wrote it: neither the file nor a line of it is taken whole.
fn print_file(ctx: &Context, path: &Path) -> Result<(), Failure> {
    let file = foreign::open(path).map_err(HostError::file("read", path))?;
    let mut reader = BufReader::new(file);
    loop {
        let mut line = Vec::new();
        let read = reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        if read.map_err(HostError::file("read", path))? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        ctx.screen.print(&clean(text.trim_end_matches(['\n', '\r'])));
    }
}
