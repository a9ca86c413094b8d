//! How an error looks: what is wrong, in detail where there is detail, and what helps.

use serde::Serialize;
use serde_json::Value;

use super::text::{Style, clean_lines};

/// An error, ready to be shown.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `failed`, `usage`, …: the reason behind the exit code.
    pub reason: &'static str,
    /// The exit code that follows.
    pub exit_code: u8,
    /// What is wrong; may have several lines.
    pub message: String,
    /// What helps: commands, sentences.
    pub hints: Vec<String>,
    /// What went before the message as text and belongs beside it as data.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

impl Report {
    /// As text for people.
    pub fn text(&self, style: Style) -> String {
        let message = clean_lines(self.message.trim_end());
        let mut out = format!("{} {message}", style.bad("error:"));
        for hint in &self.hints {
            let hint = clean_lines(hint).replace('\n', "\n      ");
            out.push_str(&format!("\n{} {hint}", style.strong("hint:")));
        }
        out
    }

    /// As one JSON object with `"kind": "error"`.
    pub fn json(&self) -> Value {
        let mut object = serde_json::Map::from_iter([("kind".to_owned(), Value::from("error"))]);
        if let Ok(Value::Object(fields)) = serde_json::to_value(self) {
            object.extend(fields);
        }
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        Report {
            reason: "failed",
            exit_code: 1,
            message: "step failed\n  | last \u{1b}[2Jword".into(),
            hints: vec!["look:\nlabbuild ssh c".into()],
            data: Value::Null,
        }
    }

    #[test]
    fn people_see_message_and_hints_without_escapes() {
        let text = sample().text(Style { color: false });
        assert_eq!(text, "error: step failed\n  | last word\nhint: look:\n      labbuild ssh c");
    }

    #[test]
    fn programs_see_an_object() {
        assert_eq!(sample().json()["kind"], "error");
        assert_eq!(sample().json()["exit_code"], 1);
        assert!(sample().json().get("data").is_none());
    }
}
