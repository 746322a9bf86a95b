//! The native gate: a shared library for Envoy's dynamic modules.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use header_gate_contract::Library;
use header_gate_policy::Policy;
use header_gate_system::command;

use super::toolchain::Toolchain;

/// Envoy loads `lib<name>.so`; this is the name of the gate with the checkout's policy.
pub const NAME: &str = "header_gate";

/// Where the gate with the policy in `file` is written, in the checkout: Envoy knows it by the part between
/// `lib` and `.so`.
pub fn file_name(file: Option<&Path>) -> String {
    let policy = file.and_then(Path::file_stem).map(|stem| format!("-{}", stem.to_string_lossy()));
    format!("lib{NAME}{}.so", policy.unwrap_or_default())
}

/// Compiles the gate with the policy in `file` for this machine, or for `target`, and checks it.
pub fn build(root: &Path, file: &Path, target: Option<&str>) -> Result<(Vec<u8>, Library)> {
    Policy::read(file)?;
    let toolchain = target.map_or(Ok(Toolchain::Path), Toolchain::of)?;
    let mut cargo = toolchain.compiler("rustc", root, "core");
    cargo.args(["--quiet", "--profile", "native", "--lib"]);
    cargo.args(["--package", "header-gate", "--features", "native", "--crate-type", "cdylib"]);
    cargo.args(["--message-format", "json-render-diagnostics", "--target-dir", "target/native"]);
    if let Some(target) = target {
        cargo.arg(format!("--target={target}")).envs(linker(target)?);
    }
    cargo.env("HEADER_GATE_POLICY", file.canonicalize()?);
    if target.is_some() && toolchain == Toolchain::Debian {
        // It is compiled anew for each target, and nothing but its panics stays in the gate.
        for setting in ["opt-level=0", "codegen-units=16"] {
            cargo.arg("--config").arg(format!("profile.native.package.core.{setting}"));
        }
    }
    // Until the library is read, no other build may replace it.
    let folder = root.join("target/native");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let lock = File::create(folder.join(".gate-lock"))?;
    lock.lock()?;
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "cargo could not compile the native gate");
    let library =
        compiled(&String::from_utf8_lossy(&output.stdout)).context("cargo made no library")?;
    let bytes = fs::read(&library).with_context(|| library.display().to_string())?;
    let properties = Library::inspect(&bytes)
        .with_context(|| format!("{} breaks its contract", library.display()))?;
    Ok((bytes, properties))
}

/// The variable that names the linker for `target`: the user's, or GCC's of Debian's name.
fn linker(target: &str) -> Result<Option<(String, PathBuf)>> {
    let name = target.to_uppercase().replace('-', "_");
    let (variable, machine) = (format!("CARGO_TARGET_{name}_LINKER"), target.split('-').next());
    let machine = machine.unwrap_or_default();
    if let Some(own) = env::var_os(&variable) {
        return Ok(Some((variable, own.into())));
    }
    if machine == env::consts::ARCH {
        return Ok(None);
    }
    let gcc = format!("{machine}-linux-gnu-gcc");
    let file = command::on_path(&gcc).with_context(|| {
        format!(
            "--target {target}: {gcc} is not on PATH; install it, or name a linker in {variable}"
        )
    })?;
    Ok(Some((variable, file)))
}

/// The shared library in cargo's messages.
fn compiled(messages: &str) -> Option<PathBuf> {
    messages.lines().filter_map(|line| serde_json::from_str(line).ok()).find_map(
        |message: serde_json::Value| {
            let library = message["filenames"].as_array()?.first()?.as_str()?;
            (message["target"]["name"] == NAME && library.ends_with(".so")).then(|| library.into())
        },
    )
}
