//! One line of `sources:` in a base definition: apt's one-line format, less everything by which a
//! stranger could have unsigned packages installed or reach files of the host.

use std::path::Path;

use serde::Serialize;

use crate::host::foreign::Folder;
use crate::host::url;

/// The largest key that is taken, in bytes.
const KEY_LIMIT: u64 = 64 << 10;

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// `deb [signed-by=KEY] PLACE SUITE COMPONENT…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceLine {
    /// Name of a key file beside the definition.
    pub signed_by: Option<String>,
    /// An address; `None` for `default`: the host's own place, or mmdebstrap's.
    pub place: Option<String>,
    /// The release, as the archive names it.
    pub suite: String,
    /// Parts of the archive, at least one.
    pub components: Vec<String>,
}

/// A fault and what would be right.
pub type Wrong = (String, &'static str);

impl SourceLine {
    /// Reads a line.
    pub fn parse(line: &str) -> Result<Self, Wrong> {
        let (options, rest) = options(line)?;
        let mut words = rest.split_ascii_whitespace();
        let (place, suite) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let components: Vec<String> = words.map(str::to_owned).collect();
        if suite.ends_with('/') {
            let help = "an archive with suites and components; `apt-ftparchive` makes one";
            return Err((format!("`{suite}` names a flat archive, which is not supported"), help));
        }
        if suite.is_empty() || components.is_empty() {
            let help = "`deb PLACE SUITE COMPONENT`, e.g. `deb default bookworm main`";
            return Err(("an apt source names a place, a suite and components".to_owned(), help));
        }
        let plain = |word: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._/+~".contains(&b);
            word.bytes().all(allowed) && !word.starts_with(['-', '.', '/']) && !word.contains("..")
        };
        if let Some(bad) =
            [suite].into_iter().chain(components.iter().map(String::as_str)).find(|w| !plain(w))
        {
            return Err((
                format!("`{bad}` is no suite or component"),
                "letters, digits and `-._/+~`",
            ));
        }
        let (signed_by, place) = (signed_by(options)?, place_of(place)?);
        if let (Some(key), None) = (&signed_by, &place) {
            let help =
                "an address in place of `default`: the host's own archive has the host's keys";
            return Err((format!("`{key}` signs no archive of this host's"), help));
        }
        Ok(SourceLine { signed_by, place, suite: suite.to_owned(), components })
    }

    /// The line for apt, which finds the key in the folder `keys` and the default place at `default`.
    pub fn line(&self, keys: &str, default: &str) -> String {
        let option = self.signed_by.as_ref().map(|key| format!("[signed-by={keys}/{key}] "));
        let place = self.place.as_deref().unwrap_or(default);
        let option = option.unwrap_or_default();
        format!("deb {option}{place} {} {}", self.suite, self.components.join(" "))
    }
}

/// What stands in brackets, and what follows.
fn options(line: &str) -> Result<(&str, &str), Wrong> {
    let help = "one-line apt sources, e.g. `deb default bookworm main`";
    let rest = line.strip_prefix("deb ").map(str::trim_start);
    let rest =
        rest.ok_or_else(|| (format!("`{}` is not an apt source", line.escape_debug()), help))?;
    if !line.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Err(("an apt source is one line of plain characters".to_owned(), help));
    }
    match rest.strip_prefix('[') {
        None => Ok(("", rest)),
        Some(inside) => inside
            .split_once(']')
            .ok_or_else(|| ("the bracket does not end".to_owned(), "`[signed-by=KEY.asc]`")),
    }
}

fn signed_by(options: &str) -> Result<Option<String>, Wrong> {
    let mut key = None;
    for option in options.split_ascii_whitespace() {
        let Some(name) = option.strip_prefix("signed-by=") else {
            let name = option.split('=').next().unwrap_or_default();
            let help = "only `signed-by=KEY.asc` may stand there: packages are verified";
            return Err((format!("`{name}` is no option that a source may have"), help));
        };
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if !plain || name.starts_with('.') || !name.ends_with(".asc") {
            let help = "the name of an armored key beside the definition, e.g. `archive.asc`";
            return Err((format!("`{name}` is not the name of a key file"), help));
        }
        key = Some(name.to_owned());
    }
    Ok(key)
}

