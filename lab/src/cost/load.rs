//! Requests per second and latency under wrk, each filter next to no filter.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use header_gate_envoy::{Envoy, Options};
use header_gate_system::command;
use header_gate_system::install::apt_program;

use crate::filter::{
    self, API_KEY, BASELINE, Client, EMPTY, FLOOR, Filter, LOG, LUA, MATCHER, NATIVE, NATIVE_ROUTE,
    NO_FILTER, OURS, RBAC, ROUTE, Request, SDK,
};
use crate::samples::Samples;

/// Connections that wrk keeps busy.
const CONNECTIONS: u32 = 16;
pub const GROUP: &str = "load";
/// Requests per second; median latency; the latency that one request in a hundred exceeds.
pub const KEYS: [&str; 3] = ["requests per second", "p50 us", "p99 us"];
pub const FILTERS: [&str; 13] = [
    API_KEY,
    NATIVE,
    NATIVE_ROUTE,
    RBAC,
    LUA,
    EMPTY,
    FLOOR,
    OURS,
    MATCHER,
    ROUTE,
    LOG,
    SDK,
    BASELINE,
];

/// Measures each filter in turn: no filter, the filter, the filter, no filter; each for `seconds`.
pub fn measure(root: &Path, rounds: usize, seconds: u32) -> Result<Samples> {
    let wrk = apt_program("wrk", "wrk")?;
    let details = format!(
        "one worker, {rounds} rounds of paired runs of {seconds} s by wrk, {CONNECTIONS} connections"
    );
    let mut samples = Samples::new(root, "cost load", details)?;
    let (policy, none) = (filter::policy(root)?, filter::all(root, &[NO_FILTER], None)?);
    let filters = [none, filter::all(root, &FILTERS, None)?].concat();
    // The plugins' log lines are dropped, as in a gateway that logs warnings only.
    let component_log_level = "wasm:warning";
    let options = Options { concurrency: 1, component_log_level, ..Options::default() };
    let envoy = filter::start(root, &filters, &options)?;
    for filter in &filters {
        Client::warmed_up(&envoy, filter, &policy)?;
    }
    let requests = Request::paths(&policy);
    let script = root.join("lab/src/cost/wrk.lua");
    let load = |filter, request| run([&wrk, &script], seconds, &envoy, filter, request);
    let (none, filters) = filters.split_first().context("no filter at all")?;
    for round in 0..rounds {
        eprintln!("lab: load, round {} of {rounds}", round + 1);
        for i in 0..filters.len() {
            let filter = &filters[(i + round) % filters.len()];
            let beside = beside(filter.name);
            for request in &requests {
                for (row, filter) in [
                    (&*beside, none),
                    (filter.name, filter),
                    (filter.name, filter),
                    (&beside, none),
                ] {
                    for (key, figure) in KEYS.iter().zip(load(filter, request)?) {
                        let key = format!("{}, {key}", request.name);
                        samples.push([GROUP, row, &key], figure);
                    }
                }
            }
        }
    }
    Ok(samples)
}

/// The row of the runs without a filter beside those of `filter`.
pub fn beside(filter: &str) -> String {
    format!("{NO_FILTER} beside {filter}")
}

/// Lets wrk send `request` for some seconds.
fn run(
    [wrk, script]: [&Path; 2],
    seconds: u32,
    envoy: &Envoy,
    filter: &Filter,
    request: &Request,
) -> Result<[f64; 3]> {
    let mut command = Command::new(wrk);
    command.args(["--threads", "1", "--script"]).arg(script);
    command.arg(format!("--connections={CONNECTIONS}")).arg(format!("--duration={seconds}s"));
    command.args(request.field.iter().flat_map(|(n, v)| ["-H".to_owned(), format!("{n}: {v}")]));
    command.arg(format!("http://127.0.0.1:{}/", envoy.port(filter.name)?));
    let output = command::run(&mut command, Duration::from_secs(u64::from(seconds) + 30))?;
    let figures = output.lines().find_map(|line| line.strip_prefix("lab\t")).unwrap_or_default();
    let figures: Vec<f64> = figures.split('\t').filter_map(|figure| figure.parse().ok()).collect();
    let [requests, denied, failed, micros, p50, p99] = figures[..] else {
        bail!("wrk prints no figures: {output}")
    };
    let expected = if filter.status(request) >= 400 { requests } else { 0.0 };
    ensure!(
        denied == expected && failed == 0.0,
        "{}, {}: of {requests} requests {denied} were denied and {failed} failed",
        filter.name,
        request.name
    );
    Ok([requests / micros * 1e6, p50, p99])
}
