//! A Rust toolchain that compiles to WebAssembly: found or installed.
//!
//! What is on disk comes before what must be downloaded: the target of the rustup toolchain on PATH;
//! Debian's packages; `rustup target add`; Debian's packages by apt-get.
//! `HEADER_GATE_TOOLCHAIN=debian` allows Debian's packages only: the ledger is made with them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow, bail, ensure};
use header_gate_system::{command, install};

pub const TARGET: &str = "wasm32-wasip1";

const SETTING: &str = "HEADER_GATE_TOOLCHAIN";

/// Debian's compiler, the sources of its standard library, and what links them.
const PACKAGES: [&str; 6] =
    ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22", "wasi-libc"];
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust";
const DEBIAN_LIBC: &str = "/usr/lib/wasm32-wasi";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The one on PATH, with a compiled standard library for the target.
    Path,
    /// Debian's, which compiles the standard library along with the plugin.
    Debian,
}

impl Toolchain {
    pub fn find_or_install() -> Result<Self> {
        let debian_only = match env::var(SETTING) {
            Err(env::VarError::NotPresent) => false,
            Ok(name) if name == "debian" => true,
            other => bail!("{SETTING}={} is unknown, expected `debian`", other?),
        };
        if !debian_only && path_has_target(TARGET) {
            return Ok(Self::Path);
        }
        if debian_is_complete() {
            return Ok(Self::Debian);
        }
        let mut failures = String::new();
        if !debian_only && command::on_path("rustup").is_some() {
            match install::rustup_target(TARGET) {
                Ok(()) if path_has_target(TARGET) => return Ok(Self::Path),
                Ok(()) => failures += "; rustup added it to a toolchain that is not on PATH",
                Err(error) => failures = format!("; {error:#}"),
            }
        }
        let debian = install::apt(&PACKAGES).and_then(|()| {
            ensure!(debian_is_complete(), "the packages lack the compiler or its sources");
            Ok(Self::Debian)
        });
        debian.map_err(|error| {
            anyhow!("no Rust for {TARGET}: run `rustup target add {TARGET}`{failures}; {error:#}")
        })
    }

    pub fn version(self) -> Result<String> {
        let rustc = if self == Self::Debian { DEBIAN_RUSTC } else { "rustc" };
        command::ask(command::cargo(rustc).arg("-V"))
    }

    /// One for another `target` than this machine, of which only `core` is needed.
    pub fn of(target: &str) -> Result<Self> {
        if path_has_target(target) {
            return Ok(Self::Path);
        }
        ensure!(
            debian_is_complete(),
            "--target {target}: the Rust on PATH has no such target; run `rustup target add {target}`"
        );
        Ok(Self::Debian)
    }

    /// cargo, run in `root`; Debian's compiles these `parts` of the standard library along.
    pub fn compiler(self, subcommand: &str, root: &Path, parts: &str) -> Command {
        let mut cargo = command::cargo(if self == Self::Debian { DEBIAN_CARGO } else { "cargo" });
        cargo.current_dir(root).args([subcommand, "--locked"]);
        if self == Self::Debian {
            // -Z flags and the sources of std are for nightly compilers only, or with this.
            cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", DEBIAN_RUSTC);
            cargo.arg(format!("-Zbuild-std={parts}"));
        }
        cargo
    }

    /// `cargo build` or `cargo rustc` (`subcommand`) for the target, run in `root`. Its output contains
    /// no path of this machine.
    pub fn cargo(self, subcommand: &str, root: &Path, needs_std: bool) -> Command {
        let remap =
            |folder: &Path, name| format!("--remap-path-prefix={}={name}", folder.display());
        let mut flags = vec![remap(root, "/header-gate")];
        flags.extend(cargo_home().map(|home| remap(&home, "/cargo")));
        let parts = if needs_std { "std,panic_abort" } else { "core" };
        let mut cargo = self.compiler(subcommand, root, parts);
        cargo.args(["--release", "--target", TARGET]);
        if self == Self::Debian {
            flags.push(remap(Path::new(DEBIAN_SOURCES), "/rust"));
            // Only std needs it, but with other flags cargo would compile core again each time.
            flags.push(format!("-Lnative={DEBIAN_LIBC}"));
        }
        // Added to the flags of .cargo/config.toml, which RUSTFLAGS would replace.
        let flags = toml::Value::from(flags);
        cargo.arg("--config").arg(format!("target.{TARGET}.rustflags={flags}"));
        cargo
    }
}

fn cargo_home() -> Option<PathBuf> {
    let home = || env::home_dir().map(|home| home.join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

/// Whether the rustc on PATH has a compiled `core` for the target.
fn path_has_target(target: &str) -> bool {
    let mut rustc = command::cargo("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]);
    let files = command::ask(&mut rustc).ok().and_then(|folder| fs::read_dir(folder).ok());
    let mut names = files.into_iter().flatten().flatten().map(|file| file.file_name());
    names.any(|name| name.to_string_lossy().starts_with("libcore-"))
}

fn debian_is_complete() -> bool {
    let sources = Path::new(DEBIAN_SOURCES).join("library/Cargo.lock");
    let libc = Path::new(DEBIAN_LIBC).join("libc.a");
    let programs = [DEBIAN_CARGO, DEBIAN_RUSTC, "/usr/bin/rust-lld"].map(Path::new);
    programs.into_iter().chain([&*sources, &*libc]).all(Path::is_file)
}
