//! A bootstrap base, really built: the same bytes twice, and a login on the serial console of a
//! plain QEMU that is given nothing but the disk.
//!
//! Needs the network (or a package cache), mmdebstrap, e2fsprogs ≥ 1.47.2 and QEMU.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod support;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use labbuild::base::{
    self, Bootstrap, Built, Definition, DiskIds, KickstartFile, NicName, Request,
};
use labbuild::digest::Digest;
use labbuild::event::{Event, Events};
use labbuild::kickstart::{
    Bootproto, Command, Kickstart, Network, OnLine, Packages, Part, Password, Script, ScriptKind,
    User,
};
use labbuild::recipe::Bytes;
use support::archive::{Archive, Package, SUITE};

const TEXT: &str = "lang en_US.UTF-8
keyboard us
timezone Europe/Paris --utc
rootpw --plaintext root
user --name=alice --groups=wheel,lab --password=alice
sshkey --username=alice \"ssh-ed25519 AAAA alice\"
network --device=ens33 --bootproto=static --ip=10.9.8.7 --netmask=255.255.255.0 --hostname=box.example.org
part swap --size=256
part / --size=1 --grow
services --enabled=crond
%packages
cron
%end
%post
echo made > /root/made
%end
";

fn definition() -> Bootstrap {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/debian-12.yaml");
    match base::load_definition(&path).unwrap() {
        Definition::Bootstrap(bootstrap) => *bootstrap,
        _ => panic!("not a bootstrap"),
    }
}

fn commands() -> Vec<Command> {
    let part = |mountpoint: &str, size, grow| {
        let mountpoint = mountpoint.to_owned();
        Command::Part(Part { mountpoint, size_mib: Some(size), grow, ..Part::default() })
    };
    vec![
        Command::Lang { locale: "en_US.UTF-8".into(), additional: vec![] },
        Command::Keyboard { layout: "us".into() },
        Command::Timezone {
            zone: "Europe/Paris".into(),
            utc: true,
            ntp_servers: vec![],
            no_ntp: false,
        },
        Command::Rootpw { password: Some(Password::Plain("root".into())), lock: false },
        Command::User(User {
            name: "alice".into(),
            groups: vec!["wheel".into(), "lab".into()],
            password: Some(Password::Plain("alice".into())),
            ..User::default()
        }),
        Command::Sshkey { username: "alice".into(), key: "ssh-ed25519 AAAA alice".into() },
        Command::Network(Network {
            device: Some("ens33".into()),
            bootproto: Bootproto::Static,
            ip: Some([10, 9, 8, 7].into()),
            netmask: Some([255, 255, 255, 0].into()),
            hostname: Some("box.example.org".into()),
            ..Network::default()
        }),
        part("swap", 256, false),
        part("/", 1, true),
        Command::Services { enabled: vec!["crond".into()], disabled: vec![] },
    ]
}

fn kickstart(post: &str) -> KickstartFile {
    let on_line = |(i, value)| OnLine { line: i as u32 + 1, value };
    let packages = Packages {
        install: vec![OnLine { line: 12, value: "cron".into() }],
        ..Packages::default()
    };
    let script = Script {
        kind: ScriptKind::Post,
        nochroot: false,
        interpreter: "/bin/sh".into(),
        erroronfail: true,
        log: Some("/root/post.log".into()),
        body: post.into(),
    };
    let commands = Kickstart {
        commands: commands().into_iter().enumerate().map(on_line).collect(),
        packages: Some(OnLine { line: 11, value: packages }),
        scripts: vec![OnLine { line: 14, value: script }],
        ..Kickstart::default()
    };
    KickstartFile { name: "box.ks".into(), text: TEXT.into(), commands }
}

fn request(extra: &[&str], cache: Option<&Path>) -> Request {
    Request {
        machine: "box".into(),
        salt: "test/box".into(),
        disk: Bytes(20 << 30),
        nics: vec![NicName { name: "ens33".into(), mac: "52:54:00:12:34:56".into() }],
        kickstart: kickstart("echo made > /root/made\n"),
        extra_packages: extra.iter().map(|&p| p.to_owned()).collect(),
        ids: DiskIds {
            machine_id: "0123456789abcdef0123456789abcdef".into(),
            root_uuid: "11111111-2222-4333-8444-555555555555".into(),
            hash_seed: "11111111-2222-4333-8444-666666666666".into(),
            label_id: 0x1abb_0001,
        },
        program: env!("CARGO_BIN_EXE_labbuild").into(),
        deb_cache: cache.map(Path::to_owned),
        in_memory: true,
    }
}

fn said_aloud() -> Events {
    let start = Instant::now();
    Events::new(move |event| {
        let at = start.elapsed().as_secs_f32();
        match event {
            Event::TaskProgress { message, fraction, .. } => {
                println!("{at:6.1} {message} {fraction:?}");
            }
            other => println!("{at:6.1} {other:?}"),
        }
    })
}

