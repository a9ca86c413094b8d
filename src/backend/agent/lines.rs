//! Output as it arrives: where the command's own output ends, the last of it kept, and lines.

/// The last bytes of a stream, and how many there were in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// The last bytes, at most [`Captured::KEPT`].
    pub bytes: Vec<u8>,
    /// How many bytes the stream had.
    pub total: u64,
}

impl Captured {
    /// How much of a stream is kept.
    pub const KEPT: usize = 1 << 20;

    /// The kept part as text; bytes that are not UTF-8 become `U+FFFD`.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Whether the beginning is missing.
    pub fn is_cut(&self) -> bool {
        self.total > self.bytes.len() as u64
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > 2 * Self::KEPT {
            self.trim();
        }
    }

    /// Cuts down to what is kept; called once at the end, and when twice as much has come.
    pub(super) fn trim(&mut self) {
        let excess = self.bytes.len().saturating_sub(Self::KEPT);
        self.bytes.drain(..excess);
    }
}

/// Cuts bytes into lines for people: lossy UTF-8, terminal control removed, and of a line that
/// was overwritten with carriage returns only what a terminal would show last.
#[derive(Debug, Default)]
pub struct Lines {
    pending: Vec<u8>,
}

/// A line longer than this is delivered in pieces.
const LONGEST: usize = 64 * 1024;

impl Lines {
    /// Takes bytes, hands over each line that they complete.
    pub fn push(&mut self, bytes: &[u8], mut on_line: impl FnMut(&str)) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|b| *b == b'\n') {
            self.pending.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            self.deliver(&mut on_line);
        }
        self.pending.extend_from_slice(rest);
        while self.pending.len() > LONGEST {
            let tail = self.pending.split_off(char_boundary(&self.pending, LONGEST));
            self.deliver(&mut on_line);
            self.pending = tail;
        }
    }

    /// The stream has ended: hands over the last line if it had no newline.
    pub fn finish(&mut self, mut on_line: impl FnMut(&str)) {
        if !self.pending.is_empty() {
            self.deliver(&mut on_line);
        }
    }

    fn deliver(&mut self, on_line: &mut impl FnMut(&str)) {
        on_line(&shown(&String::from_utf8_lossy(&self.pending)));
        self.pending.clear();
    }
}

/// The last place at or before `at` where no UTF-8 sequence is cut in two.
fn char_boundary(bytes: &[u8], at: usize) -> usize {
    let is_start = |i: &usize| bytes[*i] & 0b1100_0000 != 0b1000_0000;
    (at.saturating_sub(3)..=at).rev().find(is_start).unwrap_or(at)
}

/// What a terminal shows of a line in the end.
fn shown(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    let last = line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
    without_control(last)
}

/// Removes escape sequences and control characters; tabs stay.
fn without_control(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        // CSI: parameters, then one final byte.
        Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
        // OSC: up to BEL or ESC \.
        Some(']') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        _ => {}
    }
}

/// Finds the runner's end mark in a stream, across reads: a NUL, the nonce, a space, the exit
/// status and a newline. What comes after it (from children left behind) is not ours.
#[derive(Debug)]
pub(super) struct EndMark {
    needle: Vec<u8>,
    held: Vec<u8>,
    /// The exit status in the mark, once it has come.
    pub(super) status: Option<i32>,
}

impl EndMark {
    pub(super) fn new(nonce: &str) -> Self {
        let needle = format!("\0{nonce} ").into_bytes();
        EndMark { needle, held: Vec::new(), status: None }
    }

    /// Takes bytes as read; gives back those that are certainly the command's output.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.status.is_some() {
            return Vec::new();
        }
        self.held.extend_from_slice(bytes);
        let (out, held) = match find(&self.held, &self.needle) {
            Some(at) => (at, self.read_status(at)),
            None => {
                let at = self.held.len() - self.begun();
                (at, false)
            }
        };
        let rest = self.held.split_off(out);
        let passed = std::mem::replace(&mut self.held, rest);
        if held {
            self.held.clear();
        }
        passed
    }

    /// Whatever was held back as the possible beginning of a mark.
    pub(super) fn give_up(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Reads the status of the mark at `at`, if it is there to its newline.
    fn read_status(&mut self, at: usize) -> bool {
        let digits = &self.held[at + self.needle.len()..];
        let Some(end) = digits.iter().position(|b| *b == b'\n') else { return false };
        self.status = std::str::from_utf8(&digits[..end]).ok().and_then(|d| d.parse().ok());
        self.status.is_some()
    }

    /// How many bytes at the end could be the beginning of the mark.
    fn begun(&self) -> usize {
        let most = self.needle.len().min(self.held.len());
        (1..=most).rev().find(|n| self.held.ends_with(&self.needle[..*n])).unwrap_or(0)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|b| *b == needle[0]) {
        let at = from + at;
        if haystack[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut got) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |line| got.push(line.to_owned()));
        }
        lines.finish(|line| got.push(line.to_owned()));
        got
    }

    #[test]
    fn lines_come_whole_wherever_the_pieces_are_cut() {
        let text = "eins\nzwei · drei\n\nvier".as_bytes();
        for cut in 0..text.len() {
            let got = lines_of(&[&text[..cut], &text[cut..]]);
            assert_eq!(got, ["eins", "zwei · drei", "", "vier"], "cut at {cut}");
        }
    }

    #[test]
    fn an_overwritten_line_shows_its_last_state() {
        assert_eq!(lines_of(&[b" 10%\r 50%\r100%\n"]), ["100%"]);
        assert_eq!(lines_of(&[b"dos\r\n", b" 10%\r\r"]), ["dos", " 10%"]);
    }

    #[test]
    fn control_sequences_and_foreign_bytes_do_no_harm() {
        assert_eq!(lines_of(&[b"\x1b[1;31mred\x1b[0m\x07 \xff\tend\x00\n"]), ["red \u{fffd}\tend"]);
        assert_eq!(lines_of(&[b"\x1b]0;title\x07text\n", b"\x1b"]), ["text", ""]);
    }

    #[test]
    fn an_endless_line_is_cut_between_characters() {
        let long = "é".repeat(LONGEST);
        let got = lines_of(&[long.as_bytes()]);
        assert!(got.len() >= 2);
        assert_eq!(got.concat(), long);
    }

    #[test]
    fn the_mark_is_found_wherever_the_pieces_are_cut() {
        let stream = b"a\0b\0abc x\0abcd 17\nlater noise";
        for cut in 0..stream.len() {
            let mut mark = EndMark::new("abcd");
            let mut out = mark.pass(&stream[..cut]);
            out.extend(mark.pass(&stream[cut..]));
            assert_eq!((out.as_slice(), mark.status), (&b"a\0b\0abc x"[..], Some(17)), "{cut}");
        }
    }

    #[test]
    fn only_the_end_of_a_long_stream_is_kept() {
        let mut captured = Captured::default();
        for i in 0..40 {
            captured.push(&vec![i; 100_000]);
        }
        captured.trim();
        assert_eq!((captured.bytes.len(), captured.total), (Captured::KEPT, 4_000_000));
        assert_eq!(captured.bytes.last(), Some(&39));
        assert!(captured.is_cut());
    }
}
