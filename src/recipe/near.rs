//! "Did you mean": the known word that a mistyped one is closest to.

/// Longer words, in bytes, are not mistyped ones.
const LONGEST: usize = 100;

/// The known word closest to `word`, if one is close enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let wanted = plain(word);
    let allowed = (wanted.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What to say about an unknown word: the closest one, or else all that are known.
pub(super) fn suggestion<'a>(
    word: &str,
    label: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(near) = nearest(word, known.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let mut list: Vec<String> = known.into_iter().map(|word| format!("`{word}`")).collect();
    list.dedup();
    (!list.is_empty()).then(|| format!("{label}: {}", list.join(", ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn swapped_missing_and_differently_joined_letters_are_near() {
        let known = ["memory", "machine", "stdout-contains"];
        assert_eq!(nearest("memroy", known), Some("memory"));
        assert_eq!(nearest("Machin", known), Some("machine"));
        assert_eq!(nearest("stdout_contains", known), Some("stdout-contains"));
        assert_eq!(nearest("disk", known), None);
    }

    #[test]
    fn a_short_word_is_not_near_to_everything() {
        assert_eq!(nearest("x", ["y"]), None);
        let said = suggestion("x", "known keys", ["to", "from"]).unwrap();
        assert_eq!(said, "known keys: `to`, `from`");
    }
}
