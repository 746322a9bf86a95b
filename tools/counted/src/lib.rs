//! The plugins that have a heap, with an allocator that counts its calls: for the budget of heap
//! allocations in `ledger.toml`. Nothing else of a plugin changes.

#![cfg(target_family = "wasm")]

use std::alloc::System;

#[cfg(feature = "sdk")]
use header_gate as _;
#[cfg(feature = "baseline")]
use header_gate_baseline as _;
use stats_alloc::{StatsAlloc, INSTRUMENTED_SYSTEM};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations so far, those that moved or grew a block among them.
#[no_mangle]
pub extern "C" fn heap_allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}
