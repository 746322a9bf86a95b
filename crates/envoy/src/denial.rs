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
    let missing = deny.headers.iter().find(|(name, value)| !response.has(name, value.as_bytes()));
    missing.map(|(name, _)| format!("{status} without the policy's {name}"))
}
