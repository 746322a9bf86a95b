//! `lab differ` finds no unknown difference between the plugin and other statements of its rule, and
//! finds plugins that are wrong.

use std::fs;
use std::path::Path;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::{floor, root};
use header_gate_lab::differ::{OUTCOMES, compare};

const SEED: u64 = 20_261_124;

#[test]
fn the_plugin_shows_the_known_differences_and_no_other() {
    let samples = compare(root(), None, SEED, 0..5_000).unwrap();
    // Every known difference came up, so that the run means something.
    let table = samples.counts(OUTCOMES).unwrap();
    assert!(!table.contains("| 0 | 0 |"), "{table}");
}

/// The error about `plugin`, which is wrong.
fn error(plugin: &Path) -> String {
    compare(root(), Some(plugin), SEED, 0..1_000).unwrap_err().to_string()
}

#[test]
fn a_plugin_that_ignores_case_is_found_and_shown() {
    let value = "(i64.load (i32.const 8))";
    let lower = format!("(i64.or {value} (i64.const 0x20202020))");
    let plugin = tempfile::NamedTempFile::with_suffix(".wasm").unwrap();
    fs::write(&plugin, floor(&[(value, &lower)])).unwrap();
    let error = error(plugin.path());
    for part in [
        "\n  header-gate: Passed, expected Denied\n  floor (hand-written WAT): Denied, expected Denied\n",
        "requests are not answered as the rule says",
        "`cargo lab differ --seed 20261124 --index I` sends one of them again",
    ] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
}

#[test]
fn the_denial_of_another_policy_and_the_sdk_baseline_are_found() {
    let bare = Variant::default().with_policy(root().join("policies/bare.toml"));
    for (variant, part) in [(bare, "header-gate: Other("), (Variant::baseline(), "status 503")] {
        let error = error(&artifact(root(), &variant).unwrap());
        assert!(error.contains(part), "{error}");
    }
}
