//! `lab soak` passes the plugin, and fails if a virtual machine dies or memory grows.

use std::fs;
use std::path::Path;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::{floor, root};
use header_gate_lab::soak::soak;

/// Enough for some after the warm-up.
const REQUESTS: u64 = 150_000;

#[test]
fn the_plugin_answers_every_request_in_constant_memory() {
    soak(root(), None, REQUESTS).unwrap();
}

fn error(plugin: &Path) -> String {
    format!("{:#}", soak(root(), Some(plugin), REQUESTS).unwrap_err())
}

#[test]
fn the_sdk_baseline_fails_at_a_value_that_is_not_utf8() {
    let error = error(&artifact(root(), &Variant::baseline()).unwrap());
    assert!(error.contains("status 503"), "{error}");
}

#[test]
fn a_plugin_that_leaks_memory_fails() {
    // Every 32nd request takes another page, of which the first 4 KiB are touched.
    let leaking = floor(&[
        ("\"memory\") 1 1)", "\"memory\") 1) (global $requests (mut i32) (i32.const 0))"),
        (
            "(i64.store (i32.const 8) (i64.const 0))",
            "(i64.store (i32.const 8) (i64.const 0))
             (global.set $requests (i32.add (global.get $requests) (i32.const 1)))
             (if (i32.eqz (i32.and (global.get $requests) (i32.const 31))) (then
               (i32.store
                 (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)) (i32.const 1))))",
        ),
    ]);
    let plugin = tempfile::NamedTempFile::with_suffix(".wasm").unwrap();
    fs::write(&plugin, leaking).unwrap();
    let error = error(plugin.path());
    assert!(error.contains("KiB above the warm-up maximum"), "{error}");
}
