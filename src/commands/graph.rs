//! `labbuild graph`: a picture of a lab for a handout.

use serde_json::json;

use crate::cli::GraphArgs;
use crate::commands::{Context, Failure};
use crate::graph;
use crate::host::files;
use crate::recipe;
use crate::ui::text::clean;

/// Writes the picture to a file or to standard output.
pub fn run(ctx: &Context, args: &GraphArgs) -> Result<(), Failure> {
    let lab = recipe::load(&args.recipe.recipe, &args.recipe.variables.values()?)?;
    let picture = graph::draw(&lab);
    match &args.output {
        None => ctx.screen.print(&picture),
        Some(file) => {
            files::write_for_user(file, picture.as_bytes())?;
            let text = format!("{} written", clean(&file.display().to_string()));
            ctx.screen.result(&text, json!({ "file": file, "lab": lab.name }));
        }
    }
    Ok(())
}
