//! Running other programs: a clean environment, captured noise, a limit on their time.

use std::env;
use std::ffi::OsStr;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What cargo may be told from outside without changing the bytes that it makes.
const HARMLESS: [&str; 8] = [
    "CARGO_BUILD_JOBS",
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

/// A cargo or rustc whose work depends on its arguments alone: flags and profiles from the caller's
/// environment are dropped, and what an outer `cargo test` or `cargo run` leaves there.
pub fn cargo(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let ours = name.starts_with("CARGO")
            || name.starts_with("RUSTC")
            || name.starts_with("RUSTDOC")
            || matches!(&*name, "RUSTFLAGS" | "LD_LIBRARY_PATH" | "HEADER_GATE_POLICY");
        if ours && !HARMLESS.iter().any(|kept| name.starts_with(kept)) {
            command.env_remove(&*name);
        }
    }
    command
}

/// What `command` prints, for a question that takes no time.
///
/// # Errors
/// It does not start, or fails.
pub fn ask(command: &mut Command) -> Result<String> {
    let name = name(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| name.clone())?;
    if !output.status.success() {
        bail!("{name}: {}", last_line(&output.stderr, &output.status.to_string()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs `command` for at most `limit`, keeping its output to itself.
///
/// # Errors
/// It does not start, fails (then with the last line that it wrote), or takes too long.
pub fn run_quietly(command: &mut Command, limit: Duration) -> Result<()> {
    let name = name(command);
    let mut log = tempfile::tempfile()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .spawn()
        .with_context(|| name.clone())?;
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            bail!("{name}: not done after {} seconds", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    };
    if status.success() {
        return Ok(());
    }
    let mut text = Vec::new();
    log.rewind()?;
    log.read_to_end(&mut text)?;
    bail!("{name}: {}", last_line(&text, &status.to_string()))
}

/// The first `program` on PATH.
#[must_use]
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether Debian's packages can be installed without asking for a password.
#[must_use]
pub fn can_install_packages() -> bool {
    let root = ask(Command::new("id").arg("-u")).is_ok_and(|id| id == "0");
    root && on_path("apt-get").is_some()
}

/// Installs packages of Debian, announcing it.
///
/// # Errors
/// apt-get fails.
pub fn install_packages(packages: &[&str]) -> Result<()> {
    eprintln!("gate: installing Debian's {} (apt-get, some minutes)", packages.join(" "));
    let limit = Duration::from_secs(900);
    // A list that is partly out of date is still worth trying.
    if let Err(error) = run_quietly(Command::new("apt-get").arg("update"), limit) {
        eprintln!("gate: {error:#}; trying with the lists that are there");
    }
    let mut install = Command::new("apt-get");
    install.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    run_quietly(install.env("DEBIAN_FRONTEND", "noninteractive"), limit)
}

fn name(command: &Command) -> String {
    let program = Path::new(command.get_program()).display().to_string();
    match command.get_args().next() {
        Some(first) => format!("{program} {}", first.display()),
        None => program,
    }
}

fn last_line(text: &[u8], otherwise: &str) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(otherwise).trim().to_owned()
}
