//! The conformance table, sent to a gateway.

use header_gate_cli::build::variant::Variant;
use header_gate_envoy::client::{Connection, Response};
use header_gate_envoy::config::{UPSTREAM, is_upstream};
use header_gate_envoy::raw;
use header_gate_host::conformance::{self, Case, Protocol};
use header_gate_policy::Policy;

use crate::gateway::{GOOD, get};
use crate::{policy, root};

/// Enough new connections to reach both workers, almost always.
const CONNECTIONS: usize = 4;

/// The answer to the case on a new connection.
pub fn send(port: u16, case: &Case) -> Response {
    let mut headers: Vec<_> = case.headers.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    let response = match case.protocol {
        Protocol::Http1 => raw::Connection::open(port)
            .and_then(|mut connection| connection.send(&case.method, "/", &headers, &case.body)),
        Protocol::Http2 => Connection::http2(port)
            .and_then(|mut connection| connection.send(&case.method, "/", &headers, &case.body)),
        Protocol::Grpc => {
            headers
                .extend([(&b"content-type"[..], &b"application/grpc"[..]), (b"te", b"trailers")]);
            Connection::http2(port)
                .and_then(|mut connection| connection.send("POST", "/", &headers, b"\0\0\0\0\0"))
        }
    };
    response.unwrap()
}

/// Sends each case of the table to a gate with the committed policy and checks the answer; then good requests have to
/// pass.
#[track_caller]
pub fn conforms(port: u16, about: &str) {
    let policy = policy(&Variant::default());
    for case in table() {
        let about = format!("{about}: {}", case.name);
        check(&send(port, &case), &case, &policy, &about);
        for _ in 0..CONNECTIONS {
            assert!(is_upstream(&get(port, GOOD)), "{about}: the next good request");
        }
    }
}

pub fn table() -> Vec<Case> {
    conformance::read(&root().join("tests/conformance.toml")).unwrap()
}

#[track_caller]
fn check(response: &Response, case: &Case, policy: &Policy, about: &str) {
    if case.protocol == Protocol::Grpc {
        return check_grpc(response, case, policy, about);
    }
    let Policy { deny, .. } = policy;
    let (status, headers, body) = match case.passes {
        true => (200, &[][..], UPSTREAM),
        false => (deny.status, &deny.headers[..], &*deny.body),
    };
    assert_eq!(response.status, status, "{about}");
    // An answer to HEAD has the size of the body that it leaves out.
    let size = body.len().to_string();
    assert!(response.has("content-length", size.as_bytes()), "{about}: {response:?}");
    let body = if case.method == "HEAD" { "" } else { body };
    assert_eq!(response.body, body.as_bytes(), "{about}");
    for (name, value) in headers {
        assert!(response.has(name, value.as_bytes()), "{about}: {name} in {response:?}");
    }
}

/// A gRPC answer has the HTTP status 200, its own status, and the body as a percent-encoded message.
#[track_caller]
fn check_grpc(response: &Response, case: &Case, policy: &Policy, about: &str) {
    let header = |name: &str| String::from_utf8_lossy(response.header(name).unwrap_or_default());
    let passed = header("grpc-status") != "7";
    assert_eq!((response.status, case.passes), (200, passed), "{about}: {response:?}");
    let body = if case.passes { UPSTREAM } else { &policy.deny.body };
    assert_eq!(header("grpc-message"), body.replace('\n', "%0A"), "{about}");
}
