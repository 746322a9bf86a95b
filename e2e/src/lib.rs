//! Tests that need Envoy, npm or a registry: what they share.

pub mod conformance;
pub mod gateway;
pub mod probe;
pub mod registry;
pub mod schemas;

use std::fs;
use std::path::Path;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use header_gate_envoy::{ACTIVE, Envoy};
use header_gate_policy::Policy;

const TIMEOUT: Duration = Duration::from_secs(20);

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The four variants of the plugin with the committed policy.
pub fn fronts() -> [Variant; 4] {
    [Variant::default(), Variant::log(), Variant::sdk(), Variant::sdk_log()]
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
pub fn virtual_machines(envoy: &Envoy) -> usize {
    envoy.stat(ACTIVE).unwrap().unwrap_or_else(|| panic!("Envoy has no {ACTIVE}")) as usize
}

/// Waits until `condition` holds, and panics with `otherwise` if it never does.
#[track_caller]
pub fn until(otherwise: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "{otherwise}");
        thread::sleep(Duration::from_millis(20));
    }
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
