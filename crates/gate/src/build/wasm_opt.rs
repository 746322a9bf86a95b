//! Binaryen's wasm-opt: found or installed, and run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use header_gate_system::{command, install};

const OPTIONS: [&str; 6] = [
    "-Oz",
    "--converge",
    "--strip-debug",
    "--strip-producers",
    "--strip-target-features",
    "--mvp-features",
];

/// What rustup's compiled standard library uses beyond WebAssembly 1.0.
const STD_FEATURES: [&str; 4] = [
    "--enable-bulk-memory",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
];

/// A wasm-opt that runs.
#[derive(Clone, Debug)]
pub struct WasmOpt {
    program: PathBuf,
    /// The number of its version, such as `132`.
    pub version: String,
}

impl WasmOpt {
    /// The one that `WASM_OPT` names, else npm's pinned one, else one on PATH, else crates.io's.
    pub fn find_or_install(root: &Path) -> Result<Self> {
        if let Some(named) = env::var_os("WASM_OPT") {
            return Self::at(Path::new(&named))
                .with_context(|| format!("WASM_OPT={} is not wasm-opt", named.display()));
        }
        let npm = || Self::at(&install::npm(root, "binaryen")?.join("node_modules/.bin/wasm-opt"));
        let path = || Self::at(Path::new("wasm-opt"));
        let cargo = || Self::at(&install::cargo(root, "wasm-opt", "0.116.1", "wasm-opt")?);
        // Each is tried only if the ones before it fail.
        let pinned = match npm() {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        if let Ok(found) = path() {
            let version = &found.version;
            eprintln!(
                "gate: {pinned:#}; using wasm-opt {version} on PATH, which makes other bytes"
            );
            return Ok(found);
        }
        cargo()
            .map_err(|error| anyhow!("no wasm-opt: {pinned:#}; {error:#}; or name one in WASM_OPT"))
    }

    fn at(program: &Path) -> Result<Self> {
        let answer = command::ask(Command::new(program).arg("--version"))?;
        match answer.split_whitespace().collect::<Vec<_>>()[..] {
            ["wasm-opt", "version", version, ..] => {
                Ok(Self { program: program.to_owned(), version: version.to_owned() })
            }
            _ => bail!("{} --version does not print a version of wasm-opt", program.display()),
        }
    }

    /// Writes the optimised `input` to `output`; `mvp` keeps it within WebAssembly 1.0.
    pub fn run(&self, input: &Path, output: &Path, mvp: bool) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(OPTIONS).args(if mvp { &[][..] } else { &STD_FEATURES });
        command::run_quietly(command.arg(input).arg("-o").arg(output), Duration::from_secs(300))
    }
}
