//! The commands labbuild carries out and what RHEL 7 lets them take, as tables. Those that only
//! Anaconda carries out are in [`super::foreign`].
//!
//! Options that Anaconda knows are all here; those marked `refused` have no meaning for
//! labbuild and say so, those marked `harmless` change nothing for a lab machine.

use super::convert as to;
use super::foreign::FOREIGN;
use super::model::Command;
use super::options::Arguments::{Any, Maybe, None as Nothing, One, Verbatim};
use super::options::{Opt, Syntax};
use super::rules::Rule;
use super::statement::Args;

/// Makes a command of its sorted words.
pub(super) type Build = fn(&mut Args<'_, '_>) -> Option<Command>;

/// What labbuild's own bootstrap makes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is typed; whoever carries it out knows what to do.
    Typed,
    /// It changes nothing for a lab machine: why not.
    Useless(&'static str),
    /// Leaving it out would make another machine: what to do instead, if there is something.
    Refused(&'static str),
}

/// One command: its names, what it takes, how it becomes a [`Command`].
pub(super) struct Entry {
    pub names: &'static [&'static str],
    pub syntax: Syntax,
    /// What its options mean for each other, as far as `build` does not say.
    pub rules: &'static [Rule],
    pub fate: Fate,
    pub build: Build,
}

const fn entry(names: &'static [&'static str], syntax: Syntax, build: Build) -> Entry {
    Entry { names, syntax, rules: &[], fate: Fate::Typed, build }
}

const fn takes(arguments: super::options::Arguments, options: &'static [Opt]) -> Syntax {
    Syntax { arguments, options }
}

/// Every command that labbuild carries out, or knows to be fulfilled.
pub(super) static COMMANDS: &[Entry] = &[
    entry(&["lang"], takes(One("locale"), &[Opt::text(&["--addsupport"])]), to::lang),
    entry(&["keyboard"], takes(Any, KEYBOARD), to::keyboard),
    entry(&["timezone"], takes(Any, TIMEZONE), to::timezone),
    entry(&["rootpw"], takes(Maybe, ROOTPW), to::rootpw),
    entry(&["user"], takes(Nothing, USER), to::user),
    entry(&["sshkey"], takes(Any, &[Opt::text(&["--username"])]), to::sshkey),
    entry(&["network"], takes(Nothing, NETWORK), to::network),
    entry(&["clearpart"], takes(Nothing, CLEARPART), to::clearpart),
    entry(&["zerombr"], takes(Nothing, &[]), to::zerombr),
    entry(&["part", "partition"], takes(One("mount point"), PART), to::part),
    entry(&["autopart"], takes(Nothing, AUTOPART), to::autopart),
    entry(&["bootloader"], takes(Nothing, BOOTLOADER), to::bootloader),
    entry(&["firewall"], takes(Nothing, FIREWALL), to::firewall),
    entry(&["selinux"], takes(Nothing, SELINUX), to::selinux),
    entry(&["services"], takes(Nothing, SERVICES), to::services),
    entry(&["firstboot"], takes(Nothing, FIRSTBOOT), to::firstboot),
    entry(&["repo"], takes(Nothing, REPO), to::repo),
    entry(&["url"], takes(Nothing, URL), to::url),
    entry(&["install"], takes(Nothing, &[Opt::text(&["--root-device"]).refused()]), to::install),
    entry(&["text"], takes(Nothing, &[]), to::text),
    entry(&["cmdline"], takes(Nothing, &[]), to::cmdline),
    entry(&["graphical"], takes(Nothing, &[]), to::graphical),
    entry(&["skipx"], takes(Nothing, &[]), to::skipx),
    entry(&["eula"], takes(Nothing, EULA), to::eula),
    entry(&["auth", "authconfig"], takes(Verbatim, &[]), to::authconfig),
    entry(&["poweroff", "shutdown"], takes(Nothing, EJECT), to::poweroff),
    entry(&["reboot"], takes(Nothing, EJECT), to::reboot),
    entry(&["halt"], takes(Nothing, EJECT), to::halt),
];

const KEYBOARD: &[Opt] =
    &[Opt::text(&["--vckeymap"]), Opt::text(&["--xlayouts"]), Opt::text(&["--switch"]).harmless()];

const TIMEZONE: &[Opt] =
    &[Opt::flag(&["--utc", "--isUtc"]), Opt::flag(&["--nontp"]), Opt::text(&["--ntpservers"])];

const ROOTPW: &[Opt] =
    &[Opt::flag(&["--iscrypted"]), Opt::flag(&["--plaintext"]), Opt::flag(&["--lock"])];

