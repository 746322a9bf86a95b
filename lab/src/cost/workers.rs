//! What each worker's virtual machine takes: memory and time to ready of an Envoy with many workers.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use header_gate_policy::Policy;

use crate::data::Data;
use crate::filter::Filter;
use crate::tools;
use header_gate_cli::build::Builder;
use header_gate_envoy::config::config;
use header_gate_envoy::{self as envoy, ACTIVE, Envoy, NEWEST, Options, process_memory, until};

/// Worker threads.
pub const WORKERS: u32 = 32;
/// Each worker's machine, the main thread's, and the one that the others are cloned from.
const MACHINES: f64 = (WORKERS + 2) as f64;
/// Envoy's histogram, of one entry, of the milliseconds from its start until its workers run.
const INITIALIZED: &str = "server.initialization_time_ms";

/// Resident memory in KiB.
pub const RSS: &str = "resident KiB";
/// Memory in KiB of which shared pages are counted in part.
pub const PSS: &str = "proportional KiB";
/// Envoy's own count of the milliseconds until it was ready.
pub const READY: &str = "ready ms";

/// Starts Envoy with each filter, `rounds` times in turn.
pub fn measure(root: &Path, rounds: usize) -> Result<Data> {
    let policy = Policy::read(&root.join("policy.toml"))?;
    let binary = envoy::install(root, NEWEST)?;
    let mut data = Data::new(
        "cost workers",
        &[
            ("date", tools::today()?),
            ("Envoy", format!("{NEWEST} ({WORKERS} workers)")),
            ("modules made by", Builder::new(root)?.toolchain()?),
            ("in", format!("{rounds} interleaved starts of each, on {}", tools::machine()?)),
        ],
    );
    let filters = [
        Filter::none(),
        Filter::empty(root)?,
        Filter::floor(root, &policy)?,
        Filter::ours(root)?,
        Filter::baseline(root)?,
    ];
    let mut samples = vec![Vec::new(); filters.len()];
    for round in 0..rounds {
        eprintln!("gate: workers, round {} of {rounds}", round + 1);
        for i in 0..filters.len() {
            let f = (i + round) % filters.len();
            samples[f].push(start(&binary, &filters[f])?);
        }
    }
    for (filter, samples) in filters.iter().zip(&samples) {
        for (i, key) in [RSS, PSS, READY].into_iter().enumerate() {
            let list: Vec<_> = samples.iter().map(|sample: &[f64; 3]| sample[i]).collect();
            data.put(["workers", filter.name, key], &list);
        }
    }
    Ok(data)
}

/// One start: resident and proportional memory, and the time to ready.
fn start(binary: &Path, filter: &Filter) -> Result<[f64; 3]> {
    let mut config = config(&[filter.listener().clone()]);
    // Histograms are merged when they are asked for, and not every five seconds.
    config["stats_flush_on_admin"] = true.into();
    let options = Options { concurrency: WORKERS, ..Options::default() };
    let envoy = Envoy::start(Command::new(binary), &config.to_string(), &options)?;
    if filter.is_module() {
        until(|| Ok((envoy.stat(ACTIVE)? == Some(MACHINES)).then_some(())))
            .with_context(|| format!("{}: not every worker has its machine", filter.name))?;
    }
    let memory = [
        process_memory(envoy.pid(), "status", "VmRSS:")?,
        process_memory(envoy.pid(), "smaps_rollup", "Pss:")?,
    ];
    let ready = until(|| envoy.stat(INITIALIZED)).context("Envoy does not tell its start")?;
    envoy.stop()?;
    Ok([memory[0], memory[1], ready])
}
