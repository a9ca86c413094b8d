//! What a recipe does, for somebody who did not write it: what runs where, what comes from where, what
//! is opened. Read from the plan alone; nothing is run, and no address is asked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{MachinePlan, Plan, Rendered};
use crate::base::{BootFile, Bootstrap, Definition, Disk, DiskSource, Pin, SourceLine};
use crate::kickstart::{Command, ScriptKind};
use crate::recipe::{Action, Expose, InstallWhen, Lab, Machine, Network, NetworkKind};

/// Everything that a recipe does.
#[derive(Debug, Serialize)]
pub struct Trust {
    /// How the machines' disks begin, in the recipe's order.
    pub bases: Vec<Base>,
    /// What is done in the machines, as their root, in the recipe's order.
    pub machines: Vec<Work>,
    /// Files of the recipe's folder that are copied into machines.
    pub copied: Vec<Copied>,
    /// Ports that the host offers on 127.0.0.1 while the lab is up.
    pub exposed: Vec<Expose>,
    /// The lab's networks.
    pub networks: Vec<Reach>,
}

/// How one machine's disk begins.
#[derive(Debug, Serialize)]
pub struct Base {
    /// The machine.
    pub machine: String,
    /// The title of its base.
    pub title: String,
    /// Where what it runs is run.
    pub place: Place,
    /// Packages that are asked for by name; others come with them.
    pub packages: usize,
    /// All packages, where `labbuild.lock` names them.
    pub locked: Option<usize>,
    /// Where packages come from.
    pub archives: Vec<SourceLine>,
    /// Scripts of the kickstart.
    pub scripts: Vec<Script>,
    /// Files that are fetched or read besides packages.
    pub files: Vec<Fetched>,
    /// Addresses that an installer asks by itself, for files that labbuild does not check.
    pub unchecked: Vec<String>,
}

/// Where programs and scripts of a base run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// On the host, in a cage without a network.
    Cage,
    /// In a machine that boots an installer, with the way out.
    Installer,
    /// Nothing runs.
    Nowhere,
}

/// A script of a kickstart.
#[derive(Debug, Serialize)]
pub struct Script {
    /// `%pre` or `%post`.
    pub section: &'static str,
    /// File and line, as the template is rendered for the machine.
    pub at: String,
    /// What runs it.
    pub interpreter: String,
}

/// A file that a base is made from.
#[derive(Debug, Serialize)]
pub struct Fetched {
    /// "disk", "kernel", "initrd".
    pub what: &'static str,
    /// Address or path.
    pub from: String,
    /// Whether it is downloaded.
    pub download: bool,
    /// What it must be; `None` where its user has to fill that in first.
    pub sha256: Option<String>,
}

/// What is done in one machine, and what of the host it takes.
#[derive(Debug, Serialize)]
pub struct Work {
    /// The machine.
    pub machine: String,
    /// Processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// The largest size of its disk in bytes.
    pub disk: u64,
    /// How many steps of each kind.
    pub steps: BTreeMap<&'static str, usize>,
    /// How many checks.
    pub checks: usize,
}

/// A file of the recipe that is copied into machines.
#[derive(Debug, Serialize)]
pub struct Copied {
    /// The file, as the recipe names it.
    pub from: String,
    /// Where it goes in the machine.
    pub to: String,
    /// The machines.
    pub machines: Vec<String>,
}

/// Where a network of the lab leads.
#[derive(Debug, Serialize)]
pub struct Reach {
    /// The network.
    pub name: String,
    /// Its addresses.
    pub subnet: String,
    /// What it connects.
    pub kind: NetworkKind,
    /// Whether machines reach the internet by it.
    pub leads_out: bool,
    /// The bridge of the host that it goes onto with `--connect`.
    pub bridge: Option<String>,
}

impl Plan {
    /// What the recipe does.
    pub fn trust(&self) -> Trust {
        let lab = &self.lab;
        Trust {
            bases: self.machines.iter().map(|machine| base(self, machine)).collect(),
            machines: lab.machines.iter().map(|machine| work(lab, machine)).collect(),
            copied: copied(lab),
            exposed: lab.exposed.clone(),
            networks: lab.networks.iter().map(reach).collect(),
        }
    }
}

fn base(plan: &Plan, machine: &MachinePlan) -> Base {
    let locked = plan.lock.slice(&machine.name, &machine.inputs);
    let empty = Base {
        machine: machine.name.clone(),
        title: machine.definition.title().to_owned(),
        place: Place::Nowhere,
        packages: 0,
        locked: None,
        archives: Vec::new(),
        scripts: scripts(machine.kickstart.as_ref()),
        files: Vec::new(),
        unchecked: Vec::new(),
    };
    match &machine.definition {
        Definition::Bootstrap(bootstrap) => Base {
            place: Place::Cage,
            packages: packages(bootstrap, machine),
            locked: locked.map(|base| base.packages.len()),
            archives: archives(bootstrap),
            ..empty
        },
        Definition::Installer(installer) => Base {
            place: Place::Installer,
            files: vec![
                boot_file("kernel", &installer.kernel),
                boot_file("initrd", &installer.initrd),
            ],
            unchecked: unchecked(machine.kickstart.as_ref()),
            ..empty
        },
        Definition::Disk(disk) => Base { files: vec![disk_file(disk)], ..empty },
    }
}

