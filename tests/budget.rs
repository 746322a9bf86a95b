//! Every variant costs what `ledger.toml` says: bytes, fuel and crossings per request.

mod support;

use header_gate_cli::build::budget;
use header_gate_cli::build::ledger::{FILE, Ledger};
use support::root;

#[test]
fn every_variant_costs_what_the_ledger_says() {
    let ledger = Ledger::read(&root().join(FILE)).unwrap();
    let (now, differences) = budget::compare(root(), &ledger).unwrap();
    let tools = now.toolchain.unwrap();
    assert!(differences.is_empty(), "with {tools}:\n{}", differences.join("\n"));
}
