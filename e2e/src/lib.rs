//! Tests that need Envoy, npm or a registry: what they share.

pub mod registry;
pub mod schemas;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use header_gate_envoy::{ACTIVE, Envoy};
use header_gate_host::LocalResponse;
use header_gate_policy::Policy;

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every variant with the committed policy whose front is one of ours.
pub fn fronts() -> [Variant; 4] {
    [Variant::default(), Variant::log(), Variant::sdk(), Variant::sdk_log()]
}

/// The artifact of `variant`.
pub fn module(variant: &Variant) -> Vec<u8> {
    fs::read(build::artifact(root(), variant).unwrap()).unwrap()
}

/// The policy of `variant`; the baseline is held to the committed one.
pub fn policy(variant: &Variant) -> Policy {
    let file = variant.policy_file(root()).unwrap_or_else(|| root().join("policy.toml"));
    Policy::read(&file).unwrap()
}

/// What `variant` asks the host to answer to a request that does not pass.
pub fn denial(variant: &Variant) -> LocalResponse {
    let denial = LocalResponse::of(&policy(variant));
    // The SDK has no way to pass details.
    let passes_details = variant.contract(root()).unwrap().is_some();
    LocalResponse { details: if passes_details { denial.details } else { vec![] }, ..denial }
}

/// Virtual machines of all plugins that `envoy` has.
pub fn virtual_machines(envoy: &Envoy) -> usize {
    envoy.stat(ACTIVE).unwrap().unwrap_or_else(|| panic!("Envoy has no {ACTIVE}")) as usize
}

/// Waits until `condition` holds; `otherwise` says what it means if it never does.
#[track_caller]
pub fn until(otherwise: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "{otherwise}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The variants with a policy of `policies/`.
pub fn policies() -> Vec<Variant> {
    let mut all = Variant::all(root()).unwrap();
    all.retain(|v| {
        v.policy_file(root()).is_some_and(|file| file.starts_with(root().join("policies")))
    });
    assert!(!all.is_empty());
    all
}
