//! Work folders of base builds, and programs that end with labbuild.

use std::io::ErrorKind;
use std::path::Path;

use super::BaseError;
use crate::host::{Cmd, HostError, files};

/// Memory that stays free beside a scratch folder in it, in MiB.
const MEMORY_LEFT: u64 = 2 * 1024;

/// The size in MiB of a scratch folder in memory that can hold `wanted` MiB; `None` where too little is
/// free. Half of what is free is left to others.
pub fn in_memory(wanted: u64) -> Option<u64> {
    let meminfo = files::read_text(Path::new("/proc/meminfo")).unwrap_or_default();
    let available = available_mib(&meminfo);
    (available >= wanted + MEMORY_LEFT).then_some(available / 2).map(|half| half.max(wanted))
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
        .args(["--user", "--map-root-user", "--map-auto", "rm"])
        .args(["-rf", "--one-file-system", "--"])
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
