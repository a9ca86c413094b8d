//! The leaves of a recipe that are text: names, sizes, durations, addresses, paths, scripts.
//!
//! Each says what it expects, how it is read, and what would have been right.

use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde_json::{Map as Json, Value, json};

use super::model::{Bytes, Subnet};
use super::shape::{Shape, TEMPLATE};
use super::source::Report;
use super::yaml::{Kind, Node};

/// What is wrong with a text, and what would be right.
type Wrong = (String, String);

/// A leaf that is read from text.
pub(super) trait Leaf: Sized {
    /// As in "expected …".
    const EXPECTED: &str;
    /// What the schema shows an editor; no more than the reader accepts.
    const PATTERN: &str;
    /// Whether a number or truth value is taken as the text it was written as.
    const ANY_SCALAR: bool = false;
    /// Whether text with nothing but white space in it is taken.
    const MAY_BE_EMPTY: bool = false;
    /// Reads the text.
    fn parse(text: &str) -> Result<Self, Wrong>;
    /// What to say about a number or truth value where text is needed.
    fn unquoted(written: &str) -> String {
        format!("put it in quotes: \"{written}\"")
    }
}

impl<T: Leaf> Shape for T {
    fn expected() -> String {
        T::EXPECTED.to_owned()
    }
    fn fits(node: &Node) -> bool {
        node.scalar().is_some_and(|scalar| scalar.kind != Kind::Null)
    }
    fn take(node: &Node, report: &mut Report) -> Option<Self> {
        let scalar = node.scalar()?;
        if scalar.kind != Kind::Text && !T::ANY_SCALAR {
            let message = format!("expected {}, found {}", T::EXPECTED, node.describe());
            report.fault(&node.at, message, T::unquoted(&scalar.text));
            return None;
        }
        if scalar.text.trim().is_empty() && !T::MAY_BE_EMPTY {
            let message = format!("expected {}, found empty text", T::EXPECTED);
            report.push(&node.at, message, None);
            return None;
        }
        match T::parse(&scalar.text) {
            Ok(value) => Some(value),
            Err((message, help)) => {
                report.fault(&node.at, message, help);
                None
            }
        }
    }
    fn schema(_: &mut Json<String, Value>) -> Value {
        let kinds = json!(["string", "number", "boolean"]);
        let kind = if T::ANY_SCALAR { kinds } else { json!("string") };
        let mut schema = json!({ "type": kind });
        if !T::PATTERN.is_empty() {
            schema["pattern"] = json!(format!("{}|{TEMPLATE}", T::PATTERN));
        }
        schema
    }
}

