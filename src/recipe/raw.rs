//! The files of a recipe as their authors write them: every key, what stands under it, and
//! what it means. The reader, its messages, the JSON Schema and editors all use these words.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Map as Json, Value, json};

use super::leaf::*;
use super::model::{Bytes, InstallWhen, NetworkKind, Place, ServiceState, Subnet};
use super::near;
use super::number::{Int, True};
use super::shape::*;
use super::source::Report;
use super::yaml::{Kind, Node, Tree};

words! { NetworkKind: "a kind of network" {
    "host-only" => NetworkKind::HostOnly,
    "bridged" => NetworkKind::Bridged,
    "isolated" => NetworkKind::Isolated,
}}

words! { InstallWhen: "a place to install" {
    "in-base" => InstallWhen::InBase,
    "in-guest" => InstallWhen::InGuest,
}}

words! { ServiceState: "a state of a service" {
    "started" => ServiceState::Started,
    "stopped" => ServiceState::Stopped,
    "restarted" => ServiceState::Restarted,
    "reloaded" => ServiceState::Reloaded,
}}

object! {
    /// A recipe: the machines, networks and stages of one lab (`lab.yaml`).
    Lab {
        /// Format of the recipe: 1.
        required schema: Format,
        /// Name of the lab: small letters, digits and `-`.
        required name: LabName,
        /// What the lab is, in one line.
        required title: Line,
        /// What the lab is for, at any length.
        optional description: AnyText,
        /// Files whose networks, machines and variables this recipe takes in: of this folder, or shared ones from `stages/` here or up to three folders above. What it declares itself may not be declared there too, but for variables, which it may set anew.
        optional include: Vec<At<SharedFile>>,
        /// Base image of all machines that name none: `images/<base>.yaml`, of kind `bootstrap`, `installer` or `disk`.
        optional base: BaseName,
        /// The networks by name.
        required networks: Named<NetworkName, Network>,
        /// The machines by name; the name is the host name too.
        required machines: Named<MachineName, Machine>,
        /// Variables for templates: `{{ name }}` in any text of this file and of the stage files. The command line may set them anew.
        optional vars: Named<VarName, AsWritten>,
        /// Ports of machines that the host offers while the lab is up, on 127.0.0.1. Changing this builds nothing again.
        optional expose: Vec<At<Expose>>,
        /// Stage files in the order they run: of this folder, or shared ones from `stages/` here or up to three folders above.
        required stages: Vec<At<StageFile>>,
    }
}

object! {
    /// What recipes share: a file of networks, machines or variables, taken in by the `include` of a `lab.yaml`.
    Commons {
        /// Networks by name.
        some networks: Named<NetworkName, Network>,
        /// Machines by name.
        some machines: Named<MachineName, Machine>,
        /// Variables for templates. A recipe that includes them may set them anew.
        some vars: Named<VarName, AsWritten>,
    }
}

object! {
    /// One network.
    Network {
        /// What it connects: `host-only` (machines and host), `bridged` (machines and the network outside) or `isolated` (machines only).
        required kind: NetworkKind,
        /// Its addresses, such as `172.16.251.0/24`.
        required subnet: Subnet,
        /// The host's address on a host-only network.
        optional host: Ipv4Addr,
        /// The gateway's address on a bridged network.
        optional gateway: Ipv4Addr,
        /// The host's bridge that a bridged network goes onto, where there is one.
        optional bridge: Bridge,
    }
}

object! {
    /// One machine.
    Machine {
        /// Virtual CPUs, 1 to 64. Default: 1.
        optional cpus: Int<1, 64>,
        /// Memory, such as `2 GiB`.
        required memory: Bytes,
        /// Size of the disk, such as `20 GiB`.
        required disk: Bytes,
        /// Kickstart template: looked up beside `lab.yaml`, then in a folder `kickstart` there or up to three folders above.
        optional kickstart: InnerPath,
        /// Base image: `images/<base>.yaml`. Default: that of the lab.
        optional base: BaseName,
        /// The emulated hardware.
        optional hardware: Hardware,
        /// Network interfaces in order.
        optional nics: Vec<At<Nic>>,
    }
}

