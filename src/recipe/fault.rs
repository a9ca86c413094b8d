//! One fault in a file that somebody wrote, with all that is needed to mend it.
//!
//! Readers collect faults and report them together; nothing stops at the first.

use std::fmt;

use super::model::Place;

/// One fault: where, the line itself, what is wrong, what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: Place,
    /// The offending line, without its newline.
    pub text: String,
    /// What is wrong, as a clause: "unknown key `memroy`".
    pub message: String,
    /// What would be right: "did you mean `memory`?".
    pub help: Option<String>,
}

impl fmt::Display for Fault {
    /// `file:line:column: message`, the line, a caret, the help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, line, column } = &self.at;
        write!(f, "{file}:{line}:{column}: {}", self.message)?;
        let number = line.to_string();
        let indent = " ".repeat(number.len());
        let text = self.text.replace('\t', " ");
        if !text.trim().is_empty() {
            let caret = " ".repeat((*column as usize).saturating_sub(1));
            write!(f, "\n {number} | {text}\n {indent} | {caret}^")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n {indent} = {help}")?;
        }
        Ok(())
    }
}

/// Every fault found in one reading, in file and line order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}
