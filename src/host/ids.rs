//! The subordinate ids of the caller: whose they are is said by `/etc/subuid` and `/etc/subgid`.

use std::fs;
use std::os::unix::fs::lchown;
use std::path::Path;

use super::{HostError, files};

/// So many ids has a system: with fewer, `nobody` would not be among them.
pub const WANTED: u64 = 65536;

/// A range of ids: the first, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first id.
    pub first: u64,
    /// How many there are.
    pub count: u64,
}

/// The caller's subordinate user ids and group ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subordinate {
    /// Of `/etc/subuid`.
    pub users: Range,
    /// Of `/etc/subgid`.
    pub groups: Range,
}

impl Subordinate {
    /// What the two files give the caller.
    pub fn of_caller() -> Result<Self, HostError> {
        Ok(Subordinate { users: own("/etc/subuid")?, groups: own("/etc/subgid")? })
    }
}

/// Gives a file, or a folder with all in it, to the first of root's subordinate ids: in a lab that root
/// starts, that is who root is. An ordinary user is root in his labs himself, and nothing changes hands.
pub fn hand_over(path: &Path) -> Result<(), HostError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let ids = Subordinate::of_caller()?;
    let small = |id: u64| u32::try_from(id).unwrap_or(u32::MAX);
    give(path, small(ids.users.first), small(ids.groups.first))
}

/// Links are given, and not followed.
fn give(path: &Path, uid: u32, gid: u32) -> Result<(), HostError> {
    lchown(path, Some(uid), Some(gid)).map_err(HostError::file("give away", path))?;
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        for entry in fs::read_dir(path).map_err(HostError::file("list", path))?.flatten() {
            give(&entry.path(), uid, gid)?;
        }
    }
    Ok(())
}

fn own(file: &str) -> Result<Range, HostError> {
    let path = Path::new(file);
    let names = names();
    let text = files::read_text(path).unwrap_or_default();
    largest(&text, &names).filter(|range| range.count >= WANTED).ok_or_else(|| {
        let who = names.last().cloned().unwrap_or_default();
        let reason = format!("it gives {who} no {WANTED} ids; `scripts/install` or usermod does");
        HostError::file("use", path)(std::io::Error::other(reason))
    })
}

/// The caller's number, and the name of that number.
fn names() -> Vec<String> {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = files::read_text(Path::new("/etc/passwd")).unwrap_or_default();
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let mut found = passwd.lines().map(fields).filter(|f| f.get(2) == Some(&uid));
    let name = found.next().map(|f| f[0].clone());
    [Some(uid), name].into_iter().flatten().collect()
}

fn largest(text: &str, names: &[String]) -> Option<Range> {
    let ranges = text.lines().filter_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        let first = parts.next()?.parse().ok()?;
        let count = parts.next()?.trim().parse().ok()?;
        names.iter().any(|n| n == name).then_some(Range { first, count })
    });
    ranges.max_by_key(|range| range.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_range_of_a_name_or_number_is_taken() {
        let text = "root:100000:65536\nalice:1:10\n1001:231072:65536\nbroken\n";
        let of = |names: &[&str]| {
            largest(text, &names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(of(&["1001", "alice"]), Some(Range { first: 231_072, count: 65536 }));
        assert_eq!(of(&["1000", "ali"]), None);
    }
}