object! {
    /// The emulated hardware of a machine.
    Hardware {
        /// Versioned machine type. Default: `pc-q35-7.2`.
        some machine_type: MachineType,
        /// Named CPU model. Default: `Nehalem`.
        some cpu_model: CpuModel,
    }
}

object! {
    /// One network interface.
    Nic {
        /// Name in the guest, such as `ens33`.
        required name: NicName,
        /// The network it is plugged into.
        required network: NetworkName,
        /// Its address; without one the interface is up and has none.
        optional address: Ipv4Addr,
        /// Where the machine's default route goes: an address on this network.
        optional gateway: Ipv4Addr,
    }
}

object! {
    /// A port of a machine that the host offers on 127.0.0.1 while the lab is up.
    Expose {
        /// What it is called in `labbuild up` and `labbuild status`: small letters, digits and `-`.
        required name: ExposeName,
        /// The machine. It needs an address on a host-only or bridged network.
        required machine: MachineName,
        /// The machine's TCP port.
        required port: Int<1, 65535>,
        /// The host's port; when something else has it, another one is taken and said. Default: any free one.
        optional host_port: Int<1, 65535>,
        /// Where a browser goes, such as `/horizon/`. It makes the address shown a URL: `https` on port 443, `http` on any other.
        optional path: UrlPath,
    }
}

object! {
    /// A stage: one chapter of the lab, after which all machines are snapshotted together.
    Stage {
        /// What the chapter is about, in one line.
        required title: Line,
        /// The steps; every machine runs its own in this order, all machines at once. `include: FILE` stands for the steps of that file.
        some steps: Vec<At<OrInclude<Step>>>,
        /// What must be so at the end; a stage whose checks fail is never stored. `include: FILE` stands for the checks of that file.
        some checks: Vec<At<OrInclude<Check>>>,
    }
}

object! {
    /// Stands for the steps, or the checks, of another file.
    Include {
        /// The file: of this folder, or a shared one from `stages/` here or up to three folders above.
        required include: SharedFile,
    }
}

object! {
    /// What stages share: a file of steps or of checks, taken in where a stage says `include`.
    Part {
        /// The steps; their ids must differ from the stage's own.
        one steps: Vec<At<Step>>,
        /// The checks.
        one checks: Vec<At<Check>>,
    }
}

object! {
    /// One action on one or more machines.
    Step {
        /// What it does, in one line.
        required name: Line,
        /// Handle for the `after` of other steps.
        optional id: StepId,
        /// The machine or machines it runs on, each on its own; `all` means every machine.
        required machine: OneOrMore<MachineName>,
        /// Ids of steps of this stage that must have ended on all their machines.
        optional after: OneOrMore<StepId>,
        /// How long it may take. Default: `10m`.
        optional timeout: Duration,
        /// How often it is tried again: a number, or `{ times: 3, delay: 5s }`. Default: never.
        optional retry: Either<Int<1, 1000>, Retry>,
        /// `true`: its output, and on failure the journals of its services, stay out of logs and messages. `values`: only the values of the variables that it uses do, and `***` stands for them; nothing else that it prints may be secret, nor anything made from them (a hash, base64). Default: `false`.
        optional secret: Either<bool, ValuesOnly>,
        /// With `wait-for`: whenever the lab is started from what is stored of this stage or a later
        /// one, it counts as up only when this is so again. Default: `false`.
        optional at_boot: bool,
        /// A shell script (`bash -euo pipefail`).
        one run: Script,
        /// The content of a file, whole or in part.
        one file: File,
        /// A file of the recipe's folder, copied into the guest.
        one copy: Copy,
        /// Keys of an INI file set or removed; everything else stays as it is.
        one ini: Ini,
        /// Packages to install: a list of names, or `{ names: […], install: in-guest }`.
        one packages: Either<Vec<At<PackageName>>, Packages>,
        /// The state of a service.
        one service: Service,
        /// SQL statements, run as the database's root over the local socket: the script, or `{ script: …, database: … }`.
        one sql: Either<Script, Sql>,
        /// A clean reboot: `{}` or `true`. The step ends when the guest answers again.
        one reboot: Reboot,
        /// Wait until a port, a unit or a command is ready, at most for the step's timeout.
        one wait_for: WaitFor,
    }
}

