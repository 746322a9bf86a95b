//! Instructions per request of Envoy with each filter, under callgrind.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use header_gate_envoy::{NEWEST, install};

use super::callgrind::{self, Callgrind, MODULES};
use crate::filter::{
    self, BASELINE, BEHIND, Client, EMPTY, FLOOR, Filter, LOG, LUA, NO_FILTER, OURS, RBAC, Request,
    SDK,
};
use crate::samples::Samples;

/// The groups of samples, which are also what runs in one Envoy: the comparison with other filters;
/// the other fronts (one process cannot hold more modules); log lines that Envoy writes; larger
/// requests.
pub const FILTERS: &str = "filters";
pub const FRONTS: &str = "fronts";
pub const LOGGING: &str = "logging";
pub const REQUESTS: &str = "requests";
/// Fields of larger requests, `Host` among them, and bytes of a long value.
const FIELDS: [usize; 3] = [5, 20, 100];
const LONG: usize = 4096;

/// What runs side by side in one Envoy.
struct Setup {
    name: &'static str,
    filters: Vec<Filter>,
    requests: Vec<Request>,
}

/// The group of what V8's code takes of the instructions in `group`.
pub fn guest(group: &str) -> String {
    format!("{group} guest")
}

fn setups(root: &Path) -> Result<Vec<Setup>> {
    let policy = filter::policy(root)?;
    let paths = Request::paths(&policy);
    let [allow, wrong, missing] = paths.clone();
    let mut larger = vec![allow.clone(), wrong.clone(), wrong.long(LONG)];
    larger.extend(FIELDS.map(|fields| allow.clone().padded(fields)));
    larger.extend(FIELDS.map(|fields| missing.clone().padded(fields)));
    let setup = |name, names: &[&'static str], requests: &[Request]| -> Result<Setup> {
        let filters = filter::all(root, &policy, names)?;
        Ok(Setup { name, filters, requests: requests.to_vec() })
    };
    Ok(vec![
        setup(FILTERS, &[NO_FILTER, EMPTY, OURS, FLOOR, BASELINE, RBAC, LUA], &paths)?,
        setup(FRONTS, &[NO_FILTER, OURS, LOG, SDK], &paths)?,
        setup(LOGGING, &[NO_FILTER, OURS, LOG, BASELINE], &paths)?,
        setup(REQUESTS, &[NO_FILTER, OURS, FLOOR, BASELINE, RBAC, BEHIND], &larger)?,
    ])
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
    for setup in setups(root)? {
        for process in 0..processes {
            let start = Instant::now();
            eprint!("lab: {} ({} of {processes}): ", setup.name, process + 1);
            setup.run(root, rounds, requests, &mut samples)?;
            eprintln!("{} s", start.elapsed().as_secs());
        }
    }
    Ok(samples)
}

impl Setup {
    fn run(&self, root: &Path, rounds: usize, requests: u32, samples: &mut Samples) -> Result<()> {
        let modules = self.filters.iter().filter(|filter| filter.is_module()).count();
        ensure!(modules <= MODULES, "{modules} modules are too many for valgrind");
        // Lines are dropped otherwise, as in a gateway that logs warnings only.
        let log = if self.name == LOGGING { "wasm:info" } else { "wasm:warning" };
        let binary = install(root, NEWEST)?;
        let mut callgrind = Callgrind::start(&binary, &filter::configuration(&self.filters), log)?;
        let mut clients = Vec::new();
        for filter in &self.filters {
            clients.push(Client::warmed_up(&callgrind.envoy, filter, &self.requests)?);
        }
        callgrind.count()?;
        for round in 0..rounds {
            eprint!("round {}, ", round + 1);
            for request in &self.requests {
                for i in 0..clients.len() {
                    // Another filter is first in each round.
                    let f = (i + round) % clients.len();
                    clients[f].send(request, requests)?;
                    let count = callgrind.dump()?;
                    let each = |count: u64| (count as f64 / f64::from(requests)).round();
                    let (name, request) = (self.filters[f].name, &request.name);
                    samples.push([self.name, name, request], each(count.all));
                    samples.push([&guest(self.name), name, request], each(count.guest));
                }
            }
        }
        Ok(())
    }
}