const USER: &[Opt] = &[
    Opt::text(&["--name"]),
    Opt::text(&["--groups"]),
    Opt::text(&["--homedir"]),
    Opt::text(&["--password"]),
    Opt::flag(&["--iscrypted"]),
    Opt::flag(&["--plaintext"]),
    Opt::flag(&["--lock"]),
    Opt::text(&["--shell"]),
    Opt::int(&["--uid"]),
    Opt::int(&["--gid"]),
    Opt::text(&["--gecos"]),
];

const NETWORK: &[Opt] = &[
    Opt::one_of(&["--bootproto"], &["dhcp", "bootp", "static", "query", "ibft"]),
    Opt::text(&["--device"]),
    Opt::text(&["--ip"]),
    Opt::text(&["--netmask"]),
    Opt::text(&["--gateway"]),
    Opt::text(&["--nameserver"]),
    Opt::text(&["--hostname"]),
    Opt::text(&["--mtu"]),
    Opt::boolean(&["--onboot"]),
    Opt::flag(&["--activate"]),
    Opt::flag(&["--no-activate"]),
    Opt::flag(&["--nodefroute"]),
    Opt::flag(&["--noipv4"]),
    Opt::flag(&["--noipv6"]),
    Opt::flag(&["--notksdevice"]).harmless(),
    Opt::flag(&["--nodns"]).refused(),
    Opt::text(&["--dhcpclass"]).refused(),
    Opt::text(&["--essid"]).refused(),
    Opt::text(&["--ethtool"]).refused(),
    Opt::text(&["--wepkey"]).refused(),
    Opt::text(&["--wpakey"]).refused(),
    Opt::text(&["--ipv6"]).refused(),
    Opt::text(&["--ipv6gateway"]).refused(),
    Opt::text(&["--bondslaves"]).refused(),
    Opt::text(&["--bondopts"]).refused(),
    Opt::text(&["--vlanid"]).refused(),
    Opt::text(&["--teamslaves"]).refused(),
    Opt::text(&["--teamconfig"]).refused(),
    Opt::text(&["--interfacename"]).refused(),
    Opt::text(&["--bridgeslaves"]).refused(),
    Opt::text(&["--bridgeopts"]).refused(),
    Opt::one_of(&["--bindto"], &["mac"]).refused(),
];

const CLEARPART: &[Opt] = &[
    Opt::flag(&["--all"]),
    Opt::flag(&["--linux"]),
    Opt::flag(&["--none"]),
    Opt::flag(&["--initlabel"]),
    Opt::text(&["--drives"]),
    Opt::text(&["--list"]).refused(),
    Opt::text(&["--disklabel"]).refused(),
    Opt::flag(&["--cdl"]).harmless(),
];

const PART: &[Opt] = &[
    Opt::int(&["--size"]),
    Opt::int(&["--maxsize"]),
    Opt::flag(&["--grow"]),
    Opt::flag(&["--recommended"]),
    Opt::text(&["--fstype", "--type"]),
    Opt::text(&["--label"]),
    Opt::text(&["--fsoptions"]),
    Opt::text(&["--ondisk", "--ondrive"]),
    Opt::flag(&["--asprimary"]),
    Opt::flag(&["--active"]).harmless(),
    Opt::flag(&["--noformat"]).refused(),
    Opt::text(&["--onbiosdisk"]).refused(),
    Opt::text(&["--onpart", "--usepart"]).refused(),
    Opt::text(&["--fsprofile"]).refused(),
    Opt::flag(&["--encrypted"]).refused(),
    Opt::text(&["--passphrase"]).refused(),
    Opt::text(&["--escrowcert"]).refused(),
    Opt::flag(&["--backuppassphrase"]).refused(),
    Opt::flag(&["--resize"]).refused(),
    Opt::flag(&["--hibernation"]).refused(),
    Opt::text(&["--cipher"]).refused(),
    Opt::text(&["--mkfsoptions"]).refused(),
];

const AUTOPART: &[Opt] = &[
    Opt::text(&["--type"]),
    Opt::text(&["--fstype"]),
    Opt::flag(&["--nolvm"]),
    Opt::flag(&["--nohome"]).harmless(),
    Opt::flag(&["--encrypted"]).refused(),
    Opt::text(&["--passphrase"]).refused(),
    Opt::text(&["--escrowcert"]).refused(),
    Opt::flag(&["--backuppassphrase"]).refused(),
    Opt::text(&["--cipher"]).refused(),
];

