//! Actions: from what a step says to what is done, and what contradicts itself on the way.

use std::path::Path;

use super::leaf::{AnyText, IniKey, IniValue, Line, Mode, Owner, Section};
use super::model::{Action, Condition, FileEdit, IniSection, InstallWhen};
use super::paths;
use super::raw;
use super::shape::{At, Either, Named};
use super::source::Report;

/// The action of a step, if it is whole.
pub(super) fn read(step: &raw::Step, dir: &Path, report: &mut Report) -> Option<Action> {
    if let Some(file) = &step.file {
        return self::file(&file.value, report);
    }
    if let Some(copy) = &step.copy {
        return self::copy(&copy.value, dir, report);
    }
    if let Some(wait_for) = &step.wait_for {
        return self::wait_for(&wait_for.value, report);
    }
    if let Some(run) = &step.run {
        return Some(Action::Run { script: run.value.0.clone() });
    }
    step.reboot.as_ref().map(|_| Action::Reboot).or_else(|| declared(step))
}

/// The actions that need no more than their declaration.
fn declared(step: &raw::Step) -> Option<Action> {
    if let Some(ini) = &step.ini {
        return self::ini(&ini.value);
    }
    if let Some(packages) = &step.packages {
        return self::packages(&packages.value);
    }
    if let Some(service) = &step.service {
        return self::service(&service.value);
    }
    self::sql(&step.sql.as_ref()?.value)
}

fn file(raw: &raw::File, report: &mut Report) -> Option<Action> {
    if raw.absent.is_some() {
        let given = [raw.mode.as_ref().map(|it| &it.at), raw.owner.as_ref().map(|it| &it.at)];
        for at in given.into_iter().flatten() {
            report.fault(at, "a file that is removed has no mode and no owner", "remove this key");
        }
    }
    let texts = |lines: &Vec<At<Line>>| lines.iter().map(|line| line.value.0.clone()).collect();
    let edit = raw
        .content
        .as_ref()
        .map(|At { value: AnyText(text), .. }| FileEdit::Content(text.clone()))
        .or_else(|| raw.append.as_ref().map(|text| FileEdit::Append(text.value.0.clone())))
        .or_else(|| raw.lines.as_ref().map(|lines| FileEdit::Lines(texts(&lines.value))))
        .or_else(|| raw.absent.as_ref().map(|_| FileEdit::Absent))?;
    Some(Action::File {
        path: raw.path.as_ref()?.value.0.clone(),
        edit,
        mode: mode(&raw.mode),
        owner: owner(&raw.owner),
    })
}

fn mode(mode: &Option<At<Mode>>) -> Option<u32> {
    mode.as_ref().map(|mode| mode.value.0)
}

fn owner(owner: &Option<At<Owner>>) -> Option<String> {
    owner.as_ref().map(|owner| owner.value.0.clone())
}

/// The largest file that is copied into a machine, in bytes: it passes through the guest agent.
const LARGEST_COPY: u64 = 1 << 30;

fn copy(raw: &raw::Copy, dir: &Path, report: &mut Report) -> Option<Action> {
    let from = raw.from.as_ref()?;
    let source = match paths::inside(dir, &from.value.0) {
        Ok(source) => source,
        Err((message, help)) => {
            report.fault(&from.at, message, help);
            return None;
        }
    };
    let length = source.metadata().map_or(0, |meta| meta.len());
    if length > LARGEST_COPY {
        let message = format!("`{}` has {length} bytes", from.value.0);
        let help = "a file to copy may have 1 GiB; larger ones are disks, or fetched in the guest";
        report.fault(&from.at, message, help);
        return None;
    }
    Some(Action::Copy {
        from: from.value.0.clone(),
        source,
        to: raw.to.as_ref()?.value.0.clone(),
        mode: mode(&raw.mode),
        owner: owner(&raw.owner),
    })
}

fn ini(raw: &raw::Ini) -> Option<Action> {
    let section = |(name, keys): &(At<Section>, Option<Named<IniKey, IniValue>>)| {
        let pair = |(key, value): &(At<IniKey>, Option<IniValue>)| {
            Some((key.value.0.clone(), value.as_ref()?.0.clone()))
        };
        let keys = keys.as_ref()?.entries.iter().filter_map(pair).collect();
        Some(IniSection { name: name.value.0.clone(), keys })
    };
    Some(Action::Ini {
        path: raw.path.as_ref()?.value.0.clone(),
        set: raw.set.as_ref()?.value.entries.iter().filter_map(section).collect(),
    })
}

fn packages(raw: &Either<Vec<At<super::leaf::PackageName>>, raw::Packages>) -> Option<Action> {
    let (names, when) = match raw {
        Either::Short(names) => (names, None),
        Either::Long(long) => (&long.names.as_ref()?.value, long.install.as_ref()),
    };
    Some(Action::Packages {
        install: names.iter().map(|name| name.value.0.clone()).collect(),
        when: when.map_or(InstallWhen::InBase, |when| when.value),
    })
}

fn service(raw: &raw::Service) -> Option<Action> {
    let names = raw.name.as_ref()?.each();
    Some(Action::Service {
        names: names.into_iter().map(|(name, _)| name.0.clone()).collect(),
        enabled: raw.enabled.as_ref().map(|enabled| enabled.value),
        state: raw.state.as_ref().map(|state| state.value),
    })
}

fn sql(raw: &Either<super::leaf::Script, raw::Sql>) -> Option<Action> {
    match raw {
        Either::Short(script) => {
            Some(Action::Sql { script: script.0.clone(), database: None, password: None })
        }
        Either::Long(long) => Some(Action::Sql {
            script: long.script.as_ref()?.value.0.clone(),
            database: long.database.as_ref().map(|database| database.value.0.clone()),
            password: long.password.as_ref().map(|password| password.value.0.clone()),
        }),
    }
}

fn wait_for(raw: &raw::WaitFor, report: &mut Report) -> Option<Action> {
    if let (Some(host), None) = (&raw.host, &raw.port) {
        let help = "remove it, or wait for a `port` of that host";
        report.fault(&host.at, "`host` goes with `port` only", help);
    }
    if let (Some(service), Some(_)) = (&raw.service, &raw.unit) {
        let help = "remove it: the unit that is waited for is the one that is shown";
        report.fault(&service.at, "`service` goes with `port` and `command` only", help);
    }
    let services = raw.service.iter().flat_map(At::each).map(|(name, _)| name.0.clone()).collect();
    let host = raw.host.as_ref().map_or("127.0.0.1", |host| &host.value.0);
    let port = raw.port.as_ref().and_then(|port| u16::try_from(port.value.0).ok());
    let condition = port
        .map(|port| Condition::Port { host: host.to_owned(), port })
        .or_else(|| raw.unit.as_ref().map(|unit| Condition::Unit(unit.value.0.clone())))
        .or_else(|| raw.command.as_ref().map(|it| Condition::Command(it.value.0.clone())))?;
    Some(Action::WaitFor { condition, services })
}
