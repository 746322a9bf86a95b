//! Finds Binaryen's wasm-opt, or installs it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use header_gate_system::command as process;

/// What rustup's compiled standard library brings beyond WebAssembly 1.0. Older versions refuse what
/// they were not told of.
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
    /// Its version's number, such as `108`.
    pub version: String,
}

impl WasmOpt {
    /// Finds the one that WASM_OPT names, on PATH or below `root`'s target folder; or installs it.
    ///
    /// # Errors
    /// WASM_OPT names something else, or there is none and none could be installed.
    pub fn find_or_install(root: &Path) -> Result<Self> {
        if let Some(named) = env::var_os("WASM_OPT") {
            return Self::at(Path::new(&named))
                .with_context(|| format!("WASM_OPT={} is no wasm-opt", named.display()));
        }
        let tools = root.join("target/tools");
        let npm = tools.join("node_modules/.bin/wasm-opt");
        let cargo = tools.join("bin/wasm-opt");
        for place in [Path::new("wasm-opt"), &npm, &cargo] {
            if let Ok(found) = Self::at(place) {
                return Ok(found);
            }
        }
        let tried = [
            process::can_install_packages().then(|| {
                process::install_packages(&["binaryen"])?;
                Self::at(Path::new("wasm-opt"))
            }),
            process::on_path("npm").map(|_| {
                eprintln!("gate: installing npm's binaryen below target/tools");
                let mut install = Command::new("npm");
                install.args(["install", "--no-save", "--no-audit", "--no-fund", "--prefix"]);
                let limit = Duration::from_secs(300);
                process::run_quietly(install.arg(&tools).arg("binaryen"), limit)?;
                Self::at(&npm)
            }),
        ];
        let mut reasons = String::new();
        for attempt in tried.into_iter().flatten() {
            match attempt {
                Ok(found) => return Ok(found),
                Err(error) => reasons += &format!("; {error:#}"),
            }
        }
        Self::compile(&tools).and_then(|()| Self::at(&cargo)).map_err(|error| {
            anyhow::anyhow!(
                "no wasm-opt: install Binaryen (Debian and npm call it `binaryen`) or name one \
                 in WASM_OPT{reasons}; {error:#}"
            )
        })
    }

    fn compile(tools: &Path) -> Result<()> {
        eprintln!("gate: cargo install wasm-opt, below target/tools (takes about 8 minutes)");
        let mut install = process::cargo("cargo");
        install.args(["install", "--quiet", "--locked", "wasm-opt", "--root"]).arg(tools);
        process::run_quietly(&mut install, Duration::from_secs(2400))
    }

    fn at(program: &Path) -> Result<Self> {
        let answer = process::ask(Command::new(program).arg("--version"))?;
        match answer.split_whitespace().collect::<Vec<_>>()[..] {
            ["wasm-opt", "version", version, ..] => {
                Ok(Self { program: program.to_owned(), version: version.to_owned() })
            }
            _ => bail!("{} --version does not answer as wasm-opt does", program.display()),
        }
    }

    /// Writes the optimised `input` to `output`; `mvp` keeps it within WebAssembly 1.0.
    ///
    /// # Errors
    /// wasm-opt refuses the module.
    pub fn run(&self, input: &Path, output: &Path, mvp: bool) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["-Oz", "--converge", "--strip-debug", "--strip-producers"]);
        command.args(["--strip-target-features", "--mvp-features"]);
        if !mvp {
            command.args(STD_FEATURES);
        }
        command.arg(input).arg("-o").arg(output);
        process::run_quietly(&mut command, Duration::from_secs(300))
    }
}
