//! `labbuild up`: build what is not stored, and leave the lab running.

use std::path::Path;

use crate::build::{self, BuildError, Env, Options};
use crate::bundle::{self, MANIFEST, Manifest};
use crate::cli::UpArgs;
use crate::commands::setup::{is_images, load_plan, lock_lab};
use crate::commands::{Context, Failure, status};
use crate::digest::LayerId;
use crate::lab::{self, Backing, Begun, LabError, Record, Running, State};
use crate::plan::{MachinePlan, Plan};
use crate::recipe::{Expose, Place};

/// Brings a recipe or a folder of images up.
pub async fn run(ctx: &Context, args: UpArgs) -> Result<(), Failure> {
    if is_images(&args.source) {
        return up_images(ctx, &args).await;
    }
    let mut plan = load_plan(&args.source, &args.variables)?;
    let name = args.name.clone().unwrap_or_else(|| plan.lab.name.clone());
    let env = ctx.env()?;
    let _lock = lock_lab(&env.store, &name, "bringing up")?;
    refuse_other(&env, &name, &plan.lab.dir).await?;
    let to = args.stages.to.as_deref().map(|s| plan.stage_index(s)).transpose()?;
    if let Some(from) = &args.stages.from {
        build::forget_from(&env, &plan, plan.stage_index(from)?, args.locked).await?;
    }
    say_kickstart_notices(ctx, &plan);
    let start = ctx.start_options()?;
    let begun = start.begun.clone();
    let options = Options { name: name.clone(), to, locked: args.locked, start };
    if let Some(wanted) = wanted(&plan, &options)
        && already_up(&env, &name, wanted, options.start.connect.as_deref()).await?
    {
        return show_again(ctx, &env, &name, &plan.lab.exposed).await;
    }
    let outcome = tokio::select! {
        outcome = build::up(&env, &mut plan, &options) => outcome,
        () = ctx.cancel.cancelled() => return interrupted(&env, &name, &begun).await,
    };
    match outcome {
        Ok(mut up) => {
            lab::expose(&env.store, &mut up.running, &plan.lab.exposed, &env.events).await?;
            status::print(ctx, &env.store, &[name]).await
        }
        Err(error) => Err(explain(&env, &name, &args.source, error, &begun).await),
    }
}

/// A lab that runs is not ended for another one that only has its name.
async fn refuse_other(env: &Env, name: &str, source: &Path) -> Result<(), Failure> {
    let record = Record::read(&env.store, name)?.filter(|record| record.source != source);
    let Some(record) = record else { return Ok(()) };
    if !lab::status(&env.store, name).await?.running {
        return Ok(());
    }
    let made_from = record.source.display();
    Err(Failure::conflict(format!("another lab {name} runs, made from {made_from}"))
        .hint(format!("labbuild down {name}    (ends it; what was done in its machines is lost)"))
        .hint(format!("labbuild up {} --name OTHER", source.display())))
}

/// The snapshot that a recipe leads to; without stages, none; unknown while a base is to be made.
fn wanted(plan: &Plan, options: &Options) -> Option<Option<LayerId>> {
    Some(plan.targets_to(&plan.bases()?, options.to).last().map(|target| target.id))
}

/// Whether the lab already runs at the wanted snapshot.
async fn already_up(
    env: &Env,
    name: &str,
    wanted: Option<LayerId>,
    connect: Option<&str>,
) -> Result<bool, Failure> {
    let Some(record) = Record::read(&env.store, name)? else { return Ok(false) };
    let at = matches!(&record.state, State::Up { snapshot, .. } if *snapshot == wanted);
    if !at || record.connect.as_deref() != connect {
        return Ok(false);
    }
    let status = lab::status(&env.store, name).await?;
    Ok(status.machines.iter().all(|m| m.running))
}

/// Nothing is left to do but to offer the ports again.
async fn show_again(
    ctx: &Context,
    env: &Env,
    name: &str,
    exposed: &[Expose],
) -> Result<(), Failure> {
    ctx.events.notice(format!("lab {name} is up already"));
    let mut running = Running::open(&env.store, name, ctx.accel()).await?;
    lab::expose(&env.store, &mut running, exposed, &env.events).await?;
    status::print(ctx, &env.store, &[name.to_owned()]).await
}

