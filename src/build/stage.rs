//! One stage on running machines: steps, checks. Storing it is `freeze`'s business.

use std::fs::OpenOptions;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::schedule::{run_at_once, run_steps};
use super::{BuildError, Env};
use crate::backend::agent::Agent;
use crate::host::{HostError, files};
use crate::lab::{LabError, Running};
use crate::recipe::Stage;
use crate::steps::{self, GuestOs, Log, StepContext};

/// What says in a guest which system it is.
const OS_RELEASE: &str = "/etc/os-release";

/// Runs the steps of a stage, then its checks. A failure leaves the machines as they are.
pub async fn run_stage(env: &Env, running: &Running, stage: &Stage) -> Result<(), BuildError> {
    let stage = Arc::new(stage.clone());
    let contexts = Arc::new(contexts(env, running).await?);
    let machines: Vec<String> = running.guests.keys().cloned().collect();
    let (of_step, steps_of) = (contexts.clone(), stage.clone());
    let act = move |machine, index| perform(of_step.clone(), steps_of.clone(), machine, index);
    run_steps(&stage, &machines, act).await?;
    run_checks(&contexts, &stage).await
}

/// Waits for everything that the steps of `waits` wait for, all at once.
pub async fn run_waits(env: &Env, running: &Running, waits: &Stage) -> Result<(), BuildError> {
    let waits = Arc::new(waits.clone());
    let contexts = Arc::new(contexts(env, running).await?);
    let machines: Vec<String> = running.guests.keys().cloned().collect();
    let act = |machine, index| perform(contexts.clone(), waits.clone(), machine, index);
    run_at_once(&waits, &machines, act).await
}

async fn perform(
    contexts: Arc<Vec<StepContext>>,
    stage: Arc<Stage>,
    machine: String,
    index: usize,
) -> Result<(), BuildError> {
    let Some(context) = contexts.iter().find(|c| c.agent.machine() == machine) else {
        return Ok(());
    };
    Ok(steps::perform(context, &stage.steps[index]).await?)
}

async fn contexts(env: &Env, running: &Running) -> Result<Vec<StepContext>, BuildError> {
    let log_dir = env.store.lab_dir(&running.record.name).join("log");
    files::create_dir(&log_dir)?;
    let mut contexts = Vec::new();
    for machine in running.guests.keys() {
        let agent = running.agent(machine)?;
        let os = guest_os(&agent).await?;
        let path = log_dir.join(format!("{machine}.steps.log"));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let log = Log::new(file.map_err(HostError::file("open", &path))?);
        contexts.push(StepContext { agent, os, events: env.events.clone(), log: Some(log) });
    }
    Ok(contexts)
}

/// The guest's system, as the guest itself says.
async fn guest_os(agent: &Agent) -> Result<&'static GuestOs, BuildError> {
    let text = agent.read_file(OS_RELEASE, 64 * 1024).await?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let value = |key: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let name = format!("{}-{}", value("ID"), value("VERSION_ID"));
    GuestOs::named(&name).map_err(|e| {
        LabError::Guest { machine: agent.machine().to_owned(), reason: e.to_string() }.into()
    })
}

/// Carries out all checks, machines at once, and reports every one that fails.
async fn run_checks(
    contexts: &Arc<Vec<StepContext>>,
    stage: &Arc<Stage>,
) -> Result<(), BuildError> {
    let mut lanes = JoinSet::new();
    for index in 0..contexts.len() {
        let (contexts, stage) = (contexts.clone(), stage.clone());
        lanes.spawn(async move {
            let context = &contexts[index];
            let mut failures = Vec::new();
            for check in &stage.checks {
                if check.machines.iter().any(|m| m == context.agent.machine()) {
                    failures.extend(steps::check(context, check).await.err());
                }
            }
            failures
        });
    }
    let mut failures = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        failures.extend(lane.map_err(|e| BuildError::Internal(e.to_string()))?);
    }
    if failures.is_empty() { Ok(()) } else { Err(BuildError::Checks(failures)) }
}
