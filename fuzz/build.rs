//! Turns `several.toml` into constants, as the plugin's own build does with its policy.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use header_gate_policy::Policy;

fn main() {
    let file = Path::new(&env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("several.toml");
    println!("cargo::rerun-if-changed={}", file.display());
    let policy = Policy::read(&file).unwrap_or_else(|error| panic!("{error}"));
    let constants = PathBuf::from(env::var_os("OUT_DIR").unwrap()).join("several.rs");
    fs::write(constants, policy.constants()).unwrap();
}
