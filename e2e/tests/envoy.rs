//! Every build in a real Envoy, the oldest and the newest that there is: the conformance table, the
//! article's log lines, and what a byte that is not UTF-8 does to the plain plugin.

use std::process::Command;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::{fronts, policies, policy, root};
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::http1::{Connection, Response};
use header_gate_envoy::http2;
use header_gate_envoy::{Envoy, NEWEST, OLDEST, Options, install};
use header_gate_host::conformance::{self, Case, Protocol};
use header_gate_policy::Policy;

/// What the routes behind the plugin answer.
const UPSTREAM: &[u8] = b"upstream\n";
const GOOD: &[(&[u8], &[u8])] = &[(b"allow", b"true")];

/// Envoy with two workers and a listener for each variant, named after it, failing closed.
fn start(version: &str, variants: &[Variant]) -> Envoy {
    let binary = install(root(), version).unwrap();
    let listeners: Vec<Listener> = variants
        .iter()
        .map(|variant| {
            let listener = Listener::new(&variant.name());
            let listener = listener.wasm(&artifact(root(), variant).unwrap());
            listener.access_log("access log: %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%")
        })
        .collect();
    let config = config(&listeners).to_string();
    Envoy::start(Command::new(binary), &config, &Options::default()).unwrap()
}

/// One request on a new connection, which Envoy gives to one of its workers.
fn send(port: u16, method: &str, headers: &[(&[u8], &[u8])], body: &[u8]) -> Response {
    Connection::open(port).unwrap().send(method, "/status/418", headers, body).unwrap()
}

#[track_caller]
fn assert_passes(port: u16, about: &str) {
    // Enough connections to reach both workers.
    for _ in 0..4 {
        let response = send(port, "GET", GOOD, b"");
        assert_eq!((response.status, response.body.as_slice()), (200, UPSTREAM), "{about}");
    }
}

/// Sends the case and asserts what comes back; in a form that both versions of HTTP share.
fn check(port: u16, case: &Case, policy: &Policy, about: &str) {
    let mut headers: Vec<(&[u8], &[u8])> =
        case.headers.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
    let response = match case.protocol {
        Protocol::Http1 => send(port, &case.method, &headers, &case.body),
        Protocol::Http2 => over_http2(port, &case.method, &headers, &case.body),
        Protocol::Grpc => {
            headers.push((b"content-type", b"application/grpc"));
            headers.push((b"te", b"trailers"));
            let response = over_http2(port, "POST", &headers, b"\0\0\0\0\0");
            return check_grpc(&response, case, policy, about);
        }
    };
    let expected = if case.passes { UPSTREAM } else { policy.deny.body.as_bytes() };
    assert_eq!(response.status, if case.passes { 200 } else { policy.deny.status }, "{about}");
    // An answer to HEAD has the size of the body that it leaves out.
    let size = expected.len().to_string();
    assert!(response.has("content-length", size.as_bytes()), "{about}: {response:?}");
    assert_eq!(response.body, if case.method == "HEAD" { b"" } else { expected }, "{about}");
    if !case.passes {
        for (name, value) in &policy.deny.headers {
            assert!(response.has(name, value.as_bytes()), "{about}: {name} in {response:?}");
        }
    }
}

fn check_grpc(response: &Response, case: &Case, policy: &Policy, about: &str) {
    let header = |name: &str| {
        let value = response.header(name);
        value.map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    };
    // gRPC has the HTTP status 200, its own status, and the body as a percent-encoded message.
    let passed = header("grpc-status") != "7";
    assert_eq!((response.status, case.passes), (200, passed), "{about}: {response:?}");
    let body = if case.passes { "upstream\n" } else { &policy.deny.body };
    assert_eq!(header("grpc-message"), body.replace('\n', "%0A"), "{about}");
}

/// [`send`] over HTTP/2.
fn over_http2(port: u16, method: &str, headers: &[(&[u8], &[u8])], body: &[u8]) -> Response {
    let connection = http2::Connection::open(port).unwrap();
    connection.send(method, "/status/418", headers, body).unwrap()
}

fn the_conformance_table_holds_in(version: &str) {
    let envoy = start(version, &fronts());
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
    // As the article shows them: the plugin's name (and that of its VM, which is ours), the line.
    for variant in [Variant::log(), Variant::sdk_log()] {
        for line in
            ["on_http_request_headers", "allow header not found or is not true, deny by default"]
        {
            let line =
                format!("wasm log header-authorization {}: #2 wasm-rust: {line}", variant.name());
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
fn the_plain_plugin_dies_of_a_byte_that_is_not_utf_8_and_ours_does_not() {
    for version in [OLDEST, NEWEST] {
        let envoy = start(version, &[Variant::default(), Variant::sdk(), Variant::baseline()]);
        for variant in [Variant::default(), Variant::sdk()] {
            let port = envoy.port(&variant.name()).unwrap();
            for _ in 0..8 {
                let hostile = send(port, "GET", &[(b"allow", b"\xff")], b"");
                assert_eq!(hostile.status, 403, "Envoy {version}, {}", variant.name());
            }
            assert_passes(port, &variant.name());
        }
        let port = envoy.port("baseline").unwrap();
        assert_passes(port, "baseline");
        // Both workers have lost their virtual machine after a few such requests.
        let hostile = |_| send(port, "GET", &[(b"allow", b"\xff")], b"").status;
        assert!((0..8).map(hostile).all(|status| status == 503), "Envoy {version}");
        assert_eq!(send(port, "GET", GOOD, b"").status, 503, "Envoy {version}: a good request");
    }
}

#[test]
fn each_policy_answers_for_itself_in_envoy() {
    let envoy = start(NEWEST, &policies());
    for variant in policies() {
        let (policy, port) = (policy(&variant), envoy.port(&variant.name()).unwrap());
        for value in &policy.values {
            let header = (policy.header.as_bytes(), value.as_bytes());
            let response = send(port, "GET", &[header], b"");
            assert_eq!((response.status, response.body.as_slice()), (200, UPSTREAM), "{value}");
        }
        let denied = send(port, "GET", &[(policy.header.as_bytes(), b"something else")], b"");
        assert_eq!(denied.status, policy.deny.status);
        assert_eq!(denied.body, policy.deny.body.as_bytes());
        for (name, value) in &policy.deny.headers {
            assert_eq!(denied.header(name), Some(value.as_bytes()), "{name}");
        }
    }
    let log = envoy.stop().unwrap();
    for Policy { deny, .. } in policies().iter().map(policy) {
        // What Envoy shows as %RESPONSE_CODE_DETAILS%.
        if !deny.details.is_empty() {
            let line = format!("access log: {} {}", deny.status, deny.details);
            assert!(log.contains(&line), "{line} is not in\n{log}");
        }
    }
}
