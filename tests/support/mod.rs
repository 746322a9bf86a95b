//! What the tests share: artifacts, built through the same code as `build.sh`, and what a policy
//! says they should answer.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use header_gate_host::{LocalResponse, Plugin, Vm};
use header_gate_policy::Policy;

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every variant with the committed policy whose front is one of ours.
pub fn fronts() -> [Variant; 4] {
    [Variant::default(), Variant::log(), Variant::sdk(), Variant::sdk_log()]
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

/// The artifact of `variant`.
pub fn module(variant: &Variant) -> Vec<u8> {
    fs::read(build::artifact(root(), variant).unwrap()).unwrap()
}

/// A virtual machine that runs `variant`.
pub fn start(variant: &Variant) -> Vm {
    static PLUGINS: LazyLock<Mutex<HashMap<String, Arc<Plugin>>>> = LazyLock::new(Mutex::default);
    let mut plugins = PLUGINS.lock().unwrap_or_else(PoisonError::into_inner);
    let compile = || Arc::new(Plugin::new(&module(variant)).unwrap());
    let plugin = plugins.entry(variant.name()).or_insert_with(compile).clone();
    drop(plugins);
    plugin.start().unwrap()
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
