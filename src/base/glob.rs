//! Names of packages with `*` in them, as kickstarts exclude them.

/// `*` matches anything; everything else itself.
pub fn matches_glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        assert!(matches_glob("cron", "cron"));
        assert!(!matches_glob("cron", "cron-daemon-common"));
        assert!(matches_glob("lib*-dev", "libssl-dev"));
        assert!(matches_glob("*", "x"));
        assert!(!matches_glob("NetworkManager*", "network-manager"));
    }
}
