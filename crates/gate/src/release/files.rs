//! The files of a release.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use header_gate_contract::inspect;
use header_gate_host::gate;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::sbom;
use crate::build::variant::{DEFAULT_POLICY, Variant};
use crate::build::{self, Builder, native};

const SBOM: &str = "sbom.cdx.json";
const SUMS: &str = "SHA256SUMS";

/// Builds the modules and the native gate, and writes them with their descriptions to `folder`.
pub fn gather(root: &Path, variants: &[Variant], more: &[PathBuf], folder: &Path) -> Result<()> {
    let toolchain = Builder::new(root)?.toolchain()?;
    let mut files = BTreeMap::new();
    // First, because a wrong name is found at once.
    for file in more {
        let name = file.file_name().context("--add: not a file")?.to_string_lossy().into_owned();
        let bytes = fs::read(file).with_context(|| format!("--add {}", file.display()))?;
        add(&mut files, name, bytes)?;
    }
    for variant in variants {
        eprintln!("gate: building {}", variant.name());
        let wasm = fs::read(build::artifact(root, variant)?)?;
        let policy = variant.policy(root)?;
        gate::check(&wasm, &policy)?;
        let contract = variant.contract(root)?.context("a released module has a contract")?;
        let properties = inspect(&wasm)?;
        let violations = properties.violations(&contract);
        let policy = variant.policy_file(root).filter(|_| !variant.is_configured());
        let policy = policy.as_deref().map(|policy| policy.strip_prefix(root).unwrap_or(policy));
        let properties = json!({ "properties": properties, "violations": violations });
        let about = about(&wasm, &toolchain, policy, properties);
        add(&mut files, variant.file_name().replace(".wasm", ".json"), about)?;
        add(&mut files, variant.file_name(), wasm)?;
    }
    eprintln!("gate: building the native gate");
    let (library, properties) = native::build(root, &root.join(DEFAULT_POLICY), None)?;
    let rustc = toolchain_on_path()?;
    let properties = json!({ "imports": properties.imports, "events": properties.events });
    let about = about(&library, &rustc, Some(Path::new(DEFAULT_POLICY)), properties);
    add(&mut files, library_name().replace(".so", ".json"), about)?;
    add(&mut files, library_name(), library)?;
    add(&mut files, SBOM.to_owned(), text(&sbom::sbom(root)?))?;
    let sums = files.iter().map(|(name, bytes)| format!("{}  {name}\n", hash(bytes)));
    let sums: String = sums.collect();
    add(&mut files, SUMS.to_owned(), sums.into_bytes())?;
    for (name, bytes) in files {
        fs::write(folder.join(&name), bytes).context(name)?;
    }
    Ok(())
}

fn add(files: &mut BTreeMap<String, Vec<u8>>, name: String, bytes: Vec<u8>) -> Result<()> {
    ensure!(!files.contains_key(&name), "--add: the release has a file {name} of its own");
    files.insert(name, bytes);
    Ok(())
}

/// The name of the native gate for this machine.
fn library_name() -> String {
    format!("lib{}-{}.so", native::NAME, env::consts::ARCH)
}

/// What a gate is made of, and what it can do. One that is configured has no policy.
fn about(bytes: &[u8], toolchain: &str, policy: Option<&Path>, properties: Value) -> Vec<u8> {
    let mut about = json!({ "sha256": hash(bytes), "toolchain": toolchain, "policy": policy });
    if let (Some(about), Value::Object(properties)) = (about.as_object_mut(), properties) {
        about.extend(properties);
    }
    text(&about)
}

/// The compiler of the native gate.
fn toolchain_on_path() -> Result<String> {
    header_gate_system::command::ask(header_gate_system::command::cargo("rustc").arg("-V"))
}

fn text(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

fn hash(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
