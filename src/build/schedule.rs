//! The order of a stage's steps: every machine goes through its own in file order, all machines
//! at once, and a step with `after:` waits until the steps it names have ended everywhere.
//!
//! Knows nothing of guests: what a step does is a function it is given.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::recipe::Stage;

/// How many machines have yet to end a step, by the step's id.
type Gates = BTreeMap<String, watch::Sender<usize>>;

/// Runs all steps of `stage`; `act(machine, index of the step)` does one. The first failure ends
/// everything that is under way and is returned.
pub async fn run_steps<F, Fut, E>(stage: &Arc<Stage>, machines: &[String], act: F) -> Result<(), E>
where
    F: Fn(String, usize) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Send + 'static,
{
    let gates = Arc::new(gates(stage));
    let mut lanes = JoinSet::new();
    for machine in machines {
        let lane = lane(stage.clone(), gates.clone(), machine.clone(), act.clone());
        lanes.spawn(lane);
    }
    first_failure(lanes).await
}

/// Runs all steps of `stage` at once: for steps that only wait, of which none needs another.
pub async fn run_at_once<F, Fut, E>(stage: &Stage, machines: &[String], act: F) -> Result<(), E>
where
    F: Fn(String, usize) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Send + 'static,
{
    let mut lanes = JoinSet::new();
    for (index, step) in stage.steps.iter().enumerate() {
        for machine in step.machines.iter().filter(|machine| machines.contains(machine)) {
            lanes.spawn(act(machine.clone(), index));
        }
    }
    first_failure(lanes).await
}

/// Waits for all lanes, or for the first that fails: dropping the set ends the others.
async fn first_failure<E: 'static>(mut lanes: JoinSet<Result<(), E>>) -> Result<(), E> {
    while let Some(ended) = lanes.join_next().await {
        match ended {
            Ok(result) => result?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    Ok(())
}

fn gates(stage: &Stage) -> Gates {
    let with_id = stage.steps.iter().filter_map(|s| Some((s.id.clone()?, s.machines.len())));
    with_id.map(|(id, machines)| (id, watch::Sender::new(machines))).collect()
}

async fn lane<F, Fut, E>(
    stage: Arc<Stage>,
    gates: Arc<Gates>,
    machine: String,
    act: F,
) -> Result<(), E>
where
    F: Fn(String, usize) -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    for (index, step) in stage.steps.iter().enumerate() {
        if !step.machines.contains(&machine) {
            continue;
        }
        for gate in step.after.iter().filter_map(|id| gates.get(id)) {
            // The sender lives as long as `gates`, so waiting cannot fail.
            let _ = gate.subscribe().wait_for(|left| *left == 0).await;
        }
        act(machine.clone(), index).await?;
        if let Some(gate) = step.id.as_ref().and_then(|id| gates.get(id)) {
            gate.send_modify(|left| *left = left.saturating_sub(1));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::recipe::{Action, Place, Retry, Secrecy, Step};

    fn step(name: &str, machines: &[&str], id: Option<&str>, after: &[&str]) -> Step {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Step {
            name: name.into(),
            id: id.map(Into::into),
            machines: owned(machines),
            after: owned(after),
            action: Action::Reboot,
            timeout: Duration::from_secs(1),
            retry: Retry::NEVER,
            secret: Secrecy::Open,
            at_boot: false,
            at: Place { file: "s.yaml".into(), line: 1, column: 1 },
        }
    }

    fn stage(steps: Vec<Step>) -> Arc<Stage> {
        let at = Place { file: "s.yaml".into(), line: 1, column: 1 };
        Arc::new(Stage { name: "s".into(), title: "S".into(), steps, checks: vec![], at })
    }

    #[tokio::test(start_paused = true)]
    async fn waits_of_one_machine_run_at_once_and_the_first_failure_counts() {
        let stage = Stage::clone(&stage(vec![
            step("slow", &["a"], None, &[]),
            step("quick", &["a", "b", "gone"], None, &[]),
        ]));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let act = |fail: bool| {
            let seen = seen.clone();
            move |machine: String, index: usize| {
                let seen = seen.clone();
                async move {
                    tokio::time::sleep(Duration::from_secs(if index == 0 { 60 } else { 1 })).await;
                    seen.lock().unwrap().push(format!("{machine}{index}"));
                    if fail { Err(machine) } else { Ok(()) }
                }
            }
        };
        let machines = ["a".to_owned(), "b".to_owned()];
        run_at_once(&stage, &machines, act(false)).await.unwrap();
        let mut order = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(order.pop().as_deref(), Some("a0"));
        order.sort();
        assert_eq!(order, ["a1", "b1"]);
        run_at_once(&stage, &machines, act(true)).await.unwrap_err();
        assert!(!seen.lock().unwrap().contains(&"a0".to_owned()), "the others go on");
    }

    /// Runs a stage whose steps take 20 ms and says in which order they ended.
    async fn order(
        stage: &Arc<Stage>,
        fail: Option<&'static str>,
    ) -> (Vec<String>, Result<(), String>) {
        let log = Arc::new(Mutex::new(Vec::new()));
        let (seen, steps) = (log.clone(), stage.clone());
        let machines = ["a".to_owned(), "b".to_owned()];
        let act = move |machine: String, index: usize| {
            let (seen, name) = (seen.clone(), steps.steps[index].name.clone());
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if fail == Some(name.as_str()) {
                    return Err(format!("{machine}:{name}"));
                }
                seen.lock().unwrap().push(format!("{machine}:{name}"));
                Ok(())
            }
        };
        let result = run_steps(stage, &machines, act).await;
        let order = log.lock().unwrap().clone();
        (order, result)
    }

    #[tokio::test]
    async fn after_waits_for_every_machine_of_the_step() {
        let s = stage(vec![
            step("slow1", &["a"], None, &[]),
            step("both", &["a", "b"], Some("both"), &[]),
            step("last", &["b"], None, &["both"]),
        ]);
        let (order, result) = order(&s, None).await;
        result.unwrap();
        let at = |what: &str| order.iter().position(|o| o == what).unwrap();
        assert_eq!(order.len(), 4);
        assert!(at("b:last") > at("a:both") && at("b:last") > at("b:both"), "{order:?}");
    }

    /// On tokio's own clock, which moves only when everything waits.
    #[tokio::test(start_paused = true)]
    async fn machines_run_at_once() {
        let s = stage(vec![step("x", &["a", "b"], None, &[]), step("y", &["a", "b"], None, &[])]);
        let begun = tokio::time::Instant::now();
        let (order, _) = order(&s, None).await;
        assert_eq!(order.len(), 4);
        assert!(begun.elapsed() < Duration::from_millis(75), "lanes ran one after the other");
    }

    #[tokio::test]
    async fn the_first_failure_ends_the_stage() {
        let s = stage(vec![
            step("bad", &["a"], Some("bad"), &[]),
            step("waits", &["b"], None, &["bad"]),
        ]);
        let (order, result) = order(&s, Some("bad")).await;
        assert_eq!((order.len(), result), (0, Err("a:bad".to_owned())));
    }
}
