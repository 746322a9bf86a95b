//! From a variant to its artifact: compile, optimise, verify, cache.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use header_gate_contract::{Properties, beyond_mvp, inspect};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::build::files::{hash, put};
use crate::build::toolchain::{TARGET, Toolchain};
use crate::build::variant::Variant;
use crate::build::wasm_opt::WasmOpt;

/// What decides the bytes of an artifact, beside the variant and the tools.
const INPUTS: [&str; 13] = [
    ".cargo/config.toml",
    "Cargo.lock",
    "Cargo.toml",
    "baseline",
    "build.rs",
    "crates/config/Cargo.toml",
    "crates/config/src",
    "crates/decision/Cargo.toml",
    "crates/decision/src",
    "crates/gate/src/build",
    "crates/policy/Cargo.toml",
    "crates/policy/src",
    "src",
];

pub struct Builder {
    root: PathBuf,
    toolchain: Toolchain,
    wasm_opt: WasmOpt,
    /// Whether to show cargo's output while it works, or only if it fails.
    pub verbose: bool,
}

impl Builder {
    pub fn new(root: &Path) -> Result<Self> {
        let root = root.canonicalize().with_context(|| root.display().to_string())?;
        let toolchain = Toolchain::find_or_install()?;
        let wasm_opt = WasmOpt::find_or_install(&root)?;
        Ok(Self { root, toolchain, wasm_opt, verbose: true })
    }

    /// The tools that decide an artifact's bytes, as the ledger names them.
    pub fn toolchain(&self) -> Result<String> {
        Ok(format!("{}, wasm-opt {}", self.toolchain.version()?, self.wasm_opt.version))
    }

    /// Builds, verifies and caches `variant`: the module, and what it can do.
    pub fn build(&self, variant: &Variant) -> Result<(Vec<u8>, Properties)> {
        variant.contract(&self.root)?;
        let _lock = self.lock("target/wasm")?;
        let file = self.cached(variant)?;
        let module = self.compile(variant)?;
        let optimised = NamedTempFile::with_suffix_in(".wasm", self.root.join("target/wasm"))?;
        let mvp = beyond_mvp(&fs::read(&module)?).is_none();
        self.wasm_opt.run(&module, optimised.path(), mvp)?;
        let wasm = fs::read(optimised.path())?;
        let properties = self.verify(variant, &wasm)?;
        ensure!(file == self.cached(variant)?, "the sources changed during the build");
        let folder = file.parent().context("the cache has no folder")?;
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        put(&file, &wasm)?;
        Ok((wasm, properties))
    }

    /// The artifact of `variant` from the cache, or built now. A cached one is verified again.
    fn cached_or_build(&self, variant: &Variant) -> Result<PathBuf> {
        // Who waits here finds in the cache what the other process has built.
        let _lock = self.lock("target/artifacts")?;
        let file = self.cached(variant)?;
        match fs::read(&file) {
            Ok(wasm) => drop(self.verify(variant, &wasm)?),
            Err(_) => drop(self.build(variant)?),
        }
        Ok(file)
    }

    /// The place in the cache: its folder is named by a hash of all that decides the module's bytes.
    pub fn cached(&self, variant: &Variant) -> Result<PathBuf> {
        let mut key = Sha256::new();
        let features = variant.features().join(",");
        key.update([&*self.toolchain()?, variant.package(), &features].join("\0"));
        for path in INPUTS.iter().map(Path::new) {
            hash(&mut key, &self.root, path)?;
        }
        if let Some(policy) = variant.policy_file(&self.root) {
            key.update(fs::read(&policy).with_context(|| policy.display().to_string())?);
        }
        let folder = self.root.join(format!("target/artifacts/{:x}", key.finalize()));
        Ok(folder.join(variant.file_name()))
    }

    fn verify(&self, variant: &Variant, wasm: &[u8]) -> Result<Properties> {
        let (properties, contract) = (inspect(wasm)?, variant.contract(&self.root)?);
        let violations =
            contract.map_or_else(Vec::new, |contract| properties.violations(&contract));
        let name = variant.name();
        ensure!(violations.is_empty(), "{name} breaks its contract: {}", violations.join("; "));
        Ok(properties)
    }

    fn compile(&self, variant: &Variant) -> Result<PathBuf> {
        let folder = self.root.join("target/wasm");
        let mut cargo = self.toolchain.cargo("rustc", &self.root, variant.needs_std());
        cargo.args(["--package", variant.package(), "--lib"]);
        // With the manifest's rlib beside it, cargo leaves out link-time optimisation.
        cargo.args(["--crate-type", "cdylib", "--target-dir"]).arg(&folder);
        cargo.args(variant.features().iter().map(|feature| format!("--features={feature}")));
        if let Some(policy) = variant.policy_file(&self.root) {
            cargo.env("HEADER_GATE_POLICY", policy.canonicalize()?);
        }
        let stderr = if self.verbose { Stdio::inherit() } else { Stdio::piped() };
        let output = cargo.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).output();
        let output = output.with_context(|| cargo.get_program().display().to_string())?;
        if !output.status.success() {
            std::io::stderr().write_all(&output.stderr)?;
            bail!("cargo could not compile {} ({})", variant.package(), variant.name());
        }
        let file = format!("{}.wasm", variant.package().replace('-', "_"));
        Ok(folder.join(TARGET).join("release").join(file))
    }

    /// Creates `folder`, and locks it for all processes and threads until the file is dropped.
    fn lock(&self, folder: &str) -> Result<File> {
        let folder = self.root.join(folder);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let lock = File::create(folder.join(".gate-lock"))?;
        lock.lock()?;
        Ok(lock)
    }
}

/// The file with the artifact of `variant`, for tests and tools.
pub fn artifact(root: &Path, variant: &Variant) -> Result<PathBuf> {
    static BUILDERS: Mutex<BTreeMap<PathBuf, Builder>> = Mutex::new(BTreeMap::new());
    let mut builders = BUILDERS.lock().unwrap_or_else(PoisonError::into_inner);
    if !builders.contains_key(root) {
        builders.insert(root.to_owned(), Builder { verbose: false, ..Builder::new(root)? });
    }
    builders[root].cached_or_build(variant)
}
