//! Memory and start-up time of an Envoy with many workers, each of which has a virtual machine.

use std::path::Path;

use anyhow::{Context, Result};
use header_gate_envoy::{Options, process_memory, until};

use crate::filter::{
    self, API_KEY, API_KEY_NAMED, BASELINE, CONFIG, EMPTY, FLOOR, Filter, LUA, MATCHER, NATIVE,
    NATIVE_EMPTY, NATIVE_ROUTE, NO_FILTER, OURS, QUIET_BASELINE, RBAC, RBAC_COUNTED, ROUTE, SDK,
};
use crate::samples::Samples;

pub const GROUP: &str = "workers";
pub const WORKERS: u32 = 32;
/// Resident memory in KiB; milliseconds until Envoy's workers run, by its own count.
pub const RSS: &str = "resident KiB";
pub const READY: &str = "ready ms";
pub const FILTERS: [&str; 18] = [
    NO_FILTER,
    API_KEY,
    API_KEY_NAMED,
    NATIVE_EMPTY,
    NATIVE,
    NATIVE_ROUTE,
    RBAC,
    RBAC_COUNTED,
    LUA,
    EMPTY,
    FLOOR,
    OURS,
    MATCHER,
    ROUTE,
    CONFIG,
    SDK,
    QUIET_BASELINE,
    BASELINE,
];

/// Starts Envoy with each filter in turn, `rounds` times.
pub fn measure(root: &Path, rounds: usize) -> Result<Samples> {
    let details = format!("{WORKERS} workers, {rounds} interleaved starts");
    let mut samples = Samples::new(root, "cost workers", details)?;
    let filters = filter::all(root, &FILTERS, None)?;
    for round in 0..rounds {
        eprintln!("lab: workers, round {} of {rounds}", round + 1);
        for i in 0..filters.len() {
            let filter = &filters[(i + round) % filters.len()];
            let (resident, ready) = start(root, filter)?;
            samples.push([GROUP, filter.name, RSS], resident);
            samples.push([GROUP, filter.name, READY], ready);
        }
    }
    Ok(samples)
}

/// One start: resident memory, and the time until the workers ran.
fn start(root: &Path, filter: &Filter) -> Result<(f64, f64)> {
    let options = Options { concurrency: WORKERS, ..Options::default() };
    let envoy = filter::start(root, std::slice::from_ref(filter), &options)?;
    let resident = process_memory(envoy.pid(), "status", "VmRSS:")?;
    let ready = until(|| envoy.stat("server.initialization_time_ms"))
        .context("Envoy does not report its start-up time")?;
    envoy.stop()?;
    Ok((resident, ready))
}
