//! The order in which a request is decided, for both fronts of the Proxy-Wasm ABI. Pure and safe.

use crate::abi_host::{CONTINUE, PAUSE};
use crate::count::{ALLOWED, DENIED, EXEMPT, SHADOW_DENIED};

/// What a front knows a client by.
#[cfg(not(feature = "config"))]
pub type Client = usize;
#[cfg(feature = "config")]
pub type Client = u32;

/// The host's answer to the question for the header.
#[derive(Clone, Copy)]
pub struct Answer {
    /// The host returned Ok and wrote, during this call, an accepted value to the lent buffer, the buffer's
    /// address and the value's size.
    pub is_accepted: bool,
    /// Whose value it is then.
    pub client: Client,
    /// What the host returned.
    pub status: u32,
}

/// A gate that decides a request. What returns whether the host did something is true where there is nothing to do.
pub trait Gate {
    /// Asks the host for the header.
    fn ask(&self) -> Answer;
    /// Takes the header off a request that passes with it.
    fn host_removes(&self) -> bool;
    /// Tells the upstream the client of a request that passes.
    fn host_takes(&self, client: Client) -> bool;
    /// Takes the name of a client off a request that passes without one.
    fn host_takes_none(&self) -> bool;
    /// Whether the policy has other details for a request without a header, and this is one.
    fn is_missing(&self, answer: Answer) -> bool;
    /// Whether the request passes without the header.
    fn is_exempt(&self) -> bool;
    /// Whether the policy denies.
    fn enforces(&self) -> bool;
    /// Adds one to a counter, if the policy counts.
    fn count(&self, counter: usize);
    /// Is told before a request is denied, or would be.
    fn log_denial(&self) {}
    /// Sends the denial.
    fn deny(&self, is_missing: bool);
}

/// Decides a request: what the callback returns.
#[inline]
pub fn decide(gate: &impl Gate) -> u32 {
    let answer = gate.ask();
    if answer.is_accepted && gate.host_removes() && gate.host_takes(answer.client) {
        gate.count(ALLOWED);
        return CONTINUE;
    }
    let is_missing = gate.is_missing(answer);
    if gate.is_exempt() && gate.host_takes_none() {
        gate.count(EXEMPT);
        return CONTINUE;
    }
    gate.log_denial();
    if !gate.enforces() {
        // Everything passes, even if the host refuses.
        let _ = gate.host_takes_none();
        gate.count(SHADOW_DENIED);
        return CONTINUE;
    }
    gate.count(DENIED);
    gate.deny(is_missing);
    PAUSE
}
