//! A lab's processes, looked at from outside: whose ids they have, and what they can see of the host. A
//! machine without a system is enough: what is looked at is QEMU, which a guest might escape to.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use labbuild::backend::{AccelChoice, Backend, Boot, Clock, DomainSpec, LibvirtBackend};
use labbuild::event::Events;
use labbuild::sandbox::{Sandbox, SandboxOptions, Shown, runtime_dir};

/// A process, as /proc shows it.
struct Process {
    pid: u32,
    line: String,
    uid: u32,
    user_namespace: PathBuf,
}

impl Process {
    fn all() -> Vec<Process> {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|entry| Process::read(entry.file_name().to_str()?.parse().ok()?))
            .collect()
    }

    fn read(pid: u32) -> Option<Process> {
        let at = |name: &str| format!("/proc/{pid}/{name}");
        let status = fs::read_to_string(at("status")).ok()?;
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        Some(Process {
            pid,
            line: String::from_utf8_lossy(&fs::read(at("cmdline")).ok()?).replace('\0', " "),
            uid: uid.split_whitespace().next()?.parse().ok()?,
            user_namespace: fs::read_link(at("ns/user")).ok()?,
        })
    }

    fn sees(&self, path: &Path) -> bool {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid));
        root.join(path.strip_prefix("/").unwrap()).exists()
    }
}

struct Lab {
    store: tempfile::TempDir,
    sandbox: Sandbox,
}

impl Lab {
    async fn start() -> Lab {
        let store = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for folder in ["layers/one", "lab/disks", "other-lab"] {
            fs::create_dir_all(store.path().join(folder)).unwrap();
        }
        fs::write(store.path().join("other-lab/lab.json"), "another's").unwrap();
        let disk = |name: &str, more: &[&str]| {
            let mut create = Command::new("qemu-img");
            let made = create.args(["create", "-q", "-f", "qcow2"]).args(more);
            assert!(made.arg(store.path().join(name)).arg("64M").status().unwrap().success());
        };
        disk("layers/one/disk.qcow2", &[]);
        let layer = store.path().join("layers/one/disk.qcow2").to_string_lossy().into_owned();
        disk("lab/disks/a.qcow2", &["-F", "qcow2", "-b", &layer]);
        fs::set_permissions(store.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let root = store.path().join("lab/libvirt");
        let options = SandboxOptions {
            runtime: runtime_dir(&root).unwrap(),
            root,
            self_exe: [env!("CARGO_BIN_EXE_labbuild"), "internal"].map(Into::into).to_vec(),
            uplink: true,
            shown: vec![
                Shown::to_read(store.path().join("layers")),
                Shown::to_write(store.path().join("lab/disks")),
            ],
            events: Events::none(),
        };
        let sandbox = Sandbox::start(options).await.unwrap_or_else(|e| panic!("{e}"));
        Lab { store, sandbox }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.store.path().join(name)
    }

    fn start_machine(&self) {
        let backend = LibvirtBackend::connect(&self.sandbox.uri(), AccelChoice::Auto).unwrap();
        let spec = DomainSpec {
            name: "a".into(),
            machine: "a".into(),
            uuid: "6e1f3c52-3b1c-4a5e-9a53-0f2f5d3b7a11".into(),
            cpus: 1,
            memory_mib: 128,
            machine_type: "pc-q35-7.2".into(),
            cpu_model: "Nehalem".into(),
            disk: self.path("lab/disks/a.qcow2"),
            disk_serial: "a".into(),
            nics: Vec::new(),
            clock: Clock::Host,
            unsafe_cache: true,
            console_log: self.path("lab/disks/console.log"),
            boot: Boot::Disk,
        };
        backend.start_domain(&spec).unwrap();
    }

    /// Every process that names a folder of this lab, or lives in its user namespace.
    fn processes(&self) -> Vec<Process> {
        let all = Process::all();
        let folder = self.store.path().to_string_lossy().into_owned();
        let runtime = self.sandbox.runtime().to_string_lossy().into_owned();
        let own = |line: &str| line.contains(&folder) || line.contains(&runtime);
        let init = all.iter().find(|p| p.line.contains("sandbox-init") && own(&p.line)).unwrap();
        let namespace = init.user_namespace.clone();
        all.into_iter().filter(|p| own(&p.line) || p.user_namespace == namespace).collect()
    }
}

#[tokio::test]
async fn a_labs_processes_have_no_id_of_roots_and_see_nothing_of_the_host() {
    let lab = Lab::start().await;
    lab.start_machine();
    let processes = lab.processes();
    for name in ["qemu-system", "libvirtd", "virtlogd", "slirp4netns", "sandbox-init"] {
        assert!(processes.iter().any(|p| p.line.contains(name)), "{name}");
    }
    let initial = fs::read_link("/proc/self/ns/user").unwrap();
    let is_outside = |p: &&Process| p.user_namespace == initial && !p.line.contains("slirp4netns");
    for process in processes.iter().filter(is_outside) {
        // The keeper, and the chain by which it starts the first process.
        assert!(
            ["internal keeper", "unshare"].iter().any(|word| process.line.contains(word)),
            "{}",
            process.line
        );
    }
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        let inside =
            |p: &&Process| !p.line.contains("internal keeper") && !p.line.contains("unshare");
        for process in processes.iter().filter(inside) {
            assert_ne!(process.uid, 0, "{}", process.line);
        }
    }
    let qemu = processes.iter().find(|p| p.line.contains("qemu-system")).unwrap();
    assert!(qemu.sees(&lab.path("layers/one/disk.qcow2")) && qemu.sees(&lab.path("lab/disks")));
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    for hidden in [
        &lab.path("other-lab"),
        &checkout,
        Path::new("/etc/shadow"),
        Path::new("/home"),
        Path::new("/var/lib/dpkg"),
        Path::new("/boot"),
    ] {
        assert!(!qemu.sees(hidden), "{}", hidden.display());
    }
    let target = qemu.pid.to_string();
    // An ordinary user's QEMU owns the layers, and nothing but the mount stands before them.
    let remount = if is_root { "mount -o remount,rw,bind \"$1\"; " } else { "" };
    let write = "echo evil >> \"$0\" && echo wrote; ";
    let script = format!("{write}{remount}{write}true");
    let attack = Command::new("nsenter")
        .args(["--target", &target, "--user", "--mount", "--setuid", "0", "--setgid", "0"])
        .args(["sh", "-c", &script])
        .args([lab.path("layers/one/disk.qcow2"), lab.path("layers")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&attack.stdout), "", "a layer was written");
    lab.sandbox.stop().await.unwrap();
}
