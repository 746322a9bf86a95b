//! What a request costs in counts that repeat exactly, measured in the embedded host.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use header_gate_host::{Plugin, Vm};
use header_gate_policy::Policy;

use crate::build::builder::{Builder, artifact};
use crate::build::ledger::{Entry, Ledger};
use crate::build::variant::Variant;

pub fn measure(root: &Path, variant: &Variant, wasm: &[u8]) -> Result<Entry> {
    let file = variant.policy_file(root).unwrap_or_else(|| root.join("policy.toml"));
    let policy = Policy::read(&file)?;
    let plugin = Plugin::new(wasm)?;
    let accepted = policy.accepted();
    let accepted = accepted.first().context("a policy without a value")?.as_bytes();
    let wrong = vec![b'~'; accepted.len()];
    let mut entry = Entry { bytes: wasm.len() as u64, fuel: [0; 3], crossings: [0; 3] };
    for (path, value) in [Some(accepted), Some(&wrong), None].into_iter().enumerate() {
        let vm = plugin.start_configured(serde_json::to_string(&policy)?.as_bytes())?;
        (entry.fuel[path], entry.crossings[path]) = settled(vm, value)?;
    }
    Ok(entry)
}

/// Fuel and crossings of a request, in a virtual machine that has served others before: what a plugin
/// sets up on its first requests (an SDK's tables) is not part of a request's cost.
fn settled(mut vm: Vm, value: Option<&[u8]>) -> Result<(u64, u64)> {
    let (mut last, mut steady) = ((0, 0), 0);
    for _ in 0..10_000 {
        let cost = vm.request(value)?.cost;
        let crossings = cost.callbacks + cost.allocations + cost.host_calls;
        let now = (cost.fuel, u64::from(crossings));
        steady = if now == last { steady + 1 } else { 0 };
        last = now;
        // A log line holds the number of the context, which has two digits for longer than that.
        if steady == 32 {
            return Ok(last);
        }
    }
    bail!("the cost of a request does not settle")
}

/// Measures every variant: the ledger that this makes, and what `old` says otherwise.
pub fn compare(root: &Path, old: &Ledger) -> Result<(Ledger, Vec<String>)> {
    let toolchain = Some(Builder::new(root)?.toolchain()?);
    let (mut now, mut std) = (Ledger { toolchain, ..Ledger::default() }, BTreeSet::new());
    for variant in Variant::all(root)? {
        let key = variant.ledger_key(root).context("a variant that is not tracked")?;
        let entry = measure(root, &variant, &fs::read(artifact(root, &variant)?)?)?;
        if variant.needs_std() {
            std.insert(key.clone());
        }
        now.variant.insert(key, entry);
    }
    let differences = old.differences(&now, &std);
    Ok((now, differences))
}
