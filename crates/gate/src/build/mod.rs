//! From a variant to its artifact: compile, optimise, finish, verify.

pub mod budget;
pub mod ledger;
pub mod toolchain;
pub mod variant;
pub mod wasm_opt;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

use crate::build::toolchain::{TARGET, Toolchain};
use crate::build::variant::Variant;
use crate::build::wasm_opt::WasmOpt;
use header_gate_contract::{self as verify, Properties};

/// What builds variants of the plugin in one checkout.
pub struct Builder {
    root: PathBuf,
    toolchain: Toolchain,
    wasm_opt: WasmOpt,
    /// Whether cargo's lines are shown while it works, or only when it fails.
    pub verbose: bool,
}

/// A finished plugin.
pub struct Artifact {
    /// The module.
    pub wasm: Vec<u8>,
    /// What was found of it.
    pub properties: Properties,
}

impl Builder {
    /// Finds the tools for the checkout in `root`, or installs them.
    ///
    /// # Errors
    /// A tool is missing and cannot be installed.
    pub fn new(root: &Path) -> Result<Self> {
        let root = root.canonicalize().with_context(|| root.display().to_string())?;
        let toolchain = Toolchain::find_or_install()?;
        let wasm_opt = WasmOpt::find_or_install(&root)?;
        Ok(Self { root, toolchain, wasm_opt, verbose: true })
    }

    /// The tools that decide an artifact's bytes, as the ledger names them.
    ///
    /// # Errors
    /// rustc does not run.
    pub fn toolchain(&self) -> Result<String> {
        Ok(format!("{}, wasm-opt {}", self.toolchain.version()?, self.wasm_opt.version))
    }

    /// Builds `variant` and verifies it.
    ///
    /// # Errors
    /// The policy is refused, a tool fails, or the module breaks its contract.
    pub fn build(&self, variant: &Variant) -> Result<Artifact> {
        let contract = variant.contract(&self.root)?;
        let folder = self.root.join("target/wasm");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        // cargo has a lock of its own, but it ends before the module is read.
        let lock = File::create(folder.join(".gate-lock"))?;
        lock.lock()?;
        let module = self.compile(variant, &folder)?;
        let optimised = NamedTempFile::with_suffix_in(".wasm", &folder)?;
        let mvp = verify::beyond_mvp(&fs::read(&module)?).is_none();
        self.wasm_opt.run(&module, optimised.path(), mvp)?;
        drop(lock);

        let wasm = fs::read(optimised.path())?;
        let properties = verify::inspect(&wasm)?;
        if let Some(contract) = contract {
            let violations = properties.violations(&contract);
            if !violations.is_empty() {
                bail!("{} breaks its contract: {}", variant.name(), violations.join("; "));
            }
        }
        Ok(Artifact { wasm, properties })
    }

    fn compile(&self, variant: &Variant, folder: &Path) -> Result<PathBuf> {
        let mut cargo = self.toolchain.cargo("rustc", &self.root, variant.needs_std());
        cargo.args(["--package", variant.package(), "--lib"]);
        // With the manifest's rlib beside it, cargo leaves out link-time optimisation.
        cargo.args(["--crate-type", "cdylib", "--target-dir"]).arg(folder);
        cargo.arg("--features").arg(variant.features().join(","));
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
}

/// Writes `wasm` to `file` at once: whoever reads it finds the old module or the new one.
///
/// # Errors
/// The folder cannot be written to.
pub fn put(file: &Path, wasm: &[u8]) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let place = || format!("cannot write {}", file.display());
    let mut new = builder.tempfile_in(folder.unwrap_or(Path::new("."))).with_context(place)?;
    new.write_all(wasm).with_context(place)?;
    // The other part of its error says the same again.
    new.persist(file).map_err(|error| error.error).with_context(place)?;
    Ok(())
}

/// The artifact of `variant`, for tests and tools: made by the code behind `build.sh`, once in a
/// process, below `target/artifacts`.
///
/// # Errors
/// As for [`Builder::build`].
pub fn artifact(root: &Path, variant: &Variant) -> Result<PathBuf> {
    static MADE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut folder = root.join("target/artifacts");
    if variant.ledger_key(root).is_none() {
        // Policies from elsewhere may share a name.
        let mut hasher = DefaultHasher::new();
        variant.policy_file(root).hash(&mut hasher);
        folder.push(format!("{:016x}", hasher.finish()));
    }
    let file = folder.join(variant.file_name());
    if !made.contains(&file) {
        let artifact = Builder { verbose: false, ..Builder::new(root)? }.build(variant)?;
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        put(&file, &artifact.wasm)?;
        made.insert(file.clone());
    }
    Ok(file)
}
