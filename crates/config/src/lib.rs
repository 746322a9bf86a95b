//! The policy from a plugin's configuration: the same keys as in `policy.toml`, as JSON, read once and then kept as the
//! gate compares it. Pure and safe; it knows no host, and has no heap.
//!
//! [`Store::take`] reads a configuration in three steps: a [reader](read) decodes the text in place and makes a draft of
//! it, whose texts are still in the configuration; [make] writes its texts and the images of its values to the store;
//! and only when both have succeeded, the store has a policy. A refused configuration changes nothing.
//!
//! Several plugins may share a virtual machine. Each has a root context, and the store has a policy for each of these.

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::pedantic)]
#![allow(clippy::large_stack_arrays, reason = "they are in static memory")]
#![allow(clippy::cast_possible_truncation, reason = "sizes have 32 bits where the plugin runs")]

#[cfg(test)]
extern crate std;

mod check;
pub mod fields;
mod json;
pub mod keys;
pub mod limits;
mod make;
pub mod policy;
mod read;
mod reason;
mod store;
pub mod table;

use header_gate_decision::sha256::SCRATCH;

pub use check::is_listed;
pub use json::Text;
pub use policy::{Item, Policy};
pub use reason::{Reason, Refusal, Table};
pub use store::{NONE, ROOTS, Root, Store};

/// Words of the longest value's image.
pub const WORDS: usize = (limits::VALUES_SIZE + size_of::<u32>()).div_ceil(size_of::<u64>());
/// Words of the image of a value that is hashed.
const HASHED_WORDS: usize = (limits::CLIENT_VALUE + size_of::<u32>()).div_ceil(size_of::<u64>());

/// Pages of memory, of 64 KiB each, that a module with a [`Store`] has. It never grows.
pub const PAGES: usize = 11;
/// Bytes of its stack, which only the reader uses.
pub const STACK: usize = 2048;

/// Memory for the image of a value.
pub type Image = [u64; WORDS];

/// Memory that reading takes, and leaves for the next time.
#[derive(Debug)]
pub struct Scratch {
    items: [Item; limits::ITEMS],
    hashes: [u64; limits::ITEMS],
    displacements: [u16; limits::ITEMS],
    slots: [u16; limits::ITEMS],
    first: [u16; limits::ITEMS],
    next: [u16; limits::ITEMS],
    /// For digests, also those of requests.
    pub sha256: [u32; SCRATCH],
}

impl Scratch {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        let none = [0; limits::ITEMS];
        let items = [Item::NONE; limits::ITEMS];
        let hashes = [0; limits::ITEMS];
        let sha256 = [0; SCRATCH];
        Self { items, hashes, displacements: none, slots: none, first: none, next: none, sha256 }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
