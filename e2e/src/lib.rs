//! Tests that need Envoy, npm or a registry: what they share.

pub mod conformance;
pub mod gateway;
pub mod native;
pub mod probe;
pub mod registry;
pub mod schemas;

use std::fs;
use std::path::Path;
use std::process::Output;

use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use header_gate_envoy::Envoy;
use header_gate_policy::Policy;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The variants with a policy of `policies/`.
pub fn policies() -> Vec<Variant> {
    Variant::policies(root()).unwrap()
}

/// The module of `variant`.
pub fn module(variant: &Variant) -> Vec<u8> {
    fs::read(build::artifact(root(), variant).unwrap()).unwrap()
}

/// The policy of `variant`.
pub fn policy(variant: &Variant) -> Policy {
    variant.policy(root()).unwrap()
}

/// The number of Wasm virtual machines in `envoy`.
pub fn virtual_machines(envoy: &Envoy) -> u64 {
    envoy.virtual_machines().unwrap()
}

/// Waits until `condition` holds, and panics with `otherwise` if it never does.
#[track_caller]
pub fn until(otherwise: &str, mut condition: impl FnMut() -> bool) {
    let met = header_gate_envoy::until(|| Ok(condition().then_some(())));
    met.unwrap_or_else(|error| panic!("{otherwise}: {error}"));
}

/// What a successful command printed on standard output.
#[track_caller]
pub fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The error of a failed command: exit status 1, one line `error: ...`, which is the last one.
#[track_caller]
pub fn error(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((errors.len(), stderr.lines().last()), (1, errors.first().copied()), "{stderr}");
    errors[0].to_owned()
}
