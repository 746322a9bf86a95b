//! The fuzz targets: what each does with an input, and what has to hold then. A broken promise is a
//! panic.
//!
//! libFuzzer calls them in `fuzz/`, which needs more than a stable compiler's own tools; the tests
//! here call them with the inputs that are committed there.

use arbitrary::{Arbitrary, Unstructured};

#[macro_use]
#[path = "../../src/unroll.rs"]
mod unroll;

pub mod decision;
pub mod module;
pub mod policy;
mod several;

/// What libFuzzer calls with each input.
pub type Target = fn(&[u8]);

/// The targets, by the names that they have in `fuzz/`.
pub const TARGETS: [(&str, Target); 3] =
    [("decision", decision::fuzz), ("module", module::fuzz), ("policy", policy::fuzz)];

/// What `input` is the arbitrary form of, if it is one.
fn parse<T: for<'a> Arbitrary<'a>>(input: &[u8]) -> Option<T> {
    T::arbitrary_take_rest(Unstructured::new(input)).ok()
}
