//! `labbuild status`: labs and their machines.

use serde_json::json;

use crate::cli::StatusArgs;
use crate::commands::{Context, Failure};
use crate::lab::{self, MachineStatus, Status};
use crate::store::Store;
use crate::ui;
use crate::ui::text::size;

/// Shows one lab or all.
pub async fn run(ctx: &Context, args: StatusArgs) -> Result<(), Failure> {
    let store = ctx.store()?;
    let labs = match args.lab {
        Some(lab) => vec![lab],
        None => store.lab_names()?,
    };
    print(ctx, &store, &labs).await
}

/// Shows these labs.
pub async fn print(ctx: &Context, store: &Store, labs: &[String]) -> Result<(), Failure> {
    let mut all = Vec::new();
    for name in labs {
        all.push(lab::status(store, name).await?);
    }
    let text = match all.as_slice() {
        [] => "no labs; `labbuild up RECIPE` makes one".to_owned(),
        labs => labs.iter().map(describe).collect::<Vec<_>>().join("\n"),
    };
    ctx.screen.result(&text, json!({ "labs": all }));
    Ok(())
}

fn describe(status: &Status) -> String {
    let mut text = format!("{} ({}): {}", status.name, status.recipe, status.state);
    if status.running {
        text.push_str(&format!(", {} ({})", status.accelerator, status.accelerator_reason));
    }
    text.push('\n');
    if let Some(at) = &status.failed_at {
        text.push_str(&format!("failed: {at}\n"));
    }
    let heading = ["machine", "state", "addresses", "cpus", "memory", "overlay"];
    text.push_str(&ui::table(&heading, status.machines.iter().map(row)));
    text
}

fn row(m: &MachineStatus) -> Vec<String> {
    let addresses: Vec<String> = m.addresses.iter().map(|(nic, a)| format!("{nic} {a}")).collect();
    vec![
        m.name.clone(),
        if m.running { "running" } else { "off" }.to_owned(),
        addresses.join(", "),
        m.cpus.to_string(),
        format!("{} MiB", m.memory_mib),
        size(m.overlay_bytes),
    ]
}
