//! The commands of RHEL 7 that only Anaconda has a use for: what they take, as a table, and what
//! labbuild's own bootstrap makes of them.
//!
//! A machine that Anaconda installs may have them all. Where labbuild makes the disk itself, those
//! that change nothing are noticed, and those without which it would be another machine refused.

use super::convert as to;
use super::options::Arguments::{self, None as Nothing, One, Scattered, Verbatim};
use super::options::{Opt, Syntax};
use super::rules::Rule::{self, AnyOf, AtMostOne, ExactlyOne, Needs, OneWritten, Range};
use super::rules::{ARGUMENT, MEMBERS};
use super::syntax::{Entry, Fate};

const fn useless(
    names: &'static [&'static str],
    arguments: Arguments,
    options: &'static [Opt],
    rules: &'static [Rule],
    why: &'static str,
) -> Entry {
    let syntax = Syntax { arguments, options };
    Entry { names, syntax, rules, fate: Fate::Useless(why), build: to::foreign }
}

const fn refused(
    names: &'static [&'static str],
    arguments: Arguments,
    options: &'static [Opt],
    rules: &'static [Rule],
    instead: &'static str,
) -> Entry {
    let syntax = Syntax { arguments, options };
    Entry { names, syntax, rules, fate: Fate::Refused(instead), build: to::foreign }
}

impl Entry {
    /// With a conversion of its own, for what no rule can say.
    const fn read_by(mut self, build: super::syntax::Build) -> Entry {
        self.build = build;
        self
    }
}

const SOURCE: &str = "packages come from the base image's own sources";
const NO_INSTALLER: &str = "a bootstrap has no installer that could";
const LAYOUT: &str = "lay the disk out with `part`";
const ONE_DISK: &str = "a lab machine has one disk of its own";
const NO_INSTEAD: &str = "";

/// The table. Disks and volumes first, then where the system comes from, then the rest.
pub(super) static FOREIGN: &[Entry] = &[
    refused(&["raid"], Scattered, RAID, RAID_RULES, LAYOUT),
    refused(&["volgroup"], Scattered, VOLGROUP, VOLGROUP_RULES, LAYOUT),
    refused(&["logvol"], One("mount point"), LOGVOL, LOGVOL_RULES, LAYOUT),
    refused(&["btrfs"], Scattered, BTRFS, BTRFS_RULES, LAYOUT),
    refused(&["snapshot"], One("volume"), SNAPSHOT, &[], NO_INSTEAD).read_by(to::snapshot),
    refused(&["dmraid"], Nothing, DMRAID, &[], ONE_DISK),
    refused(&["multipath"], Nothing, MULTIPATH, &[], ONE_DISK),
    refused(&["iscsi"], Nothing, ISCSI, &[], ONE_DISK),
    refused(&["iscsiname"], One("name of this initiator"), &[], &[], ONE_DISK),
    refused(&["fcoe"], Nothing, FCOE, &[], ONE_DISK),
    refused(&["zfcp"], Nothing, ZFCP, &[], ONE_DISK),
    refused(&["nvdimm"], One("action"), NVDIMM, &[], ONE_DISK).read_by(to::nvdimm),
    useless(&["ignoredisk"], Nothing, IGNOREDISK, IGNOREDISK_RULES, ONE_DISK),
    useless(&["reqpart"], Nothing, REQPART, &[], "what the boot loader needs is made by itself"),
    useless(&["cdrom"], Nothing, &[], &[], SOURCE),
    useless(&["harddrive"], Nothing, HARDDRIVE, HARDDRIVE_RULES, SOURCE),
    useless(&["nfs"], Nothing, NFS, &[], SOURCE),
    refused(&["liveimg"], Nothing, LIVEIMG, &[], "the base image says what is installed"),
    refused(&["ostreesetup"], Nothing, OSTREE, &[], "the base image says what is installed")
        .read_by(to::ostreesetup),
    refused(&["group"], Nothing, GROUP, &[], "groups named by `user --groups=…` are made"),
    refused(&["realm"], Verbatim, &[], &[], "join it in a step").read_by(to::realm),
    refused(&["rescue"], Nothing, RESCUE, RESCUE_RULES, "leave the line out to install"),
    refused(&["xconfig"], Nothing, XCONFIG, &[], "choose the desktop by its packages"),
    useless(&["sshpw"], Arguments::Any, SSHPW, SSHPW_RULES, "nobody logs in while it is made"),
    useless(&["vnc"], Nothing, VNC, &[], "a bootstrap shows no installer"),
    useless(&["autostep"], Nothing, AUTOSTEP, &[], "a bootstrap shows no installer"),
    useless(&["logging"], Nothing, LOGGING, LOGGING_RULES, "labbuild keeps its own log"),
    useless(&["mediacheck"], Nothing, &[], &[], "there is no medium"),
    useless(&["updates"], Arguments::Maybe, &[], &[], NO_INSTALLER),
    useless(&["driverdisk"], Arguments::Maybe, DRIVERDISK, DRIVERDISK_RULES, NO_INSTALLER),
    useless(&["device"], Scattered, DEVICE, &[], NO_INSTALLER).read_by(to::device),
    useless(&["deviceprobe"], Verbatim, &[], &[], NO_INSTALLER),
    useless(&["hmc"], Nothing, &[], &[], "a lab machine is no mainframe"),
    useless(&["unsupported_hardware"], Nothing, &[], &[], "a lab machine's hardware is known"),
    // Anaconda reads this one, whatever it says, and does nothing.
    useless(&["upgrade"], Verbatim, &[], &[], "RHEL 7 itself cannot upgrade by kickstart"),
];

