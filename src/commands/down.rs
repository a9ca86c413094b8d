//! `labbuild down`: end labs; what is stored stays.

use serde_json::json;

use crate::backend::BackendError;
use crate::cli::DownArgs;
use crate::commands::setup::lock_lab;
use crate::commands::{Context, Failure, Reason};
use crate::lab::{self, LabError};
use crate::store::Store;

/// Ends the labs named, or the only one. One that cannot be ended does not keep the others up.
pub async fn run(ctx: &Context, args: DownArgs) -> Result<(), Failure> {
    let store = ctx.store()?;
    let labs = match (args.all, args.labs.is_empty()) {
        (true, _) => store.lab_names()?,
        (false, true) => vec![lab::choose(&store, None)?],
        (false, false) => {
            let known = args.labs.iter().map(|name| lab::choose(&store, Some(name)));
            known.collect::<Result<_, _>>()?
        }
    };
    let (mut ended, mut failed) = (Vec::new(), Vec::new());
    for name in &labs {
        match end(&store, name).await {
            Ok(()) => ended.push(name.as_str()),
            Err(failure) => failed.push((name.as_str(), failure)),
        }
    }
    if failed.is_empty() || !ended.is_empty() {
        ctx.screen.result(&said(&ended), json!({ "down": ended }));
    }
    match labs.len() {
        1 => failed.pop().map_or(Ok(()), |(_, failure)| Err(failure)),
        of => together(failed, of).map_or(Ok(()), Err),
    }
}

async fn end(store: &Store, name: &str) -> Result<(), Failure> {
    let _lock = lock_lab(store, name, "ending")?;
    lab::discard(store, name).await.map_err(|error| {
        let unreachable = matches!(error, LabError::Backend(BackendError::Connect { .. }));
        let failure = Failure::from(error);
        match unreachable {
            true => failure.hint(format!(
                "rm -r {}    (forgets {name}; what runs of it there runs on)",
                store.lab_dir(name).display()
            )),
            false => failure,
        }
    })
}

fn said(ended: &[&str]) -> String {
    match ended {
        [] => "no lab was there".to_owned(),
        labs => format!("{} down; stored stages and images stay", labs.join(", ")),
    }
}

/// Several failures as one, if there are any. What they have in common decides the exit code.
fn together(failed: Vec<(&str, Failure)>, of: usize) -> Option<Failure> {
    let first = failed.first()?.1.reason;
    let same = failed.iter().all(|(_, failure)| failure.reason == first);
    let lines = failed.iter().map(|(name, failure)| format!("\n  {name}: {}", failure.message));
    let message =
        format!("{} of {of} labs could not be ended{}", failed.len(), lines.collect::<String>());
    let mut failure = Failure::new(if same { first } else { Reason::Failed }, message);
    for hint in failed.into_iter().flat_map(|(_, failure)| failure.hints) {
        if !failure.hints.contains(&hint) {
            failure.hints.push(hint);
        }
    }
    Some(failure)
}
