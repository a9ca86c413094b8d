//! Kickstart: a template becomes an answer file, an answer file becomes typed commands.
//!
//! Pure: text in, text or commands out. What a command does to a tree is `base`'s business.
//! The syntax is RHEL 7's, all of it, as Anaconda and `ksvalidator -v RHEL7` read it. What
//! labbuild itself could not carry out is well-formed too, and kept as
//! [objections](Kickstart::objections).
//!
//! # What a template sees
//!
//! Templates are minijinja with strict undefined values. `{% include "common.ks" %}` takes in
//! another template of the folder; `%include NAME` stays for [`parse`], which takes the file as
//! it is. The filter `quote` makes a value one word. In a script, `${#…}` must stand between
//! `{% raw %}` and `{% endraw %}`, because `{#` begins a comment.
//!
//! ```text
//! lab:         { name, title }
//! machine:     { name, cpus, memory_mib, disk_mib, nics: [NIC] }
//! machines:    { <machine>: { nics: { <nic>: NIC } } }
//! networks:    { <network>: { kind, subnet, netmask, prefix, host|null, gateway|null } }
//! nameservers: [address]
//! vars:        { <name>: text }
//!
//! NIC: { name, mac, network, kind ("host-only" | "bridged" | "isolated"),
//!        address|null, netmask|null, prefix|null, gateway|null }
//! ```

mod contradictions;
mod convert;
mod convert_disk;
mod convert_foreign;
mod convert_network;
mod finding;
mod foreign;
pub mod model;
mod notices;
mod options;
mod parser;
mod render;
mod rules;
mod sections;
mod source;
mod statement;
mod suggest;
mod syntax;
#[cfg(test)]
mod tests;
mod words;

pub use finding::{Finding, Judge};
pub use model::*;
pub use notices::notices;
pub use parser::{Reading, parse, read};
pub use render::render;
