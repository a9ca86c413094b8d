//! The cage, attacked from inside as a package's maintainer script would: none of it may leave, whoever
//! the caller is. Every attack aims at a marker that this test made.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use labbuild::host::HostError;
use labbuild::host::cage::{Cage, Rules, prove};

const LABBUILD: &str = env!("CARGO_BIN_EXE_labbuild");
const UNTOUCHED: &str = "untouched\n";

fn rules() -> Rules {
    Rules {
        network: false,
        memory_mib: Some(64),
        largest_file: 1 << 20,
        time: Duration::from_secs(120),
        epoch: 0,
    }
}

/// A folder with a marker of the host's in it.
struct Ground {
    dir: tempfile::TempDir,
    marker: PathBuf,
}

impl Ground {
    fn new() -> Ground {
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join("marker");
        fs::write(&marker, UNTOUCHED).unwrap();
        Ground { dir, marker }
    }

    /// Runs a shell script in a cage; `$M` is the marker's path outside.
    async fn attack(&self, rules: Rules, script: &str) -> (Result<(), HostError>, String) {
        let job = tempfile::tempdir_in(self.dir.path()).unwrap();
        let cage = Cage::new(job.path(), Path::new(LABBUILD), rules).unwrap();
        let script = format!("M={}\n{script}", self.marker.display());
        let ended = cage.run(&["/bin/sh", "-c", &script], |_| {}).await;
        assert_eq!(fs::read_to_string(&self.marker).unwrap(), UNTOUCHED);
        (ended, fs::read_to_string(cage.stdout()).unwrap())
    }

    async fn said(&self, script: &str) -> String {
        let (ended, said) = self.attack(rules(), script).await;
        ended.unwrap();
        said
    }
}

#[tokio::test]
async fn the_proof_holds_and_names_every_way() {
    let dir = tempfile::tempdir().unwrap();
    let proof = prove(&dir.path().join("proof"), Path::new(LABBUILD)).await.unwrap();
    assert_eq!(proof.escapes, [""; 0]);
    assert_eq!(proof.tried.len(), 9);
}

#[tokio::test]
async fn by_proc_and_chroot() {
    let said = Ground::new()
        .said(
            "mkdir -p /scratch/p; mount -t proc proc /scratch/p && echo mounted
             for root in /proc/1/root /scratch/p/1/root /proc/self/root /proc/*/root /proc/self/cwd/../..; do
                 cat $root$M; echo evil > $root$M; chroot $root /bin/sh -c \"cat $M\"
             done; true",
        )
        .await;
    // Mounting is allowed, as a tree's /proc has to be, and leads nowhere.
    assert_eq!(said, "mounted\n");
}

#[tokio::test]
async fn by_mounts_that_are_taken_away_or_made_anew() {
    let said = Ground::new()
        .said(
            "mount -o remount,rw /usr && echo evil > /usr/evil && echo wrote
             mount -o remount,rw,bind /in; echo evil > /in/evil && echo wrote
             mkdir -p /scratch/m
             mount --bind $M /scratch/m && cat /scratch/m
             pivot_root / / 2>&1 | head -c 0; umount -l /proc; umount -l /usr; umount -l /
             IFS= read -r line < $M && echo \"$line\"; true",
        )
        .await;
    assert_eq!(said, "");
}

#[tokio::test]
async fn by_ptrace_and_signals_to_processes_of_the_host() {
    let ground = Ground::new();
    let pid = std::process::id();
    let said = ground
        .said(&format!(
            "kill -9 {pid} && echo killed; kill -9 1; ls /proc | grep -c '^[0-9]*$' | grep -v '^[1-6]$'
             cat /proc/{pid}/cmdline /proc/{pid}/environ
             perl -e 'print \"traced\\n\" if syscall(101, 16, 1, 0, 0) == 0'; true"
        ))
        .await;
    assert_eq!(said, "");
}

#[tokio::test]
async fn by_a_file_descriptor_that_was_kept_open() {
    let ground = Ground::new();
    let marker = fs::File::open(&ground.marker).unwrap();
    let dir = fs::File::open(ground.dir.path()).unwrap();
    for file in [&marker, &dir] {
        // As a careless library leaves them: inherited by every child.
        rustix::io::fcntl_setfd(file.as_fd(), rustix::io::FdFlags::empty()).unwrap();
    }
    let said = ground
        .said(
            "for fd in /proc/self/fd/* /proc/1/fd/*; do
                 n=${fd##*/}; [ $n -gt 2 ] || continue
                 cat $fd; cat $fd/marker; echo evil > $fd/marker
             done; true",
        )
        .await;
    assert_eq!(said, "");
}

