//! The end of a stage: all machines frozen, one snapshot of all their disks, thawed; the
//! overlays this closes become the stage's layers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{BuildError, Env};
use crate::digest::LayerId;
use crate::host::{Cmd, HostError};
use crate::lab::Running;
use crate::plan::{Target, layer_id};
use crate::store::{FORMAT, Snapshot};

/// Stores the state of all machines as `target`.
pub async fn store_stage(
    env: &Env,
    running: &mut Running,
    target: &Target,
    parents: &BTreeMap<String, LayerId>,
) -> Result<Snapshot, BuildError> {
    let clock = latest_clock(running).await?;
    let closed = close_overlays(running).await?;
    let work = env.store.work_dir(&format!("storing stage {}", target.stage))?;
    let mut machines = BTreeMap::new();
    for (machine, overlay) in &closed {
        let id = layer_id(&target.id, machine);
        let copy = work.path().join(format!("{machine}.qcow2"));
        // The guest still reads the overlay as the backing file of its new one: the store gets
        // a copy, and the original goes when the lab does.
        copy_sparse(overlay, &copy).await?;
        let title = format!("{machine} after {}", target.stage);
        let parent = parents.get(machine).copied();
        // A layer without its snapshot is from a run that was cut short: layers of two runs
        // must not be mixed.
        env.store.remove_layer(&id)?;
        env.store.put_layer(id, parent, title, &work, &copy).await?;
        machines.insert(machine.clone(), id);
    }
    let snapshot = Snapshot {
        format: FORMAT,
        id: target.id,
        lab: running.record.topology.lab.clone(),
        stage: target.stage.clone(),
        machines,
        clock: Some(clock),
        inputs: target.inputs.clone(),
    };
    env.store.put_snapshot(&snapshot)?;
    drop(work);
    Ok(snapshot)
}

/// What the clock shows on the machine that is furthest ahead.
async fn latest_clock(running: &Running) -> Result<u64, BuildError> {
    let mut latest = 0;
    for name in running.guests.keys() {
        latest = latest.max(running.agent(name)?.time().await?);
    }
    Ok(latest)
}

/// Freezes all guests, switches each to a new overlay, thaws them; gives the closed overlays.
async fn close_overlays(running: &mut Running) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let names: Vec<String> = running.guests.keys().cloned().collect();
    let mut frozen = Vec::new();
    let mut result = Ok(());
    for name in &names {
        let agent = running.agent(name)?;
        result = agent.freeze().await.map(drop).map_err(BuildError::from);
        frozen.push(agent);
        if result.is_err() {
            break;
        }
    }
    let switched = match result {
        Ok(()) => switch_overlays(running, &names).await,
        Err(e) => Err(e),
    };
    // Whatever happened, no guest stays frozen.
    for agent in &frozen {
        let thawed = agent.thaw().await;
        if switched.is_ok() {
            thawed?;
        }
    }
    switched
}

async fn switch_overlays(
    running: &mut Running,
    names: &[String],
) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let mut closed = BTreeMap::new();
    for name in names {
        let guest = running.guest(name)?.clone();
        let Some(entry) = running.record.machines.get_mut(name) else { continue };
        let next = next_overlay(&entry.overlay);
        let target = next.clone();
        let done = tokio::task::spawn_blocking(move || guest.snapshot_disk(&target)).await;
        done.map_err(|e| BuildError::Internal(e.to_string()))??;
        closed.insert(name.clone(), std::mem::replace(&mut entry.overlay, next));
    }
    Ok(closed)
}

/// `controller-0.qcow2` → `controller-1.qcow2`.
fn next_overlay(overlay: &Path) -> PathBuf {
    let stem = overlay.file_stem().unwrap_or_default().to_string_lossy();
    let (name, number) = stem.rsplit_once('-').unwrap_or((&stem, "0"));
    let next = number.parse::<u32>().unwrap_or(0) + 1;
    overlay.with_file_name(format!("{name}-{next}.qcow2"))
}

async fn copy_sparse(from: &Path, to: &Path) -> Result<(), HostError> {
    let copy = Cmd::new("cp").args(["--reflink=auto", "--sparse=always", "--"]);
    copy.arg(from).arg(to).run().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlays_are_numbered() {
        let next = next_overlay(Path::new("/x/compute-1-9.qcow2"));
        assert_eq!(next, Path::new("/x/compute-1-10.qcow2"));
    }
}
