//! What a listener has to do with a request, by the request and the policy alone.

use header_gate_envoy::client::Response;
use header_gate_envoy::config::{MAX_REQUEST_HEADERS_KB, is_upstream};
use header_gate_envoy::denial::difference;
use header_gate_policy::Policy;

use crate::request::{Protocol, Request};

/// Envoy's limit on the number of fields.
const MAX_FIELDS: usize = 100;

/// What a listener does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The route answers.
    Passed,
    /// The filter answers with the denial that it has to give.
    Denied,
    /// Envoy refuses the request with this status before any filter sees it.
    Refused(u16),
    /// Envoy resets the stream or closes the connection without an answer.
    Closed,
    /// Something else.
    Other(String),
}

impl Outcome {
    /// The outcome that `response` shows; a denial is `policy`'s.
    pub fn of(policy: &Policy, response: &Response) -> Self {
        let status = response.status;
        if is_upstream(response) {
            Self::Passed
        } else if is_denial(policy, response) {
            Self::Denied
        } else if matches!(status, 400 | 431) {
            Self::Refused(status)
        } else {
            let (headers, body) = (&response.headers, String::from_utf8_lossy(&response.body));
            Self::Other(format!("status {status}, {} headers, body {body:?}", headers.len()))
        }
    }
}

/// Whether `response` is the policy's denial, with no other headers than those that Envoy adds.
fn is_denial(policy: &Policy, response: &Response) -> bool {
    let own = policy.deny.headers.iter().map(|(name, _)| name.as_str());
    let mut expected: Vec<_> = own.chain(["content-length", "date", "server"]).collect();
    // Envoy closes a connection on which the rest of a request is missing.
    expected.extend(response.has("connection", b"close").then_some("connection"));
    let is_expected = |name: &str| expected.iter().any(|own| own.eq_ignore_ascii_case(name));
    difference(policy, response).is_none()
        && response.has("content-length", policy.deny.body.len().to_string().as_bytes())
        && response.headers.len() == expected.len()
        && response.headers.iter().all(|(name, _)| is_expected(name))
}

/// What can become of a request: first what all agree on, then the known differences.
pub const CLASSES: [&str; 6] = [
    "passed",
    "denied",
    "refused by Envoy, with any filter",
    "repeated, accepted but not first: RBAC passes it",
    "whitespace around the first value: denied over HTTP/2",
    "carriage return in the first value: removed by Envoy",
];

/// What is expected.
pub struct Expected {
    /// The place in [`CLASSES`].
    pub class: usize,
    /// Of the listener without a filter.
    pub route: Outcome,
    /// Of a gate.
    pub gate: Outcome,
    /// Of Envoy's RBAC filter.
    pub rbac: Outcome,
}

impl Expected {
    pub fn of(policy: &Policy, request: &Request) -> Self {
        if let Some(refusal) = refusal(request) {
            let [route, gate, rbac] = [refusal.clone(), refusal.clone(), refusal];
            return Self { class: 2, route, gate, rbac };
        }
        let accepted = |value: &[u8]| policy.accepted().iter().any(|own| own.as_bytes() == value);
        let decide = |passes| if passes { Outcome::Passed } else { Outcome::Denied };
        let mut delivered = request.values(&policy.header).map(|value| deliver(request, value));
        // The rule by RFC 9110 alone, without what Envoy does to a value.
        let rule = request.values(&policy.header).next().is_some_and(|v| accepted(stripped(v)));
        let gate = delivered.next().is_some_and(|value| accepted(&value));
        let rbac = gate || delivered.any(|value| accepted(&value));
        let class = match (request.protocol, rule == gate, gate == rbac) {
            (_, true, true) => usize::from(!gate),
            (_, true, false) => 3,
            (Protocol::Http2, false, _) => 4,
            (Protocol::Http1, false, _) => 5,
        };
        Self { class, route: Outcome::Passed, gate: decide(gate), rbac: decide(rbac) }
    }
}

/// What Envoy does with a request that reaches no filter.
fn refusal(request: &Request) -> Option<Outcome> {
    let forbidden = request.has(|byte| byte.is_ascii_control() && !b"\t\r".contains(&byte));
    let size = request.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    // `Host`, or the four fields that begin with a colon.
    let more = if request.protocol == Protocol::Http1 { 1 } else { 4 };
    let large = request.fields.len() + more > MAX_FIELDS || size > MAX_REQUEST_HEADERS_KB * 1024;
    match request.protocol {
        Protocol::Http1 if forbidden || !request.has_valid_names() => Some(Outcome::Refused(400)),
        Protocol::Http1 if large => Some(Outcome::Refused(431)),
        Protocol::Http2 if large => Some(Outcome::Closed),
        _ => None,
    }
}

/// `value` without spaces and tabs around it.
fn stripped(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// `value` as Envoy delivers it to filters.
fn deliver(request: &Request, value: &[u8]) -> Vec<u8> {
    match request.protocol {
        Protocol::Http1 => stripped(value).iter().copied().filter(|&b| b != b'\r').collect(),
        Protocol::Http2 => value.to_vec(),
    }
}
