//! A serial console as lines of plain text: colours and control characters go, cursor movements
//! end a line, because an installer that draws on its terminal writes no line breaks.

/// A line without an end is cut here.
const LONGEST: usize = 4096;

/// Takes bytes as they come and gives lines.
#[derive(Debug, Default)]
pub(super) struct Console {
    line: Vec<u8>,
    state: State,
}

/// Where in an escape sequence the next byte stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Escape,
    /// After `ESC [`: parameters, then one final byte.
    Control,
    /// After `ESC ]` and the like: a text up to BEL or `ESC \`.
    Quoted,
    QuotedEscape,
    /// After `ESC (` and the like: one more byte.
    Charset,
}

impl Console {
    /// The lines that end within `bytes`; empty ones are left out.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if self.byte(byte) || self.line.len() >= LONGEST {
                lines.extend(self.take());
            }
        }
        lines
    }

    /// What stands on the line that has no end yet.
    pub fn unfinished(&self) -> String {
        String::from_utf8_lossy(&self.line).trim().to_owned()
    }

    /// The unfinished line, as a last one.
    pub fn take(&mut self) -> Option<String> {
        let line = self.unfinished();
        self.line.clear();
        (!line.is_empty()).then_some(line)
    }

    /// Takes one byte; true where it ends the line.
    fn byte(&mut self, byte: u8) -> bool {
        match (self.state, byte) {
            (State::Text, b'\n' | b'\r') => return true,
            (State::Text, 0x1b) => self.state = State::Escape,
            (State::Text, b'\t') => self.line.push(b' '),
            (State::Text, byte) if byte >= b' ' && byte != 0x7f => self.line.push(byte),
            (State::Text, _) => {}
            (State::Escape, b'[') => self.state = State::Control,
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => self.state = State::Quoted,
            (State::Escape, b' '..=b'/') => self.state = State::Charset,
            (State::Control, b' '..=b'?') => {}
            (State::Control, last) => {
                self.state = State::Text;
                return moves(last);
            }
            (State::Quoted, 0x07) => self.state = State::Text,
            (State::Quoted, 0x1b) => self.state = State::QuotedEscape,
            (State::Quoted, _) => {}
            (State::QuotedEscape, _) | (State::Escape, _) | (State::Charset, _) => {
                self.state = State::Text;
            }
        }
        false
    }
}

/// Whether a control sequence with this final byte puts the cursor elsewhere.
fn moves(last: u8) -> bool {
    b"ABEFHdfr".contains(&last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let mut console = Console::default();
        let mut lines = console.feed(bytes);
        lines.extend(console.take());
        lines
    }

    #[test]
    fn lines_arrive_in_pieces_and_empty_ones_not_at_all() {
        let mut console = Console::default();
        assert!(console.feed(b"[    0.00").is_empty());
        assert_eq!(console.unfinished(), "[    0.00");
        assert_eq!(console.feed(b"0] Linux\r\n\r\n$ "), ["[    0.000] Linux"]);
        assert_eq!(console.unfinished(), "$");
    }

    #[test]
    fn a_drawing_installer_is_read_too() {
        let drawn =
            b"\x1b[1;1H\x1b(B\x1b[mInstalling bash (1/9)\x1b[K\x1b[2;1HInstalling \x1b[1mcron\
                      \x1b[0m (2/9)\x1b[24;1H\x1b]0;title\x07[anaconda] 1:main* \x1bPx\x1b\\";
        assert_eq!(
            lines(drawn),
            ["Installing bash (1/9)", "Installing cron (2/9)", "[anaconda] 1:main*"]
        );
    }

    #[test]
    fn no_byte_breaks_it_and_no_line_grows_without_end() {
        let mut all: Vec<u8> = (0..=255).cycle().take(4096).collect();
        all.extend([b'x'; 3 * LONGEST]);
        let lines = lines(&all);
        assert!(lines.iter().all(|line| line.chars().count() <= LONGEST));
        assert!(lines.iter().flat_map(|line| line.chars()).all(|c| !c.is_ascii_control()));
        assert!(lines.len() >= 3);
    }
}
