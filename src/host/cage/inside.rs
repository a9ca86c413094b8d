//! The first process of the cage: it makes the file tree, gives up what nobody inside needs, runs the
//! program, and hands out what that left.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use super::{IN, OUT, Rules, SELF, WORK, filter, results};
use crate::host::HostError;
use crate::host::view::View;

/// What may be written beside the scratch folder, in MiB: mount points and small files.
const ROOM: u64 = 64;

/// Files and folders of `/etc` that programs need to start: none holds a secret.
const SETTINGS: [&str; 8] = [
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/dpkg",
    "/etc/perl",
    "/etc/apt/trusted.gpg",
    "/etc/apt/trusted.gpg.d",
];

/// What fetching needs besides.
const NETWORK_SETTINGS: [&str; 5] =
    ["/etc/ssl", "/etc/ca-certificates", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf"];

/// Variables that say how to fetch.
pub(super) const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "no_proxy"];

/// Users that package tools look up.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n_apt:x:42:65534::/nonexistent:/bin/false\n\
                      nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n";

/// The words between `internal cage` and the program.
pub(super) fn arguments(rules: &Rules) -> [String; 3] {
    let network = if rules.network { "network" } else { "closed" };
    let memory = rules.memory_mib.map_or_else(|| "disk".to_owned(), |mib| mib.to_string());
    [network.to_owned(), memory, rules.epoch.to_string()]
}

/// The whole life of the cage's first process; `args` are those after the word `cage`. Ends with the
/// program's exit status.
pub fn cage_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = args.into_iter().collect();
    match Job::from_words(&words).map(Job::live) {
        Some(Ok(code)) => ExitCode::from(code),
        Some(Err(error)) => {
            say(&format!("the cage: {error}"));
            ExitCode::from(125)
        }
        None => {
            say("this is an internal command of labbuild");
            ExitCode::from(2)
        }
    }
}

fn say(text: &str) {
    // Standard error is the build's progress; nobody reading it is no fault.
    let _ = writeln!(std::io::stderr(), "{text}");
}

struct Job<'a> {
    network: bool,
    memory_mib: Option<u64>,
    epoch: String,
    program: &'a [OsString],
}

impl<'a> Job<'a> {
    fn from_words(words: &'a [OsString]) -> Option<Job<'a>> {
        let [network, memory, epoch, program @ ..] = words else { return None };
        (!program.is_empty()).then(|| Job {
            network: network == "network",
            memory_mib: memory.to_str().and_then(|mib| mib.parse().ok()),
            epoch: epoch.to_string_lossy().into_owned(),
            program,
        })
    }

    fn live(self) -> Result<u8, HostError> {
        // Mounting over the host's folders anywhere but in namespaces of our own would be a disaster.
        if std::process::id() != 1 {
            let outside = std::io::Error::other("this is not the first process of a namespace");
            return Err(HostError::file("enter", Path::new("/"))(outside));
        }
        // Becoming another user has cleared what `unshare --kill-child` asked for.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(system)?;
        let stdout = open_for_writing("stdout")?;
        let handed_out = open_for_writing("out.tar")?;
        self.view().enter(ROOM)?;
        self.settle()?;
        let status = self.run(stdout)?;
        end_all_others();
        results::pack(Path::new(OUT), handed_out)?;
        Ok(exit_code(status))
    }

    fn view(&self) -> View {
        let settings: &[&str] = if self.network { &NETWORK_SETTINGS } else { &[] };
        let shown = SETTINGS.iter().chain(settings);
        let view = shown.fold(View::new(), |view, path| view.show(*path, *path));
        let view = view.programs().devices().own_proc().text("/etc/passwd", PASSWD);
        let view = view.text("/etc/group", GROUP).show("in", IN).show("labbuild", SELF);
        let view = view.scratch("/tmp", ROOM).scratch("/var/tmp", ROOM).scratch("/root", ROOM);
        let view = match self.memory_mib {
            Some(mib) => view.scratch(WORK, mib),
            None => view.lend("scratch", WORK),
        };
        match self.network {
            // The file is a link into /run on many systems; its text is enough.
            true => view.text("/etc/resolv.conf", text_of("/etc/resolv.conf")),
            false => view.own_sys(),
        }
    }

    fn settle(&self) -> Result<(), HostError> {
        fs::create_dir(OUT).map_err(HostError::file("create folder", Path::new(OUT)))?;
        // A tree has the modes that its packages give it, whatever mask the caller has.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        // Scripts that ask are told the same everywhere.
        rustix::system::sethostname(b"localhost").map_err(system)?;
        if !self.network {
            // Scripts may talk to themselves. Where it cannot be, they are told so.
            let _ = bare("ip").args(["link", "set", "lo", "up"]).status();
        }
        rustix::thread::set_no_new_privs(true).map_err(system)?;
        filter::apply()
    }

    fn run(&self, stdout: File) -> Result<ExitStatus, HostError> {
        let (program, arguments) = (&self.program[0], &self.program[1..]);
        let mut command = bare(program);
        command.args(arguments).stdin(Stdio::null()).stdout(stdout).current_dir("/");
        // With a fixed seed, Python programs see their sets in one order every time.
        command
            .env("SOURCE_DATE_EPOCH", &self.epoch)
            .env("PYTHONHASHSEED", "0")
            .env("INITRD", "No");
        if self.network {
            let proxies = PROXIES.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
            command.envs(proxies);
        }
        let child = command.spawn().map_err(HostError::file("start", Path::new(program)))?;
        wait_for(&child)
    }
}

/// A program of the cage with an environment that says nothing of the host.
fn bare(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .env("TMPDIR", WORK);
    command
}

fn text_of(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn open_for_writing(name: &str) -> Result<File, HostError> {
    let path = Path::new(name);
    File::options().write(true).open(path).map_err(HostError::file("open", path))
}

fn system(e: rustix::io::Errno) -> HostError {
    HostError::file("prepare", Path::new("the cage"))(e.into())
}

/// Reaps whatever ends, until the program has.
fn wait_for(child: &Child) -> Result<ExitStatus, HostError> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() as u32 == child.id() => {
                return Ok(ExitStatus::from_raw(status.as_raw()));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(system(e)),
        }
    }
}

/// What a script left running may not write while results are read.
fn end_all_others() {
    loop {
        let others = others();
        if others.is_empty() {
            return;
        }
        for pid in others {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = wait(WaitOptions::empty());
    }
}

fn others() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid != 1).filter_map(Pid::from_raw).collect()
}

/// As a shell says it: 128 and the number of the signal.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
