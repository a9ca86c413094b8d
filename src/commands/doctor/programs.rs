//! Programs: are they there, and new enough.

use std::path::{Path, PathBuf};

use super::Finding;
use crate::host::{Cmd, files};

/// Folders with programs that an ordinary user's PATH may lack.
const SBIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// One program that labbuild runs.
struct Program {
    name: &'static str,
    /// Debian packages that bring it.
    packages: &'static [&'static str],
    /// Debian 12 has it too old; backports has it.
    backports: bool,
    /// Used by a libvirtd of the lab's own only.
    sandbox: bool,
}

const fn program(name: &'static str, packages: &'static [&'static str]) -> Program {
    Program { name, packages, backports: false, sandbox: false }
}

const fn sandbox(name: &'static str, packages: &'static [&'static str]) -> Program {
    Program { name, packages, backports: false, sandbox: true }
}

const QEMU: &[&str] = &["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"];
const LIBVIRTD: &[&str] = &[
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-driver-network",
    "libvirt-daemon-common",
    "libvirt-daemon-log",
    "libvirt-common",
    "libvirt0",
];
pub(super) const E2FSPROGS: &[&str] =
    &["e2fsprogs", "libext2fs2", "libcom-err2", "libss2", "logsave"];

const PROGRAMS: &[Program] = &[
    Program { backports: true, sandbox: true, ..program("libvirtd", LIBVIRTD) },
    Program { backports: true, ..program("virsh", &["libvirt-clients", "libvirt0"]) },
    Program { backports: true, sandbox: true, ..program("qemu-system-x86_64", QEMU) },
    Program { backports: true, ..program("qemu-img", &["qemu-utils"]) },
    program("mmdebstrap", &["mmdebstrap"]),
    program("sfdisk", &["fdisk"]),
    program("grub-mkimage", &["grub-common"]),
    program("ssh", &["openssh-client"]),
    program("unshare", &["util-linux"]),
    program("nsenter", &["util-linux"]),
    program("setpriv", &["util-linux"]),
    program("prlimit", &["util-linux"]),
    program("newuidmap", &["uidmap"]),
    Program { backports: true, sandbox: true, ..program("virtlogd", LIBVIRTD) },
    sandbox("slirp4netns", &["slirp4netns"]),
    sandbox("dnsmasq", &["dnsmasq-base"]),
    sandbox("iptables", &["iptables"]),
    sandbox("ip", &["iproute2"]),
];

/// Looks at every program, and at the files and libraries that belong to them.
pub(super) async fn look(own_libvirtd: bool) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        PROGRAMS.iter().filter(|p| own_libvirtd || !p.sandbox).map(look_for).collect();
    findings.push(grub_boot());
    let mke2fs = mke2fs().await;
    let usable = mke2fs.state == super::State::Ok;
    findings.push(mke2fs);
    if usable {
        findings.push(tree_from_tar().await);
    }
    findings
}

fn look_for(program: &Program) -> Finding {
    match find(program.name) {
        Some(path) => Finding::ok(program.name, path.display().to_string()),
        None => {
            let mend = install(program.packages, program.backports);
            Finding::missing(program.name, "not found", mend)
        }
    }
}

/// Where a program is, looking also where ordinary users' PATH does not lead.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SBIN.iter().map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| {
            rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file()
        })
}

/// The command that installs packages; from backports on a Debian 12.
pub(super) fn install(packages: &[&str], backports: bool) -> String {
    let release = files::read_text(Path::new("/etc/os-release")).unwrap_or_default();
    let suite = if backports && release.contains("VERSION_CODENAME=bookworm") {
        "/bookworm-backports"
    } else {
        ""
    };
    let words: Vec<String> = packages.iter().map(|p| format!("{p}{suite}")).collect();
    format!("sudo apt-get install --no-install-recommends {}", words.join(" "))
}

fn grub_boot() -> Finding {
    let file = Path::new("/usr/lib/grub/i386-pc/boot.img");
    if file.is_file() {
        return Finding::ok("GRUB for BIOS", file.display().to_string());
    }
    Finding::missing("GRUB for BIOS", "no i386-pc/boot.img", install(&["grub-pc-bin"], false))
}

async fn mke2fs() -> Finding {
    let mend = || install(E2FSPROGS, true);
    let Some(path) = find("mke2fs") else {
        return Finding::missing("mke2fs", "not found", mend());
    };
    let version = match Cmd::new(&path).arg("-V").run().await {
        Ok(output) => output.stderr,
        Err(e) => return Finding::missing("mke2fs", e.to_string(), mend()),
    };
    match version.split_whitespace().nth(1).and_then(numbers) {
        Some(v) if v >= vec![1, 47, 2] => {
            Finding::ok("mke2fs ≥ 1.47.2", format!("{} ({})", path.display(), dotted(&v)))
        }
        Some(v) => Finding::missing("mke2fs ≥ 1.47.2", dotted(&v), mend()),
        None => Finding::missing("mke2fs ≥ 1.47.2", "no version in `mke2fs -V`", mend()),
    }
}

/// `1.47.2-rc1` as numbers.
fn numbers(version: &str) -> Option<Vec<u32>> {
    let plain = version.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?;
    plain.split('.').map(|n| n.parse().ok()).collect()
}

fn dotted(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

/// Writes a tiny file system from a tar: this needs libarchive, which mke2fs loads only then.
async fn tree_from_tar() -> Finding {
    const NAME: &str = "file systems from a tar";
    match write_tiny_tree().await {
        Ok(()) => Finding::ok(NAME, "tried, works"),
        Err(e) => Finding::missing(NAME, last_words(&e), install(&["libarchive13"], false)),
    }
}

async fn write_tiny_tree() -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (tree, image) = (dir.path().join("tree.tar"), dir.path().join("image"));
    std::fs::write(&tree, tiny_tar().map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    let mke2fs = find("mke2fs").ok_or("mke2fs is not there")?;
    let command = Cmd::new(mke2fs).args(["-q", "-t", "ext4", "-d"]).arg(&tree).arg(&image);
    command.arg("4M").run().await.map(drop).map_err(|e| e.to_string())
}

fn tiny_tar() -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o644);
    builder.append_data(&mut header, "hello", b"hello".as_slice())?;
    builder.into_inner()
}

/// The last line of an error: the program's own words.
pub(super) fn last_words(error: &str) -> String {
    let last = error.lines().last().unwrap_or_default();
    last.trim_start_matches([' ', '|']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_outside_the_path_of_ordinary_users_are_found() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-at-all").is_none());
    }

    #[test]
    fn versions_compare_by_number() {
        let version = |text| numbers(text).unwrap();
        assert!(version("1.47.2") >= vec![1, 47, 2]);
        assert!(version("1.47.10-rc1") >= vec![1, 47, 2]);
        assert!(version("1.47.0") < vec![1, 47, 2]);
        assert!(numbers("none").is_none());
    }

    #[test]
    fn a_missing_program_comes_with_its_package() {
        let finding = look_for(&program("no-such-program-at-all", &["some-package"]));
        assert_eq!(finding.state, super::super::State::Missing);
        assert!(finding.mend.unwrap().ends_with(" some-package"));
    }
}
