//! What measurements need of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};
use header_gate_cli::build;
use header_gate_system::command;

/// Writes `file` whole or not at all.
pub fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    build::put(file, bytes)
}

/// Compiles `benches/NAME.wat` to a module under `target/lab`.
pub fn assemble(root: &Path, name: &str) -> Result<PathBuf> {
    let source = root.join("benches").join(name).with_extension("wat");
    let wasm = wat::parse_file(&source).with_context(|| format!("{}", source.display()))?;
    let folder = root.join("target/lab");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let file = folder.join(name).with_extension("wasm");
    write(&file, &wasm)?;
    Ok(file)
}

/// Today's date in UTC, such as 2026-11-23.
pub fn today() -> Result<String> {
    command::ask(Command::new("date").args(["-u", "+%F"]))
}

/// The processors of this machine.
pub fn machine() -> Result<String> {
    let cpus = thread::available_parallelism()?;
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Ok(format!("{cpus} cores of {}", model.map_or("an unknown processor", |(_, name)| name)))
}
