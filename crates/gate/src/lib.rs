//! What is done with the plugin, apart from it: building, verifying, running it in a gateway.

pub mod build;
pub mod command;
pub mod probe;
pub mod push;
pub mod r#try;

use std::path::{Path, PathBuf};

/// The root of the repository that these tools were compiled in.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}