/// Declares text that must match a pattern.
macro_rules! names {
    ($($(#[doc = $doc:literal])* $name:ident($expected:literal, $pattern:literal, $help:literal);)*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(super) struct $name(pub String);

        impl Leaf for $name {
            const EXPECTED: &str = $expected;
            const PATTERN: &str = $pattern;
            fn parse(text: &str) -> Result<Self, Wrong> {
                static PATTERN: LazyLock<Regex> =
                    LazyLock::new(|| Regex::new($pattern).expect("the pattern is a constant"));
                match PATTERN.is_match(text) {
                    true => Ok($name(text.to_owned())),
                    false => Err((format!("`{}` is not {}", shown(text), $expected), $help.to_owned())),
                }
            }
        }
    )*};
}

impl StageFile {
    /// Whether a word could be the name of a stage file.
    pub fn accepts(word: &str) -> bool {
        Self::parse(word).is_ok()
    }
}

/// A text short enough for a message.
fn shown(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.len() == text.len() && line.chars().count() <= 60 {
        return text.to_owned();
    }
    format!("{}…", line.chars().take(59).collect::<String>())
}

names! {
    /// Name of a lab.
    LabName("a lab name", "^[a-z][a-z0-9-]{0,31}$",
        "small letters, digits and `-`, beginning with a letter, at most 32 characters");
    /// Name of a network.
    NetworkName("a network name", "^[a-z][a-z0-9-]{0,31}$",
        "small letters, digits and `-`, beginning with a letter, at most 32 characters");
    /// Name of an exposed port.
    ExposeName("a name for an exposed port", "^[a-z][a-z0-9-]{0,31}$",
        "small letters, digits and `-`, beginning with a letter, at most 32 characters");
    /// A path in a URL.
    UrlPath("a path of a URL", "^/[A-Za-z0-9/._~!$&'()*+,;=:@%?#-]*$",
        "it begins with `/` and holds what a URL may hold, such as `/horizon/`");
    /// Name of a machine.
    MachineName("a machine name", "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$",
        "a host name without dots: small letters, digits and inner `-`, beginning with a letter");
    /// Name of an interface.
    NicName("an interface name", "^[A-Za-z][A-Za-z0-9_.-]{0,14}$",
        "letters, digits, `_`, `.` and `-`, beginning with a letter, at most 15 characters");
    /// Handle of a step.
    StepId("a step id", "^[A-Za-z][A-Za-z0-9_-]{0,63}$",
        "letters, digits, `_` and `-`, beginning with a letter");
    /// Name of a variable.
    VarName("a variable name", "^[A-Za-z_][A-Za-z0-9_]{0,63}$",
        "letters, digits and `_`, beginning with a letter: templates read `-` as minus");
    /// Name of a base image.
    BaseName("the name of a base image", "^[a-z0-9][a-z0-9._-]{0,63}$",
        "as the file `images/<name>.yaml` is named: small letters, digits, `.`, `_`, `-`");
    /// A path inside the recipe's folder.
    InnerPath("a path inside the recipe's folder", "^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$",
        "a relative path of letters, digits, `.`, `_`, `-` and `/`, without `..`");
    /// A stage file.
    StageFile("the name of a stage file", r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*\.yaml$",
        "a file of the recipe's folder, or of a folder `stages` beside or above it, that ends in `.yaml`, such as `10-system.yaml`");
    /// A file that is included.
    SharedFile("the name of a file to include", r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*\.yaml$",
        "a file of the recipe's folder, or of a folder `stages` beside or above it, that ends in `.yaml`, such as `openstack/credentials.yaml`");
    /// A path in the guest.
    GuestPath("an absolute path", r"^(/([^/.\x00-\x1f]|\.[^/.\x00-\x1f]|\.\.[^/\x00-\x1f])[^/\x00-\x1f]*)+$",
        "it begins with `/`, names a file, and holds neither `.`, `..` nor empty parts");
    /// A package.
    PackageName("a package name", "^[A-Za-z0-9][A-Za-z0-9+._:~=-]*$",
        "one name per entry, such as `mariadb-server`");
    /// A unit.
    UnitName("a unit name", r"^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*$",
        "as systemctl knows it, such as `mariadb` or `cron.service`");
    /// Owner and group.
    Owner("an owner", r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$",
        "`user` or `user:group`");
    /// A host bridge.
    Bridge("the name of a bridge", "^[A-Za-z][A-Za-z0-9_.-]{0,14}$",
        "at most 15 characters, as `ip link` shows it, such as `br0`");
    /// A host to connect to.
    HostName("a host name or address", "^[A-Za-z0-9]([A-Za-z0-9.-]{0,252})$",
        "such as `controller` or `172.16.251.11`");
    /// A database.
    DatabaseName("a database name", "^[A-Za-z0-9_][A-Za-z0-9_$-]{0,63}$",
        "letters, digits, `_`, `$` and `-`");
    /// An emulated machine.
    MachineType("a versioned machine type", r"^pc-(q35|i440fx)-[0-9]+\.[0-9]+$",
        "with its version, so that the hardware never changes: `pc-q35-7.2`");
    /// A CPU model.
    CpuModel("a CPU model", "^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        "as `virsh cpu-models x86_64` lists it, such as `Nehalem`");
    /// One line for people.
    Line("one line of text", r"^[^\r\n\x00]*[^\s\x00][^\r\n\x00]*$",
        "not empty, and without line breaks");
    /// A section of an INI file.
    Section("a section name", r"^[^\[\]\r\n\x00]+$", "without brackets");
    /// A key of an INI file.
    IniKey("a key of an INI file", r"^[^=\[\]#;\s\x00]([^=\r\n\x00]*[^=\s\x00])?$", "one line, without `=`");
    /// Text with something in it.
    Script("text", r"[^\s]", "not empty: there is nothing to do");
}

/// Any text at all.
#[derive(Debug, Clone)]
pub(super) struct AnyText(pub String);

impl Leaf for AnyText {
    const EXPECTED: &str = "text";
    const PATTERN: &str = "";
    const MAY_BE_EMPTY: bool = true;
    fn parse(text: &str) -> Result<Self, Wrong> {
        Ok(AnyText(text.to_owned()))
    }
}

/// A value for people or files to read: kept as written.
#[derive(Debug, Clone)]
pub(super) struct AsWritten(pub String);

impl Leaf for AsWritten {
    const EXPECTED: &str = "text, a number or a truth value";
    const PATTERN: &str = "";
    const ANY_SCALAR: bool = true;
    const MAY_BE_EMPTY: bool = true;
    fn parse(text: &str) -> Result<Self, Wrong> {
        Ok(AsWritten(text.to_owned()))
    }
}

/// A value of an INI file; nothing removes the key.
#[derive(Debug, Clone)]
pub(super) struct IniValue(pub Option<String>);

impl Shape for IniValue {
    fn expected() -> String {
        "a value, or nothing to remove the key".to_owned()
    }
    fn fits(node: &Node) -> bool {
        node.scalar().is_some()
    }
    fn take(node: &Node, report: &mut Report) -> Option<Self> {
        if node.is_null() {
            return Some(IniValue(None));
        }
        let AsWritten(text) = AsWritten::take(node, report)?;
        if text.contains(['\n', '\r', '\0']) {
            let help = "a value of an INI file is one line";
            report.fault(&node.at, "this value has more than one line", help);
            return None;
        }
        Some(IniValue(Some(text)))
    }
    fn schema(_: &mut Json<String, Value>) -> Value {
        json!({ "type": ["string", "number", "boolean", "null"] })
    }
}

impl Leaf for Bytes {
    const EXPECTED: &str = "a size";
    const PATTERN: &str = "^[0-9]{1,9} ?[KMGT]iB$";
    fn parse(text: &str) -> Result<Self, Wrong> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let shift = match unit.strip_prefix(' ').unwrap_or(unit) {
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err(not_a_size(text, number, unit)),
        };
        let count: Option<u64> = number.parse().ok().filter(|_| number.len() <= 9);
        let bytes = count.and_then(|count| count.checked_mul(1 << shift));
        bytes.map(Bytes).ok_or_else(|| not_a_size(text, "", ""))
    }
    fn unquoted(written: &str) -> String {
        format!("a size needs a unit: `{written} MiB`, `{written} GiB`")
    }
}

fn not_a_size(text: &str, number: &str, unit: &str) -> Wrong {
    let letter = unit.trim().chars().next().map(|letter| letter.to_ascii_uppercase());
    let help = match letter {
        Some(letter @ ('K' | 'M' | 'G' | 'T')) if !number.is_empty() => {
            format!("write `{number} {letter}iB`")
        }
        _ => "a whole number and KiB, MiB, GiB or TiB, such as `2 GiB`".to_owned(),
    };
    (format!("`{}` is not a size", shown(text)), help)
}

impl Leaf for Duration {
    const EXPECTED: &str = "a duration";
    const PATTERN: &str = "^(?=.)([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$";
    fn parse(text: &str) -> Result<Self, Wrong> {
        static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new("^(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?$")
                .expect("the pattern is a constant")
        });
        let groups = PATTERN.captures(text).filter(|_| !text.is_empty()).ok_or_else(|| {
            let help = "hours, minutes and seconds, such as `90s`, `5m`, `1m30s`, `1h`";
            (format!("`{}` is not a duration", shown(text)), help.to_owned())
        })?;
        let part = |i: usize| {
            groups.get(i).and_then(|text| text.as_str().parse::<u64>().ok()).unwrap_or(0)
        };
        Ok(Duration::from_secs(part(1) * 3600 + part(2) * 60 + part(3)))
    }
    fn unquoted(written: &str) -> String {
        format!("a duration needs a unit: `{written}s`, `{written}m`")
    }
}

