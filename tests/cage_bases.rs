//! Bases of strangers: packages whose own programs and scripts attack the host while a base is made.
//! Needs mmdebstrap, dpkg-deb and gpg, and no network.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use labbuild::base::{self, BaseError, Bootstrap, DiskIds, KickstartFile, Request};
use labbuild::digest::Digest;
use labbuild::event::Events;
use labbuild::kickstart::{Kickstart, OnLine, Part, Password};
use labbuild::recipe::Bytes;
use support::archive::{Archive, Package, SUITE};

const UNTOUCHED: &str = "untouched\n";

/// A shell with the libraries it needs, so that a tree of one package can run scripts.
fn shell() -> Vec<(String, Vec<u8>, u32)> {
    let mut files = vec![("/bin/sh".to_owned(), fs::read("/bin/dash").unwrap(), 0o755)];
    for program in ["/bin/cat", "/bin/mount", "/bin/mkdir", "/usr/sbin/chroot", "/usr/bin/id"] {
        files.push((program.to_owned(), fs::read(program).unwrap(), 0o755));
    }
    let mut libraries: Vec<String> = files.iter().flat_map(|(path, ..)| libraries(path)).collect();
    libraries.sort();
    libraries.dedup();
    let read = |path: String| (path.clone(), fs::read(path).unwrap(), 0o755);
    files.extend(libraries.into_iter().map(read));
    // As in every system with one /usr: mmdebstrap looks at the archive's order.
    files
}

fn libraries(program: &str) -> Vec<String> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words =
        text.lines().filter_map(|line| line.split_whitespace().find(|w| w.starts_with('/')));
    words.map(str::to_owned).collect()
}

/// A package that every system installs first, with a `dpkg` of its own: it runs as soon as the tree is
/// there, before any script of a package would.
fn own_dpkg(script: &str) -> Package {
    let mut files = shell();
    let text = format!("#!/bin/sh\n{script}\n");
    files.push(("/usr/bin/dpkg".to_owned(), text.into_bytes(), 0o755));
    Package { name: "evil", control: "Essential: yes\nPriority: required\n", files, postinst: None }
}

/// A folder with a marker of the host's, and a work folder.
struct Ground {
    dir: tempfile::TempDir,
}

impl Ground {
    fn new() -> Ground {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("marker"), UNTOUCHED).unwrap();
        Ground { dir }
    }

    fn marker(&self) -> PathBuf {
        self.dir.path().join("marker")
    }

    fn kept(&self) -> PathBuf {
        self.dir.path().join("packages")
    }

    async fn build(&self, archive: &Archive) -> BaseError {
        self.build_trusting(archive, archive).await
    }

    /// `signer`: whose key vouches for what `archive` serves.
    async fn build_trusting(&self, archive: &Archive, signer: &Archive) -> BaseError {
        let sources = vec![format!("deb [signed-by=key.asc] {} {SUITE} main", archive.url())];
        let request = request(self.kept());
        let work = self.dir.path().join("work");
        let mut definition = definition(sources);
        definition.keys.insert("key.asc".into(), fs::read_to_string(signer.key()).unwrap());
        base::bootstrap(&definition, &request, &work, &Events::none()).await.unwrap_err()
    }

    fn is_untouched(&self) {
        assert_eq!(fs::read_to_string(self.marker()).unwrap(), UNTOUCHED);
        for entry in fs::read_dir(self.kept()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let digest = Digest::of(fs::read(entry.path()).unwrap()).to_string();
            assert!(name.starts_with(&digest), "{name} is {digest}");
        }
    }
}

fn definition(sources: Vec<String>) -> Bootstrap {
    Bootstrap {
        title: "A stranger's".into(),
        suite: SUITE.into(),
        architecture: "amd64".into(),
        variant: "essential".into(),
        time: 1_793_491_200,
        sources,
        keys: Default::default(),
        packages: Vec::new(),
        cmdline: Vec::new(),
        services: Default::default(),
        groups: Default::default(),
        firewall: None,
        debconf: Vec::new(),
        disable: Vec::new(),
        first_start: Default::default(),
    }
}

