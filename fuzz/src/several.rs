//! The decision core with the policy `several.toml`.

#[allow(dead_code, reason = "a target needs a part of it")]
pub mod policy {
    include!(concat!(env!("OUT_DIR"), "/several.rs"));
}

#[allow(dead_code, reason = "so does it of the core")]
#[path = "../../src/decision.rs"]
pub mod decision;
