//! `labbuild down`: end labs; what is stored stays.

use serde_json::json;

use crate::cli::DownArgs;
use crate::commands::setup::lock_lab;
use crate::commands::{Context, Failure};
use crate::lab;

/// Ends the labs named, or the only one.
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
    for name in &labs {
        let _lock = lock_lab(&store, name, "ending")?;
        lab::discard(&store, name).await?;
    }
    let text = match labs.as_slice() {
        [] => "no lab was there".to_owned(),
        labs => format!("{} down; stored stages and images stay", labs.join(", ")),
    };
    ctx.screen.result(&text, json!({ "down": labs }));
    Ok(())
}
