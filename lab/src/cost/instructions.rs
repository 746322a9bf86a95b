//! Instructions per request of Envoy with each filter, under callgrind.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use header_gate_envoy::{NEWEST, install};

use super::callgrind::{self, Callgrind, MODULES};
use crate::filter::{
    self, ALL_OPTIONS, API_KEY, BASELINE, COUNT, Client, DRY_RUN, EMPTY, EXCEPT, FLOOR, LOG, LUA,
    NATIVE, NO_FILTER, OURS, RBAC, REMOVE, Request, SDK,
};
use crate::samples::Samples;

/// The groups of samples, which are also what runs in one Envoy: the comparison with other filters, the other
/// fronts, and options of the policy. One process cannot hold more modules.
pub const FILTERS: &str = "filters";
pub const FRONTS: &str = "fronts";
pub const OPTIONS: &str = "options";
pub const MORE_OPTIONS: &str = "more options";
const SETUPS: [(&str, &[&str]); 4] = [
    (FILTERS, &[NO_FILTER, EMPTY, OURS, FLOOR, BASELINE, NATIVE, RBAC, API_KEY, LUA]),
    (FRONTS, &[NO_FILTER, OURS, LOG, SDK]),
    (OPTIONS, &[NO_FILTER, OURS, REMOVE, COUNT, EXCEPT]),
    (MORE_OPTIONS, &[NO_FILTER, DRY_RUN, ALL_OPTIONS]),
];

/// The group of what V8's code takes of the instructions in `group`.
pub fn guest(group: &str) -> String {
    format!("{group} guest")
}

/// Counts in so many processes one after the other, with so many rounds in each; a sample is so many
/// requests.
pub fn measure(root: &Path, [processes, rounds]: [usize; 2], requests: u32) -> Result<Samples> {
    let details = format!(
        "one worker, {}, {processes} processes, {rounds} rounds in each, {requests} requests a \
         sample",
        callgrind::version()?
    );
    let mut samples = Samples::new(root, "cost instructions", details)?;
    for (group, names) in SETUPS {
        for process in 0..processes {
            let start = Instant::now();
            eprint!("lab: {group} ({} of {processes}): ", process + 1);
            count(root, group, names, [rounds, requests as usize], &mut samples)?;
            eprintln!("{} s", start.elapsed().as_secs());
        }
    }
    Ok(samples)
}

/// Counts in one Envoy.
fn count(
    root: &Path,
    group: &str,
    names: &[&'static str],
    [rounds, requests]: [usize; 2],
    samples: &mut Samples,
) -> Result<()> {
    let (policy, filters) = (filter::policy(root)?, filter::all(root, names, None)?);
    let modules = filters.iter().filter(|filter| filter.is_module()).count();
    ensure!(modules <= MODULES, "{modules} modules are too many for valgrind");
    let mut callgrind =
        Callgrind::start(root, &install(root, NEWEST)?, &filter::configuration(&filters))?;
    let mut clients = Vec::new();
    for filter in &filters {
        clients.push(Client::warmed_up(&callgrind.envoy, filter, &policy)?);
    }
    callgrind.count()?;
    for round in 0..rounds {
        eprint!("round {}, ", round + 1);
        for request in Request::paths(&policy) {
            for i in 0..clients.len() {
                // Another filter is first in each round.
                let f = (i + round) % clients.len();
                clients[f].send(&request, requests)?;
                let count = callgrind.dump()?;
                let each = |count: u64| (count as f64 / requests as f64).round();
                samples.push([group, filters[f].name, request.name], each(count.all));
                samples.push([&guest(group), filters[f].name, request.name], each(count.guest));
            }
        }
    }
    Ok(())
}
