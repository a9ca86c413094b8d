//! The actions of a recipe, each in terms of commands and files of the guest.

use std::path::Path;

use crate::backend::agent::{ExecRequest, FileMeta};
use crate::host::HostError;
use crate::recipe::{Action, Condition, FileEdit, IniSection, InstallWhen, ServiceState};

use super::error::Reason;
use super::scope::Scope;
use super::{edit, ini};

const SERVICE: &str = include_str!("scripts/service.sh");
const SQL: &str = include_str!("scripts/sql.sh");
const WAIT_FOR: &str = include_str!("scripts/wait-for.sh");

/// Mode of a copied file that asks for none.
pub(super) const COPY_MODE: u32 = 0o644;
/// A file to be edited may have this many bytes; it is read whole.
const LONGEST_EDITED: u64 = 8 << 20;

/// Does what the action says.
pub(super) async fn carry_out(scope: &Scope<'_>, action: &Action) -> Result<(), Reason> {
    match action {
        Action::Run { script } => scope.must(ExecRequest::script(script)).await.map(drop),
        Action::File { path, edit, mode, owner } => {
            file(scope, path, edit, FileMeta { mode: *mode, owner: owner.clone() }).await
        }
        Action::Copy { source, to, mode, owner, from: _ } => {
            let mode = Some(mode.unwrap_or(COPY_MODE));
            copy(scope, source, to, FileMeta { mode, owner: owner.clone() }).await
        }
        Action::Ini { path, set } => edit_ini(scope, path, set).await,
        Action::Packages { install, when } => packages(scope, install, *when).await,
        Action::Service { names, enabled, state } => service(scope, names, *enabled, *state).await,
        Action::Sql { script, database, password } => {
            sql(scope, script, database.as_deref(), password.as_deref()).await
        }
        Action::Reboot => reboot(scope).await,
        Action::WaitFor { condition, services } => wait_for(scope, condition, services).await,
    }
}

async fn file(
    scope: &Scope<'_>,
    path: &str,
    wanted: &FileEdit,
    meta: FileMeta,
) -> Result<(), Reason> {
    let content = match wanted {
        FileEdit::Absent => {
            return scope.must(ExecRequest::argv(["rm", "-f", "--", path])).await.map(drop);
        }
        FileEdit::Content(text) => text.clone(),
        FileEdit::Append(text) => edit::append(&read(scope, path).await?, text),
        FileEdit::Lines(lines) => edit::add_lines(&read(scope, path).await?, lines),
    };
    scope.agent().write_file(path, content.as_bytes(), &meta).await?;
    Ok(())
}

/// The text of a file to be edited; one that is not there is empty.
async fn read(scope: &Scope<'_>, path: &str) -> Result<String, Reason> {
    let bytes = scope.agent().read_file(path, LONGEST_EDITED).await?.unwrap_or_default();
    let not_text = |_| Reason::Refused(format!("{path} is not UTF-8 text and cannot be edited"));
    String::from_utf8(bytes).map_err(not_text)
}

async fn copy(scope: &Scope<'_>, source: &Path, to: &str, meta: FileMeta) -> Result<(), Reason> {
    let file = tokio::fs::File::open(source).await.map_err(HostError::file("read", source))?;
    scope.agent().write_from(to, file, &meta).await?;
    Ok(())
}

async fn edit_ini(scope: &Scope<'_>, path: &str, set: &[IniSection]) -> Result<(), Reason> {
    let text = ini::edit(&read(scope, path).await?, set);
    scope.agent().write_file(path, text.as_bytes(), &FileMeta::default()).await?;
    Ok(())
}

async fn packages(scope: &Scope<'_>, install: &[String], when: InstallWhen) -> Result<(), Reason> {
    let missing = missing_packages(scope, install).await?;
    if missing.is_empty() {
        return Ok(());
    }
    match when {
        InstallWhen::InBase => Err(Reason::Refused(format!(
            "not installed in the base image: {}; build the base again with them, or ask for \
             `install: in-guest`",
            missing.join(", ")
        ))),
        InstallWhen::InGuest => {
            let manager = &scope.ctx.os.packages;
            scope.must(ExecRequest::script_with(&manager.install, missing)).await.map(drop)
        }
    }
}

async fn missing_packages(scope: &Scope<'_>, install: &[String]) -> Result<Vec<String>, Reason> {
    let script = &scope.ctx.os.packages.missing;
    let result = scope.ask(ExecRequest::script_with(script, install)).await?;
    if !result.success() {
        let words = result.stderr.text();
        return Err(Reason::Refused(format!("packages cannot be listed: {}", words.trim())));
    }
    Ok(result.stdout.text().lines().map(str::to_owned).collect())
}

async fn service(
    scope: &Scope<'_>,
    names: &[String],
    enabled: Option<bool>,
    state: Option<ServiceState>,
) -> Result<(), Reason> {
    let enabled = match enabled {
        Some(true) => "enable",
        Some(false) => "disable",
        None => "leave",
    };
    let state = match state {
        Some(ServiceState::Started) => "start",
        Some(ServiceState::Stopped) => "stop",
        Some(ServiceState::Restarted) => "restart",
        Some(ServiceState::Reloaded) => "reload",
        None => "leave",
    };
    let units = names.iter().map(|name| scope.ctx.os.unit(name));
    let args = [enabled, state].into_iter().chain(units);
    scope.must(ExecRequest::script_with(SERVICE, args)).await.map(drop)
}

async fn sql(
    scope: &Scope<'_>,
    script: &str,
    database: Option<&str>,
    password: Option<&str>,
) -> Result<(), Reason> {
    let clients = scope.ctx.os.sql_clients.iter().map(String::as_str);
    let args = std::iter::once(database.unwrap_or_default()).chain(clients);
    let mut request = ExecRequest::script_with(SQL, args).stdin(script);
    if let Some(password) = password {
        request = request.env("MYSQL_PWD", password);
    }
    scope.must(request).await.map(drop)
}

/// Comes back when the new boot has started its services, as the next step may need them.
async fn reboot(scope: &Scope<'_>) -> Result<(), Reason> {
    scope.agent().reboot_and_wait(scope.left()).await?;
    scope.agent().wait_booted(scope.left()).await?;
    Ok(())
}

async fn wait_for(
    scope: &Scope<'_>,
    condition: &Condition,
    services: &[String],
) -> Result<(), Reason> {
    let (number, unit);
    let mut units: Vec<&str> = services.iter().map(|name| scope.ctx.os.unit(name)).collect();
    let (args, text) = match condition {
        Condition::Port { host, port } => {
            number = port.to_string();
            (vec!["port", host, &number], "")
        }
        Condition::Unit(name) => {
            unit = scope.ctx.os.unit(name);
            units.push(unit);
            (vec!["unit", unit], "")
        }
        Condition::Command(command) => (vec!["command"], command.as_str()),
    };
    let units = units.join(" ");
    let args = std::iter::once(units.as_str()).chain(args);
    scope.must(ExecRequest::script_with(WAIT_FOR, args).stdin(text)).await.map(drop)
}