impl Leaf for Ipv4Addr {
    const EXPECTED: &str = "an IPv4 address";
    const PATTERN: &str = r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$";
    fn parse(text: &str) -> Result<Self, Wrong> {
        text.parse().map_err(|_| {
            let bare = text.split_once('/').map(|(address, _)| address);
            let help = match bare.filter(|address| address.parse::<Ipv4Addr>().is_ok()) {
                Some(address) => format!("the network knows its prefix: write `{address}`"),
                None => "four numbers from 0 to 255, such as `172.16.251.11`".to_owned(),
            };
            (format!("`{}` is not an IPv4 address", shown(text)), help)
        })
    }
}

impl Leaf for Subnet {
    const EXPECTED: &str = "an IPv4 network";
    const PATTERN: &str = r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/([89]|[12][0-9]|30)$";
    fn parse(text: &str) -> Result<Self, Wrong> {
        let parts = text.split_once('/').and_then(|(address, prefix)| {
            Some((address.parse::<Ipv4Addr>().ok()?, prefix.parse::<u8>().ok()?))
        });
        let Some((network, prefix @ 8..=30)) = parts else {
            let help = "address and prefix length from 8 to 30, such as `172.16.251.0/24`";
            return Err((format!("`{}` is not an IPv4 network", shown(text)), help.to_owned()));
        };
        let subnet = Subnet { network, prefix };
        let first = Ipv4Addr::from_bits(network.to_bits() & subnet.netmask().to_bits());
        if first != network {
            let message = format!("`{text}` has bits of a host in it");
            return Err((message, format!("the network of that address is `{first}/{prefix}`")));
        }
        if !(1..224).contains(&network.octets()[0]) || network.is_loopback() {
            let help = "take a private network, such as `172.16.251.0/24`";
            return Err((format!("`{text}` is no network for machines"), help.to_owned()));
        }
        Ok(subnet)
    }
}

