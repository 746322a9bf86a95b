//! The native gate in Envoy.

use std::fs;
use std::path::Path;

use anyhow::Result;
use header_gate_cli::build::native;
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::{Envoy, NEWEST};

use crate::gateway::start_in;
use crate::root;

/// The versions whose dynamic-module ABI the gate speaks.
pub const VERSIONS: [&str; 3] = ["1.38.3", "1.39.3", NEWEST];

/// Writes the native gate with the policy in `file`, for this machine or `target`, to `folder`; returns the name that
/// Envoy knows it by.
pub fn build(folder: &Path, file: &Path, target: Option<&str>) -> String {
    let name = file.file_stem().unwrap().to_str().unwrap();
    let (library, _) = native::build(root(), file, target).unwrap();
    fs::write(folder.join(format!("lib{name}.so")), library).unwrap();
    name.to_owned()
}

/// Envoy with the native gates in `folder`.
pub fn start(version: &str, folder: &Path, listeners: &[Listener]) -> Result<Envoy> {
    start_in(folder, version, &config(listeners).to_string(), 2)
}
