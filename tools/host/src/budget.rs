//! What a request costs in counts that repeat exactly, on the three paths that matter.

use anyhow::{Context as _, Result};
use header_gate_policy::Policy;

use crate::{Cost, Plugin};

/// The paths: an accepted value, a wrong one of the same size, none.
pub const PATHS: [&str; 3] = ["allow", "wrong value", "no header"];

/// The cost of a request on each of [`PATHS`], of the policy that `wasm` was built with.
///
/// A request is repeated until its cost does: what a plugin sets up on its first requests (an SDK's
/// tables) is no part of it.
///
/// # Errors
/// The module traps, decides otherwise than the policy says, or never settles.
pub fn measure(wasm: &[u8], policy: &Policy) -> Result<[Cost; 3]> {
    let accepted = policy.values[0].as_bytes();
    let wrong = vec![b'~'; accepted.len()];
    let mut vm = Plugin::new(wasm)?.start()?;
    let mut costs = [Cost::default(); 3];
    for (i, value) in [Some(accepted), Some(&wrong), None].into_iter().enumerate() {
        let mut request = || {
            let outcome = vm.request(value)?;
            anyhow::ensure!(outcome.passes() == (i == 0), "{}: {outcome:?}", PATHS[i]);
            anyhow::Ok(outcome.cost)
        };
        let mut steady = 0;
        for _ in 0..10_000 {
            let cost = request()?;
            steady = if cost == costs[i] { steady + 1 } else { 0 };
            costs[i] = cost;
            if steady == 16 {
                break;
            }
        }
        (steady == 16).then_some(()).with_context(|| format!("{}: never settles", PATHS[i]))?;
    }
    Ok(costs)
}
