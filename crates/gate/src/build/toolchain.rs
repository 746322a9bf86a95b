//! Finds a Rust toolchain that compiles to WebAssembly, or installs one.
//!
//! In this order: the target where the rustup toolchain on PATH has it; Debian's packages where they
//! are installed; `rustup target add`; Debian's packages through apt-get. What is on disk comes
//! before what has to be downloaded, so that a second build needs no network. With
//! `HEADER_GATE_TOOLCHAIN=debian` only Debian's packages are looked at: the ledger is made with them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use header_gate_system::command as process;

/// The target that the article's `wasm32-wasi` is called today.
pub const TARGET: &str = "wasm32-wasip1";

/// The variable that names the toolchain to use.
const WHICH: &str = "HEADER_GATE_TOOLCHAIN";

/// Debian's compiler, the sources of its standard library, and what links them.
const PACKAGES: [&str; 6] =
    ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22", "wasi-libc"];
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LLD: &str = "/usr/bin/rust-lld";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust";
const DEBIAN_LIBC: &str = "/usr/lib/wasm32-wasi";

/// A toolchain that can compile the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The one on PATH, with a compiled standard library for the target.
    Path,
    /// Debian's, which compiles the standard library along with the plugin.
    Debian,
}

impl Toolchain {
    /// Finds one, or installs one.
    ///
    /// # Errors
    /// There is none, and none could be installed.
    pub fn find_or_install() -> Result<Self> {
        let debian_only = match env::var(WHICH) {
            Err(env::VarError::NotPresent) => false,
            Ok(which) if which == "debian" => true,
            other => bail!("{WHICH}={} is unknown; `debian` is the only one", other?),
        };
        if !debian_only && path_has_target() {
            return Ok(Self::Path);
        }
        if debian_is_complete() {
            return Ok(Self::Debian);
        }
        let mut tried = String::new();
        if !debian_only && process::on_path("rustup").is_some() {
            eprintln!("gate: rustup target add {TARGET}");
            let mut add = process::cargo("rustup");
            match process::run_quietly(
                add.args(["target", "add", TARGET]),
                Duration::from_secs(180),
            ) {
                Ok(()) if path_has_target() => return Ok(Self::Path),
                Ok(()) => {
                    tried = "; rustup added it to another toolchain than the one on PATH".into()
                }
                Err(error) => tried = format!("; {error:#}"),
            }
        }
        if process::can_install_packages() {
            match process::install_packages(&PACKAGES) {
                Ok(()) if debian_is_complete() => return Ok(Self::Debian),
                Ok(()) => tried += "; Debian's packages lack the compiler or its sources",
                Err(error) => tried += &format!("; {error:#}"),
            }
        }
        bail!(
            "no Rust toolchain for {TARGET}: run `rustup target add {TARGET}`, or on Debian \
             `apt-get install --no-install-recommends {}`{tried}",
            PACKAGES.join(" ")
        )
    }

    /// What compiles: rustc's name and version.
    ///
    /// # Errors
    /// rustc does not run.
    pub fn version(self) -> Result<String> {
        let rustc = if self == Self::Debian { DEBIAN_RUSTC } else { "rustc" };
        process::ask(process::cargo(rustc).arg("-V"))
    }

    /// `cargo build` or `cargo rustc` (`subcommand`) for the target, run in `root`. Its output names
    /// no folder of this machine.
    #[must_use]
    pub fn cargo(self, subcommand: &str, root: &Path, needs_std: bool) -> Command {
        let mut flags = Vec::new();
        for (folder, name) in [(Some(root.to_owned()), "/header-gate"), (cargo_home(), "/cargo")] {
            flags.extend(folder.map(|folder| remap(&folder, name)));
        }
        let mut cargo = process::cargo(if self == Self::Debian { DEBIAN_CARGO } else { "cargo" });
        cargo.current_dir(root).args([subcommand, "--locked", "--release", "--target", TARGET]);
        if self == Self::Debian {
            // -Z flags and the sources of std are for nightly compilers only, or for this.
            cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", DEBIAN_RUSTC);
            flags.push(remap(Path::new(DEBIAN_SOURCES), "/rust"));
            // Only std needs it; but other flags would make cargo compile core anew each time.
            flags.push(format!("-Lnative={DEBIAN_LIBC}"));
            let parts = if needs_std { "std,panic_abort" } else { "core" };
            cargo.arg(format!("-Zbuild-std={parts}"));
        }
        // Added to the flags of .cargo/config.toml, which RUSTFLAGS would replace.
        let flags: toml_edit::Array = flags.iter().collect();
        cargo.arg("--config").arg(format!("target.{TARGET}.rustflags={flags}"));
        cargo
    }
}

fn remap(folder: &Path, name: &str) -> String {
    format!("--remap-path-prefix={}={name}", folder.display())
}

fn cargo_home() -> Option<PathBuf> {
    let home = || env::home_dir().map(|home| home.join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

/// Whether the rustc on PATH brings a compiled `core` for the target.
fn path_has_target() -> bool {
    let Ok(sysroot) = process::ask(process::cargo("rustc").args(["--print", "sysroot"])) else {
        return false;
    };
    let lib = Path::new(&sysroot).join("lib/rustlib").join(TARGET).join("lib");
    fs::read_dir(lib).is_ok_and(|files| {
        files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

fn debian_is_complete() -> bool {
    let parts = [
        Path::new(DEBIAN_CARGO),
        Path::new(DEBIAN_RUSTC),
        Path::new(DEBIAN_LLD),
        &Path::new(DEBIAN_SOURCES).join("library/Cargo.lock"),
        &Path::new(DEBIAN_LIBC).join("libc.a"),
    ];
    parts.iter().all(|part| part.is_file())
}
