//! `labbuild verify`: fresh copies from the images, booted one after the other and compared.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::build::Env;
use crate::bundle::{self, Manifest};
use crate::cli::VerifyArgs;
use crate::commands::setup::{is_images, lock_lab};
use crate::commands::{Context, Failure, images};
use crate::digest::Digest;
use crate::lab::{self, Backing, Fingerprint, LabError, Record};
use crate::store::StoredImages;

/// So many differing lines are shown per machine.
const SHOWN: usize = 20;

/// The fingerprints of all machines of one boot.
type Boot = BTreeMap<String, Fingerprint>;

/// Boots N copies and compares them with the first.
pub async fn run(ctx: &Context, args: VerifyArgs) -> Result<(), Failure> {
    let env = ctx.env()?;
    let (manifest, stored) = match is_images(&args.source) {
        true => bundle::import(&env.store, &args.source, &env.events).await?,
        false => {
            let stored = images::wanted(&env.store, Some(&args.source))?;
            (Manifest::read(&stored.dir)?, stored)
        }
    };
    for image in &manifest.images {
        bundle::check_digest(&stored.dir.join(&image.file), &image.sha256)?;
    }
    let mut name = format!("verify-{}", manifest.topology.lab);
    name.truncate(32);
    let _lock = lock_lab(&env.store, &name, "verifying")?;
    let compared = tokio::select! {
        compared = compare(ctx, &env, &name, &manifest, &stored, args.boots) => compared,
        () = ctx.cancel.cancelled() => Err(Failure::interrupted()),
    };
    lab::discard(&env.store, &name).await?;
    compared
}

async fn compare(
    ctx: &Context,
    env: &Env,
    name: &str,
    manifest: &Manifest,
    stored: &StoredImages,
    boots: u32,
) -> Result<(), Failure> {
    let mut first: Option<Boot> = None;
    let mut differing = 0;
    let mut lines: Vec<Value> = Vec::new();
    for number in 1..=boots {
        let begun = Instant::now();
        let boot = boot_once(ctx, env, name, manifest, stored).await?;
        refuse_empty(&boot)?;
        let differences = first.as_ref().map(|first| differences(first, &boot)).unwrap_or_default();
        differing += u32::from(!differences.is_empty());
        let line = line(number, boots, &boot, &differences, begun.elapsed());
        let value = json!({
            "boot": number,
            "fingerprint": digest(&boot),
            "same": differences.is_empty(),
            "differences": differences,
        });
        if !ctx.screen.is_json() {
            ctx.screen.print(&line);
        }
        lines.push(value);
        first.get_or_insert(boot);
    }
    let identical = differing == 0;
    let summary = match identical {
        true => format!("{boots} boots, one fingerprint"),
        false => format!("{differing} of {boots} boots differ from the first"),
    };
    // For people the error below says it; programs want the differences.
    if identical || ctx.screen.is_json() {
        ctx.screen.result(&summary, json!({ "boots": lines, "identical": identical }));
    }
    if identical { Ok(()) } else { Err(Failure::failed(summary)) }
}

async fn boot_once(
    ctx: &Context,
    env: &Env,
    name: &str,
    manifest: &Manifest,
    stored: &StoredImages,
) -> Result<Boot, Failure> {
    let start = ctx.start_options()?;
    let record = Record::new(name, &stored.dir, start.connect.clone(), manifest.topology.clone());
    let backings = manifest.images.iter().map(|image| {
        let file = stored.dir.join(&image.file);
        (image.machine.clone(), Backing { file, layer: None })
    });
    let backings = backings.collect();
    let running = lab::start(&env.store, record, &backings, &start, &env.events).await?;
    // Both machines at once, as they booted.
    let mut taking = tokio::task::JoinSet::new();
    for machine in running.guests.keys() {
        let (agent, machine) = (running.agent(machine)?, machine.clone());
        taking.spawn(async move { lab::fingerprint(&agent).await.map(|f| (machine, f)) });
    }
    let mut boot = Boot::new();
    while let Some(taken) = taking.join_next().await {
        let taken: Result<_, LabError> = taken.map_err(Failure::failed)?;
        let (machine, fingerprint) = taken?;
        boot.insert(machine, fingerprint);
    }
    drop(running);
    lab::stop(&env.store, name).await?;
    Ok(boot)
}

/// A comparison of nothing with nothing proves nothing.
fn refuse_empty(boot: &Boot) -> Result<(), Failure> {
    for (machine, fingerprint) in boot {
        for section in ["packages", "enabled-units", "addresses", "mounts", "hardware", "files"] {
            if fingerprint.lines(section) == 0 {
                return Err(Failure::failed(format!(
                    "{machine}: the fingerprint has no {section}"
                )));
            }
        }
    }
    Ok(())
}

fn digest(boot: &Boot) -> Digest {
    let parts: Vec<String> = boot.iter().map(|(m, f)| format!("{m} {}\n", f.digest())).collect();
    Digest::of(parts.concat())
}

fn differences(first: &Boot, boot: &Boot) -> Vec<String> {
    let of_machine = |(machine, fingerprint): (&String, &Fingerprint)| {
        let reference = first.get(machine)?;
        let lines = reference.difference(fingerprint, SHOWN);
        Some(lines.into_iter().map(|line| format!("{machine}: {line}")).collect::<Vec<_>>())
    };
    boot.iter().filter_map(of_machine).flatten().collect()
}

fn line(number: u32, of: u32, boot: &Boot, differences: &[String], took: Duration) -> String {
    let verdict = match (number, differences.is_empty()) {
        (1, _) => "the reference",
        (_, true) => "the same",
        (_, false) => "DIFFERS",
    };
    let files: usize = boot.values().map(|f| f.lines("files")).sum();
    let head = format!(
        "boot {number}/{of}: {}  {verdict}  ({files} file lines, {} s)",
        digest(boot).short(),
        took.as_secs()
    );
    let rest = differences.iter().map(|d| format!("\n  {d}"));
    head + &rest.collect::<String>()
}
