//! Memory and start-up time of an Envoy with many workers, each of which has a virtual machine.

use std::path::Path;

use anyhow::{Context, Result};
use header_gate_envoy::{Options, process_memory, until};

use crate::filter::{self, BASELINE, EMPTY, FLOOR, Filter, NO_FILTER, OURS};
use crate::samples::Samples;
use crate::tools;

/// The group of the samples.
pub const GROUP: &str = "workers";
/// Worker threads.
pub const WORKERS: u32 = 32;
/// Resident memory in KiB; the same with shared pages counted in part; milliseconds until Envoy's
/// workers run, by its own count.
pub const RSS: &str = "resident KiB";
pub const PSS: &str = "proportional KiB";
pub const READY: &str = "ready ms";
/// The filters, in this order.
pub const FILTERS: [&str; 5] = [NO_FILTER, EMPTY, FLOOR, OURS, BASELINE];

/// Starts Envoy with each filter in turn, `rounds` times.
pub fn measure(root: &Path, rounds: usize) -> Result<Samples> {
    let details = format!("{WORKERS} workers, {rounds} interleaved starts, {}", tools::machine()?);
    let mut samples = Samples::new(root, "cost workers", details)?;
    let filters = filter::all(root, &filter::policy(root)?, &FILTERS)?;
    for round in 0..rounds {
        eprintln!("lab: workers, round {} of {rounds}", round + 1);
        for i in 0..filters.len() {
            let filter = &filters[(i + round) % filters.len()];
            for (key, sample) in [RSS, PSS, READY].iter().zip(start(root, filter)?) {
                samples.push([GROUP, filter.name, key], sample);
            }
        }
    }
    Ok(samples)
}

/// One start: resident and proportional memory, and the time until the workers ran.
fn start(root: &Path, filter: &Filter) -> Result<[f64; 3]> {
    let options = Options { concurrency: WORKERS, ..Options::default() };
    let envoy = filter::start(root, std::slice::from_ref(filter), &options)?;
    let resident = process_memory(envoy.pid(), "status", "VmRSS:")?;
    let proportional = process_memory(envoy.pid(), "smaps_rollup", "Pss:")?;
    let ready = until(|| envoy.stat("server.initialization_time_ms"))
        .context("Envoy does not report its start-up time")?;
    envoy.stop()?;
    Ok([resident, proportional, ready])
}
