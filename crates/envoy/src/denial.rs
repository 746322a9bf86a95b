//! Whether an answer is the denial of a policy.

use header_gate_policy::Policy;

use crate::client::Response;

/// How `response` differs from the policy's denial; none if it does not.
#[must_use]
pub fn difference(Policy { deny, .. }: &Policy, response: &Response) -> Option<String> {
    let status = response.status;
    if status != deny.status {
        return Some(status.to_string());
    }
    if response.body != deny.body.as_bytes() {
        return Some(format!("{status} with another body"));
    }
    // Envoy joins the lines of some lists, such as `vary`.
    let joined = |name: &str| {
        let own = deny.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(",")
    };
    let has = |(name, value): &(String, String)| {
        response.has(name, value.as_bytes()) || response.has(name, joined(name).as_bytes())
    };
    let missing = deny.headers.iter().find(|header| !has(header));
    missing.map(|(name, _)| format!("{status} without the policy's {name}"))
}
