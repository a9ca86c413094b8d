//! Whether foreign code can be held on this machine: the cage is left from inside, if it can be.

use super::Finding;
use crate::host::cage::{Proof, prove};

const NAME: &str = "cage";

/// Tries every way out of the cage.
pub(super) async fn look() -> Finding {
    let (Ok(program), Ok(dir)) = (std::env::current_exe(), tempfile::tempdir()) else {
        return Finding::missing(NAME, "cannot be tried: no folder for it", "set TMPDIR");
    };
    match prove(&dir.path().join("proof"), &program).await {
        Ok(proof) => verdict(&proof),
        Err(e) => Finding::missing(NAME, e.to_string(), "scripts/install"),
    }
}

fn verdict(proof: &Proof) -> Finding {
    match proof.escapes.as_slice() {
        [] => {
            let count = proof.tried.len();
            Finding::ok(NAME, format!("{count} ways out were tried, none leads out"))
        }
        ways => {
            let found = format!("can be left by {}", ways.join(", "));
            Finding::missing(NAME, found, "report this: see SECURITY.md")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_way_out_is_named() {
        let proof = |escapes: &[&str]| Proof {
            tried: vec!["a".to_owned(), "b".to_owned()],
            escapes: escapes.iter().map(|&e| e.to_owned()).collect(),
        };
        assert_eq!(verdict(&proof(&[])).found, "2 ways out were tried, none leads out");
        assert_eq!(verdict(&proof(&["b"])).found, "can be left by b");
    }
}
