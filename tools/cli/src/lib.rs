//! What is done with the plugin, apart from it: building, verifying, running it in a gateway.

pub mod build;
pub mod checkout;
pub mod cleanup;
pub mod command;
pub mod cost;
pub mod demo;
pub mod differ;
pub mod envoy;
pub mod finish;
pub mod http1;
pub mod http2;
pub mod httpbin;
pub mod image;
pub mod ledger;
pub mod mutate;
mod pip;
pub mod probe;
pub mod process;
pub mod robustness;
pub mod soak;
pub mod toolchain;
pub mod variant;
pub mod verify;
mod wasm_opt;

use std::path::{Path, PathBuf};

/// The root of the repository that these tools were compiled in.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}
