//! A row of the conformance table, sent to a gateway.

use anyhow::Result;
use header_gate_envoy::client::{Connection, Response};
use header_gate_envoy::config::{UPSTREAM, is_upstream};
use header_gate_envoy::raw;
use header_gate_host::conformance::{Case, Protocol};
use header_gate_policy::Policy;

use crate::gateway::{Fields, GOOD, get};

/// Sends requests on one connection.
type Send = Box<dyn FnMut(&str, Fields, &[u8]) -> Result<Response>>;

fn connect(port: u16, protocol: Protocol) -> Send {
    if protocol == Protocol::Http1 {
        let mut connection = raw::Connection::open(port).unwrap();
        Box::new(move |method, headers, body| connection.send(method, "/", headers, body))
    } else {
        let mut connection = Connection::http2(port).unwrap();
        Box::new(move |method, headers, body| connection.send(method, "/", headers, body))
    }
}

/// The answer to the case on a new connection.
pub fn send(port: u16, case: &Case) -> Response {
    let mut send = connect(port, case.protocol);
    let mut headers: Vec<_> = case.headers.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    if case.protocol == Protocol::Grpc {
        headers.extend([(&b"content-type"[..], &b"application/grpc"[..]), (b"te", b"trailers")]);
        return send("POST", &headers, b"\0\0\0\0\0").unwrap();
    }
    send(&case.method, &headers, &case.body).unwrap()
}

/// Sends the case and checks the answer; then a good request has to pass.
#[track_caller]
pub fn check(port: u16, case: &Case, policy: &Policy, about: &str) {
    check_answer(&send(port, case), case, policy, about);
    assert!(is_upstream(&get(port, GOOD)), "{about}: the next good request");
}

#[track_caller]
fn check_answer(response: &Response, case: &Case, policy: &Policy, about: &str) {
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
