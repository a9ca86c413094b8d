//! Recipes: text in, a valid [`Lab`] out, or every fault at once.
//!
//! [`load`] reads a recipe's folder: YAML becomes trees of values that know their place (`yaml`),
//! templates in them are filled in (`template`), what they `include` is put in (`include`), the
//! declared shapes are read out of them (`raw`, `shape`, `leaf`), and what they refer to is looked
//! up (`networks`, `machines`, `expose`, `stages`).
//! Each of these reports its faults and goes on. [`schema()`] describes the same shapes to editors.
//!
//! Any text of `lab.yaml` (but for `schema`, `name`, `include`, `vars` and `stages`) and of the
//! stage files may be a template, in what they include too: `{{ name }}` is the variable `name` of `vars`. In stage files,
//! `machines.<name>.nics.<nic>.address`, `machines.<name>.addresses.<network>` and
//! `networks.<name>.gateway` (also `.host`, `.subnet`, `.netmask`, `.prefix`) are the lab's own.
//! The filter `sh` quotes for a shell; comments are `{## … ##}`.
//!
//! Pure but for reading the recipe's own folder. Nothing else in the crate is known here.

mod actions;
mod expose;
pub mod fault;
mod find;
mod include;
mod leaf;
mod load;
mod machines;
pub mod model;
mod near;
mod networks;
mod number;
mod order;
mod paths;
mod raw;
pub mod rules;
mod schema;
mod shape;
mod source;
mod stages;
mod template;
mod yaml;

pub use fault::{Fault, Faults};
pub use leaf::{duration, size};
pub use load::{LoadError, load};
pub use model::*;
pub use paths::{Astray, find_beside};
pub use schema::schema;
