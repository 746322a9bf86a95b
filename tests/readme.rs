//! The README's figures are what the build prints.

mod support;

use std::fs;

use header_gate_cli::build::Builder;
use header_gate_cli::build::ledger::{FILE, Ledger};
use header_gate_cli::build::variant::Variant;
use header_gate_contract::{self as verify, Bound};
use support::{module, root};

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

#[test]
fn the_verified_properties_are_those_of_the_default_build() {
    let properties = verify::inspect(&module(&Variant::default())).unwrap().to_string();
    let ledger = Ledger::read(&root().join(FILE)).unwrap();
    let ours = Builder::new(root()).unwrap().toolchain().unwrap();
    // Another compiler may make a few bytes and instructions more or less; nothing else.
    let comparable = |text: &str| {
        let figures = |c: char| if c.is_ascii_digit() { '#' } else { c };
        let same = ledger.toolchain() == Some(ours.as_str());
        if same { text.to_owned() } else { text.chars().map(figures).collect() }
    };
    let block = comparable(&format!("```text\n{properties}```"));
    assert!(comparable(&readme()).contains(&block), "now:\n{properties}");
}

#[test]
fn a_decision_takes_at_most_what_the_callback_and_the_allocator_take() {
    let properties = verify::inspect(&module(&Variant::default())).unwrap();
    let most: u64 = properties
        .paths
        .values()
        .map(|bound| match bound {
            Bound::Instructions(count) => *count,
            Bound::Unbounded(why) => panic!("{why}"),
        })
        .sum();
    let claim = readme().split_once("at most ").unwrap().1.split_once(' ').unwrap().0.to_owned();
    assert!(most <= claim.parse().unwrap(), "{most} instructions, and not {claim}");
}

#[test]
fn the_table_of_sizes_is_the_ledger() {
    let (readme, ledger) = (readme(), Ledger::read(&root().join(FILE)).unwrap());
    for variant in Variant::all(root()).unwrap() {
        let (name, bytes) = (variant.name(), ledger.bytes(&variant.ledger_key(root()).unwrap()));
        let bytes = bytes.unwrap().to_string();
        let row = |line: &&str| line.starts_with(&format!("| `{name}` |"));
        let row = readme.lines().find(row).unwrap_or_else(|| panic!("no row for {name}"));
        assert!(row.replace(',', "").ends_with(&format!(" {bytes} |")), "{row}, and not {bytes}");
    }
}
