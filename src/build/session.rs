//! `up`: from whatever is stored to running machines, stage by stage.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{
    BuildError, Env,
    bases::ensure_bases,
    freeze, locking,
    stage::{run_stage, run_waits},
};
use crate::backend::Clock;
use crate::digest::LayerId;
use crate::event::Event;
use crate::lab::{self, Backing, Record, Running, StartOptions, State};
use crate::plan::{Plan, Target};
use crate::recipe::{Stage, Step};
use crate::store::{Lock, Snapshot, StoreError};

/// What is asked of a build.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the lab.
    pub name: String,
    /// Last stage wanted (index); all without it.
    pub to: Option<usize>,
    /// Refuse packages other than the lock names.
    pub locked: bool,
    /// How machines are started.
    pub start: StartOptions,
}

/// What an `up` came to.
pub struct Outcome {
    /// The running lab.
    pub running: Running,
    /// The last target, if the lab has stages.
    pub target: Option<Target>,
    /// How many stages ran.
    pub ran: usize,
    /// How many came from the store.
    pub reused: usize,
}

/// What the stages stand on: the last stored one, if any, and the bases.
struct Ground {
    bases: BTreeMap<String, LayerId>,
    stored: Option<Snapshot>,
    done: usize,
}

/// Brings a lab up, running the stages that are not stored.
pub async fn up(env: &Env, plan: &mut Plan, options: &Options) -> Result<Outcome, BuildError> {
    let bases = ensure_bases(env, plan, options.locked, &options.start).await?;
    let mut targets = plan.targets_to(&bases, options.to);
    let mut ground = last_stored(env, bases, &targets)?;
    // Layers of one stage belong to one run: a second builder of this recipe waits, and then
    // finds the work done.
    let _building = match ground.done < targets.len() {
        true => Some(lock_build(env, plan, "building").await?),
        false => None,
    };
    ground = last_stored(env, ground.bases, &targets)?;
    let mut running = start(env, plan, options, &ground, targets.len()).await?;
    announce_reused(env, plan, ground.done);
    let reused = ground.done;
    wait_until_ready(env, &mut running, at_boot(&plan.lab.stages[..reused])).await?;
    for (index, target) in targets.iter().enumerate().skip(reused) {
        let snapshot = build_stage(env, plan, &mut running, index, target, &ground).await?;
        ground.stored = Some(snapshot);
    }
    if reused < targets.len() {
        end_of_build(&running).await?;
    }
    let (stage, snapshot) = match targets.last() {
        Some(last) => (Some(last.stage.clone()), Some(last.id)),
        None => (None, None),
    };
    running.record.set_state(&env.store, State::Up { stage, snapshot })?;
    Ok(Outcome { running, ran: targets.len() - reused, reused, target: targets.pop() })
}

async fn lock_build(env: &Env, plan: &Plan, doing: &str) -> Result<Lock, StoreError> {
    let doing = format!("{doing} {}", plan.lab.name);
    env.store.lock(&format!("build-{}", plan.lab.name), &doing, &env.events).await
}

/// Forgets every stored stage of a lab from `index` on, with the images that were made of it. Waits
/// for another builder of this recipe, whose stages these may be. `locked`: what `up` would refuse for
/// want of a lock costs no stage.
pub async fn forget_from(
    env: &Env,
    plan: &Plan,
    index: usize,
    locked: bool,
) -> Result<(), BuildError> {
    if locked {
        locking::demand(plan)?;
    }
    let _building = lock_build(env, plan, "forgetting stages of").await?;
    let stages: Vec<&str> = plan.stages[index..].iter().map(|s| s.name.as_str()).collect();
    for snapshot in env.store.snapshots()? {
        if snapshot.lab == plan.lab.name && stages.contains(&snapshot.stage.as_str()) {
            env.store.remove_snapshot(&snapshot.id)?;
            env.store.remove_images(&snapshot.id)?;
        }
    }
    Ok(())
}

fn last_stored(
    env: &Env,
    bases: BTreeMap<String, LayerId>,
    targets: &[Target],
) -> Result<Ground, StoreError> {
    let mut ground = Ground { bases, stored: None, done: 0 };
    for (index, target) in targets.iter().enumerate().rev() {
        if let Some(snapshot) = env.store.snapshot(&target.id)? {
            ground.stored = Some(snapshot);
            ground.done = index + 1;
            break;
        }
    }
    Ok(ground)
}

