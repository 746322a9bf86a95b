//! Every variant costs what `ledger.toml` says: fuel and crossings per request.

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
    // Another compiler makes other instructions: then differences are shown, and are not an error.
    if ledger.toolchain() == Some(&toolchain) {
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    } else {
        println!("{FILE} was not made with {toolchain}:\n{}", differences.join("\n"));
    }
}
