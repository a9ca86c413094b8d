//! Whether the cage holds on this host, tried from inside: a list of settings would be no proof.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::{Cage, OUT, Rules};
use crate::host::{HostError, files};

/// Where the probe writes what it found, below [`OUT`].
const FOUND: &str = "found";
/// How many ways there are; the probe names every one.
const TRIES: usize = 9;

/// What came of trying to leave the cage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Every way that was tried.
    pub tried: Vec<String>,
    /// Those that led out.
    pub escapes: Vec<String>,
}

/// Starts a cage in the new folder `dir` and tries to leave it. `program` is labbuild.
pub async fn prove(dir: &Path, program: &Path) -> Result<Proof, HostError> {
    files::create_dir(dir)?;
    let marker = dir.join("marker");
    fs::write(&marker, "the host's").map_err(HostError::file("write", &marker))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listener = listener.map_err(HostError::file("listen beside", dir))?;
    let port = listener.local_addr().map_or(0, |address| address.port());
    let cage = Cage::new(&dir.join("cage"), program, rules())?;
    let marker_name = marker.to_string_lossy().into_owned();
    let uid = rustix::process::getuid().as_raw().to_string();
    let words = [super::SELF, "internal", "probe", &marker_name, &port.to_string(), &uid];
    cage.run(&words, |_| {}).await?;
    cage.take_results(&dir.join("results"), 1 << 16)?;
    let text = files::read_text(&dir.join("results").join(FOUND))?;
    let mut proof = read(&text);
    if fs::read_to_string(&marker).ok().as_deref() != Some("the host's") {
        proof.escapes.push("the host's file was changed".to_owned());
    }
    Ok(proof)
}

fn rules() -> Rules {
    let time = Duration::from_secs(60);
    Rules { network: false, memory_mib: Some(64), largest_file: 1 << 20, time, epoch: 0 }
}

/// A probe that did not come to its end has proven nothing.
fn read(text: &str) -> Proof {
    let lines = |word: &str| -> Vec<String> {
        text.lines().filter_map(|line| Some(line.strip_prefix(word)?.to_owned())).collect()
    };
    let mut proof = Proof { tried: lines("held "), escapes: lines("left ") };
    proof.tried.extend(proof.escapes.iter().cloned());
    if proof.tried.len() != TRIES {
        proof.escapes.push("not every way out could be tried".to_owned());
    }
    proof
}

/// Inside: tries every way out, and writes down which led somewhere. `args` are those after the word
/// `probe`: a file of the host's, a port of its 127.0.0.1, the caller's uid.
pub fn probe_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<String> = args.into_iter().map(|w| w.to_string_lossy().into_owned()).collect();
    let [marker, port, uid] = words.as_slice() else { return ExitCode::from(2) };
    let found: String = tries(Path::new(marker), port.parse().unwrap_or(0), uid)
        .iter()
        .map(|(way, left)| format!("{} {way}\n", if *left { "left" } else { "held" }))
        .collect();
    match fs::write(Path::new(OUT).join(FOUND), found) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn tries(marker: &Path, port: u16, uid: &str) -> [(&'static str, bool); TRIES] {
    let relative = marker.strip_prefix("/").unwrap_or(marker);
    let through = |root: &str| touches(&Path::new(root).join(relative));
    [
        ("a file of the host by its path", touches(marker)),
        ("a file of the host through /proc/1/root", through("/proc/1/root")),
        ("a file of the host above the root", through("/../../../../..")),
        ("the host's processes in /proc", sees_other_processes()),
        ("an id of the host's root or of the caller", has_id_of(uid)),
        ("127.0.0.1 of the host", connects(port)),
        ("a device file of its own", makes_a_device()),
        ("a file descriptor of the host's", holds_other_files()),
        ("new privileges, or any system call", !is_confined()),
    ]
}

fn touches(path: &Path) -> bool {
    fs::read(path).is_ok() || fs::File::options().append(true).open(path).is_ok()
}

/// The cage's first process and this one are all there may be.
fn sees_other_processes() -> bool {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = std::process::id();
    let pid = |name: OsString| name.to_str()?.parse::<u32>().ok();
    entries.filter_map(|entry| pid(entry.file_name())).any(|pid| pid != 1 && pid != own)
}

/// `inside outside count` in each line.
fn has_id_of(uid: &str) -> bool {
    let maps = ["/proc/self/uid_map", "/proc/self/gid_map"].map(fs::read_to_string);
    let number: u64 = uid.parse().unwrap_or(0);
    maps.iter().any(|map| map.as_ref().map_or(true, |text| covers(text, &[0, number])))
}

fn covers(map: &str, ids: &[u64]) -> bool {
    map.lines().any(|line| {
        let fields: Vec<u64> = line.split_whitespace().filter_map(|f| f.parse().ok()).collect();
        let [_, first, count] = fields.as_slice() else { return true };
        ids.iter().any(|id| (*first..first.saturating_add(*count)).contains(id))
    })
}

fn connects(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok()
}

/// The number is that of `/dev/null`: where it could be made, any other could.
fn makes_a_device() -> bool {
    let path = PathBuf::from(super::WORK).join("device");
    mknodat(CWD, &path, FileType::CharacterDevice, Mode::RUSR, makedev(1, 3)).is_ok()
        && fs::read(&path).is_ok()
}

fn holds_other_files() -> bool {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let is_kept = |path: PathBuf| {
        let number = path.file_name()?.to_str()?.parse::<u32>().ok()?;
        let target = fs::read_link(&path).ok()?;
        // Of those above the three that were given, only this folder itself is open.
        Some(number > 2 && !target.starts_with("/proc"))
    };
    entries.filter_map(|entry| is_kept(entry.path())).any(|kept| kept)
}

fn is_confined() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let has = |wanted: &str| status.lines().any(|line| line.replace('\t', " ") == wanted);
    has("NoNewPrivs: 1") && has("Seccomp: 2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_with_roots_or_the_callers_id_is_an_escape() {
        assert!(!covers("0 500000 65536\n", &[0, 1000]));
        assert!(covers("0 0 1\n1 500000 65535\n", &[0, 1000]));
        assert!(covers("0 900 200\n", &[0, 1000]));
        assert!(covers("nonsense\n", &[0]));
    }

    #[test]
    fn a_probe_that_says_little_proves_nothing() {
        assert!(!read("held a\n").escapes.is_empty());
        let all: String = (0..TRIES).map(|i| format!("held {i}\n")).collect();
        assert!(read(&all).escapes.is_empty());
        assert_eq!(read(&all.replace("held 3", "left 3")).escapes, ["3"]);
    }
}
