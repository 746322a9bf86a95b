//! Running other programs: a clean environment, captured noise, a limit on their time.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{Folder, Process};

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
        bail!(
            "{name}: {}",
            last_line(&String::from_utf8_lossy(&output.stderr), &output.status.to_string())
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs `command` for at most `limit`, keeping its output to itself.
///
/// # Errors
/// It does not start, fails (then with the last line that it wrote), or takes too long.
pub fn run_quietly(command: &mut Command, limit: Duration) -> Result<()> {
    run(command, limit).map(drop)
}

/// Runs `command` for at most `limit`; what it wrote. Nothing that it started is left behind.
///
/// # Errors
/// As for [`run_quietly`].
pub fn run(command: &mut Command, limit: Duration) -> Result<String> {
    let name = name(command);
    let process = Process::start(command, Folder::new()?).with_context(|| name.clone())?;
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = process.ended()? {
            break status;
        }
        if Instant::now() >= end {
            bail!("{name}: not done after {} seconds", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    };
    let said = process.log();
    if !status.success() {
        bail!("{name}: {}", last_line(&said, &status.to_string()));
    }
    Ok(said)
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

fn last_line(text: &str, otherwise: &str) -> String {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(otherwise).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn what_a_program_writes_is_kept_or_the_last_of_it_told() {
        let limit = Duration::from_secs(60);
        assert_eq!(run(&mut shell("echo a; echo b >&2"), limit).unwrap(), "a\nb\n");
        let error = run(&mut shell("echo a; echo b >&2; echo; exit 3"), limit).unwrap_err();
        assert_eq!(error.to_string(), "sh -c: b");
    }

    #[test]
    fn a_program_that_takes_too_long_takes_along_what_it_started() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = format!("sleep 1000 & echo $! >{}; wait", file.path().display());
        let pid = || fs::read_to_string(file.path()).unwrap().trim().to_owned();
        // Long enough for the shell to have started the other.
        let mut limit = Duration::from_millis(200);
        while pid().is_empty() {
            let error = run(&mut shell(&script), limit).unwrap_err();
            assert!(error.to_string().starts_with("sh -c: not done after"), "{error}");
            limit *= 2;
        }
        // What is killed may still wait to be reaped.
        let alive = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid())).unwrap_or_default();
            stat.contains("(sleep)") && !stat.contains(") Z")
        };
        let end = Instant::now() + Duration::from_secs(20);
        while alive() {
            assert!(Instant::now() < end, "{} is left", pid());
            thread::sleep(Duration::from_millis(10));
        }
    }
}
