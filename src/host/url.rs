//! Web addresses that strangers write: which are taken, and what of one may be shown.

/// Why an address is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It has no `http` or `https` scheme, no host, or a character that no address has.
    NoAddress,
    /// It holds a name or a password.
    Credentials,
}

/// Whether this is an `http` or `https` address of a host, without a name or a password in it.
pub fn check(text: &str) -> Result<(), Wrong> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'\\`<>{}|^".contains(&b));
    let authority = authority(text).filter(|_| plain).ok_or(Wrong::NoAddress)?;
    if authority.contains('@') {
        return Err(Wrong::Credentials);
    }
    match is_host(authority) {
        true => Ok(()),
        false if text.contains('@') => Err(Wrong::Credentials),
        false => Err(Wrong::NoAddress),
    }
}

/// What stands between the scheme and the path.
fn authority(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    let known = ["http", "https"].iter().any(|one| scheme.eq_ignore_ascii_case(one));
    known.then(|| rest.split(['/', '?', '#']).next().unwrap_or_default())
}

/// A host, and perhaps a port.
fn is_host(authority: &str) -> bool {
    let inside_brackets = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match inside_brackets {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or("none"))),
        None => authority.split_once(':').map_or((authority, None), |(h, p)| (h, Some(p))),
    };
    !host.is_empty() && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// A line without what stands before the `@` of the addresses in it: names and passwords.
pub fn without_passwords(line: &str) -> String {
    line.split_inclusive([' ', '\t', ',']).map(without_password).collect()
}

fn without_password(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    let whole = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // A password may have a slash in it, although it must not: then what is left of it is no port.
    let secret = whole.contains('@') || !is_host(whole);
    match rest.rsplit_once('@').filter(|_| secret) {
        Some((_, after)) => format!("{scheme}://…@{after}"),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_scheme_and_a_host() {
        for good in [
            "http://a.example",
            "HTTPS://a.example:8443/x@y?z#w",
            "http://[fe80::1]:80/",
            "http://10.0.0.1/debian/",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "x",
            "http://",
            "http:///x",
            "file:///x",
            "ssh://x",
            "http://x:y/",
            "http://x/ y",
            "http://x/\"",
            "http://x\\y/",
            "http://x/\u{1b}[2J",
            "http://[::1]80/",
            "tor+http://x/",
        ] {
            assert_eq!(check(bad), Err(Wrong::NoAddress), "{bad}");
        }
    }

    #[test]
    fn credentials_are_told_apart_and_never_shown() {
        for bad in ["http://ann:secret@x/", "https://ann@x/", "http://ann:sec/ret@x/d.qcow2"] {
            assert_eq!(check(bad), Err(Wrong::Credentials), "{bad}");
            let line = format!("url: {bad}");
            let shown = without_passwords(&line);
            assert!(shown.starts_with("url: http") && shown.contains("://…@x/"), "{shown}");
            assert!(!shown.contains("ann") && !shown.contains("ret"), "{shown}");
        }
    }

    #[test]
    fn an_address_without_credentials_is_shown_whole() {
        for line in ["http://evil.example/x@good.example/d", "a: b@c", "mail ann@x.example"] {
            assert_eq!(without_passwords(line), line);
        }
    }
}