fn request(kept: PathBuf) -> Request {
    let part = Part { mountpoint: "/".into(), size_mib: Some(1), grow: true, ..Part::default() };
    let commands = vec![
        labbuild::kickstart::Command::Rootpw {
            password: Some(Password::Plain("root".into())),
            lock: false,
        },
        labbuild::kickstart::Command::Part(part),
    ];
    let on_line = |(i, value)| OnLine { line: i as u32 + 1, value };
    let commands = commands.into_iter().enumerate().map(on_line).collect();
    Request {
        machine: "box".into(),
        salt: "test/box".into(),
        disk: Bytes(10 << 30),
        nics: Vec::new(),
        kickstart: KickstartFile {
            name: "box.ks".into(),
            text: "rootpw root\npart / --size=1 --grow\n".into(),
            commands: Kickstart { commands, ..Kickstart::default() },
        },
        extra_packages: Vec::new(),
        ids: DiskIds {
            machine_id: "0123456789abcdef0123456789abcdef".into(),
            root_uuid: "11111111-2222-4333-8444-555555555555".into(),
            hash_seed: "11111111-2222-4333-8444-666666666666".into(),
            label_id: 1,
        },
        program: env!("CARGO_BIN_EXE_labbuild").into(),
        deb_cache: Some(kept),
        in_memory: true,
    }
}

/// What the attacker's program says in the end, so that the test knows that it ran.
const RAN: &str = "echo \"the stranger's dpkg ran with uid $(id -u)\" >&2; exit 1";

async fn attack(script: impl Fn(&Path) -> String) -> (Ground, String) {
    let ground = Ground::new();
    let script = script(&ground.marker());
    let archive = Archive::serve(&[own_dpkg(&format!("{script}\n{RAN}"))]);
    let said = ground.build(&archive).await.to_string();
    assert!(said.contains("the stranger's dpkg ran with uid 0"), "{said}");
    ground.is_untouched();
    (ground, said)
}

#[tokio::test]
async fn a_package_with_its_own_dpkg_stays_in_the_cage() {
    let (_, said) = attack(|marker| {
        format!(
            "mkdir -p /p; mount -t proc proc /p
             for root in /p/1/root /proc/1/root /p/1/cwd /p/self/root/../..; do
                 echo evil > $root{0}; cat $root{0} >&2
                 chroot $root /bin/sh -c 'echo evil > {0}; cat {0} >&2'
             done",
            marker.display()
        )
    })
    .await;
    assert!(!said.contains("untouched"), "{said}");
}

#[tokio::test]
async fn a_package_that_rewrites_what_was_fetched_poisons_nothing() {
    attack(|_| {
        "mkdir -p /p; mount -t proc proc /p
         for deb in /p/1/root/in/debs/*.deb /var/cache/apt/archives/*.deb; do
             mount -o remount,rw,bind /p/1/root/in
             echo evil > $deb; echo \"wrote $deb\"
         done
         echo evil > /var/cache/apt/archives/evil_2_amd64.deb"
            .to_owned()
    })
    .await;
}

#[tokio::test]
async fn a_package_cannot_reach_the_archive_that_it_came_from() {
    let said =
        attack(|_| "mkdir -p /p; mount -t proc proc /p; cat /p/net/route >&2".to_owned()).await.1;
    assert!(said.contains("Iface") && !said.contains("0000"), "{said}");
}

#[tokio::test]
async fn a_package_that_is_not_what_the_index_says_is_not_kept() {
    let ground = Ground::new();
    let archive = Archive::serve(&[own_dpkg(RAN)]);
    let deb = archive.files().join("pool/evil_1_amd64.deb");
    let mut bytes = fs::read(&deb).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&deb, bytes).unwrap();
    let said = ground.build(&archive).await.to_string();
    assert!(!said.contains("the stranger's dpkg ran"), "{said}");
    assert!(said.contains("Hash Sum mismatch") || said.contains("not the file"), "{said}");
    ground.is_untouched();
    assert_eq!(fs::read_dir(ground.kept()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_archive_that_the_key_did_not_sign_or_nobody_is_not_used() {
    let ground = Ground::new();
    let (archive, other) = (Archive::serve(&[own_dpkg(RAN)]), Archive::serve(&[]));
    let said = ground.build_trusting(&archive, &other).await.to_string();
    assert!(said.contains("not signed") || said.contains("NO_PUBKEY"), "{said}");
    fs::remove_file(archive.files().join("dists/test/InRelease")).unwrap();
    let said = ground.build(&archive).await.to_string();
    assert!(said.contains("not signed") || said.contains("Release file"), "{said}");
    ground.is_untouched();
}
