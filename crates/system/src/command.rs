//! Runs other programs: with a clean environment, captured output, and a time limit.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Folder, Process};

/// Cargo or rustc, independent of the caller's environment: flags and profiles set there are
/// removed, and so is what an outer `cargo test` or `cargo run` sets.
pub fn cargo(program: impl AsRef<OsStr>) -> Command {
    // Cargo's settings that do not change the bytes it produces.
    let kept = ["_BUILD_JOBS", "_HOME", "_HTTP_", "_NET_", "_REGISTR", "_SOURCE_", "_TERM_"];
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let removed = match name.strip_prefix("CARGO") {
            Some(setting) => !kept.iter().any(|kept| setting.starts_with(kept)),
            None => {
                name.starts_with("RUSTC")
                    || name.starts_with("RUSTDOC")
                    || ["RUSTFLAGS", "LD_LIBRARY_PATH", "HEADER_GATE_POLICY"].contains(&&*name)
            }
        };
        if removed {
            command.env_remove(&*name);
        }
    }
    command
}

/// Runs a command that ends at once, and returns what it writes to stdout, trimmed.
pub fn ask(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| name(command))?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", name(command), reason(&log, &output.status.to_string()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs `command` for at most `limit`, and returns what it writes. Nothing that it started survives. If
/// it fails, the error holds the line that says why.
pub fn run(command: &mut Command, limit: Duration) -> Result<String> {
    let process = Process::start(command, Folder::new()?).with_context(|| name(command))?;
    let Some(status) = process.wait(limit)? else {
        bail!("{}: not done after {} seconds", name(command), limit.as_secs());
    };
    let log = process.log();
    if !status.success() {
        bail!("{}: {}", name(command), reason(&log, &status.to_string()));
    }
    Ok(log)
}

/// The first `program` on PATH.
pub fn on_path(program: &str) -> Option<PathBuf> {
    which::which(program).ok()
}

fn name(command: &Command) -> String {
    let program = Path::new(command.get_program()).display().to_string();
    match command.get_args().next() {
        Some(first) => format!("{program} {}", first.display()),
        None => program,
    }
}

/// The line of `log` that says what went wrong: the first that is marked as an error, else the last.
fn reason(log: &str, otherwise: &str) -> String {
    let marked = |line: &&str| {
        ["ERROR: ", "error: ", "E: ", "npm error "].iter().any(|m| line.starts_with(m))
    };
    let last = || log.lines().rfind(|line| !line.trim().is_empty());
    let line = log.lines().find(marked).or_else(last).unwrap_or(otherwise).trim();
    // pip names the cause in a warning before its error.
    match log.lines().find_map(|line| line.split_once("connection broken by ")) {
        Some((_, cause)) => format!("{line}: {cause}"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn output_is_returned_and_a_failure_names_its_reason() {
        let limit = Duration::from_secs(60);
        assert_eq!(run(&mut shell("echo a; echo b >&2"), limit).unwrap(), "a\nb\n");
        for (script, expected) in [
            ("echo a; echo b >&2; echo; exit 3", "b"),
            ("exit 3", "exit status: 3"),
            ("echo error: a; echo b; exit 1", "error: a"),
            ("echo W: connection broken by x; echo ERROR: a; exit 1", "ERROR: a: x"),
        ] {
            let error = run(&mut shell(script), limit).unwrap_err();
            assert_eq!(error.to_string(), format!("sh -c: {expected}"));
        }
    }

    #[test]
    fn a_timeout_kills_the_whole_process_group() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = format!("sleep 1000 & echo $! >{}; wait", file.path().display());
        let pid = || fs::read_to_string(file.path()).unwrap().trim().to_owned();
        // Until the shell had the time to start the other process.
        let mut limit = Duration::from_millis(200);
        while pid().is_empty() {
            let error = run(&mut shell(&script), limit).unwrap_err();
            assert!(error.to_string().starts_with("sh -c: not done after"), "{error}");
            limit *= 2;
        }
        // A killed process may still be a zombie.
        let alive = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid())).unwrap_or_default();
            stat.contains("(sleep)") && !stat.contains(") Z")
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while alive() {
            assert!(Instant::now() < deadline, "{} still runs", pid());
            thread::sleep(Duration::from_millis(10));
        }
    }
}
