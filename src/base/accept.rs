//! A kickstart's commands, resolved for a bootstrap base: what can be carried out becomes
//! [`Wishes`], what cannot becomes a fault with its line. What means nothing here is left out; the
//! kickstart room says so.

mod layout;
mod network;
mod people;

use crate::kickstart::{Command, OnLine, Packages, Script, ScriptKind};
use crate::recipe::{Fault, Faults, Place};

use super::definition::{Bootstrap, is_package};
use super::spec::{Lined, PostScript, ServiceWish, Wishes};
use super::{KickstartFile, Request};

/// Collects faults of one kickstart.
struct Reader<'a> {
    definition: &'a Bootstrap,
    request: &'a Request,
    wishes: Wishes,
    faults: Vec<Fault>,
}

/// Everything the kickstart and the request ask for, or every fault at once.
pub fn accept(definition: &Bootstrap, request: &Request) -> Result<Wishes, Faults> {
    let kickstart = &request.kickstart.commands;
    let faults = kickstart.objections.clone();
    let mut reader = Reader { definition, request, wishes: Wishes::default(), faults };
    for command in &kickstart.commands {
        reader.command(command);
    }
    reader.layout();
    if let Some(packages) = &kickstart.packages {
        reader.packages(&packages.value);
    }
    for script in &kickstart.scripts {
        reader.script(script);
    }
    reader.faults.sort_by_key(|f| f.at.line);
    if reader.faults.is_empty() { Ok(reader.wishes) } else { Err(Faults(reader.faults)) }
}

/// A fault at a kickstart line; lines that hold passwords are not shown.
pub fn fault_at(file: &KickstartFile, line: u32, message: String, help: Option<String>) -> Fault {
    let text = file.text.lines().nth((line as usize).saturating_sub(1)).unwrap_or_default();
    let command = text.split_whitespace().next().unwrap_or_default();
    let secret = matches!(command, "rootpw" | "user" | "group" | "bootloader" | "sshpw")
        || text.contains("--pass");
    Fault {
        at: Place { file: file.name.as_str().into(), line, column: 1 },
        text: if secret { format!("{command} …") } else { text.to_owned() },
        message,
        help,
    }
}

