//! `labbuild verify`: fresh copies from the images, booted one after the other and compared.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::build::Env;
use crate::bundle::{self, Manifest};
use crate::cli::VerifyArgs;
use crate::commands::setup::{is_images, lock_lab};
use crate::commands::{Context, Failure, images};
use crate::digest::Digest;
use crate::lab::{self, Backing, Fingerprint, LabError, Record};
use crate::ui::text::clean;

/// So many differing lines are shown per machine.
const SHOWN: usize = 20;

/// The fingerprints of all machines of one boot.
type Boot = BTreeMap<String, Fingerprint>;

/// Boots N copies and compares them with the first.
pub async fn run(ctx: &Context, args: VerifyArgs) -> Result<(), Failure> {
    let env = ctx.env()?;
    let from_elsewhere = is_images(&args.source);
    let folder = match from_elsewhere {
        true => args.source.clone(),
        false => images::wanted(&env.store, Some(&args.source))?.dir,
    };
    let manifest = Manifest::read(&folder)?;
    let mut name = format!("verify-{}", manifest.topology.lab);
    name.truncate(32);
    // From here on, nothing in the store is freed.
    let _lock = lock_lab(&env.store, &name, "verifying")?;
    let (manifest, folder) = match from_elsewhere {
        true => tokio::select! {
            imported = bundle::import(&env.store, &folder, &env.events) => imported?,
            () = ctx.cancel.cancelled() => return Err(Failure::interrupted()),
        },
        false => (manifest, folder),
    };
    for image in &manifest.images {
        bundle::check_digest(&folder.join(&image.file), &image.sha256)?;
    }
    let compared = tokio::select! {
        compared = compare(ctx, &env, &name, &manifest, &folder, args.boots) => compared,
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
    folder: &Path,
    boots: u32,
) -> Result<(), Failure> {
    let mut first: Option<Boot> = None;
    let mut differing = 0;
    let mut lines: Vec<Value> = Vec::new();
    for number in 1..=boots {
        let begun = Instant::now();
        let boot = boot_once(ctx, env, name, manifest, folder).await?;
        refuse_empty(&boot)?;
        let differences = first.as_ref().map(|first| differences(first, &boot)).unwrap_or_default();
        let same = first.as_ref().is_none_or(|first| *first == boot);
        differing += u32::from(!same);
        let verdict = match (number, same) {
            (1, _) => "the reference",
            (_, true) => "the same",
            (_, false) => "DIFFERS",
        };
        let head = format!("boot {number}/{boots}: {}  {verdict}", digest(&boot).short());
        let line = line(&head, &boot, &differences, begun.elapsed());
        let value = json!({
            "boot": number,
            "fingerprint": digest(&boot),
            "same": same,
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
    folder: &Path,
) -> Result<Boot, Failure> {
    let start = ctx.start_options()?;
    let record = Record::new(name, folder, start.connect.clone(), manifest.topology.clone());
    let backings = manifest.images.iter().map(|image| {
        let file = folder.join(&image.file);
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
    let of_machine = |(machine, reference): (&String, &Fingerprint)| {
        let lines = match boot.get(machine) {
            Some(fingerprint) => reference.difference(fingerprint, SHOWN),
            None => vec!["it is missing".to_owned()],
        };
        lines.into_iter().map(|line| format!("{machine}: {line}")).collect::<Vec<_>>()
    };
    first.iter().flat_map(of_machine).collect()
}

/// What differs was read in a guest, and is cleaned before a terminal sees it.
fn line(head: &str, boot: &Boot, differences: &[String], took: Duration) -> String {
    let files: usize = boot.values().map(|f| f.lines("files")).sum();
    let rest = differences.iter().map(|difference| format!("\n  {}", clean(difference)));
    format!("{head}  ({files} file lines, {} s){}", took.as_secs(), rest.collect::<String>())
}