/// How one device's file system is made and mounted; what `raid` and `logvol` share.
const ONE_MKFS: &[&str] = &["--mkfsoptions", "--fsprofile"];
const MKFS_OR_NOT: &[&str] = &["--mkfsoptions", "--noformat"];

/// Existing arrays are taken over with `--useexisting`, and `--noformat` implies it.
const RAID: &[Opt] = &[
    Opt::text(&["--device"]).required(),
    Opt::any_case(&["--level"], RAID_LEVELS),
    Opt::int(&["--spares"]),
    Opt::int(&["--chunksize"]),
    Opt::flag(&["--useexisting"]),
    Opt::flag(&["--noformat"]),
    Opt::text(&["--fstype"]),
    Opt::text(&["--fsoptions"]),
    Opt::text(&["--fsprofile"]),
    Opt::text(&["--mkfsoptions"]),
    Opt::text(&["--label"]),
    Opt::flag(&["--encrypted"]),
    Opt::text(&["--passphrase"]),
    Opt::text(&["--cipher"]),
    Opt::text(&["--escrowcert"]),
    Opt::flag(&["--backuppassphrase"]),
];

const RAID_LEVELS: &[&str] =
    &["raid0", "raid1", "raid4", "raid5", "raid6", "raid10", "0", "1", "4", "5", "6", "10"];

const RAID_RULES: &[Rule] = &[
    AnyOf(&[ARGUMENT]),
    AnyOf(&[MEMBERS, "--useexisting", "--noformat"]),
    AtMostOne(&[MEMBERS, "--useexisting"]),
    AtMostOne(&[MEMBERS, "--noformat"]),
    AnyOf(&["--level", "--useexisting", "--noformat"]),
    Needs("--useexisting", &["--device"]),
    Needs("--noformat", &["--device"]),
    AtMostOne(MKFS_OR_NOT),
    AtMostOne(ONE_MKFS),
];

const VOLGROUP: &[Opt] = &[
    Opt::flag(&["--useexisting"]),
    Opt::flag(&["--noformat"]),
    Opt::int(&["--pesize"]),
    Opt::int(&["--reserved-space"]),
    Opt::int(&["--reserved-percent"]),
];

const VOLGROUP_RULES: &[Rule] = &[
    AnyOf(&[ARGUMENT]),
    AnyOf(&[MEMBERS, "--useexisting", "--noformat"]),
    AtMostOne(&[MEMBERS, "--useexisting"]),
    AtMostOne(&[MEMBERS, "--noformat"]),
    Range("--reserved-space", 0, i64::MAX),
    Range("--reserved-percent", 1, 99),
];

