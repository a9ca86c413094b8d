//! `labbuild status`: labs and their machines.

use serde_json::json;

use crate::cli::StatusArgs;
use crate::commands::{Context, Failure};
use crate::lab::{self, ExposedStatus, MachineStatus, Status};
use crate::store::Store;
use crate::ui;
use crate::ui::text::{clean, clean_lines, size};

/// Shows one lab or all.
pub async fn run(ctx: &Context, args: StatusArgs) -> Result<(), Failure> {
    let store = ctx.store()?;
    match args.lab {
        Some(lab) => print(ctx, &store, &[lab]).await,
        None => {
            show(ctx, &lab::status_of_all(&store).await?);
            Ok(())
        }
    }
}

/// Shows these labs; one that cannot be asked is an error.
pub async fn print(ctx: &Context, store: &Store, labs: &[String]) -> Result<(), Failure> {
    let mut all = Vec::new();
    for name in labs {
        all.push(lab::status(store, name).await?);
    }
    show(ctx, &all);
    Ok(())
}

fn show(ctx: &Context, all: &[Status]) {
    let text = match all {
        [] => "no labs; `labbuild up RECIPE` makes one".to_owned(),
        labs => labs.iter().map(describe).collect::<Vec<_>>().join("\n"),
    };
    ctx.screen.result(&text, json!({ "labs": all }));
}

fn describe(status: &Status) -> String {
    if let Some(because) = &status.unknown_because {
        return clean_lines(&format!("{}: {}, because {because}", status.name, status.state))
            + "\n";
    }
    let heading = format!("{} ({}): {}", status.name, status.recipe, status.state);
    let mut text = clean(&heading);
    if status.running {
        text.push_str(&format!(", {} ({})", status.accelerator, status.accelerator_reason));
    }
    text.push('\n');
    if let Some(at) = &status.failed_at {
        text.push_str(&format!("failed: {}\n", clean(at)));
    }
    let heading = ["machine", "state", "addresses", "cpus", "memory", "overlay"];
    text.push_str(&ui::table(&heading, status.machines.iter().map(row)));
    text.extend(status.exposed.iter().map(exposed));
    text
}

/// `dashboard: http://127.0.0.1:8080/horizon/`
fn exposed(port: &ExposedStatus) -> String {
    let ExposedStatus { name, machine, location, .. } = port;
    match (port.forwarded, &port.host) {
        (true, _) => format!("{name}: {location}\n"),
        (false, None) => format!("{name}: {location} (the address of {machine} itself)\n"),
        (false, Some(host)) => {
            format!("{name}: {location} (the address of {machine} itself, seen from {host})\n")
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exposed_port_says_whose_address_it_is() {
        let mut port = ExposedStatus {
            name: "dashboard".into(),
            machine: "controller".into(),
            port: 80,
            location: "http://127.0.0.1:8080/horizon/".into(),
            forwarded: true,
            host: None,
        };
        assert_eq!(exposed(&port), "dashboard: http://127.0.0.1:8080/horizon/\n");
        (port.forwarded, port.location) = (false, "http://172.16.251.11/horizon/".into());
        insta::assert_snapshot!(exposed(&port));
        port.host = Some("lab.example.org".into());
        insta::assert_snapshot!(exposed(&port));
    }
}
