//! Python packages, installed into folders of their own: no virtual environment, no global change.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{Folder, Process};

/// Where everything that is installed goes: `HEADER_GATE_CACHE`, or `target/` of the repository.
#[must_use]
pub fn cache(root: &Path) -> PathBuf {
    env::var_os("HEADER_GATE_CACHE").map_or_else(|| root.join("target"), PathBuf::from)
}

/// `python3`, as it is found on PATH.
#[must_use]
pub fn python() -> Command {
    Command::new("python3")
}

/// Runs `python3` to its end, and answers whether that was a good one, and what it wrote.
///
/// # Errors
/// There is no `python3`.
pub fn run(arguments: &[&str]) -> Result<(bool, String)> {
    let mut command = python();
    // What a user's configuration of pip says of --user contradicts --target.
    command.args(arguments).env("PIP_USER", "0").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    let process = match Process::start(&mut command, Folder::new()?) {
        Ok(process) => process,
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "python3 is not on PATH; install Python 3 and pip \
             (Debian, Ubuntu: apt-get install python3 python3-pip)"
        ),
        Err(error) => return Err(error).context("python3 cannot be started"),
    };
    Ok((process.wait()?.success(), process.log()))
}

/// Installs `requirement` from PyPI as the folder `target`, whole or not at all. It is there if it
/// has the file `proof`.
///
/// # Errors
/// No Python, no pip, no network, or no such package for this machine; nothing is left of the try.
pub fn install(requirement: &str, options: &[&str], target: &Path, proof: &Path) -> Result<()> {
    clear(target, proof)?;
    let parent = target.parent().context("the folder to install into has no parent")?;
    let (has_pip, _) = run(&["-m", "pip", "--version"])?;
    if !has_pip {
        bail!(
            "python3 has no pip; install it \
             (Debian, Ubuntu: apt-get install python3-pip; elsewhere: python3 -m ensurepip)"
        );
    }
    let folder = Folder::within(parent)
        .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
    let into = folder.path().to_str().context("the folder's name is not UTF-8")?;
    let mut arguments = vec!["-m", "pip", "install", "--quiet", "--no-input", "--no-compile"];
    arguments.extend(["--progress-bar", "off", "--retries", "2", "--target", into]);
    arguments.extend(options);
    arguments.push(requirement);
    let (installed, log) = run(&arguments)?;
    if !installed {
        bail!(
            "pip cannot install {requirement}: {}; check the network, or name a package index or \
             a proxy by PIP_INDEX_URL or HTTPS_PROXY",
            reason(&log)
        );
    }
    folder.keep_as(target).with_context(|| format!("cannot make {}", target.display()))
}

/// Removes what stands in the place of `target` without its `proof`: half of it, by whatever means.
fn clear(target: &Path, proof: &Path) -> Result<()> {
    if target.is_dir() && !target.join(proof).is_file() {
        fs::remove_dir_all(target)
            .with_context(|| format!("cannot remove {}, which is broken", target.display()))?;
    }
    Ok(())
}

/// pip's first error, and why it could not reach the index if that was so.
fn reason(log: &str) -> String {
    let error = log.lines().find_map(|line| line.strip_prefix("ERROR: "));
    let broken = log.lines().find_map(|line| line.split_once("connection broken by "));
    let error = error.or(log.lines().last()).unwrap_or("it does not say why");
    match broken.map(|(_, cause)| cause.rsplit_once(": /").map_or(cause, |(cause, _)| cause)) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{clear, reason};

    #[test]
    fn what_is_broken_is_removed_and_what_is_whole_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (target, proof) = (folder.path().join("package"), Path::new("bin/program"));
        clear(&target, proof).unwrap();
        fs::create_dir_all(target.join("bin")).unwrap();
        fs::write(target.join(proof), "").unwrap();
        clear(&target, proof).unwrap();
        assert!(target.is_dir());
        fs::remove_file(target.join(proof)).unwrap();
        clear(&target, proof).unwrap();
        assert!(!target.exists());
    }

    #[test]
    fn the_reason_is_the_first_error_with_its_cause() {
        let log = "WARNING: Retrying (Retry(total=0)) after connection broken by \
                   'E('<x>: refused')': /simple/p/\nERROR: Could not find p\nERROR: No match\n";
        assert_eq!(reason(log), "Could not find p: 'E('<x>: refused')'");
        assert_eq!(reason("ERROR: Could not find p\n"), "Could not find p");
        assert_eq!(reason("a\nb\n"), "b");
        assert_eq!(reason(""), "it does not say why");
    }
}