/// A volume, a pool of thin ones (`--thinpool`), or a thin one in a pool (`--thin`).
const LOGVOL: &[Opt] = &[
    Opt::text(&["--vgname"]).required(),
    Opt::text(&["--name"]).required(),
    Opt::int(&["--size"]),
    Opt::int(&["--percent"]),
    Opt::int(&["--maxsize"]),
    Opt::flag(&["--grow"]),
    Opt::flag(&["--recommended"]),
    Opt::flag(&["--hibernation"]),
    Opt::flag(&["--resize"]),
    Opt::flag(&["--useexisting"]),
    Opt::flag(&["--noformat"]),
    Opt::flag(&["--thinpool"]),
    Opt::flag(&["--thin"]),
    Opt::text(&["--poolname"]),
    Opt::int(&["--chunksize"]),
    Opt::int(&["--metadatasize"]),
    Opt::text(&["--profile"]),
    Opt::text(&["--fstype"]),
    Opt::text(&["--fsoptions"]),
    Opt::text(&["--fsprofile"]),
    Opt::text(&["--mkfsoptions"]),
    Opt::text(&["--label"]),
    Opt::flag(&["--encrypted"]),
    Opt::text(&["--passphrase"]),
    Opt::text(&["--cipher"]),
    Opt::text(&["--escrowcert"]),
    Opt::flag(&["--backuppassphrase"]),
];

const LOGVOL_RULES: &[Rule] = &[
    AnyOf(&[
        "--size",
        "--percent",
        "--recommended",
        "--hibernation",
        "--useexisting",
        "--noformat",
    ]),
    AtMostOne(&["--size", "--percent"]),
    Range("--percent", 0, 100),
    Needs("--resize", &["--useexisting", "--noformat"]),
    Needs("--resize", &["--size"]),
    AtMostOne(&["--thin", "--thinpool"]),
    Needs("--thin", &["--poolname"]),
    Needs("--chunksize", &["--thinpool"]),
    Needs("--metadatasize", &["--thinpool"]),
    AtMostOne(MKFS_OR_NOT),
    AtMostOne(ONE_MKFS),
];

/// A volume of some partitions, or with `--subvol` a part of one, which is then the member.
const BTRFS: &[Opt] = &[
    Opt::any_case(&["--data"], BTRFS_LEVELS),
    Opt::any_case(&["--metadata"], BTRFS_LEVELS),
    Opt::text(&["--label"]),
    Opt::flag(&["--subvol"]),
    Opt::text(&["--parent"]),
    Opt::text(&["--name"]),
    Opt::flag(&["--useexisting"]),
    Opt::flag(&["--noformat"]),
    Opt::text(&["--mkfsoptions"]),
];

const BTRFS_LEVELS: &[&str] = &["single", "raid0", "raid1", "raid10", "0", "1", "10"];

const BTRFS_RULES: &[Rule] = &[
    AnyOf(&[ARGUMENT]),
    AnyOf(&[MEMBERS]),
    Needs("--subvol", &["--name"]),
    AtMostOne(MKFS_OR_NOT),
    AtMostOne(&["--mkfsoptions", "--useexisting"]),
];

const SNAPSHOT: &[Opt] = &[
    Opt::text(&["--name"]).required(),
    Opt::any_case(&["--when"], &["post-install", "pre-install"]).required(),
];

const DMRAID: &[Opt] = &[Opt::text(&["--name"]).required(), Opt::text(&["--dev"]).required()];

const MULTIPATH: &[Opt] = &[
    Opt::text(&["--name"]).required(),
    Opt::text(&["--device"]).required(),
    Opt::text(&["--rule"]).required(),
];

const ISCSI: &[Opt] = &[
    Opt::text(&["--ipaddr"]).required(),
    Opt::text(&["--target"]),
    Opt::int(&["--port"]),
    Opt::text(&["--user"]),
    Opt::text(&["--password"]),
    Opt::text(&["--reverse-user"]),
    Opt::text(&["--reverse-password"]),
    Opt::text(&["--iface"]),
];