const BOOTLOADER: &[Opt] = &[
    Opt::one_of(&["--location"], &["mbr", "partition", "none", "boot"]),
    Opt::text(&["--append"]),
    Opt::int(&["--timeout"]),
    Opt::text(&["--boot-drive"]),
    Opt::text(&["--driveorder"]),
    Opt::flag(&["--leavebootorder"]).harmless(),
    Opt::text(&["--password"]).refused(),
    Opt::text(&["--md5pass"]).refused(),
    Opt::flag(&["--iscrypted"]).refused(),
    Opt::flag(&["--upgrade"]).refused(),
    Opt::text(&["--default"]).refused(),
    Opt::flag(&["--extlinux"]).refused(),
    Opt::flag(&["--disabled"]).refused(),
    Opt::flag(&["--nombr"]).refused(),
];

const FIREWALL: &[Opt] = &[
    Opt::flag(&["--enabled", "--enable"]),
    Opt::flag(&["--disabled", "--disable"]),
    Opt::text(&["--service"]),
    Opt::text(&["--port"]),
    Opt::flag(&["--ssh"]),
    Opt::flag(&["--http"]),
    Opt::flag(&["--smtp"]),
    Opt::flag(&["--ftp"]),
    Opt::text(&["--trust"]).refused(),
    Opt::text(&["--remove-service"]).refused(),
];

const SELINUX: &[Opt] =
    &[Opt::flag(&["--enforcing"]), Opt::flag(&["--permissive"]), Opt::flag(&["--disabled"])];

const SERVICES: &[Opt] = &[Opt::text(&["--enabled"]), Opt::text(&["--disabled"])];

const FIRSTBOOT: &[Opt] = &[
    Opt::flag(&["--enabled", "--enable"]),
    Opt::flag(&["--disabled", "--disable"]),
    Opt::flag(&["--reconfig"]),
];

const REPO: &[Opt] = &[
    Opt::text(&["--name"]),
    Opt::text(&["--baseurl"]),
    Opt::text(&["--mirrorlist"]),
    Opt::flag(&["--install"]),
    Opt::int(&["--cost"]).harmless(),
    Opt::text(&["--excludepkgs"]).harmless(),
    Opt::text(&["--includepkgs"]).harmless(),
    Opt::boolean(&["--ignoregroups"]).harmless(),
    Opt::text(&["--proxy"]).harmless(),
    Opt::flag(&["--noverifyssl"]).harmless(),
];

const URL: &[Opt] = &[
    Opt::text(&["--url"]),
    Opt::text(&["--mirrorlist"]),
    Opt::text(&["--proxy"]).harmless(),
    Opt::flag(&["--noverifyssl"]).harmless(),
];

const EULA: &[Opt] = &[Opt::flag(&["--agreed", "--agree", "--accepted", "--accept"])];

const EJECT: &[Opt] = &[Opt::flag(&["--eject"])];

/// The entry of a command.
pub(super) fn find(name: &str) -> Option<&'static Entry> {
    COMMANDS.iter().chain(FOREIGN).find(|entry| entry.names.contains(&name))
}

/// Commands of other releases, and what RHEL 7 has for them.
pub(super) static OTHER_RELEASES: &[(&str, &str)] = &[
    ("authselect", "RHEL 7 has `authconfig`"),
    ("bootc", "no command of RHEL 7 does this"),
    ("interactive", "RHEL 7 dropped it; leave the line out"),
    ("key", "RHEL 7 dropped it; leave the line out"),
    ("langsupport", "RHEL 7 has `lang --addsupport=…`"),
    ("lilo", "RHEL 7 has `bootloader`"),
    ("module", "RHEL 7 has no modules; name packages in `%packages`"),
    ("method", "write `url`, `nfs`, `cdrom` or `harddrive` itself"),
    ("monitor", "RHEL 7 dropped it; leave the line out"),
    ("mount", "RHEL 7 has `part`"),
    ("mouse", "RHEL 7 dropped it; leave the line out"),
    ("ostreecontainer", "no command of RHEL 7 does this"),
    ("rhsm", "no command of RHEL 7 does this"),
    ("syspurpose", "no command of RHEL 7 does this"),
    ("timesource", "RHEL 7 has `timezone --ntpservers=…`"),
    ("zipl", "no command of RHEL 7 does this"),
];

/// Every name that RHEL 7 knows, and `sshkey`.
pub(super) fn known_names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().chain(FOREIGN).flat_map(|entry| entry.names.iter().copied())
}
