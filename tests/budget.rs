//! Nothing may get dearer unnoticed: fuel, crossings and heap allocations of every variant are those
//! of `ledger.toml`.

mod support;

use header_gate_cli::build::Builder;
use header_gate_cli::build::budget;
use header_gate_cli::build::ledger::{FILE, Ledger};
use support::root;

#[test]
fn every_variant_costs_what_the_ledger_says() {
    let differences = budget::compare(root(), false).unwrap();
    let ledger = Ledger::read(&root().join(FILE)).unwrap();
    let toolchain = Builder::new(root()).unwrap().toolchain().unwrap();
    // Another compiler makes other instructions: then a difference is told, and is no failure.
    if ledger.toolchain() == Some(&toolchain) {
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    } else {
        println!("{FILE} was not made with {toolchain}:\n{}", differences.join("\n"));
    }
}
