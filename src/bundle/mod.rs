//! Images on their way: out of a store into a folder, and from a folder, which may come from a
//! stranger, into a store.

mod manifest;
mod transfer;

pub use manifest::{BundleError, Image, MANIFEST, Manifest, SUMS, check_digest};
pub use transfer::{export, import};
