//! `labbuild images` and `labbuild export`: what is sealed, and a copy of it to hand out.

use std::path::Path;

use serde_json::json;

use crate::bundle::{self, Manifest};
use crate::cli::{ExportArgs, ImagesArgs, Variables};
use crate::commands::setup::load_plan;
use crate::commands::{Context, Failure};
use crate::store::{Store, StoredImages};
use crate::ui;
use crate::ui::text::{clean, size};

/// Lists the sealed images.
pub fn run(ctx: &Context, _args: &ImagesArgs) -> Result<(), Failure> {
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for images in ctx.store()?.images()? {
        let manifest = Manifest::read(&images.dir)?;
        for image in &manifest.images {
            rows.push(vec![
                manifest.topology.lab.clone(),
                image.machine.clone(),
                manifest.stage.clone(),
                size(image.size),
                image.sha256.short(),
                images.id.short(),
            ]);
        }
        values.push(json!({ "dir": images.dir, "manifest": manifest }));
    }
    let text = match rows.is_empty() {
        true => "no images; `labbuild build RECIPE` makes them".to_owned(),
        false => ui::table(&["lab", "machine", "stage", "size", "sha256", "snapshot"], rows),
    };
    ctx.screen.result(&text, json!({ "images": values }));
    Ok(())
}

/// Copies images and manifest into a folder.
pub async fn export(ctx: &Context, args: ExportArgs) -> Result<(), Failure> {
    let store = ctx.store()?;
    // While it is held, nothing in the store is freed.
    let _lock = store.lock("export", "copying images out", &ctx.events).await?;
    let images = wanted(&store, args.source.as_deref())?;
    let manifest = bundle::export(&images, &args.dir, &ctx.events).await?;
    let total: u64 = manifest.images.iter().map(|i| i.size).sum();
    let dir = clean(&args.dir.display().to_string());
    let text = format!(
        "{} of {} in {dir}, {}\nboot them anywhere with:  labbuild up {dir}",
        crate::commands::failure::count(manifest.images.len(), "image"),
        manifest.topology.lab,
        size(total),
    );
    ctx.screen.result(&text, json!({ "dir": args.dir, "manifest": manifest }));
    Ok(())
}

/// The images of a recipe as it stands, of a lab by name, or the only ones there are.
pub fn wanted(store: &Store, source: Option<&Path>) -> Result<StoredImages, Failure> {
    let none = |what: String| Failure::failed(what).hint("labbuild build RECIPE");
    match source {
        Some(path) if path.exists() => {
            let plan = load_plan(path, &Variables::default())?;
            let last = plan.bases().and_then(|bases| plan.targets(&bases).pop());
            last.and_then(|target| store.images_of(&target.id))
                .ok_or_else(|| none(format!("{} has no images as it stands now", path.display())))
        }
        Some(name) => {
            let name = name.display().to_string();
            newest(store, |lab| lab == name)?.ok_or_else(|| {
                none(format!("`{name}` is no recipe here, and no lab of that name has images"))
            })
        }
        None => {
            let labs = labs_with_images(store)?;
            match labs.as_slice() {
                [] => Err(none("there are no images".to_owned())),
                [only] => {
                    newest(store, |lab| lab == only)?.ok_or_else(|| none("they vanished".into()))
                }
                many => Err(Failure::usage(format!("images of which lab? {}", many.join(", ")))),
            }
        }
    }
}

fn labs_with_images(store: &Store) -> Result<Vec<String>, Failure> {
    let mut labs = Vec::new();
    for images in store.images()? {
        labs.push(Manifest::read(&images.dir)?.topology.lab);
    }
    labs.sort();
    labs.dedup();
    Ok(labs)
}

fn newest(store: &Store, is: impl Fn(&str) -> bool) -> Result<Option<StoredImages>, Failure> {
    let mut found = Vec::new();
    for images in store.images()? {
        if is(&Manifest::read(&images.dir)?.topology.lab) {
            let made = images.dir.metadata().and_then(|m| m.modified()).ok();
            found.push((made, images));
        }
    }
    found.sort_by_key(|(made, _)| *made);
    Ok(found.pop().map(|(_, images)| images))
}
