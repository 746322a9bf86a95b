//! The fuzz targets: what each does with an input, and what has to hold. A violation is a panic.
//!
//! `cargo fuzz` runs them with libFuzzer; `tests/corpus.rs` runs them on the committed inputs.

pub mod config;
pub mod decision;
pub mod except;
pub mod module;
pub mod policy;

use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};

/// The targets, by the names of their folders and programs.
pub const TARGETS: [&str; 5] = ["config", "decision", "except", "module", "policy"];

/// Runs a target.
pub fn run(target: &str, input: &[u8]) {
    match target {
        "config" => _ = config::check(input),
        "decision" => decision::fuzz(input),
        "except" => except::fuzz(input),
        "module" => _ = module::live(input),
        "policy" => _ = policy::check(&String::from_utf8_lossy(input)),
        _ => panic!("no target {target}"),
    }
}

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Decodes `input`, if it is long enough.
fn parse<T: for<'a> Arbitrary<'a>>(input: &[u8]) -> Option<T> {
    T::arbitrary_take_rest(Unstructured::new(input)).ok()
}