fn place_of(place: &str) -> Result<Option<String>, Wrong> {
    if place == "default" {
        return Ok(None);
    }
    let shown = url::without_passwords(place);
    match url::check(place) {
        Ok(()) if !place.contains(['$', '[', ']', '?', '#']) => Ok(Some(place.to_owned())),
        Err(url::Wrong::Credentials) => {
            let help = "apt's own auth.conf holds credentials; a recipe is read by others";
            Err((format!("`{shown}` holds credentials"), help))
        }
        _ => {
            let help = "`http://` or `https://` and a host, or `default`";
            Err((format!("`{shown}` is no place of an archive"), help))
        }
    }
}

/// The text of a key beside the definition.
pub fn read_key(dir: &Path, name: &str) -> Result<String, Wrong> {
    let help = "`gpg --armor --export` writes one";
    let read = Folder::open(dir).and_then(|folder| folder.with_links().text(name, KEY_LIMIT));
    let text = read.map_err(|e| (e.to_string(), help))?;
    if !text.contains(BEGIN) || text.contains("PRIVATE KEY") {
        return Err((format!("`{name}` is not an armored public key"), help));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wrong(line: &str) -> String {
        SourceLine::parse(line).unwrap_err().0
    }

    #[test]
    fn sources_as_people_write_them_are_read() {
        let line = SourceLine::parse("deb  default bookworm-security main contrib").unwrap();
        assert_eq!(line.place, None);
        let shown = line.line("/keys", "http://here.example/debian");
        assert_eq!(shown, "deb http://here.example/debian bookworm-security main contrib");
        let line = "deb [signed-by=lab.asc] HTTPS://lab.example/x bookworm/updates main";
        let line = SourceLine::parse(line).unwrap();
        let shown = line.line("/in/keys", "");
        assert_eq!(
            shown,
            "deb [signed-by=/in/keys/lab.asc] HTTPS://lab.example/x bookworm/updates main"
        );
    }

    #[test]
    fn nothing_else_stands_in_brackets() {
        for option in
            ["trusted=yes", "allow-insecure=yes", "arch=amd64", "signed-by=a.asc trusted=yes"]
        {
            let said = wrong(&format!("deb [{option}] http://x y main"));
            assert!(said.contains("no option that a source may have"), "{said}");
        }
        for key in ["../a.asc", "/etc/a.asc", "a.gpg", ".asc", "a b.asc", ""] {
            assert!(
                SourceLine::parse(&format!("deb [signed-by={key}] http://x y main")).is_err(),
                "{key}"
            );
        }
    }

    #[test]
    fn places_are_archives_on_the_web_and_show_no_password() {
        for place in [
            "file:///etc",
            "copy:/x",
            "cdrom:x",
            "http:///x",
            "ssh://x",
            "tor+http://x",
            "http://x/$(id)",
        ] {
            assert!(wrong(&format!("deb {place} y main")).contains("no place"), "{place}");
        }
        let said = wrong("deb http://ann:secret@x/ y main");
        assert!(said.contains("credentials") && !said.contains("secret"), "{said}");
    }

    #[test]
    fn flat_archives_and_halves_are_named() {
        assert!(wrong("deb http://x ./").contains("flat archive"));
        assert!(wrong("deb http://x y").contains("components"));
        assert!(wrong("deb-src http://x y main").contains("not an apt source"));
        assert!(wrong("deb http://x ../y main").contains("no suite"));
        assert!(wrong("deb [signed-by=a.asc http://x y main").contains("bracket"));
        assert!(wrong("deb [signed-by=a.asc] default y main").contains("signs no archive"));
    }

    #[test]
    fn a_key_is_a_public_one_beside_the_definition() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.asc"), format!("{BEGIN}\n")).unwrap();
        std::fs::write(dir.path().join("b.asc"), "-----BEGIN PGP PRIVATE KEY BLOCK-----\n")
            .unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("c.asc")).unwrap();
        assert!(read_key(dir.path(), "a.asc").is_ok());
        for name in ["b.asc", "c.asc", "d.asc"] {
            assert!(read_key(dir.path(), name).is_err(), "{name}");
        }
    }
}
