//! From the sorted words of a command to its typed form: everything but network and disk.
//!
//! `refuse` is for what RHEL 7 itself does not take, `object` for what labbuild adds.

use super::model::{Command, Password, Selinux, User};
use super::options::{Given, comma_parts, one_of, texts};
use super::statement::Args;
use super::words::Word;

pub(super) use super::convert_disk::{autopart, bootloader, clearpart, part, zerombr};
pub(super) use super::convert_foreign::{device, foreign, nvdimm, ostreesetup, realm, snapshot};
pub(super) use super::convert_network::network;

pub(super) fn lang(args: &mut Args<'_, '_>) -> Option<Command> {
    let word = args.argument()?.clone();
    if !is_locale(&word.text) {
        let message = format!("`{}` is not a locale", word.text);
        args.object_at(word.column, message, "write it like `en_US.UTF-8`");
    }
    let additional = texts(args.parsed.list("--addsupport"));
    Some(Command::Lang { locale: word.text, additional })
}

fn is_locale(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.@-".contains(c))
}

pub(super) fn keyboard(args: &mut Args<'_, '_>) -> Option<Command> {
    if let Some(second) = args.parsed.arguments.get(1) {
        let column = second.column;
        args.refuse_at(column, "`keyboard` takes one layout", "more go to `--xlayouts=us,de`");
    }
    let layout = args.argument().map(|w| w.text.clone());
    let layout = layout
        .or_else(|| args.parsed.text("--vckeymap"))
        .or_else(|| texts(args.parsed.list("--xlayouts")).into_iter().next());
    match layout {
        Some(layout) if !layout.is_empty() => Some(Command::Keyboard { layout }),
        Some(_) => {
            args.object("`keyboard` names an empty layout", "write `keyboard us`");
            None
        }
        None => {
            args.refuse("`keyboard` names no layout", "write `keyboard us`");
            None
        }
    }
}

pub(super) fn timezone(args: &mut Args<'_, '_>) -> Option<Command> {
    let parsed = args.parsed;
    if parsed.arguments.is_empty() && parsed.given.is_empty() {
        args.refuse("`timezone` names no zone", "write `timezone --utc Etc/UTC`");
        return None;
    }
    if let Some(second) = parsed.arguments.get(1) {
        args.refuse_at(second.column, "`timezone` takes one zone", "");
    }
    let ntp_servers = texts(parsed.list("--ntpservers"));
    if parsed.has("--nontp") && !ntp_servers.is_empty() {
        let column = args.column_of("--ntpservers").max(args.column_of("--nontp"));
        args.refuse_at(column, "`--nontp` contradicts `--ntpservers`", "keep one of them");
    }
    let Some(zone) = parsed.arguments.first().filter(|w| is_zone(&w.text)) else {
        let column = parsed.arguments.first().map_or(args.column, |w| w.column);
        let message = "`timezone` names no zone that can be set";
        args.object_at(column, message, "write it like `Europe/Berlin` or `Etc/UTC`");
        return None;
    };
    let (zone, utc) = (zone.text.clone(), parsed.has("--utc"));
    Some(Command::Timezone { zone, utc, ntp_servers, no_ntp: parsed.has("--nontp") })
}

/// A name below /usr/share/zoneinfo: it becomes part of a path.
fn is_zone(text: &str) -> bool {
    let part = |p: &str| {
        !p.is_empty() && p.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c))
    };
    text.split('/').all(part)
}

pub(super) fn rootpw(args: &mut Args<'_, '_>) -> Option<Command> {
    let word = args.argument().filter(|w| !w.text.is_empty()).cloned();
    let lock = args.parsed.has("--lock");
    if word.is_none() && !lock {
        let help = "write `rootpw PASSWORD` or `rootpw --lock`; quote a password that holds `#`";
        args.refuse("`rootpw` gives no password", help);
    }
    let password = args.password(word.as_ref());
    Some(Command::Rootpw { password, lock })
}

pub(super) fn user(args: &mut Args<'_, '_>) -> Option<Command> {
    let Some(name) = args.parsed.value("--name").cloned() else {
        if !args.parsed.has("--name") {
            args.refuse("`user` names nobody", "write `user --name=NAME`");
        }
        return None;
    };
    check_user_name(args, &name);
    let groups = args.parsed.list("--groups");
    for group in &groups {
        check_user_name(args, group);
    }
    let word = args.parsed.value("--password").cloned();
    let password: Option<Password> = args.password(word.as_ref());
    Some(Command::User(User {
        name: name.text,
        gecos: gecos(args),
        groups: texts(groups),
        homedir: absolute(args, "--homedir"),
        password,
        lock: args.parsed.has("--lock"),
        shell: absolute(args, "--shell"),
        uid: id(args, "--uid"),
        gid: id(args, "--gid"),
    }))
}

