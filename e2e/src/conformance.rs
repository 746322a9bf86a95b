//! A row of the conformance table, sent to a gateway.

use header_gate_envoy::client::{Connection, Response};
use header_gate_envoy::config::UPSTREAM;
use header_gate_envoy::raw;
use header_gate_host::conformance::{Case, Protocol};
use header_gate_policy::Policy;

/// The answer to the case.
pub fn send(port: u16, case: &Case) -> Response {
    let mut headers: Vec<_> = case.headers.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    let response = match case.protocol {
        Protocol::Http1 => {
            raw::Connection::open(port).unwrap().send(&case.method, "/", &headers, &case.body)
        }
        Protocol::Http2 => {
            Connection::http2(port).unwrap().send(&case.method, "/", &headers, &case.body)
        }
        Protocol::Grpc => {
            headers.push((b"content-type", b"application/grpc"));
            headers.push((b"te", b"trailers"));
            Connection::http2(port).unwrap().send("POST", "/", &headers, b"\0\0\0\0\0")
        }
    };
    response.unwrap()
}

/// Sends the case and checks the answer.
#[track_caller]
pub fn check(port: u16, case: &Case, policy: &Policy, about: &str) {
    let response = send(port, case);
    if case.protocol == Protocol::Grpc {
        return check_grpc(&response, case, policy, about);
    }
    let expected = if case.passes { UPSTREAM } else { &policy.deny.body };
    assert_eq!(response.status, if case.passes { 200 } else { policy.deny.status }, "{about}");
    // An answer to HEAD has the size of the body that it leaves out.
    let size = expected.len().to_string();
    assert!(response.has("content-length", size.as_bytes()), "{about}: {response:?}");
    let body = if case.method == "HEAD" { "" } else { expected };
    assert_eq!(response.body, body.as_bytes(), "{about}");
    let headers = if case.passes { &[][..] } else { &policy.deny.headers };
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