async fn build(request: &Request, dir: &Path) -> Built {
    base::bootstrap(&definition(), request, dir, &said_aloud())
        .await
        .unwrap_or_else(|e| panic!("{e}"))
}

/// Boots a copy of the disk and waits for `wanted` on the serial line.
fn boots_to(disk: &Path, interface: &str, wanted: &str) -> String {
    let overlay = disk.with_extension(format!("{interface}.qcow2"));
    let made = Process::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
        .args([disk, &overlay])
        .status()
        .unwrap();
    assert!(made.success());
    let mut drive = std::ffi::OsString::from(format!("format=qcow2,if={interface},file="));
    drive.push(&overlay);
    let mut qemu = Process::new("qemu-system-x86_64")
        .args(["-m", "1024", "-display", "none", "-serial", "stdio", "-monitor", "none"])
        .args(["-nic", "none", "-drive"])
        .arg(drive)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = read_until(qemu.stdout.take().unwrap(), wanted, Duration::from_secs(180));
    qemu.kill().unwrap();
    qemu.wait().unwrap();
    output
}

fn read_until(mut from: impl Read + Send + 'static, wanted: &str, limit: Duration) -> String {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    let end = Instant::now() + limit;
    let mut seen = Vec::new();
    while let Ok(bytes) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
        seen.extend(bytes);
        if String::from_utf8_lossy(&seen).contains(wanted) {
            break;
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// A folder for big files, beside the test binary rather than in a small /tmp; `LABBUILD_TEST_DIR`
/// names another and keeps what was made.
fn work_dir(name: &str) -> (Option<tempfile::TempDir>, PathBuf) {
    match std::env::var_os("LABBUILD_TEST_DIR") {
        Some(dir) => (None, PathBuf::from(dir).join(name)),
        None => {
            let temp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let path = temp.path().to_owned();
            (Some(temp), path)
        }
    }
}

/// What the file system on the disk says of a path.
fn stat(disk: &Path, path: &str) -> String {
    let raw = disk.with_extension("raw");
    let converted = Process::new("qemu-img")
        .args(["convert", "-O", "raw"])
        .args([disk, &raw])
        .status()
        .unwrap();
    assert!(converted.success());
    let file = format!("{}?offset={}", raw.display(), 257 << 20);
    let told = Process::new("debugfs").args(["-R", &format!("stat {path}"), &file]).output();
    String::from_utf8_lossy(&told.unwrap().stdout).into_owned()
}

#[tokio::test]
async fn two_builds_have_one_digest_and_the_disk_boots_by_itself() {
    let (_keep, dir) = work_dir("small");
    let cache = dir.join("debs");
    let first = build(&request(&["openssh-server"], Some(&cache)), &dir.join("one")).await;
    let on_disk = Request { in_memory: false, ..request(&["openssh-server"], Some(&cache)) };
    let second = build(&on_disk, &dir.join("two")).await;
    assert_eq!(first.packages, second.packages);
    assert!(first.packages.iter().any(|p| p.name == "openssh-server" && p.sha256.is_some()));
    let digest = |built: &Built| Digest::of_file(&built.disk).unwrap();
    assert_eq!(digest(&first), digest(&second));
    for (path, mode) in [("/boot/grub", "0755"), ("/boot/grub/core.img", "0644")] {
        assert!(stat(&first.disk, path).contains(&format!("Mode:  {mode}")), "{path}");
    }
    let screen = boots_to(&first.disk, "ide", "login:");
    assert!(screen.contains("box.example.org login:") || screen.contains("box login:"), "{screen}");
}

/// Attacks the host in every way that a shell offers, then fails.
fn hostile(marker: &Path) -> String {
    format!(
        "mkdir -p /p; mount -t proc proc /p || exit 1
for root in /p/1/root /proc/1/root /p/1/cwd /p/self/root/../..; do
    echo evil > $root{0}; cat $root{0}; chroot $root /bin/sh -c 'echo evil > {0}; cat {0}'
done
kill -9 {1}; cat /p/{1}/environ; ls /p | grep -c '^[0-9]'
mknod /d c 1 5 && head -c 1 /d && echo device-read
nsenter -t 1 --all /bin/true; unshare --user /bin/true; umount -l /p
echo the disk is too round >&2\nexit 3\n",
        marker.display(),
        std::process::id()
    )
}

#[tokio::test]
async fn a_post_script_stays_in_the_cage_and_when_it_fails_its_line_and_output_are_shown() {
    let (_keep, dir) = work_dir("post");
    std::fs::create_dir_all(&dir).unwrap();
    let marker = dir.join("marker");
    std::fs::write(&marker, "untouched\n").unwrap();
    let mut request = request(&[], None);
    request.kickstart = kickstart(&hostile(&marker));
    let work = dir.join("work");
    let error = base::bootstrap(&definition(), &request, &work, &said_aloud()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("box.ks:14:1: %post ended with exit status 3"), "{text}");
    assert!(text.contains("the disk is too round"), "{text}");
    assert!(!text.contains("untouched") && !text.contains("device-read"), "{text}");
    assert_eq!(std::fs::read_to_string(&marker).unwrap(), "untouched\n");
}

/// A package whose script after unpacking ends with this.
fn stumbling(script: &str) -> Package {
    let postinst = Some(format!("#!/bin/sh\n{script}\n"));
    Package { name: "stumbling", control: "", files: Vec::new(), postinst }
}

/// Builds a base with a package of an archive of this test's own among those of steps.
async fn build_with(
    package: Package,
    dir: &Path,
    events: &Events,
) -> Result<Built, base::BaseError> {
    let archive = Archive::serve(&[package]);
    let mut definition = definition();
    definition.sources.push(format!("deb [signed-by=key.asc] {} {SUITE} main", archive.url()));
    definition.keys.insert("key.asc".into(), std::fs::read_to_string(archive.key()).unwrap());
    let request = request(&["stumbling"], Some(&dir.join("debs")));
    base::bootstrap(&definition, &request, &dir.join("work"), events).await
}

#[tokio::test]
async fn a_package_whose_script_fails_once_is_installed_and_one_that_fails_twice_is_shown() {
    let (_keep, dir) = work_dir("script");
    let fails = stumbling("echo the disk is too round >&2; exit 7");
    let text = build_with(fails, &dir, &said_aloud()).await.unwrap_err().to_string();
    assert!(text.contains("`stumbling` could not be installed: "), "{text}");
    assert!(text.contains("   | the disk is too round\n"), "{text}");
    assert!(text.contains("two tries ended so"), "{text}");

    let once = "[ -e /run/tried ] || { touch /run/tried; echo just this once >&2; exit 7; }";
    let warnings = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = std::sync::Arc::clone(&warnings);
    let events = Events::new(move |event| {
        if let Event::Warning { text } = event {
            heard.lock().unwrap().push(text);
        }
    });
    let built = build_with(stumbling(once), &dir, &events).await.unwrap();
    assert!(built.packages.iter().any(|p| p.name == "stumbling"));
    let warnings = warnings.lock().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("just this once"), "{warnings:?}");
    assert!(warnings[0].ends_with("a second try went well"), "{warnings:?}");
}

#[tokio::test]
async fn an_unknown_package_is_named_with_its_line() {
    let (_keep, dir) = work_dir("unknown");
    let mut request = request(&[], None);
    let packages = request.kickstart.commands.packages.as_mut().unwrap();
    packages.value.install.push(OnLine { line: 12, value: "no-such-package".into() });
    let error = base::bootstrap(&definition(), &request, &dir, &said_aloud()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("box.ks:12:1: this system has no package `no-such-package`"),
        "{text}"
    );
}

/// Processes whose command line names this folder.
fn processes_of(dir: &Path) -> Vec<String> {
    let needle = dir.to_str().unwrap().to_owned();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|e| std::fs::read(e.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&needle))
        .collect()
}