/// A size written as recipes write it, or what is wrong and what would be right.
pub fn size(text: &str) -> Result<Bytes, (String, String)> {
    Leaf::parse(text)
}

/// A duration written as recipes write it, or what is wrong and what would be right.
pub fn duration(text: &str) -> Result<Duration, (String, String)> {
    Leaf::parse(text)
}

/// A file mode: text, because YAML 1.2 reads a bare `0644` as a decimal number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode(pub u32);

impl Leaf for Mode {
    const EXPECTED: &str = "a file mode in quotes";
    const PATTERN: &str = "^0?[0-7]{3}$|^[0-7]{4}$";
    fn parse(text: &str) -> Result<Self, Wrong> {
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let mode = octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
        mode.map(Mode).ok_or_else(|| {
            let help = "three or four octal digits, such as \"0644\"";
            (format!("`{}` is not a file mode", shown(text)), help.to_owned())
        })
    }
    fn unquoted(written: &str) -> String {
        format!("write \"{written}\": without quotes YAML reads a decimal number")
    }
}

/// A regular expression that compiles.
#[derive(Debug, Clone)]
pub(super) struct Pattern(pub String);

impl Leaf for Pattern {
    const EXPECTED: &str = "a regular expression";
    const PATTERN: &str = "[^\\s]";
    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() {
            let message = "an empty regular expression matches everything";
            return Err((message.to_owned(), "leave the key out, or say what to find".to_owned()));
        }
        match regex::RegexBuilder::new(text).multi_line(true).build() {
            Ok(_) => Ok(Pattern(text.to_owned())),
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                let reason = last.strip_prefix("error: ").unwrap_or(last).to_owned();
                Err(("this regular expression does not compile".to_owned(), reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(Bytes::parse("2 GiB").unwrap(), Bytes(2 << 30));
        assert_eq!(Bytes::parse("512MiB").unwrap(), Bytes(512 << 20));
        assert_eq!(Bytes::parse("2G").unwrap_err().1, "write `2 GiB`");
        assert_eq!(Bytes::parse("20 gb").unwrap_err().1, "write `20 GiB`");
        for wrong in ["", "GiB", "1.5 GiB", "-1 GiB", "2  GiB", "99999999999999999999 GiB"] {
            assert!(Bytes::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Bytes::parse("999999999 TiB").is_err());
    }

    #[test]
    fn durations() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h", 3600), ("1m30s", 90), ("0s", 0)] {
            assert_eq!(Duration::parse(text).unwrap(), Duration::from_secs(seconds));
        }
        for wrong in ["", "90", "s", "1s1m", "1d", "1.5s", "9999999s", "1 m"] {
            assert!(Duration::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn subnets() {
        assert_eq!(Subnet::parse("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        let help = Subnet::parse("172.16.251.11/24").unwrap_err().1;
        assert_eq!(help, "the network of that address is `172.16.251.0/24`");
        for wrong in ["10.0.0.0", "10.0.0.0/31", "0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/8", "/8"] {
            assert!(Subnet::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn guest_paths() {
        for right in ["/etc/hosts", "/.x", "/a/..b", "/a.b/c", "/etc/a..b", "/...", "/ü x"] {
            assert!(GuestPath::parse(right).is_ok(), "{right}");
        }
        for wrong in ["etc", "/", "/a/", "//a", "/a/../b", "/..", "/a/.", "/a/./b", "/a\nb", ""] {
            assert!(GuestPath::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_machines_and_interfaces() {
        for wrong in ["Controller", "1a", "a-", "a.b", "a_b", "", "-a", &"a".repeat(64)] {
            assert!(MachineName::parse(wrong).is_err(), "{wrong}");
        }
        assert!(MachineName::parse("compute-1").is_ok());
        assert!(NicName::parse("ens33").is_ok());
        assert!(NicName::parse("abcdefghijklmnop").is_err());
    }

    #[test]
    fn patterns_end_at_the_end_of_the_text() {
        assert!(MachineName::parse("a\n").is_err());
        assert!(PackageName::parse("--force").is_err());
        assert!(InnerPath::parse("a/../b").is_err());
        assert!(StageFile::parse("/10.yaml").is_err());
    }
}
