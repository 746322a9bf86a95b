//! Binaryen's wasm-opt: found or installed, and run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use header_gate_system::{command, install};

const OPTIONS: &str =
    "-Oz --converge --strip-debug --strip-producers --strip-target-features --mvp-features";

/// What rustup's compiled standard library uses beyond WebAssembly 1.0.
const STD_FEATURES: &str = "--enable-bulk-memory --enable-mutable-globals \
                            --enable-nontrapping-float-to-int --enable-sign-ext";

#[derive(Clone, Debug)]
pub struct WasmOpt {
    program: PathBuf,
    /// Such as `132`.
    pub version: String,
}

impl WasmOpt {
    /// The one that `WASM_OPT` names, else npm's pinned one, else one on PATH, else crates.io's.
    pub fn find_or_install(root: &Path) -> Result<Self> {
        if let Some(named) = env::var_os("WASM_OPT") {
            return Self::at(Path::new(&named))
                .with_context(|| format!("WASM_OPT={} is not wasm-opt", named.display()));
        }
        let npm = install::npm(root, "binaryen")
            .and_then(|folder| Self::at(&folder.join("node_modules/.bin/wasm-opt")));
        let Err(pinned) = npm else { return npm };
        if let Ok(found) = Self::at(Path::new("wasm-opt")) {
            let on_path = format!("using wasm-opt {} on PATH", found.version);
            eprintln!("gate: {pinned:#}; {on_path}, which makes other bytes");
            return Ok(found);
        }
        install::cargo(root, "wasm-opt", "0.116.1", "wasm-opt")
            .and_then(|program| Self::at(&program))
            .map_err(|error| anyhow!("no wasm-opt: {pinned:#}; {error:#}; or name one in WASM_OPT"))
    }

    fn at(program: &Path) -> Result<Self> {
        let answer = command::ask(Command::new(program).arg("--version"))?;
        let version = answer.strip_prefix("wasm-opt version ").and_then(|v| v.split(' ').next());
        let version = version.with_context(|| {
            format!("{} --version does not print a version of wasm-opt", program.display())
        })?;
        Ok(Self { program: program.to_owned(), version: version.to_owned() })
    }

    /// Writes the optimised `input` to `output`; `mvp` keeps it within WebAssembly 1.0.
    pub fn run(&self, input: &Path, output: &Path, mvp: bool) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(OPTIONS.split(' '));
        if !mvp {
            command.args(STD_FEATURES.split(' '));
        }
        let command = command.arg(input).arg("-o").arg(output);
        command::run(command, Duration::from_secs(300)).map(drop)
    }
}
