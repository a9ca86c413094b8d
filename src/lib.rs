//! labbuild turns a recipe into a lab: virtual machines on networks, installed by kickstart,
//! configured by steps, checked, and frozen as qcow2 images that boot the same way every time.
//!
//! The rooms, and who may call whom, are in ARCHITECTURE.md; a test holds the table.

pub mod backend;
pub mod base;
pub mod build;
pub mod bundle;
pub mod cli;
pub mod commands;
pub mod digest;
pub mod event;
pub mod graph;
pub mod host;
pub mod kickstart;
pub mod lab;
pub mod plan;
pub mod recipe;
pub mod sandbox;
pub mod steps;
pub mod store;
pub mod ui;
