//! What a machine must have so that a lab can run its own libvirtd, and the command that mends
//! each thing that is missing. All faults are found at once.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::SandboxError;
use crate::host::{Cmd, HostError};

/// Something missing, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// What is missing, as a clause: "`slirp4netns` is not installed".
    pub what: String,
    /// The command that mends it.
    pub remedy: String,
}

/// Programs and the Debian packages that bring them.
const PROGRAMS: [(&str, &str); 9] = [
    ("virtlogd", "libvirt-daemon-log"),
    ("libvirtd", "libvirt-daemon-system"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("dnsmasq", "dnsmasq-base"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
];

/// Folders of system programs, which an ordinary user's `PATH` leaves out.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Everything that is missing on this machine; `uplink`: the lab wants a way out.
pub async fn missing(uplink: bool) -> Vec<Need> {
    let mut needs = missing_programs(uplink);
    needs.extend(missing_drivers());
    needs.extend(missing_tun());
    if needs.is_empty() && !is_root() {
        needs.extend(missing_namespaces().await);
    }
    needs
}

/// Whether this process runs as root.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The `PATH` for programs of the lab: the caller's, and the folders of system programs.
pub(super) fn search_path() -> std::ffi::OsString {
    let own = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&own)
        .filter(|folder| folder.is_absolute())
        .chain(SYSTEM_FOLDERS.iter().chain(&["/usr/bin", "/bin"]).map(PathBuf::from));
    env::join_paths(folders).unwrap_or(own)
}

/// Where a program is.
pub(super) fn program(name: &str) -> Result<PathBuf, SandboxError> {
    find_program(name).ok_or_else(|| {
        SandboxError::Host(HostError::Missing {
            program: name.to_owned(),
            command: name.to_owned(),
        })
    })
}

fn find_program(name: &str) -> Option<PathBuf> {
    env::split_paths(&search_path()).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn missing_programs(uplink: bool) -> Vec<Need> {
    let mut wanted = PROGRAMS.to_vec();
    if uplink {
        wanted.push(("slirp4netns", "slirp4netns"));
    }
    if !is_root() {
        wanted.push(("newuidmap", "uidmap"));
    }
    wanted
        .into_iter()
        .filter(|(name, _)| find_program(name).is_none())
        .map(|(name, package)| Need {
            what: format!("`{name}` is not installed"),
            remedy: format!("sudo apt-get install {package}"),
        })
        .collect()
}

/// Newer packages split libvirtd's drivers; without the network driver every network fails.
fn missing_drivers() -> Vec<Need> {
    let Some(folder) = driver_folder() else { return Vec::new() };
    ["qemu", "network"]
        .into_iter()
        .filter(|driver| !folder.join(format!("libvirt_driver_{driver}.so")).exists())
        .map(|driver| Need {
            what: format!("libvirt's {driver} driver is not installed"),
            remedy: format!("sudo apt-get install libvirt-daemon-driver-{driver}"),
        })
        .collect()
}

fn driver_folder() -> Option<PathBuf> {
    let multiarch = format!("/usr/lib/{}-linux-gnu/libvirt/connection-driver", env::consts::ARCH);
    [
        multiarch.as_str(),
        "/usr/lib64/libvirt/connection-driver",
        "/usr/lib/libvirt/connection-driver",
    ]
    .into_iter()
    .map(PathBuf::from)
    .find(|folder| folder.is_dir())
}

fn missing_tun() -> Option<Need> {
    let tun = Path::new("/dev/net/tun");
    if is_root() && fs::metadata(tun).is_ok_and(|meta| meta.mode() & 0o006 != 0o006) {
        // The lab's way out is opened by an id that is nobody's here.
        return Some(Need {
            what: format!("{} is not open to everybody, as udev makes it", tun.display()),
            remedy: "sudo chmod 0666 /dev/net/tun".to_owned(),
        });
    }
    let error = fs::File::options().read(true).write(true).open(tun).err()?;
    let remedy = match error.kind() {
        std::io::ErrorKind::PermissionDenied => "sudo chmod 0666 /dev/net/tun",
        _ => "sudo modprobe tun",
    };
    Some(Need {
        what: format!("{} cannot be opened: {error}", tun.display()),
        remedy: remedy.to_owned(),
    })
}

/// Makes the namespaces once, for nothing: no list of settings is as true as that.
async fn missing_namespaces() -> Vec<Need> {
    let Err(error) = try_namespaces().await else { return Vec::new() };
    let mut needs = Vec::new();
    needs.extend(forbidden_by_setting());
    needs.extend(missing_ranges());
    if needs.is_empty() {
        needs.push(Need {
            what: format!("user namespaces cannot be made: {error}"),
            remedy: "run labbuild as root, or allow unprivileged user namespaces".to_owned(),
        });
    }
    needs
}

async fn try_namespaces() -> Result<(), SandboxError> {
    Cmd::new(program("unshare")?)
        .args(["--user", "--map-root-user", "--map-auto", "--net", "--mount", "--", "true"])
        .env("PATH", search_path())
        .run()
        .await?;
    Ok(())
}

/// Settings of the kernel that forbid user namespaces, and the value that allows them.
const SETTINGS: [(&str, &str, &str); 3] = [
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("user.max_user_namespaces", "0", "10000"),
];

fn forbidden_by_setting() -> Vec<Need> {
    SETTINGS
        .into_iter()
        .filter(|(key, forbids, _)| {
            let file = format!("/proc/sys/{}", key.replace('.', "/"));
            fs::read_to_string(file).is_ok_and(|value| value.trim() == *forbids)
        })
        .map(|(key, value, allows)| Need {
            what: format!("the kernel forbids user namespaces ({key} is {value})"),
            remedy: format!("sudo sysctl -w {key}={allows}"),
        })
        .collect()
}

fn missing_ranges() -> Option<Need> {
    let user = user_name();
    let uid = rustix::process::getuid().as_raw().to_string();
    let without: Vec<&str> = ["/etc/subuid", "/etc/subgid"]
        .into_iter()
        .filter(|file| !has_range(&fs::read_to_string(file).unwrap_or_default(), &[&user, &uid]))
        .collect();
    (!without.is_empty()).then(|| Need {
        what: format!("{user} has no range of subordinate ids in {}", without.join(" and ")),
        remedy: format!(
            "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
        ),
    })
}

/// Whether a subuid file gives one of `names` a range.
fn has_range(text: &str, names: &[&str]) -> bool {
    text.lines().any(|line| {
        let mut fields = line.split(':');
        fields.next().is_some_and(|name| names.contains(&name))
            && fields.nth(1).and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0) > 0
    })
}

fn user_name() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).is_some_and(|id| *id == uid))
        .map_or(uid.clone(), |fields| fields[0].to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_range_is_found_by_name_or_number() {
        let file = "root:100000:65536\nann:165536:65536\n1002:231072:65536\nbob:1:0\n";
        assert!(has_range(file, &["ann", "1001"]));
        assert!(has_range(file, &["nobody-here", "1002"]));
        assert!(!has_range(file, &["bob", "1003"]));
        assert!(!has_range(file, &["an", "100"]));
    }

    #[test]
    fn programs_are_found_outside_a_users_path() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-at-all").is_none());
        let error = program("no-such-program-at-all").unwrap_err();
        assert!(error.to_string().contains("is not installed"), "{error}");
    }
}