fn packages(bootstrap: &Bootstrap, machine: &MachinePlan) -> usize {
    let kickstart = machine.kickstart.as_ref().and_then(|k| k.commands.packages.as_ref());
    let kickstart = kickstart.into_iter().flat_map(|packages| &packages.value.install);
    let names = bootstrap.packages.iter().chain(kickstart.map(|name| &name.value));
    names.chain(&machine.packages).collect::<BTreeSet<_>>().len()
}

fn archives(bootstrap: &Bootstrap) -> Vec<SourceLine> {
    bootstrap.sources.iter().filter_map(|line| SourceLine::parse(line).ok()).collect()
}

fn scripts(kickstart: Option<&Rendered>) -> Vec<Script> {
    let all = kickstart.into_iter().flat_map(|k| k.commands.scripts.iter().map(move |s| (k, s)));
    let script =
        |(k, script): (&Rendered, &crate::kickstart::OnLine<crate::kickstart::Script>)| Script {
            section: match script.value.kind {
                ScriptKind::Pre => "%pre",
                ScriptKind::Post => "%post",
            },
            at: format!("{}:{}", k.file, script.line),
            interpreter: script.value.interpreter.clone(),
        };
    all.map(script).collect()
}

fn boot_file(what: &'static str, file: &BootFile) -> Fetched {
    let sha256 = match &file.sha256 {
        Pin::Known(digest) => Some(digest.to_string()),
        Pin::Awaited { .. } => None,
    };
    Fetched { what, sha256, ..fetched(&file.source) }
}

fn disk_file(disk: &Disk) -> Fetched {
    Fetched { sha256: Some(disk.sha256.to_string()), ..fetched(&disk.source) }
}

fn fetched(source: &DiskSource) -> Fetched {
    let download = matches!(source, DiskSource::Url(_));
    Fetched { what: "disk", from: source.to_string(), download, sha256: None }
}

/// What Anaconda is told to fetch from. These addresses are free text, and may hold a password.
fn unchecked(kickstart: Option<&Rendered>) -> Vec<String> {
    let commands = kickstart.into_iter().flat_map(|k| &k.commands.commands);
    let addresses = commands.flat_map(|command| match &command.value {
        Command::Url { url, mirrorlist } => vec![url.clone(), mirrorlist.clone()],
        Command::Repo { baseurl, mirrorlist, .. } => vec![baseurl.clone(), mirrorlist.clone()],
        _ => Vec::new(),
    });
    addresses.flatten().map(|address| crate::host::url::without_passwords(&address)).collect()
}

fn work(lab: &Lab, machine: &Machine) -> Work {
    let here = |machines: &[String]| machines.contains(&machine.name);
    let mut steps = BTreeMap::new();
    for step in lab.stages.iter().flat_map(|s| &s.steps).filter(|s| here(&s.machines)) {
        *steps.entry(kind(&step.action)).or_insert(0) += 1;
    }
    let checks = lab.stages.iter().flat_map(|s| &s.checks).filter(|c| here(&c.machines)).count();
    Work {
        machine: machine.name.clone(),
        cpus: machine.cpus,
        memory: machine.memory.0,
        disk: machine.disk.0,
        steps,
        checks,
    }
}

/// A step's kind, in the words of recipes.
fn kind(action: &Action) -> &'static str {
    match action {
        Action::Run { .. } => "run",
        Action::File { .. } => "file",
        Action::Copy { .. } => "copy",
        Action::Ini { .. } => "ini",
        Action::Packages { when: InstallWhen::InBase, .. } => "packages",
        Action::Packages { when: InstallWhen::InGuest, .. } => "packages in the guest",
        Action::Service { .. } => "service",
        Action::Sql { .. } => "sql",
        Action::Reboot => "reboot",
        Action::WaitFor { .. } => "wait-for",
    }
}

fn copied(lab: &Lab) -> Vec<Copied> {
    let steps = lab.stages.iter().flat_map(|stage| &stage.steps);
    let copied = steps.filter_map(|step| match &step.action {
        Action::Copy { from, to, .. } => {
            Some(Copied { from: from.clone(), to: to.clone(), machines: step.machines.clone() })
        }
        _ => None,
    });
    copied.collect()
}

fn reach(network: &Network) -> Reach {
    Reach {
        name: network.name.clone(),
        subnet: network.subnet.to_string(),
        kind: network.kind,
        leads_out: network.kind == NetworkKind::Bridged && network.gateway.is_some(),
        bridge: network.bridge.clone(),
    }
}