impl Reader<'_> {
    fn fault(&mut self, line: u32, message: impl Into<String>, help: &str) {
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.faults.push(fault_at(&self.request.kickstart, line, message.into(), help));
    }

    fn command(&mut self, command: &OnLine<Command>) {
        let line = command.line;
        match &command.value {
            Command::Lang { locale, additional } => self.lang(line, locale, additional),
            Command::Keyboard { layout } => self.keyboard(line, layout),
            Command::Timezone { zone, utc, .. } => self.timezone(line, zone, *utc),
            Command::Rootpw { password, lock } => self.rootpw(password.as_ref(), *lock),
            Command::User(user) => self.user(line, user),
            Command::Sshkey { username, key } => self.sshkey(line, username, key),
            Command::Network(network) => self.network(line, network),
            Command::Services { enabled, disabled } => {
                self.services(line, enabled, true);
                self.services(line, disabled, false);
            }
            Command::Firewall { enabled, services, ports } => {
                self.firewall(line, *enabled, services, ports);
            }
            Command::Bootloader(loader) => self.bootloader(line, loader),
            Command::Autopart { fstype: Some(fstype), .. } if fstype != "ext4" => {
                self.fault(
                    line,
                    format!("the root cannot be {fstype} on this base"),
                    "`--fstype=ext4`",
                );
            }
            // Partitions are resolved together; the rest means nothing, is said as a notice or
            // is among the kickstart's objections.
            _ => {}
        }
    }

    fn lang(&mut self, line: u32, locale: &str, additional: &[String]) {
        for name in std::iter::once(locale).chain(additional.iter().map(String::as_str)) {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
            if name.is_empty() || !name.chars().all(plain) {
                self.fault(line, format!("`{name}` is not a locale"), "e.g. `lang en_US.UTF-8`");
            } else {
                self.wishes.locales.push(Lined { line, value: name.to_owned() });
            }
        }
        self.wishes.lang = Some(locale.to_owned());
    }

    fn keyboard(&mut self, line: u32, layout: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if layout.is_empty() || !layout.chars().all(plain) {
            self.fault(line, format!("`{layout}` is not a keyboard layout"), "e.g. `keyboard us`");
        }
        self.wishes.keyboard = Some(layout.to_owned());
    }

    fn timezone(&mut self, line: u32, zone: &str, utc: bool) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
        let inside = !zone.starts_with(['/', '-']) && !zone.is_empty();
        if !inside || !zone.chars().all(plain) {
            self.fault(
                line,
                format!("`{zone}` is not a time zone"),
                "e.g. `timezone Europe/Paris --utc`",
            );
        }
        self.wishes.timezone = Some(Lined { line, value: zone.to_owned() });
        self.wishes.local_clock = !utc;
    }

    fn services(&mut self, line: u32, names: &[String], enabled: bool) {
        for name in names {
            let bare = name.strip_suffix(".service").unwrap_or(name);
            let unit = self.definition.services.get(bare).map_or(bare, String::as_str);
            let plain = |c: char| c.is_ascii_alphanumeric() || "@_.:-".contains(c);
            if unit.is_empty() || unit.starts_with('-') || !unit.chars().all(plain) {
                self.fault(line, format!("`{name}` is not a service name"), "");
                continue;
            }
            let value = ServiceWish { unit: unit.to_owned(), enabled };
            self.wishes.services.push(Lined { line, value });
        }
    }

    fn firewall(&mut self, line: u32, enabled: bool, services: &[String], ports: &[String]) {
        if !enabled {
            return;
        }
        let Some(firewall) = &self.definition.firewall else {
            self.fault(line, "this base has no firewall", "`firewall --disabled`");
            return;
        };
        let mut open = Vec::new();
        for name in services {
            match firewall.services.get(name) {
                Some(ports) => open.extend(ports.iter().cloned()),
                None => {
                    let known: Vec<&str> = firewall.services.keys().map(String::as_str).collect();
                    let help = format!("known: {}; or `--port=NUMBER:tcp`", known.join(", "));
                    self.fault(line, format!("the firewall service `{name}` is unknown"), &help);
                }
            }
        }
        for port in ports {
            match port_and_protocol(port) {
                Some(port) => open.push(port),
                None => {
                    self.fault(line, format!("`{port}` is not a port"), "e.g. `--port=8080:tcp`")
                }
            }
        }
        let package = Lined { line, value: firewall.package.clone() };
        self.wishes.packages.push(package);
        let unit = ServiceWish { unit: firewall.package.clone(), enabled: true };
        self.wishes.services.push(Lined { line, value: unit });
        self.wishes.firewall = Some(open);
    }

    fn packages(&mut self, packages: &Packages) {
        for option in &packages.options {
            if !matches!(
                option.split('=').next(),
                Some(
                    "--nobase"
                        | "--nocore"
                        | "--excludedocs"
                        | "--instLangs"
                        | "--multilib"
                        | "--default"
                        | "--ignoremissing"
                        | "--timeout"
                        | "--retries"
                )
            ) {
                let line = self.request.kickstart.commands.packages.as_ref().map_or(1, |p| p.line);
                self.fault(line, format!("%packages {option} is not supported on this base"), "");
            }
        }
        for package in &packages.install {
            if is_package(&package.value) {
                let OnLine { line, value } = package.clone();
                self.wishes.packages.push(Lined { line, value });
            } else {
                let message = format!("`{}` is not a package name", package.value);
                self.fault(
                    package.line,
                    message,
                    "one name per line; versions and wildcards are not supported here",
                );
            }
        }
        let excluded = packages.exclude.iter().cloned();
        self.wishes.excluded =
            excluded.map(|OnLine { line, value }| Lined { line, value }).collect();
    }

    fn script(&mut self, script: &OnLine<Script>) {
        let (line, value) = (script.line, &script.value);
        if value.kind == ScriptKind::Pre {
            return;
        }
        if value.nochroot {
            let help = "there is no installer around the new system; leave --nochroot out";
            self.fault(line, "%post --nochroot cannot be carried out on this base", help);
        }
        for path in std::iter::once(&value.interpreter).chain(&value.log) {
            if !path.starts_with('/') {
                self.fault(line, format!("`{path}` is not an absolute path"), "e.g. `/bin/sh`");
            }
        }
        self.wishes.scripts.push(PostScript {
            line,
            interpreter: value.interpreter.clone(),
            must_succeed: value.erroronfail,
            log: value.log.clone(),
            body: value.body.clone(),
        });
    }
}

/// `8080:tcp`, `8080/tcp` or `8080` as `8080/tcp`.
fn port_and_protocol(text: &str) -> Option<String> {
    let (port, protocol) = text.split_once([':', '/']).unwrap_or((text, "tcp"));
    let port: u16 = port.parse().ok()?;
    matches!(protocol, "tcp" | "udp").then(|| format!("{port}/{protocol}"))
}

#[cfg(test)]
mod tests;
