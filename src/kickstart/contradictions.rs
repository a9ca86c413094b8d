//! Lines that are right alone and wrong together. Every fault names both lines.

use std::collections::HashMap;
use std::mem::discriminant;

use super::finding::{Findings, Judge};
use super::model::Command;
use super::sections::Selection;
use super::source::Line;
use super::statement::Statement;

/// Finds all contradictions among the commands and packages of one kickstart.
pub(super) fn find(statements: &[Statement], selection: &Selection, findings: &mut Findings) {
    let mut finder = Finder { statements, findings };
    finder.repeated_names();
    finder.said_twice();
    finder.one_of_a_kind();
    finder.autopart_and_part();
    finder.ignored_disks();
    finder.hostnames();
    finder.services();
    finder.keys_of_nobody();
    finder.packages(selection);
}

struct Finder<'a> {
    statements: &'a [Statement],
    findings: &'a mut Findings,
}

/// "line 7", or "line 7 of common.ks" when that is another file.
fn place(first: &Line, second: &Line) -> String {
    if first.file == second.file {
        return format!("line {}", first.number);
    }
    format!("line {} of {}", first.number, first.file)
}

impl<'a> Finder<'a> {
    fn fault(&mut self, judge: Judge, at: (&Line, u32), message: String, help: &str) {
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.findings.push(judge, at.0, at.1, message, help);
    }

    /// Things that have a name may be declared once.
    fn repeated_names(&mut self) {
        let mut seen: HashMap<(&str, String), &'a Statement> = HashMap::new();
        for statement in self.statements {
            let Some((what, name)) = declared(statement) else { continue };
            let Some(first) = seen.get(&(what, name.clone())) else {
                seen.insert((what, name), statement);
                continue;
            };
            let message = match name.as_str() {
                "" => format!("a second {what} without a device; the first is on {}", {
                    place(&first.line, &statement.line)
                }),
                _ => {
                    format!("{what} `{name}` is already on {}", place(&first.line, &statement.line))
                }
            };
            let column = name_column(statement);
            self.fault(Judge::Anaconda, (&statement.line, column), message, "");
        }
    }

    /// Commands that set one thing for the whole machine.
    fn said_twice(&mut self) {
        let mut seen: HashMap<_, &'a Statement> = HashMap::new();
        for statement in self.statements.iter().filter(|s| sets_one_thing(&s.command)) {
            let first = *seen.entry(discriminant(&statement.command)).or_insert(statement);
            if first.command != statement.command {
                let first = place(&first.line, &statement.line);
                let message = format!("`{}` says something else on {first}", statement.name);
                let at = (&*statement.line, statement.column);
                self.fault(Judge::Labbuild, at, message, "keep one of them");
            }
        }
    }

    /// Of some groups of commands only one can be meant.
    fn one_of_a_kind(&mut self) {
        let mut seen: HashMap<&str, &'a Statement> = HashMap::new();
        for statement in self.statements {
            let Some(kind) = kind_of(&statement.command) else { continue };
            let first = *seen.entry(kind).or_insert(statement);
            if discriminant(&first.command) != discriminant(&statement.command) {
                let (one, other) = (&statement.name, &first.name);
                let first = place(&first.line, &statement.line);
                let message = format!("`{one}` contradicts `{other}` on {first}");
                let at = (&*statement.line, statement.column);
                self.fault(Judge::Labbuild, at, message, "keep one of them");
            }
        }
    }

    fn autopart_and_part(&mut self) {
        let mut part = None;
        let mut autopart = None;
        for statement in self.statements {
            let earlier = match &statement.command {
                by_hand if lays_out_by_hand(by_hand) => {
                    part.get_or_insert(statement);
                    autopart
                }
                Command::Autopart { .. } => {
                    autopart.get_or_insert(statement);
                    part
                }
                _ => None,
            };
            if let Some(first) = earlier {
                let (one, other) = (&statement.name, &first.name);
                let first = place(&first.line, &statement.line);
                let message = format!("`{one}` contradicts `{other}` on {first}");
                let help = "lay the disk out by hand or have it done, not both";
                self.fault(Judge::Anaconda, (&statement.line, statement.column), message, help);
            }
        }
    }

