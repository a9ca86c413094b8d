//! Sealing: the machines of a finished lab, cleaned, shut down and flattened into images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{BuildError, Env};
use crate::backend::agent::{Agent, ExecRequest};
use crate::bundle::{Image, Manifest};
use crate::digest::Digest;
use crate::event::Event;
use crate::host::{Cmd, HostError, files, qcow2};
use crate::lab::{self, LabError, Running};
use crate::plan::{Plan, Readiness, Target};
use crate::store::StoredImages;

/// What is cleaned before an image is taken.
const CLEAN: &str = include_str!("seal.sh");

/// Time for cleaning and for a clean shutdown of an emulated machine.
const LIMIT: Duration = Duration::from_secs(300);

/// Turns the machines of `running` into images of `target` and ends the lab.
pub async fn seal(
    env: &Env,
    plan: &Plan,
    running: Running,
    target: &Target,
) -> Result<StoredImages, BuildError> {
    shut_down(env, &running).await?;
    let work = env.store.work_dir(&format!("sealing {}", plan.lab.name))?;
    let staged = work.path().join("images");
    files::create_dir(&staged)?;
    let overlays: BTreeMap<String, PathBuf> =
        running.record.machines.iter().map(|(n, m)| (n.clone(), m.overlay.clone())).collect();
    let images = flatten_all(env, plan, &overlays, &staged).await?;
    manifest(plan, target, images).write(&staged)?;
    let stored = env.store.put_images(&target.id, &staged)?;
    let name = running.record.name.clone();
    drop(running);
    lab::discard(&env.store, &name).await?;
    Ok(stored)
}

/// Brings the manifest of stored images up to the recipe in what is not of the machines: what a
/// start waits for, and which ports it offers. Says whether anything was new.
pub fn refresh_manifest(
    images: &StoredImages,
    plan: &Plan,
    target: &Target,
) -> Result<bool, BuildError> {
    let had = Manifest::read(&images.dir)?;
    let now = manifest(plan, target, had.images.clone());
    if had.readiness == now.readiness {
        return Ok(false);
    }
    now.write(&images.dir)?;
    Ok(true)
}

async fn shut_down(env: &Env, running: &Running) -> Result<(), BuildError> {
    let mut ending = JoinSet::new();
    for machine in running.guests.keys() {
        let (agent, machine, events) =
            (running.agent(machine)?, machine.clone(), env.events.clone());
        ending.spawn(async move {
            clean(&agent).await?;
            events.emit(Event::Machine { machine: machine.clone(), state: "stopping".into() });
            if !agent.shutdown_and_wait(LIMIT).await?.is_clean() {
                return Err(BuildError::Unclean(machine));
            }
            events.emit(Event::Machine { machine, state: "stopped".into() });
            Ok::<(), BuildError>(())
        });
    }
    while let Some(ended) = ending.join_next().await {
        ended.map_err(|e| BuildError::Internal(e.to_string()))??;
    }
    Ok(())
}

async fn clean(agent: &Agent) -> Result<(), BuildError> {
    let cleaned = agent.exec(ExecRequest::script(CLEAN).timeout(LIMIT), |_, _| {}).await?;
    if cleaned.success() {
        return Ok(());
    }
    let (machine, reason) = (agent.machine().to_owned(), cleaned.stderr.text());
    let reason = format!("cleaning it before sealing failed: {reason}");
    Err(LabError::Guest { machine, reason }.into())
}

async fn flatten_all(
    env: &Env,
    plan: &Plan,
    overlays: &BTreeMap<String, PathBuf>,
    staged: &Path,
) -> Result<Vec<Image>, BuildError> {
    let mut images = Vec::new();
    // One after the other: qemu-img compresses on all cores already.
    for machine in &plan.topology.machines {
        let Some(overlay) = overlays.get(&machine.name) else { continue };
        let file = format!("{}.qcow2", machine.name);
        let target = staged.join(&file);
        with_task(env, &machine.name, flatten(overlay, &target)).await?;
        let (sha256, size, virtual_size) = describe(&target).await?;
        let rendered = plan.machines.iter().find(|m| m.name == machine.name);
        images.push(Image {
            machine: machine.name.clone(),
            file,
            size,
            virtual_size,
            sha256,
            kickstart: rendered.and_then(|m| m.kickstart.as_ref()).map(|k| Digest::of(&k.text)),
        });
    }
    Ok(images)
}

async fn with_task(
    env: &Env,
    machine: &str,
    work: impl Future<Output = Result<(), HostError>>,
) -> Result<(), HostError> {
    let (task, begun) = (format!("seal/{machine}"), Instant::now());
    env.events.emit(Event::TaskStarted {
        task: task.clone(),
        title: format!("image of {machine}"),
        machine: Some(machine.to_owned()),
    });
    let result = work.await;
    let ok = result.is_ok();
    env.events.emit(Event::TaskFinished { task, ok, elapsed: begun.elapsed() });
    result
}

/// One compressed qcow2 without a backing file.
async fn flatten(overlay: &Path, target: &Path) -> Result<(), HostError> {
    let convert = Cmd::new("qemu-img").args(["convert", "-f", "qcow2", "-O", "qcow2", "-c"]);
    let convert = convert.args(["-m", "4", "-o", "compression_type=zstd"]);
    convert.arg(overlay).arg(target).run().await.map(drop)
}

/// SHA-256, length and the size of the disk.
async fn describe(image: &Path) -> Result<(Digest, u64, u64), BuildError> {
    let path = image.to_owned();
    let described = tokio::task::spawn_blocking(move || {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444))?;
        let file = std::fs::File::open(&path)?;
        file.sync_all()?;
        let disk = qcow2::judge(&file).map_err(std::io::Error::other)?;
        Ok((Digest::of_reader(&file)?, file.metadata()?.len(), disk))
    });
    let described = described.await.map_err(|e| BuildError::Internal(e.to_string()))?;
    Ok(described.map_err(HostError::file("read", image))?)
}

fn manifest(plan: &Plan, target: &Target, images: Vec<Image>) -> Manifest {
    let sources: Vec<String> =
        plan.lab.sources.iter().map(|(name, text)| format!("{name}\n{text}\n")).collect();
    Manifest::new(
        plan.topology.clone(),
        Readiness::of(&plan.lab, &target.stage),
        target.stage.clone(),
        target.id,
        Digest::of(sources.concat()),
        images,
    )
}
