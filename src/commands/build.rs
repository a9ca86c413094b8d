//! `labbuild build`: from a recipe to sealed images in the store.

use serde_json::json;

use crate::build::{self, Env, Options};
use crate::bundle::Manifest;
use crate::cli::BuildArgs;
use crate::commands::setup::{load_plan, lock_lab};
use crate::commands::{Context, Failure, up};
use crate::lab;
use crate::plan::{Plan, Target};
use crate::store::StoredImages;
use crate::ui;
use crate::ui::text::{clean, size};

/// Builds and seals what is not there yet.
pub async fn run(ctx: &Context, args: BuildArgs) -> Result<(), Failure> {
    let mut plan = load_plan(&args.recipe.recipe, &args.recipe.variables)?;
    let env = ctx.env()?;
    let to = args.stages.to.as_deref().map(|s| plan.stage_index(s)).transpose()?;
    let name = format!("build-{}", plan.lab.name);
    let _lock = lock_lab(&env.store, &name, "building")?;
    if let Some(from) = &args.stages.from {
        build::forget_from(&env, &plan, plan.stage_index(from)?, args.locked).await?;
    }
    if let Some((images, target)) = finished(&env, &plan, to)? {
        ctx.events.notice(match build::refresh_manifest(&images, &plan, &target)? {
            true => "the images are stored; what a start of them waits for or offers is new",
            false => "nothing to do: the images are stored",
        });
        return show(ctx, &images);
    }
    up::say_kickstart_notices(ctx, &plan);
    let start = ctx.start_options()?;
    let begun = start.begun.clone();
    let options = Options { name: name.clone(), to, locked: args.locked, start };
    let images = tokio::select! {
        images = build_and_seal(&env, &mut plan, &options) => images,
        () = ctx.cancel.cancelled() => {
            if begun.is_set() {
                lab::discard(&env.store, &name).await?;
            }
            return Err(Failure::interrupted());
        }
    };
    match images {
        Ok(images) => show(ctx, &images),
        Err(error) => Err(up::explain(&env, &name, &args.recipe.recipe, error, &begun).await),
    }
}

/// The images, if nothing has changed in the machines since they were sealed.
fn finished(
    env: &Env,
    plan: &Plan,
    to: Option<usize>,
) -> Result<Option<(StoredImages, Target)>, Failure> {
    let Some(bases) = plan.bases() else { return Ok(None) };
    let Some(last) = plan.targets_to(&bases, to).pop() else { return Ok(None) };
    let stored = env.store.snapshot(&last.id)?.is_some();
    let images = env.store.images_of(&last.id).filter(|_| stored);
    Ok(images.map(|images| (images, last)))
}

async fn build_and_seal(
    env: &Env,
    plan: &mut Plan,
    options: &Options,
) -> Result<StoredImages, build::BuildError> {
    let outcome = build::up(env, plan, options).await?;
    let target = outcome.target.ok_or(build::BuildError::NoStages)?;
    build::seal(env, plan, outcome.running, &target).await
}

fn show(ctx: &Context, images: &StoredImages) -> Result<(), Failure> {
    let manifest = Manifest::read(&images.dir)?;
    let row = |i: &crate::bundle::Image| {
        let path = clean(&images.dir.join(&i.file).display().to_string());
        vec![i.machine.clone(), size(i.size), size(i.virtual_size), i.sha256.short(), path]
    };
    let heading = ["machine", "size", "disk", "sha256", "file"];
    let text = ui::table(&heading, manifest.images.iter().map(row));
    ctx.screen.result(&text, json!({ "dir": images.dir, "manifest": manifest }));
    Ok(())
}
