//! Namespaces in which a tree is made: root's powers inside, none outside, and nothing left when
//! they end.
//!
//! The chain is `setpriv` → `unshare` → `sh` → the program. `setpriv` lets the kernel end
//! `unshare` when labbuild dies, `unshare --kill-child` ends the namespace's first process with
//! it, and the kernel ends all others and drops the scratch file system with that one. So a
//! `kill -9` of labbuild cleans up as thoroughly as a dropped future.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::BaseError;
use crate::host::{Cmd, HostError, files};

/// Below this much free memory, the scratch folder stays on disk.
const MEMORY_WANTED_MIB: u64 = 6 * 1024;

/// What the first process of the namespaces runs. All text is passed as arguments. The
/// environment is emptied, because package scripts can see it: only what the network needs is
/// kept. With a fixed seed, Python programs among them see their sets in one order every time.
const ENTER: &str = r#"set -e
umask 022
scratch=$1 size=$2 epoch=$3
shift 3
if [ "$size" -gt 0 ]; then
    mount -t tmpfs -o "mode=0755,size=${size}m" tmpfs "$scratch"
fi
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    LC_ALL=C.UTF-8 TMPDIR="$scratch" SOURCE_DATE_EPOCH="$epoch" INITRD=No \
    PYTHONHASHSEED=0 \
    ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
    ${no_proxy:+no_proxy="$no_proxy"} "$@""#;

/// A place for a tree: a folder that is filled inside the namespaces only.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    /// Size of the file system in memory; 0: the folder itself is used.
    memory_mib: u64,
}

impl Scratch {
    /// Makes the folder and decides where its content lives.
    pub fn new(dir: PathBuf, in_memory: bool) -> Result<Self, BaseError> {
        files::create_dir(&dir)?;
        let available = files::read_text(Path::new("/proc/meminfo"))
            .map(|text| available_mib(&text))
            .unwrap_or(0);
        let enough = in_memory && available >= MEMORY_WANTED_MIB;
        let memory_mib = if enough { available / 2 } else { 0 };
        Ok(Scratch { dir, memory_mib })
    }

    /// A command that runs `program` in fresh namespaces with this scratch folder as TMPDIR.
    pub fn command(&self, program: &str, epoch: u64) -> Cmd {
        tied("unshare")
            .args(user_namespace())
            .args(["--mount", "--propagation", "private", "--pid", "--fork"])
            .args(["--kill-child", "--mount-proc", "sh", "-c", ENTER, "sh"])
            .arg(&self.dir)
            .arg(self.memory_mib.to_string())
            .arg(epoch.to_string())
            .arg(program)
    }
}

/// A command that the kernel ends when labbuild ends, however that happens.
pub fn tied(program: &str) -> Cmd {
    Cmd::new("setpriv").args(["--pdeathsig", "KILL", program])
}

/// Says which program is missing before any long work begins, and under its own name.
pub async fn check_programs(programs: &[&str]) -> Result<(), BaseError> {
    for program in programs {
        let answer = Cmd::new(program).arg("--version").run().await;
        // What else it says, and whether it likes the question, does not matter.
        if let Err(missing @ HostError::Missing { .. }) = answer {
            return Err(missing.into());
        }
    }
    Ok(())
}

fn user_namespace() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() {
        &[]
    } else {
        &["--user", "--map-root-user", "--map-auto"]
    }
}

fn available_mib(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|l| l.trim().strip_suffix("kB")).and_then(|n| n.trim().parse().ok());
    kib.unwrap_or(0u64) >> 10
}

/// Removes a work folder, even one with files of the sub-uids that an interrupted build on a
/// machine with little memory left behind; absent is fine.
pub async fn discard(dir: &Path) -> Result<(), BaseError> {
    match files::remove(dir) {
        Err(HostError::File { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {}
        result => return Ok(result?),
    }
    Cmd::new("unshare")
        .args(user_namespace())
        .args(["rm", "-rf", "--one-file-system", "--"])
        .arg(dir)
        .run()
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_read_in_mebibytes() {
        assert_eq!(available_mib("MemTotal: 1 kB\nMemAvailable:   8388608 kB\n"), 8192);
        assert_eq!(available_mib("nothing"), 0);
    }
}
