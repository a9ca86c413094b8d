//! `labbuild uri`: the libvirt URI of a running lab.

use crate::cli::UriArgs;
use crate::commands::{Context, Failure};

/// Prints it.
pub async fn run(ctx: &Context, args: UriArgs) -> Result<(), Failure> {
    let running = ctx.running(args.lab.name.as_deref()).await?;
    let uri = running.backend.uri();
    ctx.screen.result(uri, serde_json::json!({ "uri": uri, "lab": running.record.name }));
    Ok(())
}
