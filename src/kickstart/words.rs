//! One line of a kickstart as words: the quoting rules of a POSIX shell, nothing expanded.
//!
//! A `#` outside quotes starts a comment even in the middle of a word, as it does in Anaconda.

/// A word and the column (in characters, from 1) at which it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    pub column: u32,
}

/// Why a line cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsplit {
    /// A quote, at this column, that nothing closes.
    OpenQuote(u32),
    /// A backslash, at this column, with nothing after it.
    LoneBackslash(u32),
}

/// Whether `#` starts a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comments {
    Dropped,
    Kept,
}

/// Splits a line (without its newline) into words.
pub(super) fn split(line: &str, comments: Comments) -> Result<Vec<Word>, Unsplit> {
    let mut splitter = Splitter { chars: line.chars().collect(), at: 0, words: Vec::new() };
    while splitter.skip_space(comments) {
        splitter.word(comments)?;
    }
    Ok(splitter.words)
}

struct Splitter {
    chars: Vec<char>,
    at: usize,
    words: Vec<Word>,
}

impl Splitter {
    fn next(&mut self) -> Option<char> {
        let c = self.chars.get(self.at).copied();
        self.at += usize::from(c.is_some());
        c
    }

    /// The column of the character last taken.
    fn column(&self) -> u32 {
        u32::try_from(self.at).unwrap_or(u32::MAX)
    }

    /// Moves to the next word; `false` at the end of the line or at a comment.
    fn skip_space(&mut self, comments: Comments) -> bool {
        while self.chars.get(self.at).copied().is_some_and(is_space) {
            self.at += 1;
        }
        match self.chars.get(self.at) {
            None => false,
            Some('#') => comments == Comments::Kept,
            Some(_) => true,
        }
    }

    fn word(&mut self, comments: Comments) -> Result<(), Unsplit> {
        let column = self.column() + 1;
        let mut text = String::new();
        while let Some(c) = self.next() {
            match c {
                c if is_space(c) => break,
                '#' if comments == Comments::Dropped => {
                    self.at = self.chars.len();
                    break;
                }
                '\'' => self.single_quoted(&mut text)?,
                '"' => self.double_quoted(&mut text)?,
                '\\' => {
                    let backslash = self.column();
                    text.push(self.next().ok_or(Unsplit::LoneBackslash(backslash))?);
                }
                c => text.push(c),
            }
        }
        self.words.push(Word { text, column });
        Ok(())
    }

    fn single_quoted(&mut self, text: &mut String) -> Result<(), Unsplit> {
        let open = self.column();
        loop {
            match self.next().ok_or(Unsplit::OpenQuote(open))? {
                '\'' => return Ok(()),
                c => text.push(c),
            }
        }
    }

    /// Inside double quotes a backslash is special only before itself and the quote.
    fn double_quoted(&mut self, text: &mut String) -> Result<(), Unsplit> {
        let open = self.column();
        loop {
            match self.next().ok_or(Unsplit::OpenQuote(open))? {
                '"' => return Ok(()),
                '\\' => match self.next().ok_or(Unsplit::OpenQuote(open))? {
                    c @ ('"' | '\\') => text.push(c),
                    c => text.extend(['\\', c]),
                },
                c => text.push(c),
            }
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// `text` as one word of a kickstart line or a shell script.
pub(super) fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r#"'"'"'"#))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        split(line, Comments::Dropped).unwrap().into_iter().map(|w| w.text).collect()
    }

    #[test]
    fn quotes_group_and_backslashes_escape() {
        assert_eq!(texts(r#"a "b c"'d e' f\ g"#), ["a", "b cd e", "f g"]);
        assert_eq!(texts(r#""a\"b\\c\d" 'e\f'"#), [r#"a"b\c\d"#, r"e\f"]);
        assert_eq!(texts(r#"--append="x y" '' """#), ["--append=x y", "", ""]);
    }

    #[test]
    fn a_hash_outside_quotes_ends_the_line_even_inside_a_word() {
        assert_eq!(texts("rootpw pass#word"), ["rootpw", "pass"]);
        assert_eq!(texts(r#"rootpw "pass#word" # it's"#), ["rootpw", "pass#word"]);
        let kept = split("%include #x", Comments::Kept).unwrap();
        assert_eq!(kept[1].text, "#x");
    }

    #[test]
    fn columns_count_characters() {
        let words = split("é  \"ü\" x", Comments::Dropped).unwrap();
        assert_eq!(words.iter().map(|w| w.column).collect::<Vec<_>>(), [1, 4, 8]);
    }

    #[test]
    fn what_stays_open_is_pointed_at() {
        let fail = |line| split(line, Comments::Dropped).unwrap_err();
        assert_eq!(fail("lang 'en"), Unsplit::OpenQuote(6));
        assert_eq!(fail(r#"lang "en\"#), Unsplit::OpenQuote(6));
        assert_eq!(fail(r"lang en \"), Unsplit::LoneBackslash(9));
    }

    #[test]
    fn what_is_quoted_splits_into_itself() {
        for text in ["", "plain", "two words", "it's", "#", "\\", "$x", "a\"b", "é", "'", "''"] {
            assert_eq!(texts(&quote(text)), [text], "{text:?}");
        }
    }
}