object! {
    /// How often, and how far apart, something is tried again.
    Retry {
        /// Tries after the first.
        required times: Int<1, 1000>,
        /// Pause before each. Default: `5s`.
        optional delay: Duration,
    }
}

object! {
    /// The content of a file in the guest.
    File {
        /// Absolute path in the guest.
        required path: GuestPath,
        /// The whole content.
        one content: AnyText,
        /// Text put at the end, unless the file already holds it.
        one append: Script,
        /// Lines, each put at the end unless the file already has it.
        one lines: Vec<At<Line>>,
        /// `true`: the file is removed.
        one absent: True,
        /// Mode in quotes, such as "0600". Default for a new file: "0644".
        optional mode: Mode,
        /// `user` or `user:group`. Default for a new file: root.
        optional owner: Owner,
    }
}

object! {
    /// A file of the recipe's folder, copied into the guest.
    Copy {
        /// The file, relative to the recipe's folder.
        required from: InnerPath,
        /// Absolute path in the guest.
        required to: GuestPath,
        /// Mode in quotes. Default: "0644".
        optional mode: Mode,
        /// `user` or `user:group`. Default: root.
        optional owner: Owner,
    }
}

object! {
    /// Keys of an INI file.
    Ini {
        /// Absolute path in the guest.
        required path: GuestPath,
        /// Keys and values by section: `{ section: { key: value } }`. A key without a value is removed.
        required set: Named<Section, Named<IniKey, IniValue>>,
    }
}

object! {
    /// Packages, and where they are installed.
    Packages {
        /// The packages.
        required names: Vec<At<PackageName>>,
        /// `in-base`: natively while the base image is made; `in-guest`: by the step itself. Default: `in-base`; on a base of kind `installer` or `disk` always `in-guest`.
        optional install: InstallWhen,
    }
}

object! {
    /// The state of a service.
    Service {
        /// The unit or units.
        required name: OneOrMore<UnitName>,
        /// Whether it starts at boot.
        some enabled: bool,
        /// What it is to be now: `started`, `stopped`, `restarted` or `reloaded`.
        some state: ServiceState,
    }
}

object! {
    /// SQL statements.
    Sql {
        /// The statements.
        required script: Script,
        /// The database they are about.
        optional database: DatabaseName,
        /// The password of the database's root, if it has one.
        optional password: Script,
    }
}

object! {
    /// What a step waits for.
    WaitFor {
        /// A TCP port that accepts connections, seen from the machine.
        one port: Int<1, 65535>,
        /// A systemd unit that is active.
        one unit: UnitName,
        /// A command that succeeds.
        one command: Script,
        /// The host of the port. Default: the machine itself.
        optional host: HostName,
        /// The unit or units of the machine that make a `port` or `command` ready. When one of them has failed, the wait ends at once; when the wait fails, the message holds their state and the last lines of their journals. Without this key it holds those of the units that have failed.
        optional service: OneOrMore<UnitName>,
    }
}