/// What Debian's and RHEL's tools both take as the name of a user or group.
fn check_user_name(args: &mut Args<'_, '_>, name: &Word) {
    let mut chars = name.text.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
    let rest = chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    if !(first && rest && name.text.len() <= 32) {
        let message = format!("`{}` cannot be the name of a user or group", name.text);
        let help = "a small letter, then small letters, digits, `_` and `-`; 32 at most";
        args.object_at(name.column, message, help);
    }
}

/// The comment field of /etc/passwd: a colon or a newline would end it.
fn gecos(args: &mut Args<'_, '_>) -> Option<String> {
    let word = args.parsed.value("--gecos")?.clone();
    if word.text.contains([':', '\n']) {
        args.object_at(word.column, "`--gecos` cannot hold a colon", "");
    }
    Some(word.text)
}

fn absolute(args: &mut Args<'_, '_>, option: &str) -> Option<String> {
    let word = args.parsed.value(option)?.clone();
    let safe = word.text.starts_with('/') && !word.text.contains([':', '\n']);
    if !safe || word.text.split('/').any(|part| part == "..") {
        let message = format!("`{}` is not an absolute path", word.text);
        args.object_at(word.column, message, "");
    }
    Some(word.text)
}

fn id(args: &mut Args<'_, '_>, option: &str) -> Option<u32> {
    // 65535 and the highest value mean "nobody" to some calls.
    args.number(option, 0, 4_294_967_293).and_then(|n| u32::try_from(n).ok())
}

pub(super) fn sshkey(args: &mut Args<'_, '_>) -> Option<Command> {
    let username = args.parsed.value("--username").cloned();
    let words: Vec<&str> = args.parsed.arguments.iter().map(|w| w.text.as_str()).collect();
    let key = words.join(" ");
    let Some(username) = username else {
        args.object("`sshkey` names no user", "write `sshkey --username=root \"ssh-ed25519 …\"`");
        return None;
    };
    let column = args.argument().map_or(args.column, |w| w.column);
    if !is_public_key(&key) {
        let help = "paste the line of the `.pub` file, in quotes";
        args.object_at(column, "`sshkey` gives no public key", help);
    }
    Some(Command::Sshkey { username: username.text, key })
}

fn is_public_key(key: &str) -> bool {
    let mut parts = key.split(' ');
    let kind = parts.next().unwrap_or_default();
    let known = ["ssh-", "ecdsa-", "sk-"].iter().any(|p| kind.starts_with(p));
    let body = parts.next().unwrap_or_default();
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    known && body.len() >= 16 && body.chars().all(base64) && !key.contains('\n')
}

pub(super) fn firewall(args: &mut Args<'_, '_>) -> Option<Command> {
    args.exclusive(&["--enabled", "--disabled"]);
    let enabled = args.parsed.given.iter().rev().find_map(|g| match g.name {
        "--enabled" => Some(true),
        "--disabled" => Some(false),
        _ => None,
    });
    let mut services = Vec::new();
    let mut ports = Vec::new();
    for given in &args.parsed.given {
        let parts = given.value.as_ref().map(comma_parts).unwrap_or_default();
        match given.name {
            "--service" => services.extend(texts(parts)),
            "--port" => parts.iter().for_each(|p| ports.extend(port(args, p))),
            "--ssh" | "--http" | "--smtp" | "--ftp" => {
                services.push(given.name.trim_start_matches('-').to_owned());
            }
            _ => {}
        }
    }
    Some(Command::Firewall { enabled: enabled.unwrap_or(true), services, ports })
}

/// `22`, `22:tcp`, `imap:tcp` as `PORT:PROTOCOL`.
fn port(args: &mut Args<'_, '_>, word: &Word) -> Option<String> {
    let (port, protocol) = word.text.split_once(':').unwrap_or((&word.text, "tcp"));
    let number = port.parse::<u16>().is_ok_and(|n| n > 0);
    let named = port.starts_with(|c: char| c.is_ascii_lowercase())
        && port.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if (number || named) && ["tcp", "udp"].contains(&protocol) {
        return Some(format!("{port}:{protocol}"));
    }
    let message = format!("`{}` is not a port", word.text);
    args.object_at(word.column, message, "write `22:tcp` or `53:udp`");
    None
}

pub(super) fn selinux(args: &mut Args<'_, '_>) -> Option<Command> {
    let modes = [
        ("--enforcing", Selinux::Enforcing),
        ("--permissive", Selinux::Permissive),
        ("--disabled", Selinux::Disabled),
    ];
    choice(args, &modes).map(|mode| Command::Selinux { mode })
}

