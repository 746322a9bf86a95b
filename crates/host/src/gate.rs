//! Checks by a few requests that a module decides and answers as a policy says.

use anyhow::{Context as _, Result, anyhow, ensure};
use header_gate_policy::{Except, Policy};

use crate::{Gateway, LocalResponse, Outcome, Plugin, Reply, Vm};

/// Far more than a decision consumes, and still less than a second.
const FUEL: u64 = 100_000_000;

/// Checks that the module in `wasm` is a gate with this policy, which is also its configuration. Errors never contain a
/// value: it may be secret.
pub fn check(wasm: &[u8], policy: &Policy) -> Result<()> {
    check_configured(wasm, policy, &serde_json::to_string(policy)?)
}

/// Checks that the module in `wasm` is a gate with this policy once it has this configuration.
pub fn check_configured(wasm: &[u8], policy: &Policy, configuration: &str) -> Result<()> {
    let plugin = Plugin::new(wasm).map_err(|error| anyhow!("{}", error.root_cause()))?;
    let vm = plugin.start_with(Gateway::Envoy, Reply::default(), FUEL);
    let mut vm = vm.map_err(|error| anyhow!("it does not start: {}", error.root_cause()))?;
    vm.take(configuration.as_bytes()).map_err(|error| anyhow!("{}", error.root_cause()))?;
    decides(&mut vm, policy)
}

/// Checks that a virtual machine decides and answers as the policy says.
pub fn decides(vm: &mut Vm, policy: &Policy) -> Result<()> {
    let accepted = policy.accepted();
    let values = || accepted.iter().map(|value| value.as_bytes()).zip(1..);
    for (value, n) in values() {
        passes(vm, policy, value).with_context(|| format!("value {n}"))?;
        // Not UTF-8, so never another accepted value.
        let mut other = value.to_vec();
        other[0] ^= 0x80;
        denied(vm, policy, Some(&other)).with_context(|| format!("value {n}, altered"))?;
    }
    for (what, value) in [
        ("no header", None),
        ("an empty value", Some(Vec::new())),
        ("a longer value", Some(vec![b'x'; policy.longest() + 1])),
        ("a byte that is not UTF-8", Some(b"\xff".to_vec())),
    ] {
        denied(vm, policy, value.as_deref()).context(what)?;
    }
    // The denied requests have left no trace.
    values()
        .try_for_each(|(value, n)| passes(vm, policy, value).with_context(|| format!("value {n}")))
}

/// What exemptions are decided by.
const EXCEPT: [&str; 4] = [":method", ":path", "access-control-request-method", "origin"];

fn ask(vm: &mut Vm, policy: &Policy, value: Option<&[u8]>) -> Result<Outcome> {
    let header = policy.header.as_str();
    let field = value.map(|value| (header, value));
    // The root cause is the trap; the rest is a backtrace.
    let outcome = vm.request_of(field.as_slice());
    let outcome = outcome.map_err(|error| anyhow!("{}", error.root_cause()))?;
    let excepts = policy.except != Except::default();
    for (place, (map, key)) in outcome.asked.iter().enumerate() {
        let name = String::from_utf8_lossy(key);
        let right = name.eq_ignore_ascii_case(header);
        let other = place > 0 && excepts && EXCEPT.contains(&&*name);
        ensure!(right || other, "it asks for {name:?}, not for {header:?}");
        ensure!(*map == 0, "it asks map {map}, not that of the request's headers");
    }
    Ok(outcome)
}

fn passes(vm: &mut Vm, policy: &Policy, value: &[u8]) -> Result<()> {
    let outcome = ask(vm, policy, Some(value))?;
    ensure!(outcome.passes(), "does not pass");
    let removed = policy.remove.then(|| (0, policy.header.clone().into_bytes()));
    ensure!(outcome.removed == removed.as_slice(), "its header is not treated as `remove` says");
    let value = Some(String::from_utf8_lossy(value));
    let client = policy.client.iter().find(|client| client.value.as_deref() == value.as_deref());
    let written = policy
        .client_header
        .as_ref()
        .zip(client)
        .map(|(name, client)| (0, name.clone().into_bytes(), client.id.clone().into_bytes()));
    ensure!(outcome.replaced == written.as_slice(), "`client_header` does not name the client");
    Ok(())
}

fn denied(vm: &mut Vm, policy: &Policy, value: Option<&[u8]>) -> Result<()> {
    let outcome = ask(vm, policy, value)?;
    if !policy.enforce {
        ensure!(outcome.passes(), "does not pass in a dry run");
        return Ok(());
    }
    let Outcome { action, response, .. } = outcome;
    let seen = response.context("is not denied")?;
    ensure!(action != crate::CONTINUE, "is answered, and passes as well");
    let expected = LocalResponse::of(policy, value);
    let (status, grpc) = (seen.status, seen.grpc_status);
    ensure!(status == expected.status, "is denied with {status}, not {}", expected.status);
    ensure!(seen.body == expected.body, "is denied with another body");
    ensure!(seen.headers == expected.headers, "is denied with other headers");
    let [ours, agreed] = [&seen, &expected].map(|it| String::from_utf8_lossy(&it.details));
    ensure!(ours == agreed, "is denied with the details {ours:?}, not {agreed:?}");
    ensure!(grpc == expected.grpc_status, "is denied with gRPC status {grpc}, not the policy's");
    Ok(())
}
