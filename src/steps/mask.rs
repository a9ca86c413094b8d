//! Secrets on their way out: what of a line may be shown.

use crate::recipe::Secrecy;

/// What stands for a secret text.
const STARS: &str = "***";

/// Decides about every line of a step's output, and of what its services wrote.
///
/// Texts are found as they stand. What a program makes of one (a hash, base64, another quoting
/// than the recipe's) is not known here, nor is one that is broken over lines of more than 64 KiB.
#[derive(Debug)]
pub(super) enum Mask {
    /// Nothing passes.
    Closed,
    /// Everything passes but these texts, the longest first.
    Texts(Vec<String>),
}

impl Mask {
    pub(super) fn new(secret: &Secrecy) -> Self {
        let values = match secret {
            Secrecy::Whole => return Mask::Closed,
            Secrecy::Open => &[],
            Secrecy::Values(values) => values.as_slice(),
        };
        // Output comes line by line, and programs take white space off.
        let lines = values.iter().flat_map(|value| value.lines());
        let mut texts: Vec<String> =
            lines.map(|line| line.trim().to_owned()).filter(|text| !text.is_empty()).collect();
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Mask::Texts(texts)
    }

    /// The line as it may be shown; `None` when it may not.
    pub(super) fn apply(&self, line: &str) -> Option<String> {
        let Mask::Texts(texts) = self else { return None };
        let hide = |line: String, text: &String| line.replace(text.as_str(), STARS);
        Some(texts.iter().fold(line.to_owned(), hide))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(values: &[&str]) -> Mask {
        Mask::new(&Secrecy::Values(values.iter().map(|v| (*v).to_owned()).collect()))
    }

    #[test]
    fn a_value_is_hidden_wherever_it_stands() {
        let mask = mask(&["11111", "openstack 11111!", "two\n  lines\n\n"]);
        let shown = |line: &str| mask.apply(line).unwrap();
        assert_eq!(shown("mysql://nova:11111@controller/nova"), "mysql://nova:***@controller/nova");
        assert_eq!(shown("openstack 11111! 111112"), "*** ***2");
        assert_eq!(shown("the lines two and four"), "the *** *** and four");
        assert_eq!(shown("nothing to hide"), "nothing to hide");
    }

    #[test]
    fn all_or_nothing() {
        assert_eq!(Mask::new(&Secrecy::Whole).apply("x"), None);
        assert_eq!(Mask::new(&Secrecy::Open).apply("x").as_deref(), Some("x"));
        assert_eq!(mask(&["", " "]).apply("a b").as_deref(), Some("a b"));
    }
}
