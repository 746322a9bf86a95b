//! Every build in the oldest and the newest Envoy: the conformance table and the log lines. tests/native.rs has the
//! policies.

use header_gate_cli::build::variant::Variant;
use header_gate_e2e::conformance::conforms;
use header_gate_e2e::gateway::{listener, start};
use header_gate_envoy::config::config;
use header_gate_envoy::{NEWEST, OLDEST};

#[test]
fn the_conformance_table_holds_in_the_oldest_and_the_newest_envoy() {
    let variants = [Variant::default(), Variant::log(), Variant::sdk(), Variant::sdk_log()];
    let listeners = variants.each_ref().map(|variant| listener(&variant.name(), variant));
    for version in [OLDEST, NEWEST] {
        let envoy = start(version, &config(&listeners), 2).unwrap();
        for name in variants.each_ref().map(Variant::name) {
            conforms(envoy.port(&name).unwrap(), &format!("Envoy {version}, {name}"));
        }
        let log = envoy.stop().unwrap();
        for variant in [Variant::log(), Variant::sdk_log()] {
            for line in [
                "on_http_request_headers",
                "allow header not found or is not true, deny by default",
            ] {
                let name = variant.name();
                let line = format!("wasm log header-authorization {name}: #2 wasm-rust: {line}");
                assert!(log.contains(&line), "Envoy {version}: {line} is not in\n{log}");
            }
        }
        assert!(
            !log.contains("header-authorization default:"),
            "a build without the feature logged"
        );
    }
}
