//! `%post` scripts, each run in the tree by its interpreter.

use super::super::spec::PostScript;
use super::{Tree, TreeError, complaint};
use crate::host::HostError;

/// Runs interpreter and script with all output in one file, so that its order stays.
const RUN: &str = "exec \"$1\" \"$2\" >\"$3\" 2>&1 </dev/null";
const SCRIPT: &str = "tmp/kickstart-post";
const OUTPUT: &str = "tmp/kickstart-post.output";
/// Lines of output shown when a script fails.
const SHOWN: usize = 20;

impl Tree<'_> {
    pub(super) async fn scripts(&mut self) -> Result<(), TreeError> {
        for script in &self.spec.wishes.scripts {
            self.say(&format!("running %post of line {}", script.line));
            self.script(script).await?;
        }
        Ok(())
    }

    async fn script(&mut self, script: &PostScript) -> Result<(), TreeError> {
        if !self.root.exists(&script.interpreter) {
            let message = format!("this system has no `{}`", script.interpreter);
            return Err(TreeError::Complaints(vec![complaint(
                script.line,
                message,
                "a line under %packages installs it",
            )]));
        }
        self.root.write(SCRIPT, script.body.as_bytes(), 0o700)?;
        let run = self
            .chroot("/bin/sh")
            .args(["-c", RUN, "sh", &script.interpreter])
            .args([format!("/{SCRIPT}"), format!("/{OUTPUT}")])
            .run()
            .await;
        let output = self.root.read(OUTPUT)?.unwrap_or_default();
        if let Some(log) = &script.log {
            self.root.write(log, &output, 0o600)?;
        }
        self.root.remove(SCRIPT)?;
        self.root.remove(OUTPUT)?;
        let Err(HostError::Failed { status, .. }) = run else {
            return run.map(drop).map_err(Into::into);
        };
        let output = String::from_utf8_lossy(&output);
        let failure = complaint(script.line, format!("%post {status}"), &last_lines(&output));
        if script.must_succeed {
            return Err(TreeError::Complaints(vec![failure]));
        }
        self.warnings.push(failure);
        Ok(())
    }
}

/// The end of what a script printed, to be put behind a message.
pub(super) fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output.lines().filter(|l| !l.trim().is_empty()).collect();
    if lines.is_empty() {
        return "it printed nothing".to_owned();
    }
    let tail = &lines[lines.len().saturating_sub(SHOWN)..];
    let tail: String = tail.iter().map(|l| format!("\n   | {l}")).collect();
    format!("its last output:{tail}")
}
