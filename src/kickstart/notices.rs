//! What a kickstart asks for that a Debian bootstrap has no use for: said once, then left.
//!
//! Wishes that are fulfilled anyway (`firstboot --disabled`, `text`) are not mentioned.

use super::model::{Command, Kickstart, Packages, Script, ScriptKind, Selinux};
use super::syntax::{self, Fate};

/// What is not carried out when Debian is bootstrapped: line and sentence, in line order, each
/// command once.
pub fn notices(kickstart: &Kickstart) -> Vec<(u32, String)> {
    let mut said = Vec::new();
    for command in &kickstart.commands {
        if let Some(text) = of_command(&command.value) {
            said.push((command.line, text.to_owned()));
        }
        said.extend(of_foreign(&command.value).map(|text| (command.line, text)));
    }
    for script in &kickstart.scripts {
        if let Some(text) = of_script(&script.value) {
            said.push((script.line, text.to_owned()));
        }
    }
    for section in &kickstart.skipped {
        said.push((
            section.line,
            format!("{}: only Anaconda has a use for it; ignored", section.value),
        ));
    }
    if let Some(packages) = &kickstart.packages {
        of_packages(packages.line, &packages.value, &mut said);
    }
    said.sort_by_key(|(line, _)| *line);
    once(said)
}

/// Only the first of equal sentences.
fn once(said: Vec<(u32, String)>) -> Vec<(u32, String)> {
    let mut kept: Vec<(u32, String)> = Vec::new();
    for (line, text) in said {
        if kept.iter().all(|(_, earlier)| *earlier != text) {
            kept.push((line, text));
        }
    }
    kept
}

fn of_command(command: &Command) -> Option<&'static str> {
    Some(match command {
        Command::Selinux { mode: Selinux::Enforcing | Selinux::Permissive } => {
            "selinux: Debian 12 has no SELinux policy by default; ignored"
        }
        Command::Firstboot { enabled: true, .. } => {
            "firstboot: Debian 12 asks nothing on its first boot; ignored"
        }
        Command::Repo { .. } => "repo: packages come from the base image's own sources; ignored",
        Command::Url { .. } => "url: packages come from the base image's own sources; ignored",
        Command::Install => "install: a bootstrap always installs; ignored",
        Command::Graphical => "graphical: a bootstrap shows no installer; ignored",
        Command::AuthConfig { .. } => "authconfig: Debian 12 has no authconfig; ignored",
        Command::Eula { .. } => "eula: Debian 12 has no licence to agree to; ignored",
        Command::Sshkey { .. } => {
            "sshkey: carried out here, but RHEL 7's own installer does not know it"
        }
        _ => return None,
    })
}

fn of_foreign(command: &Command) -> Option<String> {
    let Command::Foreign { name } = command else { return None };
    match syntax::find(name)?.fate {
        Fate::Useless(why) => Some(format!("{name}: {why}; ignored")),
        Fate::Typed | Fate::Refused(_) => None,
    }
}

fn of_script(script: &Script) -> Option<&'static str> {
    match (script.kind, script.nochroot) {
        (ScriptKind::Pre, _) => {
            Some("%pre: a bootstrap has no installer to run it in; not carried out")
        }
        (ScriptKind::Post, true) => {
            Some("%post --nochroot: it would run on this host; not carried out")
        }
        (ScriptKind::Post, false) => None,
    }
}

fn of_packages(line: u32, packages: &Packages, said: &mut Vec<(u32, String)>) {
    if let Some(first) = packages.groups.first() {
        let names: Vec<String> = packages.groups.iter().map(|g| format!("@{}", g.value)).collect();
        let text = format!("{}: Debian has no such package groups; ignored", names.join(", "));
        said.push((first.line, text));
    }
    let options: Vec<&str> = packages
        .options
        .iter()
        .map(String::as_str)
        .filter(|option| *option != "--ignoremissing")
        .collect();
    if !options.is_empty() {
        let text = format!(
            "%packages {}: Debian's packages have no such choice; ignored",
            options.join(" ")
        );
        said.push((line, text));
    }
}
