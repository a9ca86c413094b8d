//! Small pieces of text for people: cleaning what strangers wrote, durations, sizes, colour.
//!
//! Guests, recipes and child processes may print anything; nothing of theirs reaches the
//! terminal without passing [`clean`].

use std::time::Duration;

/// Longest line of foreign text that is shown, in characters.
const LONGEST: usize = 2000;

/// One line of foreign text without escape sequences and control characters.
///
/// A carriage return means what it means on a terminal: only what follows the last one stays.
pub fn clean(line: &str) -> String {
    let line = line.trim_end_matches(['\r', '\n']);
    let line = line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    let mut count = 0;
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_csi(&mut chars),
            '\t' => out.push_str("    "),
            c if is_unsafe(c) => {}
            c => out.push(c),
        }
        count += 1;
        if count == LONGEST {
            out.push('…');
            break;
        }
    }
    out
}

/// [`clean`] for each line of a text of several lines.
pub fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

/// Control characters, and the marks that turn the direction of writing around.
fn is_unsafe(c: char) -> bool {
    let direction = ['\u{200e}', '\u{200f}', '\u{061c}'];
    c.is_control()
        || direction.contains(&c)
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// What follows an ESC: a control sequence, a string up to its end, or one more character.
fn skip_escape(chars: &mut Chars<'_>) {
    match chars.next() {
        Some('[') => skip_csi(chars),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(chars),
        Some(' '..='/') => {
            chars.next();
        }
        _ => {}
    }
}

/// Parameters and the final byte of a control sequence.
fn skip_csi(chars: &mut Chars<'_>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

/// A string sequence (window titles, links): up to BEL or ESC \.
fn skip_string(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

/// `0.4 s`, `12 s`, `3 min 07 s`, `1 h 02 min`.
pub fn duration(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..10 => format!("{:.1} s", d.as_secs_f64()),
        10..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

/// `512 B`, `1.4 MiB`, `20 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let whole = unit == 0 || value >= 100.0 || value.fract() == 0.0;
    if whole {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether escape sequences for colour are written.
    pub color: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Went well.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Went wrong.
    pub fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Deserves attention.
    pub fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Stands out.
    pub fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Steps back.
    pub fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_controls_do_not_pass() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m"), "red");
        assert_eq!(clean("a\u{1b}]0;title\u{7}b\u{1b}]8;;http://x\u{1b}\\c"), "abc");
        assert_eq!(clean("x\u{9b}2Jy\u{8}\u{0}z\u{7f}"), "xyz");
        assert_eq!(clean("a\u{202e}b\tc\u{1b}(Bd"), "ab    cd");
        assert_eq!(clean("\u{1b}"), "");
    }

    #[test]
    fn a_carriage_return_leaves_what_a_terminal_would_show() {
        assert_eq!(clean("10 %\r50 %\r100 %\r\n"), "100 %");
        assert_eq!(clean("done\r"), "done");
    }

    #[test]
    fn long_lines_are_cut() {
        assert_eq!(clean(&"x".repeat(5000)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn durations_and_sizes_read_well() {
        let shown: Vec<_> =
            [0.44, 12.3, 187.0, 3725.0].map(|s| duration(Duration::from_secs_f64(s))).into();
        assert_eq!(shown, ["0.4 s", "12 s", "3 min 07 s", "1 h 02 min"]);
        let shown: Vec<_> = [512, 1024, 1_500_000, 20 << 30].map(size).into();
        assert_eq!(shown, ["512 B", "1 KiB", "1.4 MiB", "20 GiB"]);
    }
}
