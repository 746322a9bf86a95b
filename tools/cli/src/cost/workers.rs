//! What each worker's virtual machine takes: memory and time to ready of an Envoy with many workers.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use header_gate_policy::Policy;

use super::data::Data;
use super::filter::Filter;
use super::tools;
use crate::build::Builder;
use crate::envoy::config::config;
use crate::envoy::{self, Envoy, NEWEST, Options};

/// Worker threads.
pub const WORKERS: u32 = 32;
/// Each worker's machine, the main thread's, and the one that the others are cloned from.
const MACHINES: f64 = (WORKERS + 2) as f64;
/// Envoy's figure of virtual machines that there are.
pub(crate) const ACTIVE: &str = "wasm.envoy.wasm.runtime.v8.active";
/// Envoy's histogram, of one entry, of the milliseconds from its start until its workers run.
const INITIALIZED: &str = "server.initialization_time_ms";
/// The longest wait for one of them.
const PATIENCE: Duration = Duration::from_secs(20);

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
        until(|| Ok((stat(&envoy, ACTIVE)? == Some(MACHINES)).then_some(())))
            .with_context(|| format!("{}: not every worker has its machine", filter.name))?;
    }
    let proc = |file: &str, key: &str| {
        let path = format!("/proc/{}/{file}", envoy.pid());
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        field(&text, key).with_context(|| format!("{path} has no {key}"))
    };
    let memory = [proc("status", "VmRSS:")?, proc("smaps_rollup", "Pss:")?];
    let ready = until(|| stat(&envoy, INITIALIZED)).context("Envoy does not tell its start")?;
    envoy.stop()?;
    Ok([memory[0], memory[1], ready])
}

/// Asks until there is an answer.
pub(crate) fn until<T>(question: impl Fn() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = question()? {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "no answer after {} seconds", PATIENCE.as_secs());
        thread::sleep(Duration::from_millis(20));
    }
}

/// A figure of Envoy's; of a histogram, the median of all that it has recorded.
pub(crate) fn stat(envoy: &Envoy, name: &str) -> Result<Option<f64>> {
    let text = envoy.admin(&format!("/stats?filter={name}"))?;
    // NAME: 34, or NAME: P0(nan,120.0) P25(nan,122.5) P50(nan,125.0) ...
    let median = text.split_once("P50(").and_then(|(_, rest)| rest.split_once([',', ')']));
    Ok(match median {
        Some((_, rest)) => rest.split(')').next().and_then(|figure| figure.parse().ok()),
        None => field(&text, &format!("{name}:")),
    })
}

/// The number behind `key`, at the start of a line.
pub(crate) fn field(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn a_field_is_the_number_behind_its_key() {
        assert_eq!(field("Name: envoy\nVmRSS:\t  61234 kB\n", "VmRSS:"), Some(61_234.0));
        assert_eq!(field("Name: envoy\n", "Name:"), None);
    }
}
