//! `labbuild doctor`: everything that labbuild needs of this machine, tried out, and for each
//! fault the command that mends it.

mod cage;
mod host;
mod programs;
mod sandbox;

use serde::Serialize;
use serde_json::json;

use crate::cli::DoctorArgs;
use crate::commands::failure::count;
use crate::commands::{Context, Failure};
use crate::ui::{self, text::Style};

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// There, and works.
    Ok,
    /// Worth knowing; nothing depends on it.
    Note,
    /// Needed, and not there or not working.
    Missing,
}

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// The thing.
    name: String,
    /// How it stands.
    state: State,
    /// What was found.
    found: String,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Finding {
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Finding {
        Finding { name: name.into(), state: State::Ok, found: found.into(), mend: None }
    }

    fn note(name: impl Into<String>, found: impl Into<String>) -> Finding {
        Finding { state: State::Note, ..Finding::ok(name, found) }
    }

    fn missing(
        name: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        let mend = Some(mend.into());
        Finding { state: State::Missing, mend, ..Finding::ok(name, found) }
    }
}

/// Looks at everything; exit code 3 when something needed is missing.
pub async fn run(ctx: &Context, _args: DoctorArgs) -> Result<(), Failure> {
    let store = ctx.store_dir()?;
    let own_libvirtd = ctx.globals.connect.is_none();
    let mut findings = programs::look(own_libvirtd).await;
    if own_libvirtd {
        findings.extend(sandbox::look().await);
    }
    findings.push(cage::look().await);
    findings.extend(host::look(&store));
    let missing: Vec<&Finding> = findings.iter().filter(|f| f.state == State::Missing).collect();
    let value = json!({ "ok": missing.is_empty(), "findings": findings });
    ctx.screen.result(&table(&findings, ctx.screen.style()), value);
    verdict(&missing)
}

fn verdict(missing: &[&Finding]) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|f| f.name.as_str()).collect();
    let things = count(missing.len(), "thing");
    let mut failure = Failure::environment(format!("{things} missing: {}", names.join(", ")));
    failure.hints = missing.iter().filter_map(|f| f.mend.clone()).collect();
    failure.hints.sort();
    failure.hints.dedup();
    Err(failure)
}

fn table(findings: &[Finding], style: Style) -> String {
    let rows = findings.iter().map(|f| {
        let state = match f.state {
            State::Ok => "ok",
            State::Note => "note",
            State::Missing => "MISSING",
        };
        [state, f.name.as_str(), f.found.as_str()]
    });
    let text = ui::table(&["state", "what", "found"], rows);
    // Coloured after alignment: escape sequences have no width.
    let paint = |line: &str| match line.split(' ').next() {
        Some("ok") => line.replacen("ok", &style.good("ok"), 1),
        Some("note") => line.replacen("note", &style.warn("note"), 1),
        Some("MISSING") => line.replacen("MISSING", &style.bad("MISSING"), 1),
        _ => line.to_owned(),
    };
    text.lines().map(|l| paint(l) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_mends_it_once() {
        let findings = [
            Finding::ok("virsh", "/usr/bin/virsh"),
            Finding::missing("mke2fs", "not found", "sudo apt-get install e2fsprogs"),
            Finding::missing("mke2fs -d", "not tried", "sudo apt-get install e2fsprogs"),
        ];
        let missing: Vec<_> = findings.iter().filter(|f| f.state == State::Missing).collect();
        let failure = verdict(&missing).unwrap_err();
        assert_eq!(failure.reason.exit_code(), 3);
        assert_eq!(failure.message, "2 things missing: mke2fs, mke2fs -d");
        assert_eq!(failure.hints, ["sudo apt-get install e2fsprogs"]);
        assert!(verdict(&[]).is_ok());
    }

    #[test]
    fn the_table_is_aligned_with_and_without_colour() {
        let findings = [Finding::ok("virsh", "here"), Finding::missing("mke2fs", "no", "x")];
        let bare = table(&findings, Style { color: false });
        assert_eq!(bare, "STATE    WHAT    FOUND\nok       virsh   here\nMISSING  mke2fs  no\n");
        let coloured = table(&findings, Style { color: true });
        assert!(coloured.contains("\u{1b}[32mok\u{1b}[0m       virsh"), "{coloured:?}");
    }
}
