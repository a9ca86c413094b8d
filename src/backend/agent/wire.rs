//! The agent's language: one JSON command out, one JSON reply in, typed by `qapi`.

use std::marker::PhantomData;

use qapi::qga::QgaCommand;
use qapi::{Execute, Never};
use serde::Deserialize;

/// What a reply says.
#[derive(Debug)]
pub(super) enum Reply<T> {
    /// The command was carried out.
    Done(T),
    /// The agent said no, in its words.
    Refused(String),
    /// Not a reply to this command: what is wrong with it.
    Garbage(String),
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "return")]
    value: Option<serde_json::Value>,
    error: Option<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    desc: String,
}

/// The command as the agent reads it.
pub(super) fn encode<C: QgaCommand>(command: &C) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Execute::<&C, Never> {
        execute: PhantomData,
        arguments: command,
        id: None,
    })
}

/// The reply to a command of type `C`.
pub(super) fn decode<C: QgaCommand>(reply: &str) -> Reply<C::Ok> {
    let envelope: Envelope = match serde_json::from_str(reply) {
        Ok(envelope) => envelope,
        Err(e) => return Reply::Garbage(e.to_string()),
    };
    match (envelope.error, envelope.value) {
        (Some(fault), _) => Reply::Refused(fault.desc),
        (None, None) => Reply::Garbage("neither `return` nor `error`".to_owned()),
        (None, Some(value)) => match serde_json::from_value(value) {
            Ok(value) => Reply::Done(value),
            Err(e) => Reply::Garbage(e.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use qapi::qga::{guest_exec_status, guest_file_open, guest_ping};

    #[test]
    fn a_command_is_written_as_the_agent_reads_it() {
        let open = guest_file_open { path: "/a \"b\"".into(), mode: Some("r".into()) };
        insta::assert_snapshot!(encode(&open).unwrap(), @r#"{"execute":"guest-file-open","arguments":{"mode":"r","path":"/a \"b\""}}"#);
        insta::assert_snapshot!(encode(&guest_ping {}).unwrap(), @r#"{"execute":"guest-ping","arguments":{}}"#);
    }

    #[test]
    fn replies_are_told_apart() {
        let done = decode::<guest_file_open>(r#"{"return": 1000}"#);
        assert!(matches!(done, Reply::Done(1000)), "{done:?}");
        let no = r#"{"error": {"class": "GenericError", "desc": "no such handle", "x": 1}}"#;
        let no = decode::<guest_file_open>(no);
        assert!(matches!(&no, Reply::Refused(words) if words == "no such handle"), "{no:?}");
    }

    #[test]
    fn garbage_is_named() {
        for garbage in ["", "{", "[]", "{}", r#"{"return": "x"}"#, "\u{1}{\"return\": 1}"] {
            let reply = decode::<guest_exec_status>(garbage);
            assert!(matches!(reply, Reply::Garbage(_)), "{garbage:?}: {reply:?}");
        }
    }
}
