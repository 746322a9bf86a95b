//! What the measurements need beside Envoy: found, installed, and run for a limited time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use header_gate_cli::build;
use header_gate_system::command as process;
use header_gate_system::process::{Folder, Process};

/// How often a tool that runs is looked at.
const POLL: Duration = Duration::from_millis(2);

pub use header_gate_system::install::apt_program as find_or_install;

/// Runs `command`, for at most `limit`, and returns what it wrote. It does not outlive this process.
pub fn run(command: &mut Command, limit: Duration) -> Result<String> {
    let name = command.get_program().display().to_string();
    let process = Process::start(command, Folder::new()?).with_context(|| name.clone())?;
    let deadline = Instant::now() + limit;
    loop {
        match process.ended()? {
            Some(status) if status.success() => return Ok(process.log()),
            Some(status) => bail!("{name} fails ({status}): {}", process.log().trim()),
            None if Instant::now() > deadline => {
                bail!("{name} is not done after {} seconds", limit.as_secs())
            }
            None => thread::sleep(POLL),
        }
    }
}

/// `benches/NAME.wat` as a module, below `target/cost`.
pub fn assemble(root: &Path, name: &str) -> Result<PathBuf> {
    let source = root.join("benches").join(name).with_extension("wat");
    let wasm =
        wat::parse_file(&source).with_context(|| format!("{} is refused", source.display()))?;
    let file = folder(root)?.join(name).with_extension("wasm");
    build::put(&file, &wasm)?;
    Ok(file)
}

/// Where what is only measured is kept, below `target`.
pub fn folder(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/cost");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// Today's date, as in 2026-11-23.
pub fn today() -> Result<String> {
    process::ask(Command::new("date").args(["-u", "+%F"]))
}

/// What the machine is, as far as it decides a time: its processors.
pub fn machine() -> Result<String> {
    let cpus = thread::available_parallelism()?;
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Ok(format!("{cpus} cores of {}", model.map_or("an unnamed processor", |(_, name)| name)))
}
