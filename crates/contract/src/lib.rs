//! What a finished WebAssembly module can do, read from its bytes.
//!
//! [`inspect`] reports the [`Properties`] of any module: as a table by `Display`, as JSON by `serde`.
//! [`Properties::violations`] compares them with a [`Contract`] and lists each item that breaks it.

mod contract;
mod execute;
mod functions;
mod interval;
mod library;
mod module;
mod table;
#[cfg(test)]
mod tests;

pub use contract::Contract;
pub use functions::Function;
/// What a configuration may have that the module of contract `config` reads.
pub use header_gate_config::limits;
pub use library::Library;
pub use module::{Bound, Item, Pages, Properties, beyond_mvp, inspect};

/// Its examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
