//! What of a step or check determines the layer: an input of its `LayerId`.
//!
//! Not in it: names and places (for people), timeouts and retries (they decide whether a layer
//! is made, not which), `secret` (it hides, and changes nothing), the services behind a `wait-for`
//! (they say when it has failed, and why), `at-boot` (it says when a layer counts as started).

use serde_json::{Value, json};

use crate::digest::Digest;
use crate::host::HostError;
use crate::recipe::{Action, Check, Step};

/// Everything that determines what `step` does. Reads the file that a `copy` step copies.
pub fn identity(step: &Step) -> Result<Value, HostError> {
    Ok(json!({
        "action": action_identity(&step.action)?,
        "machines": step.machines,
        "id": step.id,
        "after": step.after,
    }))
}

/// Everything that determines what `check` proves.
pub fn check_identity(check: &Check) -> Value {
    json!({ "run": check.run, "expect": check.expect, "machines": check.machines })
}

fn action_identity(action: &Action) -> Result<Value, HostError> {
    match action {
        // What is copied counts, not what it is called on this side.
        Action::Copy { from: _, source, to, mode, owner } => {
            let digest = Digest::of_file(source).map_err(HostError::file("read", source))?;
            let mode = mode.unwrap_or(super::actions::COPY_MODE);
            Ok(json!({ "copy": { "sha256": digest, "to": to, "mode": mode, "owner": owner } }))
        }
        other => Ok(json!(other)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::recipe::{Condition, Place, Retry, Secrecy};
    use std::time::Duration;

    fn step(action: Action) -> Step {
        Step {
            name: "a step".into(),
            id: None,
            machines: vec!["controller".into()],
            after: vec!["snat".into()],
            action,
            timeout: Duration::from_secs(60),
            retry: Retry::NEVER,
            secret: Secrecy::Open,
            at_boot: false,
            at: Place { file: "x.yaml".into(), line: 1, column: 1 },
        }
    }

    #[test]
    fn a_script_is_its_own_identity() {
        let script = "echo hi".to_owned();
        let value = identity(&step(Action::Run { script })).unwrap();
        insta::assert_snapshot!(value);
    }

    #[test]
    fn names_and_times_do_not_count() {
        let action = || Action::Run { script: "true".into() };
        let mut other = step(action());
        other.name = "another name".into();
        other.timeout = Duration::from_secs(1);
        other.retry.times = 7;
        other.secret = Secrecy::Whole;
        other.at.line = 99;
        assert_eq!(identity(&step(action())).unwrap(), identity(&other).unwrap());
        other.machines.push("compute1".into());
        assert_ne!(identity(&step(action())).unwrap(), identity(&other).unwrap());
    }

    #[test]
    fn the_services_behind_a_wait_do_not_count() {
        let wait = |services: &[&str]| {
            let condition = Condition::Port { host: "127.0.0.1".into(), port: 9292 };
            let services = services.iter().map(|s| (*s).to_owned()).collect();
            identity(&step(Action::WaitFor { condition, services })).unwrap()
        };
        assert_eq!(wait(&[]), wait(&["glance-api"]));
    }

    #[test]
    fn a_copied_file_counts_by_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let copy = |name: &str, mode| {
            let (from, source) = (name.to_owned(), dir.path().join(name));
            identity(&step(Action::Copy { from, source, to: "/x".into(), mode, owner: None }))
        };
        std::fs::write(dir.path().join("a"), "one").unwrap();
        std::fs::write(dir.path().join("b"), "one").unwrap();
        assert_eq!(copy("a", None).unwrap(), copy("b", Some(0o644)).unwrap());
        std::fs::write(dir.path().join("b"), "two").unwrap();
        assert_ne!(copy("a", None).unwrap(), copy("b", None).unwrap());
        let missing = copy("c", None).unwrap_err().to_string();
        assert!(missing.contains("cannot read"), "{missing}");
    }
}
