//! `labbuild gc`: show what can be freed, then free it.

use serde_json::json;

use crate::cli::GcArgs;
use crate::commands::{Context, Failure};
use crate::lab::Record;
use crate::store::{Garbage, InUse, Store, StoreError};
use crate::ui;
use crate::ui::text::size;

/// Lists garbage; removes it once confirmed. Refused while another labbuild is at work in the
/// store: what that one has made and not yet recorded looks like garbage.
pub fn run(ctx: &Context, args: &GcArgs) -> Result<(), Failure> {
    let store = ctx.store()?;
    let _alone = store.try_lock_whole("freeing what nothing uses")?.map_err(StoreError::Busy)?;
    let garbage = store.garbage(&in_use(&store)?)?;
    let total: u64 = garbage.iter().map(|g| g.size).sum();
    let list: Vec<_> =
        garbage.iter().map(|g| json!({ "what": g.title, "bytes": g.size })).collect();
    if garbage.is_empty() {
        ctx.screen.result("nothing to free", json!({ "garbage": [], "freed": 0 }));
        return Ok(());
    }
    let table =
        ui::table(&["what", "size"], garbage.iter().map(|g| [g.title.clone(), size(g.size)]));
    let summary = format!("{table}{} in all", size(total));
    if args.dry_run {
        ctx.screen.result(&summary, json!({ "garbage": list, "freed": 0 }));
        return Ok(());
    }
    if !ctx.screen.is_json() {
        ctx.screen.print(&format!("{summary}\n"));
    }
    if !args.yes && !agreed(ctx)? {
        return Ok(());
    }
    let freed = free(&store, &garbage)?;
    ctx.screen
        .result(&format!("freed {}", size(freed)), json!({ "garbage": list, "freed": freed }));
    Ok(())
}

fn agreed(ctx: &Context) -> Result<bool, Failure> {
    ctx.screen.confirm("Free it?").ok_or_else(|| {
        Failure::usage("nobody is there to ask")
            .hint("labbuild gc --yes")
            .hint("labbuild gc --dry-run")
    })
}

fn free(store: &Store, garbage: &[Garbage]) -> Result<u64, Failure> {
    let mut freed = 0;
    for item in garbage {
        store.discard(item)?;
        freed += item.size;
    }
    Ok(freed)
}

/// What is under labs that have a record, running or not.
fn in_use(store: &Store) -> Result<InUse, Failure> {
    let mut in_use = InUse::default();
    for name in store.lab_names()? {
        let Some(record) = Record::read(store, &name)? else { continue };
        for machine in record.machines.into_values() {
            match (machine.layer, machine.backing) {
                (Some(layer), _) => in_use.layers.push(layer),
                (None, Some(file)) => in_use.files.push(file),
                // It stands on images, and its record is too old to say which: they all stay.
                (None, None) => {
                    in_use.files.extend(store.images()?.into_iter().map(|i| i.dir));
                    in_use.files.extend(store.all_imported()?);
                }
            }
        }
    }
    Ok(in_use)
}
