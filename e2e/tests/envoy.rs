//! Every build in the oldest and the newest Envoy: the conformance table, the log lines, and policies.

use header_gate_cli::build::variant::Variant;
use header_gate_e2e::conformance::check;
use header_gate_e2e::gateway::{get, listener, start};
use header_gate_e2e::{policies, policy, root};
use header_gate_envoy::config::{config, is_upstream};
use header_gate_envoy::denial::difference;
use header_gate_envoy::{Envoy, NEWEST, OLDEST};
use header_gate_host::conformance;
use header_gate_policy::Policy;

/// Envoy with a listener for each variant, named after it.
fn start_with(version: &str, variants: &[Variant]) -> Envoy {
    let listeners: Vec<_> = variants
        .iter()
        .map(|variant| {
            let log = "access log: %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%";
            listener(&variant.name(), variant).access_log(log)
        })
        .collect();
    start(version, &config(&listeners), 2).unwrap()
}

fn the_conformance_table_holds_in(version: &str) {
    let variants = [Variant::default(), Variant::log(), Variant::sdk(), Variant::sdk_log()];
    let envoy = start_with(version, &variants);
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

#[test]
fn each_policy_answers_as_it_says() {
    let envoy = start_with(NEWEST, &policies());
    for variant in policies() {
        let (policy, port) = (policy(&variant), envoy.port(&variant.name()).unwrap());
        let get = |value: &str| get(port, &[(policy.header.as_bytes(), value.as_bytes())]);
        for value in policy.accepted() {
            assert!(is_upstream(&get(value)), "{value}");
        }
        let other = get("something else");
        assert_eq!(difference(&policy, &other).is_none(), policy.enforce, "{other:?}");
        assert_eq!(is_upstream(&other), !policy.enforce);
    }
    let log = envoy.stop().unwrap();
    let denied = |p: &Policy| p.enforce && !p.deny.details.is_empty();
    for Policy { deny, .. } in policies().iter().map(policy).filter(denied) {
        let line = format!("access log: {} {}", deny.status, deny.details);
        assert!(log.contains(&line), "{line} is not in\n{log}");
    }
}
