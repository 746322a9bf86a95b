//! The policy from a plugin's configuration: the same keys as in `policy.toml`, as JSON, read once and then kept as the
//! gate compares it. Pure and safe; it knows no host, and has no heap.
//!
//! [`Store::take`] reads a configuration where the host has written it, behind the policies, and keeps it there: the texts
//! of a policy are those that it was read from. The reader decodes them in place, clears what stands between them, and
//! notes what it finds in the fields of a draft (`json.rs`, `read.rs`, `check.rs`, `rules.rs`). Then lists and the keys of values are
//! written behind the text, and the values are cleared (`make.rs`). Only when both have succeeded, the store has the policy: a
//! refused configuration changes nothing.
//!
//! Several plugins may share a virtual machine. Each has a root context, and the store has a policy for each of these.
//!
//! The module is to be small. So all memory is one [`Store`], whose arrays have a power of two of elements and are indexed
//! by masked numbers; a step that fails keeps the first error instead of returning one; and a text is one number.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::pedantic)]
#![allow(clippy::cast_possible_truncation, reason = "sizes have 32 bits where the plugin runs")]
#![allow(clippy::large_stack_arrays, reason = "they are in static memory")]

#[cfg(test)]
extern crate std;

mod check;
pub mod field;
pub mod fields;
pub mod flag;
mod json;
pub mod keys;
pub mod limits;
mod make;
mod read;
mod reason;
mod rules;
mod store;
mod text;

pub use reason::Reason;
pub use store::{BYTES, NONE, ROOM, ROOTS, Store};
pub use text::Text;

/// Pages of memory, of 64 KiB each, that a module with a [`Store`] has. It never grows.
pub const PAGES: usize = 10;
