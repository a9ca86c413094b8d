//! A kickstart file as typed commands, each with the line it stands on.

use std::net::Ipv4Addr;

use crate::recipe::Fault;

/// A value and the line (from 1) of the rendered file it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnLine<T> {
    /// Line in the file it stands in, from 1.
    pub line: u32,
    /// The value.
    pub value: T,
}

/// A kickstart file, read whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kickstart {
    /// Commands before the first section, in order.
    pub commands: Vec<OnLine<Command>>,
    /// The `%packages` section, if there is one.
    pub packages: Option<OnLine<Packages>>,
    /// `%pre` and `%post` sections in order.
    pub scripts: Vec<OnLine<Script>>,
    /// Sections that Anaconda knows and that are read over here (`%addon`, `%anaconda`,
    /// `%pre-install`, `%onerror`, `%traceback`): their names with the `%`.
    pub skipped: Vec<OnLine<String>>,
    /// What Anaconda takes and labbuild's own bootstrap refuses: commands and options it cannot
    /// carry out, values that make no sense, lines that contradict each other.
    pub objections: Vec<Fault>,
}

/// One command. Options that labbuild carries out have a field; all others are among the
/// [objections](Kickstart::objections).
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Command {
    Lang {
        locale: String,
        additional: Vec<String>,
    },
    Keyboard {
        layout: String,
    },
    Timezone {
        zone: String,
        utc: bool,
        ntp_servers: Vec<String>,
        no_ntp: bool,
    },
    Rootpw {
        password: Option<Password>,
        lock: bool,
    },
    User(User),
    Sshkey {
        username: String,
        key: String,
    },
    Network(Network),
    Clearpart {
        mode: Clearpart,
        drives: Vec<String>,
        initlabel: bool,
    },
    Zerombr,
    Part(Part),
    Autopart {
        kind: Option<String>,
        fstype: Option<String>,
    },
    Bootloader(Bootloader),
    Firewall {
        enabled: bool,
        services: Vec<String>,
        ports: Vec<String>,
    },
    Selinux {
        mode: Selinux,
    },
    Services {
        enabled: Vec<String>,
        disabled: Vec<String>,
    },
    Firstboot {
        enabled: bool,
        reconfig: bool,
    },
    Repo {
        name: String,
        baseurl: Option<String>,
        mirrorlist: Option<String>,
        install: bool,
    },
    Url {
        url: Option<String>,
        mirrorlist: Option<String>,
    },
    Install,
    Text,
    Cmdline,
    Graphical,
    SkipX,
    Eula {
        agreed: bool,
    },
    AuthConfig {
        options: String,
    },
    Poweroff {
        eject: bool,
    },
    /// `kexec` is newer than RHEL 7, whose syntax is read here: always `false`.
    Reboot {
        eject: bool,
        kexec: bool,
    },
    Halt {
        eject: bool,
    },
    /// A command that only Anaconda has a use for, by its name.
    Foreign {
        name: String,
    },
}

/// A password as the kickstart gives it.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// `--plaintext`, or neither option.
    Plain(String),
    /// `--iscrypted`: a crypt(3) hash.
    Crypted(String),
}

impl std::fmt::Debug for Password {
    /// Never the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// `user`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct User {
    pub name: String,
    pub gecos: Option<String>,
    pub groups: Vec<String>,
    pub homedir: Option<String>,
    pub password: Option<Password>,
    pub lock: bool,
    pub shell: Option<String>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// `network`: one interface, or only the host name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Network {
    /// Interface name, MAC address, or `link`.
    pub device: Option<String>,
    /// Means nothing with `noipv4`: such an interface is up without an address.
    pub bootproto: Bootproto,
    pub ip: Option<Ipv4Addr>,
    pub netmask: Option<Ipv4Addr>,
    pub gateway: Option<Ipv4Addr>,
    pub nameservers: Vec<Ipv4Addr>,
    pub hostname: Option<String>,
    pub mtu: Option<u32>,
    pub nodefroute: bool,
    pub noipv4: bool,
    pub noipv6: bool,
    pub onboot: Option<bool>,
    pub activate: bool,
}

/// How an interface gets its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Bootproto {
    #[default]
    Dhcp,
    Static,
}

/// `clearpart`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Clearpart {
    All,
    Linux,
    None,
}

/// `part`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Part {
    /// `/`, `/boot`, `swap`, …
    pub mountpoint: String,
    pub size_mib: Option<u64>,
    pub maxsize_mib: Option<u64>,
    pub grow: bool,
    pub fstype: Option<String>,
    pub label: Option<String>,
    pub fsoptions: Option<String>,
    pub ondisk: Option<String>,
    pub asprimary: bool,
    pub recommended: bool,
}

/// `bootloader`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Bootloader {
    /// `mbr`, `partition`, `none`, `boot`.
    pub location: Option<String>,
    /// Extra kernel parameters.
    pub append: Vec<String>,
    pub timeout: Option<u32>,
    pub boot_drive: Option<String>,
    pub driveorder: Vec<String>,
}

/// `selinux`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Selinux {
    Enforcing,
    Permissive,
    Disabled,
}

/// `%packages … %end`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Packages {
    /// `@group` and `@^environment` lines, without the `@`.
    pub groups: Vec<OnLine<String>>,
    pub install: Vec<OnLine<String>>,
    /// `-name` lines, without the `-`.
    pub exclude: Vec<OnLine<String>>,
    /// Options of the section header, e.g. `--nobase`, `--ignoremissing`.
    pub options: Vec<String>,
}

/// When a script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptKind {
    /// Before the disk is touched, in the installer.
    Pre,
    /// After installation.
    Post,
}

/// `%pre` or `%post`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Script {
    pub kind: ScriptKind,
    /// `%post --nochroot`: run outside the installed system.
    pub nochroot: bool,
    /// `/bin/sh` unless `--interpreter` says otherwise.
    pub interpreter: String,
    pub erroronfail: bool,
    /// `--log`: file for the script's output.
    pub log: Option<String>,
    pub body: String,
}