/// The one of several flags that was given; none or two are faults of labbuild's.
pub(super) fn choice<T: Copy>(args: &mut Args<'_, '_>, flags: &[(&str, T)]) -> Option<T> {
    let names: Vec<&str> = flags.iter().map(|(name, _)| *name).collect();
    args.exclusive(&names);
    let given = args.parsed.given.iter().rev().find(|g| names.contains(&g.name));
    if given.is_none() {
        let message = format!("`{}` does not say what to do", args.name);
        args.object(message, &format!("add {}", one_of(&names)));
    }
    let chosen: &Given = given?;
    flags.iter().find(|(name, _)| *name == chosen.name).map(|(_, value)| *value)
}

pub(super) fn services(args: &mut Args<'_, '_>) -> Option<Command> {
    let enabled = args.parsed.list("--enabled");
    let disabled = args.parsed.list("--disabled");
    if enabled.is_empty() && disabled.is_empty() {
        args.refuse("`services` names no service", "add `--enabled=…` or `--disabled=…`");
    }
    for word in enabled.iter().chain(&disabled) {
        let ok = |c: char| c.is_ascii_alphanumeric() || "@._:-\\".contains(c);
        if !word.text.chars().all(ok) || word.text.starts_with(['-', '.']) {
            args.object_at(word.column, format!("`{}` is not a service", word.text), "");
        }
    }
    Some(Command::Services { enabled: texts(enabled), disabled: texts(disabled) })
}

pub(super) fn firstboot(args: &mut Args<'_, '_>) -> Option<Command> {
    let modes = [
        ("--enabled", (true, false)),
        ("--disabled", (false, false)),
        ("--reconfig", (true, true)),
    ];
    let (enabled, reconfig) = choice(args, &modes)?;
    Some(Command::Firstboot { enabled, reconfig })
}

pub(super) fn repo(args: &mut Args<'_, '_>) -> Option<Command> {
    if !args.parsed.has("--name") {
        args.refuse("`repo` has no name", "add `--name=NAME`");
    }
    let (baseurl, mirrorlist) = (args.parsed.text("--baseurl"), args.parsed.text("--mirrorlist"));
    only_one_source(args, "--baseurl", "--mirrorlist");
    let name = args.parsed.text("--name")?;
    Some(Command::Repo { name, baseurl, mirrorlist, install: args.parsed.has("--install") })
}

pub(super) fn url(args: &mut Args<'_, '_>) -> Option<Command> {
    let (url, mirrorlist) = (args.parsed.text("--url"), args.parsed.text("--mirrorlist"));
    if url.is_none() && mirrorlist.is_none() {
        args.refuse("`url` names no source", "add `--url=…` or `--mirrorlist=…`");
    }
    only_one_source(args, "--url", "--mirrorlist");
    Some(Command::Url { url, mirrorlist })
}

fn only_one_source(args: &mut Args<'_, '_>, one: &str, other: &str) {
    if args.parsed.text(one).is_some() && args.parsed.text(other).is_some() {
        let column = args.column_of(one).max(args.column_of(other));
        args.refuse_at(column, format!("`{one}` contradicts `{other}`"), "keep one of them");
    }
}

pub(super) fn install(args: &mut Args<'_, '_>) -> Option<Command> {
    if args.parsed.value("--root-device").is_some_and(|w| w.text.is_empty()) {
        let column = args.column_of("--root-device");
        args.refuse_at(column, "`--root-device` needs a value", "");
    }
    Some(Command::Install)
}

pub(super) fn text(_: &mut Args<'_, '_>) -> Option<Command> {
    Some(Command::Text)
}

pub(super) fn cmdline(_: &mut Args<'_, '_>) -> Option<Command> {
    Some(Command::Cmdline)
}

pub(super) fn graphical(_: &mut Args<'_, '_>) -> Option<Command> {
    Some(Command::Graphical)
}

pub(super) fn skipx(_: &mut Args<'_, '_>) -> Option<Command> {
    Some(Command::SkipX)
}

pub(super) fn eula(args: &mut Args<'_, '_>) -> Option<Command> {
    let agreed = args.parsed.has("--agreed");
    if !agreed {
        args.refuse("`eula` does not agree", "write `eula --agreed`");
    }
    Some(Command::Eula { agreed })
}

pub(super) fn authconfig(args: &mut Args<'_, '_>) -> Option<Command> {
    let words: Vec<&str> = args.parsed.arguments.iter().map(|w| w.text.as_str()).collect();
    Some(Command::AuthConfig { options: words.join(" ") })
}

pub(super) fn poweroff(args: &mut Args<'_, '_>) -> Option<Command> {
    Some(Command::Poweroff { eject: args.parsed.has("--eject") })
}

pub(super) fn reboot(args: &mut Args<'_, '_>) -> Option<Command> {
    Some(Command::Reboot { eject: args.parsed.has("--eject"), kexec: false })
}

pub(super) fn halt(args: &mut Args<'_, '_>) -> Option<Command> {
    Some(Command::Halt { eject: args.parsed.has("--eject") })
}