    /// `ignoredisk` names disks to leave alone or to use, in all its lines.
    fn ignored_disks(&mut self) {
        let mut seen: Option<(&str, &'a Statement)> = None;
        for statement in self.statements.iter().filter(|s| s.name == "ignoredisk") {
            let lists = ["--drives", "--only-use"];
            let given = lists.into_iter().find(|list| !statement.parsed.list(list).is_empty());
            let Some(option) = given else { continue };
            let (known, first) = *seen.get_or_insert((option, statement));
            if known != option {
                let first = place(&first.line, &statement.line);
                let message = format!("`{option}` contradicts `{known}` on {first}");
                let at = (&*statement.line, value_column(statement, option));
                self.fault(Judge::Anaconda, at, message, "keep one of them");
            }
        }
    }

    /// A machine has one host name.
    fn hostnames(&mut self) {
        let mut first: Option<(&str, &'a Statement)> = None;
        for statement in self.statements {
            let Command::Network(network) = &statement.command else { continue };
            let Some(name) = network.hostname.as_deref() else { continue };
            let (known, earlier) = *first.get_or_insert((name, statement));
            if known != name {
                let earlier = place(&earlier.line, &statement.line);
                let message = format!("host name `{name}` contradicts `{known}` on {earlier}");
                let column = value_column(statement, "--hostname");
                self.fault(Judge::Labbuild, (&statement.line, column), message, "");
            }
        }
    }

    fn services(&mut self) {
        let mut seen: HashMap<String, (bool, &'a Statement)> = HashMap::new();
        for statement in self.statements {
            if !matches!(statement.command, Command::Services { .. }) {
                continue;
            }
            for (option, enabled) in [("--enabled", true), ("--disabled", false)] {
                for word in statement.parsed.list(option) {
                    let name = word.text.trim_end_matches(".service").to_owned();
                    let (was, first) = *seen.entry(name).or_insert((enabled, statement));
                    if was != enabled {
                        let first = place(&first.line, &statement.line);
                        let other = if was { "enabled" } else { "disabled" };
                        let message = format!("service `{}` is {other} on {first}", word.text);
                        let at = (&*statement.line, word.column);
                        self.fault(Judge::Labbuild, at, message, "keep one of them");
                    }
                }
            }
        }
    }

    fn keys_of_nobody(&mut self) {
        for statement in self.statements {
            let Command::Sshkey { username, .. } = &statement.command else { continue };
            let made =
                |s: &Statement| matches!(&s.command, Command::User(u) if u.name == *username);
            if username != "root" && !self.statements.iter().any(made) {
                let message = format!("there is no user `{username}` for this key");
                let help = format!("add `user --name={username}`");
                let at = (&*statement.line, value_column(statement, "--username"));
                self.fault(Judge::Labbuild, at, message, &help);
            }
        }
    }

    fn packages(&mut self, selection: &Selection) {
        for out in &selection.exclude {
            let Some(wanted) = selection.install.iter().find(|n| n.name == out.name) else {
                continue;
            };
            let (first, second, what) = if wanted.line.seq < out.line.seq {
                (wanted, out, "installed")
            } else {
                (out, wanted, "left out")
            };
            let first = place(&first.line, &second.line);
            let message = format!("package `{}` is {what} on {first}", out.name);
            self.fault(Judge::Labbuild, (&second.line, second.column), message, "keep one of them");
        }
    }
}

/// Whether a command says where something goes on the disk, which `autopart` decides itself.
fn lays_out_by_hand(command: &Command) -> bool {
    let foreign = ["raid", "volgroup", "logvol", "reqpart"];
    match command {
        Command::Part(_) => true,
        Command::Foreign { name } => foreign.contains(&name.as_str()),
        _ => false,
    }
}

/// What a command declares by name, if it does.
fn declared(statement: &Statement) -> Option<(&'static str, String)> {
    let named = |option: &str| statement.parsed.value(option).map(|word| word.text.clone());
    match &statement.command {
        Command::Part(part) if part.mountpoint != "swap" => {
            Some(("partition", part.mountpoint.clone()))
        }
        Command::User(user) => Some(("user", user.name.clone())),
        Command::Repo { name, .. } => Some(("repo", name.clone())),
        Command::Network(n) => Some(("network line", n.device.clone().unwrap_or_default())),
        Command::Foreign { name } if name == "snapshot" => Some(("snapshot", named("--name")?)),
        Command::Foreign { name } if name == "multipath" => Some(("path", named("--device")?)),
        Command::Foreign { name } if name == "realm" => Some(("realm", "join".to_owned())),
        _ => None,
    }
}

fn name_column(statement: &Statement) -> u32 {
    let option = match statement.command {
        Command::Network(_) => "--device",
        Command::Part(_) => {
            return statement.parsed.arguments.first().map_or(statement.column, |w| w.column);
        }
        _ => "--name",
    };
    value_column(statement, option)
}

fn value_column(statement: &Statement, option: &str) -> u32 {
    statement.parsed.value(option).map_or(statement.column, |word| word.column)
}

fn sets_one_thing(command: &Command) -> bool {
    use Command::{
        Autopart, Bootloader, Clearpart, Firewall, Firstboot, Keyboard, Lang, Rootpw, Selinux,
        Timezone, Url,
    };
    matches!(
        command,
        Rootpw { .. }
            | Lang { .. }
            | Keyboard { .. }
            | Timezone { .. }
            | Selinux { .. }
            | Firewall { .. }
            | Firstboot { .. }
            | Clearpart { .. }
            | Bootloader(_)
            | Autopart { .. }
            | Url { .. }
    )
}

fn kind_of(command: &Command) -> Option<&'static str> {
    match command {
        Command::Text | Command::Cmdline | Command::Graphical => Some("display"),
        Command::Poweroff { .. } | Command::Reboot { .. } | Command::Halt { .. } => Some("end"),
        _ => None,
    }
}
