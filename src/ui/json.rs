//! `--json`: one event per line, for programs.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;

/// One line: `value` with the time it was written, in seconds since 1970.
pub fn line(value: &impl Serialize) -> String {
    stamped(value, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis())
}

fn stamped(value: &impl Serialize, millis: u128) -> String {
    let mut value = serde_json::to_value(value).unwrap_or(Value::Null);
    if let Value::Object(map) = &mut value {
        map.insert("time".to_owned(), Value::from(millis as f64 / 1000.0));
    }
    escape(&value.to_string())
}

/// JSON leaves some control characters as they are; a terminal would obey them. They can only
/// stand inside strings, so an escape in their place is the same value.
fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    #[test]
    fn an_event_is_one_line_and_keeps_every_character() {
        let text = "a\nb\u{9b}c\u{1b}[0m\u{7f}";
        let event = Event::Output { machine: "c".into(), line: text.into() };
        let line = stamped(&event, 1_500);
        assert_eq!(
            line,
            r#"{"kind":"output","machine":"c","line":"a\nb\u009bc\u001b[0m\u007f","time":1.5}"#
        );
        let back: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back["line"], text);
    }
}
