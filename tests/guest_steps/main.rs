//! The guest agent client and the steps, against a real Debian guest.
//!
//! The guest is a lab of one machine that the first test brings up. Tests that reboot it or end it
//! take it for themselves; the others share it.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod actions;
mod exec;
mod exposed;
mod files;
mod live;
mod power;
#[path = "../support/mod.rs"]
mod support;
mod waits;
