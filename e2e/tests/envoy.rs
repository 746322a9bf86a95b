//! Every build in the oldest and the newest Envoy: the conformance table, the log lines, policies, and what a
//! byte that is not UTF-8 does.

use header_gate_cli::build::variant::Variant;
use header_gate_e2e::conformance::check;
use header_gate_e2e::gateway::{GOOD, get, listener, start};
use header_gate_e2e::{fronts, policies, policy, root};
use header_gate_envoy::config::{config, is_upstream};
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

#[track_caller]
fn assert_passes(port: u16, about: &str) {
    // Enough connections to reach both workers.
    for _ in 0..4 {
        assert!(is_upstream(&get(port, GOOD)), "{about}");
    }
}

fn the_conformance_table_holds_in(version: &str) {
    let envoy = start_with(version, &fronts());
    let table = conformance::read(&root().join("tests/conformance.toml")).unwrap();
    for variant in fronts() {
        let port = envoy.port(&variant.name()).unwrap();
        for case in &table {
            let about = format!("Envoy {version}, {}: {}", variant.name(), case.name);
            check(port, case, &policy(&variant), &about);
            assert_passes(port, &format!("{about}: the next good request"));
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
fn a_byte_that_is_not_utf_8_kills_the_sdk_baseline_and_no_build_of_ours() {
    for version in [OLDEST, NEWEST] {
        let variants = [Variant::default(), Variant::sdk(), Variant::baseline()];
        let envoy = start_with(version, &variants);
        for variant in variants {
            let (name, baseline) = (variant.name(), variant == Variant::baseline());
            let port = envoy.port(&name).unwrap();
            assert_passes(port, &name);
            // The baseline loses the virtual machines of both workers.
            let status = if baseline { 503 } else { 403 };
            for _ in 0..8 {
                assert_eq!(get(port, &[(b"allow", b"\xff")]).status, status, "{version}, {name}");
            }
            let status = if baseline { 503 } else { 200 };
            assert_eq!(get(port, GOOD).status, status, "{version}, {name}: a good request");
        }
    }
}

#[test]
fn each_policy_answers_as_it_says() {
    let envoy = start_with(NEWEST, &policies());
    for variant in policies() {
        let (policy, port) = (policy(&variant), envoy.port(&variant.name()).unwrap());
        let get = |value: &str| get(port, &[(policy.header.as_bytes(), value.as_bytes())]);
        for value in &policy.values {
            assert!(is_upstream(&get(value)), "{value}");
        }
        let denied = get("something else");
        assert_eq!(denied.status, policy.deny.status);
        assert_eq!(denied.body, policy.deny.body.as_bytes());
        for (name, value) in &policy.deny.headers {
            assert_eq!(denied.header(name), Some(value.as_bytes()), "{name}");
        }
    }
    let log = envoy.stop().unwrap();
    for Policy { deny, .. } in policies().iter().map(policy).filter(|p| !p.deny.details.is_empty())
    {
        let line = format!("access log: {} {}", deny.status, deny.details);
        assert!(log.contains(&line), "{line} is not in\n{log}");
    }
}
