//! The one module that installs things: from apt, npm, PyPI, crates.io and rustup.
//!
//! Each installation is announced: what, from where, how large. `HEADER_GATE_INSTALL=never` turns it
//! into an error with the command that does it. What comes from npm or PyPI is pinned with hashes in
//! `pins/`. A folder is installed whole or not at all.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::command::{self, ask, on_path, run};
use crate::process::Folder;

const SETTING: &str = "HEADER_GATE_INSTALL";
const TIMEOUT: Duration = Duration::from_mins(40);

/// Copies the files of `$1` to `$2`, and installs what they lock.
const NPM_CI: &str =
    r#"mkdir -p "$2" && cp "$1"/* "$2" && cd "$2" && npm ci --ignore-scripts --no-audit --no-fund"#;

const PIP_INSTALL: &str = "-m pip install --quiet --no-input --no-compile --progress-bar=off --retries=2 \
                           --disable-pip-version-check --require-hashes --no-deps \
                           --only-binary=:all:";

/// The folder that everything is installed in: `HEADER_GATE_CACHE`, or `target/` of `root`.
pub fn cache(root: &Path) -> PathBuf {
    env::var_os("HEADER_GATE_CACHE").map_or_else(|| root.join("target"), PathBuf::from)
}

/// Installs what `pins/npm/NAME` locks; returns a folder with its files and `node_modules`.
pub fn npm(root: &Path, name: &str) -> Result<PathBuf> {
    let pins = root.join("pins/npm").join(name);
    let contents = files(&pins)?.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    let package = fs::read_to_string(pins.join("package.json"))?;
    let what = package.split_once(r#""description": ""#).and_then(|(_, rest)| rest.split_once('"'));
    let what = format!("{} from npm", what.map_or(name, |(what, _)| what));
    install(root, &format!("npm/{name}-{}", digest(&contents)), &what, |to| {
        require("npm", "Node.js and npm", "nodejs npm")?;
        let mut shell = Command::new("sh");
        shell.args(["-c", NPM_CI, "sh"]).arg(&pins).arg(to);
        Ok(shell)
    })
}

/// Installs what `pins/pypi/NAME.txt` lists, for this machine or a platform of pip; returns a folder for `PYTHONPATH`.
pub fn pypi(root: &Path, name: &str, platform: Option<&str>) -> Result<PathBuf> {
    let folder = root.join("pins/pypi");
    let file = folder.join(format!("{name}.txt"));
    let Ok(pins) = fs::read_to_string(&file) else {
        let files = files(&folder)?;
        let names: Vec<_> = files.iter().filter_map(|file| file.file_stem()?.to_str()).collect();
        bail!("pins/pypi has no `{name}`, only {}", names.join(", "));
    };
    let python = require("python3", "Python 3 and pip", "python3 python3-pip")?;
    // Some packages are compiled for one version of Python.
    let script = "import platform, sys; print(sys.implementation.cache_tag, platform.machine())";
    let tag = ask(Command::new(&python).args(["-c", script]))?;
    let tag = platform.map_or(tag, str::to_owned);
    let what = pins.lines().next().unwrap_or(name).trim_start_matches("# ");
    let what = format!("{what} from PyPI");
    install(root, &format!("pypi/{name}-{}", digest(&[&pins, &tag])), &what, |to| {
        let mut pip = Command::new(&python);
        // --user in the user's configuration of pip would contradict --target.
        pip.env("PIP_USER", "0").args(PIP_INSTALL.split(' ')).arg("--target").arg(to);
        pip.args(platform.map(|platform| format!("--platform={platform}"))).arg("-r").arg(&file);
        Ok(pip)
    })
    .with_context(|| format!("pip cannot install {name} (PIP_INDEX_URL or HTTPS_PROXY may help)"))
}

/// Compiles and installs this version of a crate; returns its program `bin`.
pub fn cargo(root: &Path, krate: &str, version: &str, bin: &str) -> Result<PathBuf> {
    let what = format!("{krate} {version} from crates.io (compiles for some minutes)");
    let folder = install(root, &format!("cargo/{krate}-{version}"), &what, |to| {
        let mut cargo = command::cargo("cargo");
        cargo.args(["install", "--quiet", "--locked", "--version", version, krate, "--root"]);
        cargo.arg(to);
        Ok(cargo)
    })?;
    Ok(folder.join("bin").join(bin))
}

/// Adds a compiled standard library to the rustup toolchain on PATH.
pub fn rustup_target(target: &str) -> Result<()> {
    let mut rustup = command::cargo("rustup");
    rustup.args(["target", "add", target]);
    announce(&format!("Rust's {target} from rustup (a download of about 20 MB)"), &rustup)?;
    run(&mut rustup, TIMEOUT).map(drop)
}

/// The `program` on PATH, after installing Debian's `package` if there is none.
pub fn apt_program(program: &str, package: &str) -> Result<PathBuf> {
    if on_path(program).is_none() {
        apt(&[package]).with_context(|| format!("{program} is not on PATH"))?;
    }
    on_path(program).with_context(|| format!("Debian's {package} does not bring {program}"))
}

/// Installs packages of Debian.
pub fn apt(packages: &[&str]) -> Result<()> {
    let apt_get = |option: &str| {
        let mut apt_get = Command::new("apt-get");
        apt_get.args(["install", "--no-install-recommends", option]).args(packages);
        apt_get
    };
    let (mut install, what) = (apt_get("--yes"), format!("{} from Debian", packages.join(" ")));
    check_setting(&what, &install)?;
    let root = ask(Command::new("id").arg("-u")).is_ok_and(|id| id == "0");
    ensure!(root && on_path("apt-get").is_some(), "only root can install {what}: {install:?}");
    announce(&what, &install)?;
    // A list that is partly out of date is still worth trying.
    if let Err(error) = run(Command::new("apt-get").arg("update"), TIMEOUT) {
        eprintln!("gate: {error:#}; continuing with the old package lists");
    }
    let log = ask(&mut apt_get("--print-uris")).unwrap_or_default();
    for size in log.lines().filter(|line| line.starts_with("Need to get")) {
        eprintln!("gate: {size}");
    }
    run(install.env("DEBIAN_FRONTEND", "noninteractive"), TIMEOUT).map(drop)
}

/// The folder `key` of the cache. If it is not there, `what` is installed by a command that is given a
/// folder to install to.
fn install(
    root: &Path,
    key: &str,
    what: &str,
    command: impl Fn(&Path) -> Result<Command>,
) -> Result<PathBuf> {
    let folder = cache(root).join(key);
    if !folder.is_dir() {
        announce(what, &command(&folder)?)?;
        let parent = folder.parent().context("a folder has a parent")?;
        let new = Folder::within(parent)
            .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
        run(&mut command(new.path())?, TIMEOUT)?;
        new.keep_as(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    Ok(folder)
}

/// Says what will be installed.
fn announce(what: &str, command: &Command) -> Result<()> {
    check_setting(what, command)?;
    eprintln!("gate: installing {what}");
    Ok(())
}

/// Fails where `HEADER_GATE_INSTALL` forbids to install.
fn check_setting(what: &str, command: &Command) -> Result<()> {
    match env::var(SETTING).as_deref() {
        Err(env::VarError::NotPresent) => Ok(()),
        Ok("never") => bail!("{SETTING}=never, so install {what} by hand: {command:?}"),
        other => bail!("{SETTING}={other:?} is unknown, expected `never`"),
    }
}

fn require(program: &str, what: &str, packages: &str) -> Result<PathBuf> {
    on_path(program).with_context(|| {
        format!(
            "{program} is not on PATH: install {what} (Debian, Ubuntu: apt-get install {packages})"
        )
    })
}

/// The files of `folder`, sorted.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn digest(parts: &[impl AsRef<[u8]>]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_ref().len().to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
    }

    #[test]
    fn every_pinned_package_has_a_hash() {
        for pins in files(&root().join("pins/npm")).unwrap() {
            let lock = fs::read_to_string(pins.join("package-lock.json")).unwrap();
            let [packages, hashes] = ["\"node_modules/", "\"integrity\": \"sha512-"]
                .map(|text| lock.matches(text).count());
            assert!(packages > 0 && packages == hashes, "{}: {hashes} hashes", pins.display());
        }
        for file in files(&root().join("pins/pypi")).unwrap() {
            let pins = fs::read_to_string(file).unwrap().replace("\\\n", "");
            for line in pins.lines().filter(|line| !line.starts_with('#')) {
                assert!(line.contains("==") && line.contains("--hash=sha256:"), "{line}");
            }
        }
    }

    #[test]
    fn a_version_without_pins_is_refused() {
        let error = pypi(root(), "envoy-1.0.0", None).unwrap_err().to_string();
        assert!(
            error.starts_with("pins/pypi has no `envoy-1.0.0`, only envoy-1.36.2, "),
            "{error}"
        );
    }
}