/// What the kickstarts say that means nothing here, each sentence once.
pub fn say_kickstart_notices(ctx: &Context, plan: &Plan) {
    let mut said = Vec::new();
    for (at, text) in plan.machines.iter().flat_map(MachinePlan::notices) {
        if !said.contains(&text) {
            ctx.events.notice(format!("{at}: {text}"));
            said.push(text);
        }
    }
}

/// Ctrl-C: nothing half-made stays; what was stored, or ran before, stays.
async fn interrupted(env: &Env, name: &str, begun: &Begun) -> Result<(), Failure> {
    if begun.is_set() {
        lab::stop(&env.store, name).await?;
    }
    Err(Failure::interrupted())
}

/// What failed, and the two commands that matter: look there, go on.
pub async fn explain(
    env: &Env,
    name: &str,
    source: &Path,
    error: BuildError,
    begun: &Begun,
) -> Failure {
    let machine = match &error {
        BuildError::Step(step) => Some(step.machine.clone()),
        BuildError::Checks(checks) => checks.first().map(|c| c.machine.clone()),
        BuildError::Agent(_) | BuildError::Lab(LabError::Agent(_)) => Some("MACHINE".to_owned()),
        _ => None,
    };
    let failure = Failure::from(error);
    let Some(machine) = machine else {
        // Nothing to look at inside: do not leave it running.
        if begun.is_set() {
            let _ = lab::stop(&env.store, name).await;
        }
        return failure;
    };
    let logs = env.store.lab_dir(name).join("log");
    failure
        .hint(format!("labbuild ssh --name {name} {machine}    (a shell there; the machines are still running)"))
        .hint(format!("labbuild up {} --name {name}    (go on from the last stored stage)", source.display()))
        .hint(format!("full logs: {}", logs.display()))
}

async fn up_images(ctx: &Context, args: &UpArgs) -> Result<(), Failure> {
    if !args.variables.is_empty() || args.stages.to.is_some() || args.stages.from.is_some() {
        return Err(Failure::usage(
            "images are finished: --set, --to and --from mean nothing for them",
        ));
    }
    let env = ctx.env()?;
    // The lock comes first: while it is held, nothing in the store is freed.
    let named = Manifest::read(&args.source)?.topology.lab;
    let name = args.name.clone().unwrap_or(named);
    let _lock = lock_lab(&env.store, &name, "bringing up")?;
    let (manifest, folder) = tokio::select! {
        imported = bundle::import(&env.store, &args.source, &env.events) => imported?,
        () = ctx.cancel.cancelled() => return Err(Failure::interrupted()),
    };
    let source = std::path::absolute(&args.source).map_err(Failure::failed)?;
    refuse_other(&env, &name, &source).await?;
    let start = ctx.start_options()?;
    if already_up(&env, &name, Some(manifest.snapshot), start.connect.as_deref()).await? {
        return show_again(ctx, &env, &name, &manifest.readiness.exposed).await;
    }
    let backings = manifest.images.iter().map(|image| {
        let file = folder.join(&image.file);
        (image.machine.clone(), Backing { file, layer: None })
    });
    let record = Record::new(&name, &source, start.connect.clone(), manifest.topology.clone());
    let backings = backings.collect();
    let started = async {
        let running = lab::start(&env.store, record, &backings, &start, &env.events).await?;
        make_ready(&env, running, &manifest, &args.source).await
    };
    let started = tokio::select! {
        started = started => started,
        () = ctx.cancel.cancelled() => return interrupted(&env, &name, &start.begun).await,
    };
    match started {
        Ok(()) => status::print(ctx, &env.store, &[name]).await,
        Err(error) => Err(explain(&env, &name, &args.source, error, &start.begun).await),
    }
}

/// Waits until started images answer as their recipe wanted, and opens their ports.
async fn make_ready(
    env: &Env,
    mut running: Running,
    manifest: &Manifest,
    folder: &Path,
) -> Result<(), BuildError> {
    let file = folder.join(MANIFEST).display().to_string();
    let at = Place { file: file.into(), line: 1, column: 1 };
    let waits = manifest.readiness.stage(&manifest.stage, &at);
    build::wait_until_ready(env, &mut running, waits).await?;
    let (stage, snapshot) = (Some(manifest.stage.clone()), Some(manifest.snapshot));
    running.record.set_state(&env.store, State::Up { stage, snapshot })?;
    Ok(lab::expose(&env.store, &mut running, &manifest.readiness.exposed, &env.events).await?)
}
