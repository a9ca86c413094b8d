//! `labbuild ssh`: a login in a machine. The key is the lab's own and put into the machine when
//! it is first needed, through the guest agent; the host key comes the same way, so nothing is
//! trusted on first use.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::backend::agent::Agent;
use crate::cli::SshArgs;
use crate::commands::{Context, Failure};
use crate::host::{Cmd, files};
use crate::lab::{LabError, Running};
use crate::recipe::NetworkKind;

/// Making host keys takes an emulated machine most of a minute.
const HOST_KEY_LIMIT: Duration = Duration::from_secs(120);

/// Where Debian and CentOS keep the host key.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key.pub";

/// Logs in, or runs a command; ends with its exit status.
pub async fn run(ctx: &Context, args: SshArgs) -> Result<(), Failure> {
    let running = ctx.running(args.lab.name.as_deref()).await?;
    let agent = running.agent(&args.machine)?;
    let address = reachable_address(&running, &args.machine)?;
    let dir = ctx.store()?.lab_dir(&running.record.name).join("ssh");
    let key = ensure_key(&dir).await?;
    let public = files::read_text(&key.with_extension("pub"))?;
    let login = agent.ssh_authorized_keys("root", &[public.trim().to_owned()]).await;
    login.map_err(Failure::failed)?;
    let host_key = wait_for_host_key(ctx, &agent, &args.machine).await?;
    let known_hosts = write_known_hosts(&dir, &host_key, &args.machine)?;
    let (program, prefix) = entry(&running)?;
    let status = Cmd::new(program)
        .args(prefix)
        .args(ssh_options(&key, &known_hosts, &args.machine))
        .arg(format!("root@{address}"))
        .args(&args.command)
        .interactive()
        .await?;
    Failure::pass(status)
}

/// The program to start: ssh itself, or what carries it into the lab's network.
fn entry(running: &Running) -> Result<(OsString, Vec<OsString>), LabError> {
    let mut words = match &running.sandbox {
        Some(sandbox) => sandbox.enter()?,
        None => Vec::new(),
    };
    words.push("ssh".into());
    let program = words.remove(0);
    Ok((program, words))
}

fn ssh_options(key: &Path, known_hosts: &Path, machine: &str) -> Vec<String> {
    let options = [
        format!("IdentityFile={}", key.display()),
        "IdentitiesOnly=yes".into(),
        format!("UserKnownHostsFile={}", known_hosts.display()),
        format!("HostKeyAlias={machine}"),
        "HostKeyAlgorithms=ssh-ed25519".into(),
        "StrictHostKeyChecking=yes".into(),
        "LogLevel=ERROR".into(),
        // sshd may still be starting.
        "ConnectionAttempts=10".into(),
    ];
    let mut words = vec!["-F".to_owned(), "none".to_owned()];
    words.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option]));
    words
}

/// An address that the host can reach: on a network where the host has one itself.
fn reachable_address(running: &Running, machine: &str) -> Result<Ipv4Addr, Failure> {
    let topology = &running.record.topology;
    let on = |kind: NetworkKind| {
        let machine = topology.machine(machine)?;
        let networks = topology.networks.iter().filter(|n| n.kind == kind);
        let mut addresses = networks.filter_map(|n| {
            machine.nics.iter().find(|nic| nic.network == n.name).and_then(|nic| nic.address)
        });
        addresses.next()
    };
    on(NetworkKind::HostOnly).or_else(|| on(NetworkKind::Bridged)).ok_or_else(|| {
        Failure::usage(format!("{machine} has no address that the host can reach"))
            .hint(format!("labbuild console {machine}"))
    })
}

async fn ensure_key(dir: &Path) -> Result<PathBuf, Failure> {
    let key = dir.join("id_ed25519");
    if !key.exists() {
        files::create_dir(dir)?;
        let make = Cmd::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "labbuild"]);
        make.arg("-f").arg(&key).run().await?;
    }
    Ok(key)
}

/// The host key, in the form `KIND KEY …`. A machine that has just booted for the first time may
/// still be making it.
async fn wait_for_host_key(ctx: &Context, agent: &Agent, machine: &str) -> Result<String, Failure> {
    let deadline = Instant::now() + HOST_KEY_LIMIT;
    let mut said = false;
    loop {
        let bytes = agent.read_file(HOST_KEY, 16 * 1024).await.map_err(Failure::failed)?;
        match bytes.map(|b| String::from_utf8_lossy(&b).into_owned()) {
            Some(text) if text.split_whitespace().count() >= 2 => return Ok(text),
            _ if Instant::now() > deadline => {
                let text = format!("{machine} has no {HOST_KEY}: is sshd installed and running?");
                return Err(Failure::failed(text).hint(format!("labbuild console {machine}")));
            }
            _ => {}
        }
        if !said {
            ctx.events.notice(format!("{machine} has no ssh host key yet; waiting for it"));
            said = true;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

fn write_known_hosts(dir: &Path, host_key: &str, machine: &str) -> Result<PathBuf, Failure> {
    let words: Vec<&str> = host_key.split_whitespace().take(2).collect();
    let path = dir.join("known_hosts");
    files::write_atomic(&path, format!("{machine} {}\n", words.join(" ")).as_bytes())?;
    Ok(path)
}
