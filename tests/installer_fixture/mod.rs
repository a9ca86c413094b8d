//! A fixture in an installer's place: Debian's kernel, and an initramfs with busybox, a small
//! tree and an `init` that behaves on disk and console as Anaconda does. No installer is in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{ground, text};

const INIT: &str = include_str!("init");

/// What a virtio disk needs, in the order of loading; what is built in has no file.
const MODULES: [&str; 6] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
];

/// The tree that the fixture installs.
const TREE: [(&str, &str); 2] =
    [("etc/issue", "a small prepared tree\n"), ("root/mark", "installed by the fixture\n")];

/// Kernel and initramfs, made once per checkout.
pub struct Fixture {
    pub kernel: PathBuf,
    pub initrd: PathBuf,
}

impl Fixture {
    pub fn make() -> Fixture {
        let dir = ground().join("installer-fixture");
        fs::create_dir_all(&dir).unwrap();
        let kernel = unpacked(&dir, &kernel_package());
        let busybox = unpacked(&dir, "busybox-static").join("bin/busybox");
        let initrd = dir.join("initrd");
        fs::write(&initrd, initramfs(&kernel.join("lib/modules"), &busybox)).unwrap();
        Fixture { kernel: found(&kernel.join("boot"), "vmlinuz-"), initrd }
    }
}

/// The package with the kernel that `linux-image-cloud-amd64` stands for.
fn kernel_package() -> String {
    let shown = output("apt-cache", &["show", "--no-all-versions", "linux-image-cloud-amd64"]);
    let depends = shown.lines().find_map(|line| line.strip_prefix("Depends: "));
    let name = depends.and_then(|line| line.split([' ', ',']).next());
    name.expect("apt knows the kernel of Debian's cloud images").to_owned()
}

/// A folder with the content of a Debian package, which is not installed.
fn unpacked(dir: &Path, package: &str) -> PathBuf {
    let folder = dir.join(package);
    if !folder.exists() {
        let download = ["-q", "download", package];
        let made = Command::new("apt-get").args(download).current_dir(dir).output().unwrap();
        let said = text(&made.stderr);
        assert!(made.status.success(), "apt-get download {package}: {said} (apt-get update?)");
        let deb = found(dir, &format!("{package}_"));
        let half = dir.join("half");
        let _ = fs::remove_dir_all(&half);
        output("dpkg-deb", &["-x", deb.to_str().unwrap(), half.to_str().unwrap()]);
        fs::rename(&half, &folder).unwrap();
    }
    folder
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The file in `dir` whose name begins so.
fn found(dir: &Path, start: &str) -> PathBuf {
    let mut entries = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    let begins = |path: &PathBuf| {
        path.is_file() && path.file_name().unwrap().to_string_lossy().starts_with(start)
    };
    entries.find(begins).unwrap_or_else(|| panic!("no {start}* in {}", dir.display()))
}

/// A file below `dir` with this name.
fn below(dir: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()).find_map(|path| {
        match path.is_dir() {
            true => below(&path, name),
            false => (path.file_name()? == name).then_some(path),
        }
    })
}

fn initramfs(modules: &Path, busybox: &Path) -> Vec<u8> {
    let mut archive = Archive::default();
    for folder in ["bin", "modules", "tree", "dev", "proc", "sys", "tmp"] {
        archive.entry(folder, 0o40_755, b"");
    }
    archive.entry("bin/busybox", 0o100_755, &fs::read(busybox).unwrap());
    for applet in output(busybox.to_str().unwrap(), &["--list"]).lines() {
        if applet != "busybox" {
            archive.entry(&format!("bin/{applet}"), 0o120_777, b"busybox");
        }
    }
    for (number, name) in MODULES.iter().enumerate() {
        if let Some(file) = below(modules, &format!("{name}.ko")) {
            let name = format!("modules/{number}-{name}.ko");
            archive.entry(&name, 0o100_644, &fs::read(file).unwrap());
        }
    }
    for (path, content) in TREE {
        let (folder, _) = path.split_once('/').unwrap();
        archive.entry(&format!("tree/{folder}"), 0o40_755, b"");
        archive.entry(&format!("tree/{path}"), 0o100_644, content.as_bytes());
    }
    archive.entry("init", 0o100_755, INIT.as_bytes());
    archive.finish()
}

/// A cpio archive in the format that the kernel unpacks.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    count: u32,
}

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.count += 1;
        let (size, name_size) = (data.len() as u32, name.len() as u32 + 1);
        let fields = [self.count, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        let header: String = fields.iter().map(|field| format!("{field:08X}")).collect();
        self.bytes.extend(b"070701");
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, b"");
        self.bytes
    }
}
