//! What a libvirtd of the lab's own needs of this machine: namespaces and sub-ids.

use std::path::Path;

use super::Finding;
use super::programs::last_words;
use crate::host::{Cmd, files};

/// Fewer ids than these cannot hold the users of a guest's tree.
const IDS_NEEDED: u64 = 65536;

/// Looks at sub-ids and tries the namespaces out.
pub(super) async fn look() -> Vec<Finding> {
    let root = rustix::process::geteuid().is_root();
    let mut findings = Vec::new();
    let user = user_name().await;
    findings.push(sub_ids("/etc/subuid", "--add-subuids", &user));
    findings.push(sub_ids("/etc/subgid", "--add-subgids", &user));
    findings.push(namespaces(root).await);
    findings.push(tun());
    findings
}

async fn user_name() -> String {
    let named = Cmd::new("id").arg("-un").run().await.map(|o| o.text());
    named.unwrap_or_else(|_| rustix::process::getuid().as_raw().to_string())
}

fn sub_ids(file: &str, option: &str, user: &str) -> Finding {
    let name = format!("range in {file}");
    let text = files::read_text(Path::new(file)).unwrap_or_default();
    let uid = rustix::process::getuid().as_raw().to_string();
    match ids_of(&text, &[user, &uid]) {
        n if n >= IDS_NEEDED => Finding::ok(name, format!("{n} ids for {user}")),
        n => {
            let first = free_range(&text);
            let mend = format!("sudo usermod {option} {first}-{} {user}", first + IDS_NEEDED - 1);
            Finding::missing(name, format!("{n} ids for {user}, {IDS_NEEDED} needed"), mend)
        }
    }
}

/// The largest range that one of these names has.
fn ids_of(text: &str, names: &[&str]) -> u64 {
    let mine = ranges(text).filter(|(name, _, _)| names.contains(name));
    mine.map(|(_, _, count)| count).max().unwrap_or(0)
}

/// The first id, on a round number, after every range there is.
fn free_range(text: &str) -> u64 {
    let end = ranges(text).map(|(_, first, count)| first.saturating_add(count)).max();
    end.unwrap_or(0).max(100_000).next_multiple_of(IDS_NEEDED)
}

/// `name:first:count` lines.
fn ranges(text: &str) -> impl Iterator<Item = (&str, u64, u64)> {
    text.lines().filter_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        Some((name, parts.next()?.parse().ok()?, parts.next()?.trim().parse().ok()?))
    })
}

/// Makes the namespaces that a lab gets, for a moment.
async fn namespaces(root: bool) -> Finding {
    const NAME: &str = "namespaces";
    let user: &[&str] = if root { &[] } else { &["--user", "--map-root-user", "--map-auto"] };
    let command = Cmd::new("unshare").args(user).args([
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "true",
    ]);
    match command.run().await {
        Ok(_) => Finding::ok(NAME, "tried, work"),
        Err(e) => Finding::missing(NAME, last_words(&e.to_string()), namespaces_mend()),
    }
}

/// Three switches turn unprivileged user namespaces off; the one that did is named.
fn namespaces_mend() -> String {
    let value = |path: &str| files::read_text(Path::new(path)).map(|t| t.trim().to_owned()).ok();
    let is = |path: &str, off: &str| value(path).as_deref() == Some(off);
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return "sudo sysctl -w kernel.unprivileged_userns_clone=1".to_owned();
    }
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0".to_owned();
    }
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return "sudo sysctl -w user.max_user_namespaces=15000".to_owned();
    }
    super::programs::install(&["uidmap", "util-linux"], false)
}

/// Bridges and the way out are made of tap devices. udev gives everybody access; a machine
/// without udev may not.
fn tun() -> Finding {
    const PATH: &str = "/dev/net/tun";
    let both = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    match rustix::fs::access(PATH, both) {
        Ok(()) => Finding::ok(PATH, "can be used"),
        Err(rustix::io::Errno::ACCESS) => {
            Finding::missing(PATH, "is not yours to use", "sudo chmod 0666 /dev/net/tun")
        }
        Err(e) => Finding::missing(PATH, e.to_string(), "sudo modprobe tun"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBUID: &str = "root:100000:65536\nalice:165536:65536\n1001:231072:1000\nbroken\n";

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        assert_eq!(ids_of(SUBUID, &["alice", "1000"]), 65536);
        assert_eq!(ids_of(SUBUID, &["bob", "1001"]), 1000);
        assert_eq!(ids_of(SUBUID, &["carol", "1002"]), 0);
    }

    #[test]
    fn a_new_range_lies_after_all_others() {
        assert!(free_range(SUBUID) >= 231_072 + 1000);
        assert_eq!(free_range(""), 131_072);
    }
}