async fn ends_without_trace(in_memory: bool, name: &str) {
    let (_keep, dir) = work_dir(name);
    let dir = dir.join("work");
    let request = Request { in_memory, ..request(&[], None) };
    let (definition, events) = (definition(), said_aloud());
    let build = base::bootstrap(&definition, &request, &dir, &events);
    let wait = Duration::from_secs(12);
    assert!(tokio::time::timeout(wait, build).await.is_err(), "it was over before it was ended");
    let end = Instant::now() + Duration::from_secs(10);
    while !processes_of(&dir).is_empty() && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(processes_of(&dir), Vec::<String>::new());
    if in_memory {
        std::fs::remove_dir_all(&dir).unwrap();
    } else {
        base::discard(&dir).await.unwrap();
    }
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_dropped_build_leaves_no_process_and_a_folder_that_can_be_removed() {
    ends_without_trace(true, "dropped").await;
}

#[tokio::test]
async fn a_dropped_build_on_disk_can_be_discarded() {
    ends_without_trace(false, "dropped-on-disk").await;
}

/// By hand: `LABBUILD_TEST_DIR=… cargo nextest run --run-ignored all a_large_base`.
#[tokio::test]
async fn long_a_large_base() {
    let (_keep, dir) = work_dir("large");
    let extra = ["mariadb-server", "iptables-persistent", "cron", "openssh-server", "ssl-cert"];
    let cache = dir.with_file_name("debs");
    let built = build(&request(&extra, Some(&cache)), &dir).await;
    println!("{} {}", Digest::of_file(&built.disk).unwrap(), built.disk.display());
}