impl Ground {
    /// The layer under each machine.
    fn layers(&self) -> &BTreeMap<String, LayerId> {
        self.stored.as_ref().map_or(&self.bases, |snapshot| &snapshot.machines)
    }

    fn backings(&self, env: &Env) -> Result<BTreeMap<String, Backing>, BuildError> {
        let mut backings = BTreeMap::new();
        for (machine, id) in self.layers() {
            let layer = env.store.layer(id)?.ok_or_else(|| {
                BuildError::Internal(format!("layer {} of {machine} vanished", id.short()))
            })?;
            backings.insert(machine.clone(), Backing { file: layer.disk, layer: Some(*id) });
        }
        Ok(backings)
    }
}

/// Boots the machines on what is stored. While stages are to be built, the clock starts at the
/// definition's time, or where the stored stage ended, and flushes stay in memory.
async fn start(
    env: &Env,
    plan: &Plan,
    options: &Options,
    ground: &Ground,
    wanted: usize,
) -> Result<Running, BuildError> {
    let mut start = options.start.clone();
    if ground.done < wanted {
        start.unsafe_cache = true;
        let ended = ground.stored.as_ref().and_then(|snapshot| snapshot.clock);
        start.clock = plan.build_time().max(ended).map_or(Clock::Host, Clock::Fixed);
    }
    let record =
        Record::new(&options.name, &plan.lab.dir, start.connect.clone(), plan.topology.clone());
    Ok(lab::start(&env.store, record, &ground.backings(env)?, &start, &env.events).await?)
}

fn announce_reused(env: &Env, plan: &Plan, done: usize) {
    for (i, stage) in plan.stages.iter().take(done).enumerate() {
        let (stage, of) = (stage.name.clone(), plan.stages.len());
        env.events.emit(Event::StageReused { stage, index: i + 1, of });
    }
}

async fn build_stage(
    env: &Env,
    plan: &Plan,
    running: &mut Running,
    index: usize,
    target: &Target,
    ground: &Ground,
) -> Result<Snapshot, BuildError> {
    let begun = Instant::now();
    let stage = &plan.lab.stages[index];
    env.events.emit(Event::StageStarted {
        stage: stage.name.clone(),
        title: stage.title.clone(),
        index: index + 1,
        of: plan.stages.len(),
    });
    running.record.set_state(&env.store, State::Building { stage: stage.name.clone() })?;
    if let Err(error) = run_stage(env, running, stage).await {
        let at = failed_at(&error);
        running.record.set_state(&env.store, State::Failed { stage: stage.name.clone(), at })?;
        return Err(error);
    }
    let snapshot = freeze::store_stage(env, running, target, ground.layers()).await?;
    running.record.write(&env.store)?;
    env.events.emit(Event::StageFinished { stage: stage.name.clone(), elapsed: begun.elapsed() });
    Ok(snapshot)
}

/// Waits for what must be so after every boot (`at-boot`).
pub async fn wait_until_ready(
    env: &Env,
    running: &mut Running,
    waits: Option<Stage>,
) -> Result<(), BuildError> {
    let Some(waits) = waits else { return Ok(()) };
    if let Err(error) = run_waits(env, running, &waits).await {
        let at = failed_at(&error);
        running.record.set_state(&env.store, State::Failed { stage: waits.name, at })?;
        return Err(error);
    }
    Ok(())
}

/// The `at-boot` steps of stored stages, as one stage. What they waited for within their own
/// stages is long past.
fn at_boot(stored: &[Stage]) -> Option<Stage> {
    let alone = |step: &Step| Step { id: None, after: vec![], ..step.clone() };
    let steps: Vec<Step> = stored.iter().flat_map(Stage::waits_at_boot).map(alone).collect();
    let last = stored.last().filter(|_| !steps.is_empty())?;
    Some(Stage { steps, checks: vec![], ..last.clone() })
}

fn failed_at(error: &BuildError) -> String {
    match error {
        BuildError::Step(step) => format!("{} ({})", step.at, step.step),
        BuildError::Checks(checks) => {
            let all: Vec<String> =
                checks.iter().map(|c| format!("{} ({})", c.at, c.check)).collect();
            all.join(", ")
        }
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

/// The machines were built at a fixed time; from here on they live in the present.
async fn end_of_build(running: &Running) -> Result<(), BuildError> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    for machine in running.guests.keys() {
        running.agent(machine)?.set_time(now).await?;
    }
    Ok(())
}
