//! What each listener has to make of a request, by the request alone.

use header_gate_policy::Policy;

use super::ask::Outcome;
use super::request::{Protocol, Request, is_control};
use header_gate_envoy::config::MAX_REQUEST_HEADERS_KB;

/// How many fields Envoy takes at most, unless it is told otherwise.
const MOST_FIELDS: usize = 100;

/// A request that all agree on.
pub const AGREED: [&str; 3] = ["passed", "denied", "refused by Envoy, whatever the filter"];
/// Envoy's RBAC filter looks at every value of a repeated header, a gate at the first.
pub const REPEATED: &str = "repeated, accepted but not first: RBAC passes it";
/// Over HTTP/2, Envoy hands blanks on.
pub const BLANKS: &str = "blanks around the first value: denied over HTTP/2";
/// Over HTTP/1.1, Envoy takes carriage returns out of values.
pub const RETURN: &str = "a carriage return in the first value: taken out by Envoy";

/// What is to be expected of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Expected {
    /// One of [`AGREED`], or the difference that it shows.
    pub class: &'static str,
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
            return Self { class: AGREED[2], route, gate, rbac };
        }
        let accepted = |value: &[u8]| policy.values.iter().any(|own| own.as_bytes() == value);
        let decide = |passes| if passes { Outcome::Passed } else { Outcome::Denied };
        let mut delivered = request.values(&policy.header).map(|value| deliver(request, value));
        // The rule, for whoever reads RFC 9110 and no more.
        let rule = request.values(&policy.header).next().is_some_and(|v| accepted(stripped(v)));
        let gate = delivered.next().is_some_and(|value| accepted(&value));
        let rbac = gate || delivered.any(|value| accepted(&value));
        let class = match (request.protocol, rule == gate, gate == rbac) {
            (Protocol::Http1, false, _) => RETURN,
            (Protocol::Http2, false, _) => BLANKS,
            (_, true, false) => REPEATED,
            (_, true, true) => AGREED[usize::from(!gate)],
        };
        Self { class, route: Outcome::Passed, gate: decide(gate), rbac: decide(rbac) }
    }
}

/// What Envoy makes of a request that it does not hand to any filter.
fn refusal(request: &Request) -> Option<Outcome> {
    let forbidden = request.has(|byte| is_control(byte) && !b"\t\r".contains(&byte));
    let size = request.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    // `Host`, or the four fields that begin with a colon.
    let more = if request.protocol == Protocol::Http1 { 1 } else { 4 };
    let large = request.fields.len() + more > MOST_FIELDS || size > MAX_REQUEST_HEADERS_KB * 1024;
    match request.protocol {
        Protocol::Http1 if forbidden || !request.has_names() => Some(Outcome::Refused(400)),
        Protocol::Http1 if large => Some(Outcome::Refused(431)),
        Protocol::Http2 if large => Some(Outcome::Closed),
        _ => None,
    }
}

/// `value` without the blanks around it.
pub fn stripped(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| b" \t".contains(byte);
    let start = value.iter().position(|b| !is_blank(b)).unwrap_or(value.len());
    let end = value.iter().rposition(|b| !is_blank(b)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// `value` as Envoy hands it to filters.
fn deliver(request: &Request, value: &[u8]) -> Vec<u8> {
    match request.protocol {
        Protocol::Http1 => stripped(value).iter().copied().filter(|&b| b != b'\r').collect(),
        Protocol::Http2 => value.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is expected of a request with these values of the header.
    fn expected(protocol: Protocol, values: &[&[u8]]) -> Expected {
        let policy = Policy::read(&header_gate_cli::root().join("policy.toml")).unwrap();
        let name = policy.header.as_bytes();
        let fields = values.iter().map(|value| (name.to_vec(), value.to_vec())).collect();
        Expected::of(&policy, &Request { protocol, fields })
    }

    #[test]
    fn each_difference_has_its_predicate() {
        use Outcome::{Closed, Denied, Passed, Refused};
        use Protocol::{Http1, Http2};
        let many = vec![&b"true"[..]; MOST_FIELDS];
        let cases: [(Protocol, &[&[u8]], _, _, _); 11] = [
            (Http1, &[b"true"], AGREED[0], Passed, Passed),
            (Http1, &[b"\t true "], AGREED[0], Passed, Passed),
            (Http2, &[b"\t true "], BLANKS, Denied, Denied),
            (Http2, &[b"true", b" true"], AGREED[0], Passed, Passed),
            (Http1, &[], AGREED[1], Denied, Denied),
            (Http1, &[b"true", b"x"], AGREED[0], Passed, Passed),
            (Http1, &[b"x", b"true"], REPEATED, Denied, Passed),
            (Http1, &[b"tr\rue"], RETURN, Passed, Passed),
            (Http1, &[b"tr\x0bue"], AGREED[2], Refused(400), Refused(400)),
            (Http1, &many, AGREED[2], Refused(431), Refused(431)),
            (Http2, &many, AGREED[2], Closed, Closed),
        ];
        for (protocol, values, class, gate, rbac) in cases {
            let expected = expected(protocol, values);
            assert_eq!((expected.class, expected.gate, expected.rbac), (class, gate, rbac));
        }
    }
}
