//! Good, bad and hostile requests to the plugin in a real Envoy: `gate soak` counts every answer, and
//! fails where a virtual machine dies or memory grows.

use std::fs;
use std::path::Path;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::root;
use header_gate_lab::soak::soak;

/// The least that `gate soak` takes: less would be all warm-up.
const REQUESTS: u64 = 300_000;

#[test]
fn the_plugin_outlives_it_and_memory_stays_flat() {
    let plugin = artifact(root(), &Variant::default()).unwrap();
    soak(root(), &plugin, REQUESTS).unwrap();
}

/// How `plugin` fails.
fn failure(plugin: &Path) -> String {
    format!("{:#}", soak(root(), plugin, REQUESTS).unwrap_err())
}

#[test]
fn the_plain_plugin_does_not() {
    let failure = failure(&artifact(root(), &Variant::baseline()).unwrap());
    assert!(failure.contains("answered with 503"), "{failure}");
}

#[test]
fn a_plugin_that_takes_a_little_memory_now_and_then_does_not() {
    let mut source = fs::read_to_string(root().join("benches/floor.wat")).unwrap();
    // At every 32nd request another page, of which the system's first 4 KiB are touched.
    for (before, after) in [
        ("\"memory\") 1 1)", "\"memory\") 1) (global $requests (mut i32) (i32.const 0))"),
        (
            "(i64.store (i32.const 8) (i64.const 0))",
            "(i64.store (i32.const 8) (i64.const 0))
             (global.set $requests (i32.add (global.get $requests) (i32.const 1)))
             (if (i32.eqz (i32.and (global.get $requests) (i32.const 31))) (then
               (i32.store
                 (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)) (i32.const 1))))",
        ),
    ] {
        assert!(source.contains(before), "the floor is written otherwise than this test knows");
        source = source.replace(before, after);
    }
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("leak.wasm");
    fs::write(&plugin, wat::parse_str(source).unwrap()).unwrap();
    let failure = failure(&plugin);
    assert!(failure.contains("KiB more are resident"), "{failure}");
}
