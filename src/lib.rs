//! A gate for HTTP gateways: a request passes only when one header carries an agreed value.
//!
//! This crate is a [Proxy-Wasm](https://github.com/proxy-wasm/spec) plugin, ABI 0.2.1, built for
//! what a decision costs: bytes of module, instructions per request, memory per worker.
//!
//! # Design
//!
//! | file | holds |
//! |---|---|
//! | `policy.toml` | the rule and the answer; `build.rs` turns them into the constants of [`policy`] |
//! | `decision.rs` | the rule: from what the host said of the header to pass or deny; pure |
//! | `unroll.rs` | loops over constant data that leave no loop in the module |
//! | `abi.rs` | the default front: the ABI itself, and all `unsafe` |
//! | `pairs.rs` | the answer's headers in the ABI's serialized form, made at compile time |
//! | `sdk.rs` | the other front (feature `sdk`): the same decision behind the `proxy-wasm` SDK |
//! | `log.rs` | the lines of feature `log` |
//!
//! The default front needs three functions of its own and two of the host's, one page of memory, and
//! no allocator, stack or start-up. What the host delivers is compared as whole words against an
//! image of each accepted value, length included, so a decision is a handful of instructions
//! without a branch on the value.
//!
//! # Guarantees of the default front
//!
//! - A request passes only if the host answered Ok and delivered, during this very call, an
//!   accepted value of exactly its length into the memory it was lent. Everything else is denied.
//! - Every call ends, allocates nothing and reads only the module's own 64 KiB: `verify` (in
//!   `tools/`) proves it of each artifact that `build.sh` makes.
//! - The time of a decision tells a value's length at most, never where it differs.
//!
//! # Limits
//!
//! - One header, exact values. Of a repeated header, hosts deliver one value of their choice (Envoy:
//!   the first) or all joined by commas; what the host delivers is what is compared.
//! - A header says what a client chose to send. This is an agreement, not authentication, unless
//!   the values are secrets and the transport is encrypted.
//! - A host that writes to memory that it was not lent can change the rule itself. What a host
//!   answers is not believed; where it writes is.
//! - If the host refuses to send the answer, the request stays stopped; it never passes.

#![no_std]
#![warn(missing_docs, clippy::pedantic)]
#![allow(clippy::cast_possible_truncation, reason = "sizes have 32 bits where the plugin runs")]
#![allow(clippy::trivially_copy_pass_by_ref, reason = "how large a value is, the policy decides")]

// Only the ABI front does without std.
#[cfg(any(not(target_family = "wasm"), feature = "sdk"))]
extern crate std;

#[macro_use]
mod unroll;

pub mod decision;
pub mod pairs;

/// The policy as constants, written by `build.rs`.
pub mod policy {
    include!(concat!(env!("OUT_DIR"), "/policy.rs"));
}

// The tests see it without the feature.
#[cfg(any(test, feature = "log"))]
pub mod log;

// Natively, only the tests need the ABI front: its imports are a gateway's to provide.
#[cfg(all(any(test, target_family = "wasm"), not(feature = "sdk")))]
mod abi;

#[cfg(all(target_family = "wasm", feature = "sdk"))]
mod sdk;
