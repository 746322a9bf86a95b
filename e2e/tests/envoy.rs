//! Every build in the oldest and the newest Envoy: the conformance table and the log lines. tests/native.rs has the
//! policies.

use header_gate_cli::build::variant::Variant;
use header_gate_e2e::conformance::check;
use header_gate_e2e::gateway::{listener, start};
use header_gate_e2e::{policy, root};
use header_gate_envoy::config::config;
use header_gate_envoy::{NEWEST, OLDEST};
use header_gate_host::conformance;

fn the_conformance_table_holds_in(version: &str) {
    let variants = [Variant::default(), Variant::log(), Variant::sdk(), Variant::sdk_log()];
    let listeners = variants.each_ref().map(|variant| listener(&variant.name(), variant));
    let envoy = start(version, &config(&listeners), 2).unwrap();
    let table = conformance::read(&root().join("tests/conformance.toml")).unwrap();
    for variant in &variants {
        let port = envoy.port(&variant.name()).unwrap();
        for case in &table {
            let about = format!("Envoy {version}, {}: {}", variant.name(), case.name);
            check(port, case, &policy(variant), &about);
        }
    }
    let log = envoy.stop().unwrap();
    for variant in [Variant::log(), Variant::sdk_log()] {
        for line in
            ["on_http_request_headers", "allow header not found or is not true, deny by default"]
        {
            let name = variant.name();
            let line = format!("wasm log header-authorization {name}: #2 wasm-rust: {line}");
            assert!(log.contains(&line), "Envoy {version}: {line} is not in\n{log}");
        }
    }
    assert!(!log.contains("header-authorization default:"), "a build without the feature logged");
}

#[test]
fn the_conformance_table_holds_in_the_oldest_envoy() {
    the_conformance_table_holds_in(OLDEST);
}

#[test]
fn the_conformance_table_holds_in_the_newest_envoy() {
    the_conformance_table_holds_in(NEWEST);
}
