//! `labbuild plan`: stages, what of them is stored, and why the first that is not is not.

use serde_json::{Value, json};

use crate::cli::PlanArgs;
use crate::commands::setup::load_plan;
use crate::commands::{Context, Failure, trust};
use crate::plan::{Plan, Target, why_not_stored};
use crate::store::Store;
use crate::ui;

/// One line of the answer.
struct Line {
    what: String,
    stored: bool,
    id: Option<String>,
    why: Vec<String>,
}

/// Shows the plan of a recipe.
pub fn run(ctx: &Context, args: &PlanArgs) -> Result<(), Failure> {
    let plan = load_plan(&args.recipe.recipe, &args.recipe.variables)?;
    let store = ctx.store()?;
    let index = |stage: &Option<String>| stage.as_deref().map(|s| plan.stage_index(s)).transpose();
    let (to, from) = (index(&args.stages.to)?, index(&args.stages.from)?);
    let mut lines = base_lines(&plan, &store);
    let stages = stage_lines(&plan, &store, from)?;
    lines.extend(stages.into_iter().take(to.map_or(usize::MAX, |i| i + 1)));
    let trust = plan.trust();
    let mut shown = text(&lines);
    if args.trust {
        shown.push('\n');
        shown.push_str(&trust::text(&plan.lab.name, &trust));
    }
    let lines: Vec<Value> = lines.iter().map(value).collect();
    ctx.screen.result(&shown, json!({ "plan": lines, "trust": trust }));
    Ok(())
}

fn base_lines(plan: &Plan, store: &Store) -> Vec<Line> {
    let line = |m: &crate::plan::MachinePlan| {
        let id = m.base_id(plan.lock.slice(&m.name, &m.inputs));
        let stored = id.is_some_and(|id| store.has_layer(&id));
        let why = match (id, stored, plan.lock.machines.contains_key(&m.name)) {
            _ if m.awaited().is_some() => m.awaited().into_iter().collect(),
            (_, true, _) => vec![],
            (Some(_), false, _) => vec!["not in this store".to_owned()],
            (None, _, true) => {
                vec!["definition, kickstart, packages or hardware changed".to_owned()]
            }
            (None, _, false) => vec!["not locked yet".to_owned()],
        };
        Line { what: format!("base of {}", m.name), stored, id: id.map(|id| id.short()), why }
    };
    plan.machines.iter().map(line).collect()
}

fn stage_lines(plan: &Plan, store: &Store, from: Option<usize>) -> Result<Vec<Line>, Failure> {
    let Some(bases) = plan.bases() else {
        let unknown = |name: &String| Line {
            what: name.clone(),
            stored: false,
            id: None,
            why: vec!["its bases are not made yet".to_owned()],
        };
        return Ok(plan.stages.iter().map(|s| unknown(&s.name)).collect());
    };
    let mut lines: Vec<Line> = Vec::new();
    for (index, target) in plan.targets(&bases).iter().enumerate() {
        let thrown_away = from.is_some_and(|from| index >= from);
        let stored = !thrown_away && store.snapshot(&target.id)?.is_some();
        let first = !stored && lines.iter().all(|l| l.stored);
        let why = match (stored, first) {
            (true, _) => vec![],
            _ if thrown_away => vec!["--from throws it away".to_owned()],
            (false, true) => why(plan, store, target)?,
            (false, false) => vec!["follows a stage that is not stored".to_owned()],
        };
        let id = Some(target.id.short());
        lines.push(Line { what: target.stage.clone(), stored, id, why });
    }
    Ok(lines)
}

fn why(plan: &Plan, store: &Store, target: &Target) -> Result<Vec<String>, Failure> {
    Ok(match why_not_stored(store, &plan.lab.name, target)? {
        None => vec!["never built here".to_owned()],
        Some(changes) if changes.is_empty() => vec!["its layers are gone".to_owned()],
        Some(changes) => changes,
    })
}

fn text(lines: &[Line]) -> String {
    let row = |l: &Line| {
        let state = if l.stored { "stored" } else { "to do" };
        let id = l.id.clone().unwrap_or_else(|| "-".into());
        vec![l.what.clone(), state.to_owned(), id, l.why.join("; ")]
    };
    ui::table(&["stage", "state", "id", "why"], lines.iter().map(row))
}

fn value(l: &Line) -> Value {
    json!({ "stage": l.what, "stored": l.stored, "id": l.id, "why": l.why })
}