const FCOE: &[Opt] =
    &[Opt::text(&["--nic"]).required(), Opt::flag(&["--dcb"]), Opt::flag(&["--autovlan"])];

const ZFCP: &[Opt] = &[
    Opt::text(&["--devnum"]).required(),
    Opt::text(&["--wwpn"]).required(),
    Opt::text(&["--fcplun"]).required(),
];

const NVDIMM: &[Opt] = &[
    Opt::text(&["--namespace"]),
    Opt::list(&["--blockdevs"]),
    Opt::one_of(&["--mode"], &["sector"]),
    Opt::int(&["--sectorsize"]),
];

/// What `nvdimm reconfigure` and `nvdimm use` go by.
pub(super) const NVDIMM_RECONFIGURE: &[Rule] = &[
    AnyOf(&["--namespace"]),
    AnyOf(&["--sectorsize"]),
    AtMostOne(&["--namespace", "--blockdevs"]),
];
pub(super) const NVDIMM_USE: &[Rule] = &[ExactlyOne(&["--namespace", "--blockdevs"])];

const IGNOREDISK: &[Opt] =
    &[Opt::list(&["--drives"]), Opt::list(&["--only-use"]), Opt::flag(&["--interactive"])];

const IGNOREDISK_RULES: &[Rule] = &[ExactlyOne(&["--drives", "--only-use", "--interactive"])];

const REQPART: &[Opt] = &[Opt::flag(&["--add-boot"])];

const HARDDRIVE: &[Opt] =
    &[Opt::text(&["--dir"]).required(), Opt::text(&["--partition"]), Opt::text(&["--biospart"])];

const HARDDRIVE_RULES: &[Rule] = &[OneWritten(&["--partition", "--biospart"])];

const NFS: &[Opt] = &[
    Opt::text(&["--server"]).required(),
    Opt::text(&["--dir"]).required(),
    Opt::text(&["--opts"]),
];

const LIVEIMG: &[Opt] = &[
    Opt::text(&["--url"]).required(),
    Opt::text(&["--proxy"]),
    Opt::flag(&["--noverifyssl"]),
    Opt::text(&["--checksum"]),
];

const OSTREE: &[Opt] = &[
    Opt::text(&["--osname"]).required(),
    Opt::text(&["--url"]).required(),
    Opt::text(&["--ref"]).required(),
    Opt::text(&["--remote"]),
    Opt::flag(&["--nogpg"]),
];

const GROUP: &[Opt] = &[Opt::text(&["--name"]).required(), Opt::int(&["--gid"])];

const RESCUE: &[Opt] = &[Opt::flag(&["--nomount"]), Opt::flag(&["--romount"])];

const RESCUE_RULES: &[Rule] = &[AtMostOne(&["--nomount", "--romount"])];

const XCONFIG: &[Opt] = &[Opt::text(&["--defaultdesktop"]), Opt::flag(&["--startxonboot"])];

const SSHPW: &[Opt] = &[
    Opt::text(&["--username"]).required(),
    Opt::flag(&["--iscrypted"]),
    Opt::flag(&["--plaintext"]),
    Opt::flag(&["--lock"]),
];

const SSHPW_RULES: &[Rule] = &[AnyOf(&[ARGUMENT])];

const VNC: &[Opt] = &[Opt::text(&["--password"]), Opt::text(&["--host"]), Opt::text(&["--port"])];

const AUTOSTEP: &[Opt] = &[Opt::flag(&["--autoscreenshot"])];

const LOGGING: &[Opt] = &[
    Opt::text(&["--host"]),
    Opt::text(&["--port"]),
    Opt::one_of(&["--level"], &["debug", "info", "warning", "error", "critical"]),
];

const LOGGING_RULES: &[Rule] = &[Needs("--port", &["--host"])];

const DRIVERDISK: &[Opt] = &[Opt::text(&["--source"]), Opt::text(&["--biospart"])];

const DRIVERDISK_RULES: &[Rule] = &[ExactlyOne(&[ARGUMENT, "--source", "--biospart"])];

const DEVICE: &[Opt] = &[Opt::text(&["--opts"])];
