//! What is worth knowing about this machine: accelerator, room on the disk, memory.

use std::path::Path;

use super::Finding;
use crate::host::files;
use crate::ui::text::size;

/// Two machines, their layers, their images and the downloads, with room to breathe.
const DISK_WANTED: u64 = 15 << 30;
/// Two machines of 2 GiB and what stands around them.
const MEMORY_WANTED: u64 = 5 << 30;

/// Looks at the machine.
pub(super) fn look(store: &Path) -> Vec<Finding> {
    vec![accelerator(), disk(store), memory()]
}

fn accelerator() -> Finding {
    const NAME: &str = "accelerator";
    let cpu = files::read_text(Path::new("/proc/cpuinfo")).unwrap_or_default();
    let Some(flag) = virtualisation_flag(&cpu) else {
        let found = "none: the CPU has no vmx or svm flag; machines are emulated (tcg), about ten times slower";
        return Finding::note(NAME, found);
    };
    let both = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
    match rustix::fs::access("/dev/kvm", both) {
        Ok(()) => Finding::ok(NAME, format!("kvm ({flag}, /dev/kvm can be used)")),
        Err(rustix::io::Errno::ACCESS) => Finding {
            mend: Some(
                "sudo usermod --append --groups kvm \"$USER\"    (then log in again)".into(),
            ),
            ..Finding::note(NAME, "none: /dev/kvm is not yours to use; machines are emulated (tcg)")
        },
        Err(e) => Finding::note(NAME, format!("none: /dev/kvm: {e}; machines are emulated (tcg)")),
    }
}

/// The flag that tells a usable /dev/kvm from one that only exists.
fn virtualisation_flag(cpuinfo: &str) -> Option<&'static str> {
    let flags = cpuinfo.lines().find(|l| l.starts_with("flags"))?;
    ["vmx", "svm"].into_iter().find(|flag| flags.split_whitespace().any(|f| f == *flag))
}

fn disk(store: &Path) -> Finding {
    const NAME: &str = "room for the store";
    let there = store.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(there) {
        Ok(fs) => {
            amount(NAME, fs.f_bavail * fs.f_frsize, DISK_WANTED, &store.display().to_string())
        }
        Err(e) => Finding::note(NAME, format!("{}: {e}", there.display())),
    }
}

fn memory() -> Finding {
    const NAME: &str = "free memory";
    let text = files::read_text(Path::new("/proc/meminfo")).unwrap_or_default();
    match available(&text) {
        Some(bytes) => amount(NAME, bytes, MEMORY_WANTED, "for two machines of 2 GiB"),
        None => Finding::note(NAME, "unknown"),
    }
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|l| l.starts_with("MemAvailable:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Too little is no fault: how much is needed depends on the lab.
fn amount(name: &str, there: u64, wanted: u64, what: &str) -> Finding {
    if there >= wanted {
        return Finding::ok(name, format!("{} ({what})", size(there)));
    }
    Finding::note(name, format!("{}, {} is comfortable ({what})", size(there), size(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_a_whole_word_of_the_flags_line() {
        assert_eq!(virtualisation_flag("flags\t\t: fpu vmx de\n"), Some("vmx"));
        assert_eq!(virtualisation_flag("flags\t\t: fpu svm_lock\n"), None);
        assert_eq!(virtualisation_flag("model name : svm\nflags : fpu\n"), None);
    }

    #[test]
    fn memory_is_read_in_kib() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:  2048 kB\n"), Some(2 << 20));
        assert_eq!(available(""), None);
    }

    #[test]
    fn too_little_is_said_and_not_refused() {
        assert_eq!(amount("d", 1 << 30, 2 << 30, "x").state, super::super::State::Note);
        assert_eq!(amount("d", 2 << 30, 2 << 30, "x").state, super::super::State::Ok);
    }
}