#[tokio::test]
async fn by_device_files() {
    let said = Ground::new()
        .said(
            "for n in '1 3' '1 5' '1 9'; do
                 rm -f /scratch/d; mknod /scratch/d c $n && head -c 1 /scratch/d && echo read
             done
             ls /dev | grep -vx 'fd\\|full\\|null\\|ptmx\\|random\\|shm\\|std.*\\|tty\\|urandom\\|zero'; true",
        )
        .await;
    assert_eq!(said, "");
}

#[tokio::test]
async fn by_the_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = Ground::new()
        .said(&format!(
            "perl -MIO::Socket::INET -e 'print \"connected\\n\" if
                 IO::Socket::INET->new(PeerAddr => \"127.0.0.1:{port}\", Timeout => 2)'
             grep : /proc/net/dev | grep -v ' lo:'; grep -c . /proc/net/route | grep -vx 1
             nsenter -t 1 -n true && echo entered; unshare --user true && echo nested; true"
        ))
        .await;
    // `nsenter` of its own namespace is refused as every setns is.
    assert_eq!(said, "");
}

#[tokio::test]
async fn a_fork_bomb_ends_with_its_cage() {
    let ground = Ground::new();
    let hurried = Rules { time: Duration::from_secs(4), ..rules() };
    let (ended, _) = ground.attack(hurried, "b() { b | b & }; b; sleep 100").await;
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("longer than") || error.contains("ended"), "{error}");
}

#[tokio::test]
async fn a_script_that_fills_the_disk_fills_its_scratch_folder() {
    let ground = Ground::new();
    let (ended, said) = ground
        .attack(
            rules(),
            "for folder in /scratch /tmp /root /var/tmp /dev/shm /in / /usr; do
                 for i in 1 2 3 4 5 6 7 8 9; do head -c 16M /dev/zero > $folder/f$i; done
             done 2>/dev/null
             head -c 2M /dev/zero; df -m / | tail -1",
        )
        .await;
    // Its standard output, a file of the job, is bounded as well: the shell's `head` is ended.
    drop(ended);
    assert!(said.len() <= 1 << 20, "{}", said.len());
    let total: u64 = walk(ground.dir.path());
    assert!(total < 400 << 20, "{total} bytes were left on disk");
}

/// Bytes of all files, without labbuild's own copy.
fn walk(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => walk(&entry.path()),
            Ok(meta) if entry.file_name() != "labbuild" => meta.len(),
            _ => 0,
        })
        .sum()
}

#[tokio::test]
async fn nothing_of_the_host_is_in_its_environment() {
    let said = Ground::new().said("cat /proc/1/environ /proc/self/environ | tr '\\0' '\\n'").await;
    let names: Vec<&str> = said.lines().filter_map(|l| l.split_once('=')).map(|l| l.0).collect();
    let known = [
        "PATH",
        "HOME",
        "LC_ALL",
        "TMPDIR",
        "SOURCE_DATE_EPOCH",
        "PYTHONHASHSEED",
        "INITRD",
        "PWD",
        "SHLVL",
    ];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
}

#[tokio::test]
async fn what_is_left_running_ends_with_the_script() {
    let ground = Ground::new();
    let before = std::time::Instant::now();
    ground.said("setsid sh -c 'trap \"\" TERM HUP; sleep 600' & echo $!").await;
    assert!(before.elapsed() < Duration::from_secs(60));
}
