//! Every variant costs what `ledger.toml` says: fuel and crossings per request.

mod support;

use header_gate_cli::build::budget;
use header_gate_cli::build::ledger::{FILE, Ledger};
use support::root;

#[test]
fn every_variant_costs_what_the_ledger_says() {
    let now = budget::measure_all(root()).unwrap();
    let ledger = Ledger::read(&root().join(FILE)).unwrap();
    let differences = ledger.differences(&now);
    // Another compiler makes other instructions: then differences are shown, and are not an error.
    if ledger.toolchain == now.toolchain {
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    } else {
        println!("{FILE} was made with other tools:\n{}", differences.join("\n"));
    }
}
