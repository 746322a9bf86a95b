//! From a variant to its artifact: compile, optimise, verify, cache.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use header_gate_contract::{Properties, beyond_mvp, inspect};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::build::files::{hash, put};
use crate::build::toolchain::{TARGET, Toolchain};
use crate::build::variant::Variant;
use crate::build::wasm_opt::WasmOpt;

/// What decides the bytes of an artifact, beside the variant and the tools.
const INPUTS: [&str; 8] = [
    ".cargo/config.toml",
    "Cargo.lock",
    "Cargo.toml",
    "baseline",
    "build.rs",
    "crates/gate/src/build",
    "crates/policy",
    "src",
];

/// Builds variants of the plugin in one checkout.
pub struct Builder {
    root: PathBuf,
    toolchain: Toolchain,
    wasm_opt: WasmOpt,
    /// Whether to show cargo's output while it works, or only if it fails.
    pub verbose: bool,
}

/// A verified plugin.
pub struct Artifact {
    /// The module.
    pub wasm: Vec<u8>,
    /// What it can do.
    pub properties: Properties,
    /// Where it is cached.
    pub file: PathBuf,
}

impl Builder {
    /// Finds or installs the tools for the checkout in `root`.
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

    /// Builds and verifies `variant`, and caches it.
    pub fn build(&self, variant: &Variant) -> Result<Artifact> {
        variant.contract(&self.root)?;
        let _lock = self.lock("target/wasm")?;
        let file = self.cached(variant)?;
        let module = self.compile(variant)?;
        let optimised = NamedTempFile::with_suffix_in(".wasm", self.root.join("target/wasm"))?;
        let mvp = beyond_mvp(&fs::read(&module)?).is_none();
        self.wasm_opt.run(&module, optimised.path(), mvp)?;
        let artifact = self.verify(variant, fs::read(optimised.path())?, file)?;
        ensure!(artifact.file == self.cached(variant)?, "the sources changed during the build");
        let folder = artifact.file.parent().context("the cache has no folder")?;
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        put(&artifact.file, &artifact.wasm)?;
        Ok(artifact)
    }

    /// The artifact of `variant` from the cache, or built now. A cached one is verified again.
    pub fn cached_or_build(&self, variant: &Variant) -> Result<Artifact> {
        // Who waits here finds in the cache what the other process has built.
        let _lock = self.lock("target/artifacts")?;
        let file = self.cached(variant)?;
        match fs::read(&file) {
            Ok(wasm) => self.verify(variant, wasm, file),
            Err(_) => self.build(variant),
        }
    }

    /// The place in the cache: its folder is named by a hash of all that decides the module's bytes.
    fn cached(&self, variant: &Variant) -> Result<PathBuf> {
        let mut key = Sha256::new();
        let features = variant.features();
        key.update([&*self.toolchain()?, variant.package(), &features].join("\0"));
        for path in INPUTS.iter().map(Path::new) {
            hash(&mut key, &self.root, path)?;
        }
        if let Some(policy) = variant.policy_file(&self.root) {
            key.update(fs::read(&policy).with_context(|| policy.display().to_string())?);
        }
        let key: String = key.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = self.root.join("target/artifacts").join(key);
        Ok(folder.join(variant.file_name()))
    }

    fn verify(&self, variant: &Variant, wasm: Vec<u8>, file: PathBuf) -> Result<Artifact> {
        let properties = inspect(&wasm)?;
        if let Some(contract) = variant.contract(&self.root)? {
            let violations = properties.violations(&contract);
            if !violations.is_empty() {
                bail!("{} breaks its contract: {}", variant.name(), violations.join("; "));
            }
        }
        Ok(Artifact { wasm, properties, file })
    }

    fn compile(&self, variant: &Variant) -> Result<PathBuf> {
        let folder = self.root.join("target/wasm");
        let mut cargo = self.toolchain.cargo("rustc", &self.root, variant.needs_std());
        cargo.args(["--package", variant.package(), "--lib"]);
        // With the manifest's rlib beside it, cargo leaves out link-time optimisation.
        cargo.args(["--crate-type", "cdylib", "--target-dir"]).arg(&folder);
        cargo.args(["--features", &variant.features()]);
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
    static BUILDERS: Mutex<BTreeMap<PathBuf, Arc<Builder>>> = Mutex::new(BTreeMap::new());
    let mut builders = BUILDERS.lock().unwrap_or_else(PoisonError::into_inner);
    let builder = match builders.get(root) {
        Some(builder) => builder.clone(),
        None => Arc::new(Builder { verbose: false, ..Builder::new(root)? }),
    };
    builders.insert(root.to_owned(), builder.clone());
    drop(builders);
    Ok(builder.cached_or_build(variant)?.file)
}
