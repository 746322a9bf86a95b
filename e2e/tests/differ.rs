//! Random requests through a real Envoy, to the plugin and to other statements of its rule: `gate differ`
//! finds no difference that is not known, and does find a plugin that is not right.

use std::fs;
use std::path::Path;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::root;
use header_gate_lab::differ::{compare, table};

const SEED: u64 = 20_261_124;

#[test]
fn the_plugin_differs_from_no_other_statement_of_its_rule() {
    let plugin = artifact(root(), &Variant::default()).unwrap();
    let data = compare(root(), &plugin, SEED, 0..5_000).unwrap();
    // Each known difference came up: five thousand requests see what the committed run saw.
    let table = table(&data).unwrap();
    let none = table.lines().filter(|line| line.ends_with("| 0 | 0 |")).collect::<Vec<_>>();
    assert_eq!(none, ["| anything else | 0 | 0 |"], "{table}");
}

/// What is found of `plugin`, which is not right.
fn found(plugin: &Path) -> String {
    compare(root(), plugin, SEED, 0..1_000).unwrap_err().to_string()
}

#[test]
fn a_plugin_that_takes_no_heed_of_case_is_found_and_shown() {
    let floor = fs::read_to_string(root().join("benches/floor.wat")).unwrap();
    let value = "(i64.eq (i64.load (i32.const 8))";
    let small = "(i64.eq (i64.or (i64.load (i32.const 8)) (i64.const 0x20202020))";
    assert!(floor.contains(value), "the floor compares otherwise than this test knows");
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("any-case.wasm");
    fs::write(&plugin, wat::parse_str(floor.replace(value, small)).unwrap()).unwrap();
    let found = found(&plugin);
    for part in [
        "\n  header-gate: passed\n  floor (hand-written WAT): denied\n",
        "requests are not answered as they should be",
        "`gate differ --seed 20261124 --index I` asks one of them again",
    ] {
        assert!(found.contains(part), "{part:?} is not in {found}");
    }
}

#[test]
fn another_policys_answer_is_found() {
    let bare = Variant::default().with_policy(root().join("policies/bare.toml"));
    let found = found(&artifact(root(), &bare).unwrap());
    assert!(found.contains("header-gate: answered with Response"), "{found}");
}

#[test]
fn the_plain_plugin_is_found() {
    let found = found(&artifact(root(), &Variant::baseline()).unwrap());
    assert!(found.contains("status: 503"), "{found}");
}
