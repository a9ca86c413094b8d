//! `labbuild up`: build what is not stored, and leave the lab running.

use std::path::Path;

use crate::build::{self, BuildError, Env, Options};
use crate::bundle::{self, MANIFEST, Manifest};
use crate::cli::UpArgs;
use crate::commands::setup::{is_images, load_plan, lock_lab};
use crate::commands::{Context, Failure, status};
use crate::lab::{self, Backing, LabError, Record, Running, State};
use crate::plan::{MachinePlan, Plan};
use crate::recipe::Place;

/// Brings a recipe or a folder of images up.
pub async fn run(ctx: &Context, args: UpArgs) -> Result<(), Failure> {
    if is_images(&args.source) {
        return up_images(ctx, &args).await;
    }
    let mut plan = load_plan(&args.source, &args.set)?;
    let name = args.name.clone().unwrap_or_else(|| plan.lab.name.clone());
    let env = ctx.env()?;
    let _lock = lock_lab(&env.store, &name, "bringing up")?;
    let to = args.stages.to.as_deref().map(|s| plan.stage_index(s)).transpose()?;
    if let Some(from) = &args.stages.from {
        build::forget_from(&env, &plan, plan.stage_index(from)?)?;
    }
    say_kickstart_notices(ctx, &plan);
    let options =
        Options { name: name.clone(), to, locked: args.locked, start: ctx.start_options()? };
    if already_up(&env, &plan, &options).await? {
        ctx.events.notice(format!("lab {name} is up already"));
        let mut running = Running::open(&env.store, &name, ctx.accel()).await?;
        lab::expose(&env.store, &mut running, &plan.lab.exposed, &env.events).await?;
        return status::print(ctx, &env.store, &[name]).await;
    }
    let outcome = tokio::select! {
        outcome = build::up(&env, &mut plan, &options) => outcome,
        () = ctx.cancel.cancelled() => return interrupted(&env, &name).await,
    };
    match outcome {
        Ok(mut up) => {
            lab::expose(&env.store, &mut up.running, &plan.lab.exposed, &env.events).await?;
            status::print(ctx, &env.store, &[name]).await
        }
        Err(error) => Err(explain(&env, &name, &args.source, error).await),
    }
}

/// Whether the lab already runs at the wanted snapshot.
async fn already_up(env: &Env, plan: &Plan, options: &Options) -> Result<bool, Failure> {
    let Some(bases) = plan.bases() else { return Ok(false) };
    let mut targets = plan.targets(&bases);
    targets.truncate(options.to.map_or(usize::MAX, |index| index + 1));
    let Some(record) = Record::read(&env.store, &options.name)? else { return Ok(false) };
    let wanted = targets.last().map(|t| t.id);
    let at = matches!(&record.state, State::Up { snapshot, .. } if *snapshot == wanted);
    if !at || record.connect != options.start.connect {
        return Ok(false);
    }
    let status = lab::status(&env.store, &options.name).await?;
    Ok(status.machines.iter().all(|m| m.running))
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

/// Ctrl-C: nothing half-made stays, what was stored stays.
async fn interrupted(env: &Env, name: &str) -> Result<(), Failure> {
    let begun =
        Record::read(&env.store, name)?.is_some_and(|r| !matches!(r.state, State::Up { .. }));
    if begun {
        lab::stop(&env.store, name).await?;
    }
    Err(Failure::interrupted())
}

/// What failed, and the two commands that matter: look there, go on.
pub async fn explain(env: &Env, name: &str, source: &Path, error: BuildError) -> Failure {
    let machine = match &error {
        BuildError::Step(step) => Some(step.machine.clone()),
        BuildError::Checks(checks) => checks.first().map(|c| c.machine.clone()),
        BuildError::Agent(_) | BuildError::Lab(LabError::Agent(_)) => Some("MACHINE".to_owned()),
        _ => None,
    };
    let failure = Failure::from(error);
    let Some(machine) = machine else {
        // Nothing to look at inside: do not leave it running.
        let _ = lab::stop(&env.store, name).await;
        return failure;
    };
    let logs = env.store.lab_dir(name).join("log");
    failure
        .hint(format!("labbuild ssh --name {name} {machine}    (a shell there; the machines are still running)"))
        .hint(format!("labbuild up {} --name {name}    (go on from the last stored stage)", source.display()))
        .hint(format!("full logs: {}", logs.display()))
}

async fn up_images(ctx: &Context, args: &UpArgs) -> Result<(), Failure> {
    if !args.set.is_empty() || args.stages.to.is_some() || args.stages.from.is_some() {
        return Err(Failure::usage(
            "images are finished: --set, --to and --from mean nothing for them",
        ));
    }
    let env = ctx.env()?;
    let (manifest, stored) = tokio::select! {
        imported = bundle::import(&env.store, &args.source, &env.events) => imported?,
        () = ctx.cancel.cancelled() => return Err(Failure::interrupted()),
    };
    let name = args.name.clone().unwrap_or_else(|| manifest.topology.lab.clone());
    let _lock = lock_lab(&env.store, &name, "bringing up")?;
    let backings = manifest.images.iter().map(|image| {
        let file = stored.dir.join(&image.file);
        (image.machine.clone(), Backing { file, layer: None })
    });
    let start = ctx.start_options()?;
    let source = std::path::absolute(&args.source).map_err(Failure::failed)?;
    let record = Record::new(&name, &source, start.connect.clone(), manifest.topology.clone());
    let backings = backings.collect();
    let started = async {
        let running = lab::start(&env.store, record, &backings, &start, &env.events).await?;
        make_ready(&env, running, &manifest, &args.source).await
    };
    let started = tokio::select! {
        started = started => started,
        () = ctx.cancel.cancelled() => return interrupted(&env, &name).await,
    };
    match started {
        Ok(()) => status::print(ctx, &env.store, &[name]).await,
        Err(error) => Err(explain(&env, &name, &args.source, error).await),
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
