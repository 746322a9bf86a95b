//! What a request costs in counts that repeat exactly, on the three paths that matter: measured from
//! the artifacts, and held against `ledger.toml`.

use std::fs;
use std::path::Path;

use crate::build::ledger::{self, Ledger};
use crate::build::variant::Variant;
use crate::build::{Builder, artifact};
use anyhow::{Context as _, Result, ensure};
use header_gate_policy::Policy;

use header_gate_host::{Outcome, Plugin, Vm};

/// The paths: an accepted value, a wrong one of the same size, none.
pub const PATHS: [&str; 3] = ["allow", "wrong value", "no header"];

/// Figures of a variant, each for every one of [`PATHS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// WebAssembly fuel, about one for each instruction.
    pub fuel: [u64; 3],
    /// Calls between host and module, in either direction.
    pub crossings: [u64; 3],
    /// Allocations on the module's heap.
    pub heap: [u64; 3],
}

impl Budget {
    /// Measures `variant` of the checkout in `root`.
    ///
    /// # Errors
    /// It does not build, or a request does not end as its policy says.
    pub fn measure(root: &Path, variant: &Variant) -> Result<Self> {
        let file = variant.policy_file(root).unwrap_or_else(|| root.join("policy.toml"));
        let policy = Policy::read(&file)?;
        let cost = |vm: &mut Vm, value: Option<&[u8]>| Ok(vm.request(value)?.cost);
        let costs = on_each_path(&plugin(root, variant)?, &policy, cost)?;
        // A front without a heap has nothing to count: `verify` proves that it has none.
        let heap = variant.clone().counted().map_or(Ok([0; 3]), |counted| {
            on_each_path(&plugin(root, &counted)?, &policy, heap_allocations)
        })?;
        Ok(Self {
            fuel: costs.map(|cost| cost.fuel),
            crossings: costs
                .map(|cost| u64::from(cost.callbacks + cost.allocations + cost.host_calls)),
            heap,
        })
    }

    fn figures(&self) -> [(&'static str, &[u64; 3]); 3] {
        [("fuel", &self.fuel), ("crossings", &self.crossings), ("heap", &self.heap)]
    }
}

/// Holds every variant against the ledger, or writes its figures there.
///
/// Returns a line for each difference; with `bless`, none.
///
/// # Errors
/// A variant cannot be measured, or the ledger not be read or written.
pub fn compare(root: &Path, bless: bool) -> Result<Vec<String>> {
    let mut ledger = Ledger::read(&root.join(ledger::FILE))?;
    let toolchain = Builder::new(root)?.toolchain()?;
    if bless {
        ensure!(
            ledger.toolchain() == Some(&toolchain),
            "{} was not made with {toolchain}: run `./build.sh --all --bless` first",
            ledger::FILE
        );
    }
    let mut differences = Vec::new();
    for variant in Variant::all(root)? {
        eprintln!("measuring {}", variant.name());
        let key = variant.ledger_key(root).context("a variant that is not tracked")?;
        for (name, now) in Budget::measure(root, &variant)?.figures() {
            let entry = ledger.figures(&key, name);
            if bless {
                ledger.bless_figures(&key, name, now)?;
            } else if entry.as_deref() != Some(now) {
                let entry = entry.map_or("nothing".to_owned(), |entry| format!("{entry:?}"));
                differences.push(format!(
                    "{}: {name} is {now:?} ({}), and {entry} in {}",
                    variant.name(),
                    PATHS.join(", "),
                    ledger::FILE
                ));
            }
        }
    }
    if bless {
        ledger.write(&toolchain)?;
    }
    Ok(differences)
}

fn plugin(root: &Path, variant: &Variant) -> Result<Plugin> {
    Plugin::new(&fs::read(artifact(root, variant)?)?)
}

/// What `measure` finds on each of [`PATHS`] in a virtual machine of its own, once it has settled: what
/// a plugin sets up on its first requests (an SDK's tables) is no part of a request's cost.
fn on_each_path<T: PartialEq>(
    plugin: &Plugin,
    policy: &Policy,
    measure: impl Fn(&mut Vm, Option<&[u8]>) -> Result<T>,
) -> Result<[T; 3]> {
    let accepted = policy.values[0].as_bytes();
    let wrong = vec![b'~'; accepted.len()];
    let settled = |value| {
        let mut vm = plugin.start()?;
        let (mut last, mut steady) = (measure(&mut vm, value)?, 0);
        for _ in 0..10_000 {
            let now = measure(&mut vm, value)?;
            steady = if now == last { steady + 1 } else { 0 };
            last = now;
            // The numbers of contexts, which a log line holds, have two digits for longer than that.
            if steady == 32 {
                return Ok(last);
            }
        }
        anyhow::bail!("the cost of a request never settles")
    };
    Ok([settled(Some(accepted))?, settled(Some(&wrong))?, settled(None)?])
}

fn heap_allocations(vm: &mut Vm, value: Option<&[u8]>) -> Result<u64> {
    let before = vm.heap_allocations()?;
    let _: Outcome = vm.request(value)?;
    Ok(u64::from(vm.heap_allocations()? - before))
}