object! {
    /// A command with an expectation.
    Check {
        /// What it shows, in one line. Default: the command.
        optional name: Line,
        /// The machine or machines it runs on; `all` means every machine.
        required machine: OneOrMore<MachineName>,
        /// A shell script (`bash -euo pipefail`).
        required run: Script,
        /// What must be so. Default: exit status 0.
        optional expect: Expect,
        /// How long it may take. Default: `60s`.
        optional timeout: Duration,
        /// How often it is tried again: a number, or `{ times: 3, delay: 5s }`. Default: never.
        optional retry: Either<Int<1, 1000>, Retry>,
    }
}

object! {
    /// What must be so for a check to pass; everything given must hold.
    Expect {
        /// Exit status. Default: 0.
        some status: Int<0, 255>,
        /// Text, or texts, that standard output contains.
        some stdout_contains: OneOrMore<Script>,
        /// Text, or texts, that standard output does not contain.
        some stdout_lacks: OneOrMore<Script>,
        /// Standard output, without white space around it.
        some stdout_is: AnyText,
        /// A regular expression that standard output matches; `^` and `$` are ends of lines.
        some stdout_matches: Pattern,
    }
}

/// An entry of a list that may also be `include: FILE`. Includes are carried out before stages are
/// read (see `include`), so that reading one finds only what they stood for.
#[derive(Debug)]
pub(super) struct OrInclude<T>(pub T);

impl<T: Shape> Shape for OrInclude<T> {
    fn expected() -> String {
        T::expected()
    }
    fn fits(node: &Node) -> bool {
        T::fits(node)
    }
    fn take(node: &Node, report: &mut Report) -> Option<Self> {
        T::take(node, report).map(OrInclude)
    }
    fn schema(defs: &mut Json<String, Value>) -> Value {
        json!({ "anyOf": [T::schema(defs), Include::schema(defs)] })
    }
}

/// The format that this program reads.
pub(super) const FORMAT: i128 = 1;

/// The number of the format.
#[derive(Debug)]
pub(super) struct Format;

impl Shape for Format {
    fn expected() -> String {
        format!("the format of the recipe, `{FORMAT}`")
    }
    fn fits(node: &Node) -> bool {
        node.scalar().is_some_and(|scalar| matches!(scalar.kind, Kind::Int(_)))
    }
    fn take(node: &Node, report: &mut Report) -> Option<Self> {
        let Kind::Int(number) = node.scalar()?.kind else { return None };
        if number > FORMAT {
            let message = format!("this recipe is made for a newer labbuild (format {number})");
            report.fault(&node.at, message, format!("this labbuild reads format {FORMAT}"));
        } else if number < FORMAT {
            let message = format!("there is no recipe format {number}");
            report.fault(&node.at, message, format!("write `schema: {FORMAT}`"));
        }
        (number == FORMAT).then_some(Format)
    }
    fn schema(_: &mut Json<String, Value>) -> Value {
        json!({ "const": FORMAT as i64 })
    }
}

/// `values`, under `secret`.
#[derive(Debug)]
pub(super) struct ValuesOnly;

impl Shape for ValuesOnly {
    fn expected() -> String {
        "`values`".to_owned()
    }
    fn fits(node: &Node) -> bool {
        node.scalar().is_some_and(|scalar| scalar.text == "values")
    }
    fn take(_: &Node, _: &mut Report) -> Option<Self> {
        Some(ValuesOnly)
    }
    fn schema(_: &mut Json<String, Value>) -> Value {
        json!({ "const": "values" })
    }
}

/// `{}` or `true`.
#[derive(Debug)]
pub(super) struct Reboot;

impl Shape for Reboot {
    fn expected() -> String {
        "`{}` or `true`".to_owned()
    }
    fn fits(node: &Node) -> bool {
        matches!(&node.tree, Tree::Map(entries) if entries.is_empty()) || True::fits(node)
    }
    fn take(_: &Node, _: &mut Report) -> Option<Self> {
        Some(Reboot)
    }
    fn schema(_: &mut Json<String, Value>) -> Value {
        json!({ "anyOf": [{ "const": true }, { "type": "object", "maxProperties": 0 }] })
    }
}
