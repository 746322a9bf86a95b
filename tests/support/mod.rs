//! What the tests share: artifacts, built by the code behind `build.sh`, and how they should answer.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::path::Path;

use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use header_gate_host::{LocalResponse, Plugin, Vm};
use header_gate_policy::Policy;

/// The address that refuses an allocation: outside memory on every engine, and positive as an i32.
pub const REFUSED: u32 = 0x7fff_0000;

/// All values of a `u32` near a power of two.
pub fn near_powers() -> impl Iterator<Item = u32> {
    (0..32).flat_map(|bit| [(1_u32 << bit) - 1, 1 << bit, (1 << bit) + 1]).chain([u32::MAX])
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The builds of the committed policy on the default front, without and with feature `log`.
pub fn abi_builds() -> [Variant; 2] {
    [Variant::default(), Variant::log()]
}

/// The builds of the committed policy on the SDK, without and with feature `log`. The tests that use
/// them have `sdk` in their names: .cargo/mutants.toml skips these.
pub fn sdk_builds() -> [Variant; 2] {
    [Variant::sdk(), Variant::sdk_log()]
}

/// The artifact of `variant`.
pub fn module(variant: &Variant) -> Vec<u8> {
    fs::read(build::artifact(root(), variant).unwrap()).unwrap()
}

/// A virtual machine that runs `variant`.
pub fn start(variant: &Variant) -> Vm {
    Plugin::new(&module(variant)).unwrap().start().unwrap()
}

pub fn policy(variant: &Variant) -> Policy {
    variant.policy(root()).unwrap()
}

/// The denial of `variant`.
pub fn denial(variant: &Variant) -> LocalResponse {
    let denial = LocalResponse::of(&policy(variant), None);
    // The SDK cannot send details.
    let has_details = variant.contract(root()).unwrap().is_some();
    LocalResponse { details: if has_details { denial.details } else { vec![] }, ..denial }
}
