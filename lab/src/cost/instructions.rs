//! Instructions per request of Envoy with each filter, under callgrind.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use header_gate_policy::Policy;

use super::callgrind::{self, Callgrind, MODULES};
use crate::data::Data;
use crate::filter::{Filter, LOG, NO_FILTER, Request, SDK, policy_file};
use crate::tools;
use header_gate_cli::build::variant::Variant;
use header_gate_cli::build::{self, Builder};
use header_gate_envoy::http1::Connection;
use header_gate_envoy::{self as envoy, NEWEST, config};

/// Requests to each filter on each path before anything is counted: V8 has compiled by then what it
/// will compile.
const WARM_UP: u32 = 1500;
/// Fields of a request, `Host` among them, and bytes of a value, where growth is looked at.
const FIELDS: [usize; 3] = [5, 20, 100];
/// Bytes of a value that is far too long.
const LONG: usize = 4096;
/// How many values a policy accepts.
pub const VALUES: [(usize, &str); 3] = [(1, "1 value"), (2, "2 values"), (8, "8 values")];
/// The policy whose answer has no header pairs.
pub const NO_PAIRS: &str = "no header pairs";

/// How often it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Processes, one after the other.
    pub processes: usize,
    /// Samples of each filter and request in a process.
    pub rounds: usize,
    /// Requests of a sample.
    pub requests: u32,
}

/// What runs side by side in one Envoy.
struct Setup {
    name: &'static str,
    /// What Envoy logs of what modules tell it.
    log: &'static str,
    filters: Vec<Filter>,
    requests: Vec<Request>,
}

/// Lines of modules are dropped, as in a gateway that logs warnings only.
const DROPPED: &str = "wasm:warning";
/// Lines of modules are written.
const WRITTEN: &str = "wasm:info";

/// The comparison with other filters.
pub const FILTERS: &str = "filters";
/// The other fronts: more modules than one process can hold.
pub const FRONTS: &str = "fronts";
/// What writes lines, when they are written.
pub const LOGGING: &str = "logging";
/// What grows with a request.
pub const REQUESTS: &str = "requests";
/// What grows with a policy.
pub const POLICIES: &str = "policies";

fn setups(root: &Path) -> Result<Vec<Setup>> {
    let policy = Policy::read(&root.join("policy.toml"))?;
    let paths = Request::paths(&policy);
    let none = Filter::none;
    let (ours, floor) = (Filter::ours(root)?, Filter::floor(root, &policy)?);
    let (baseline, empty) = (Filter::baseline(root)?, Filter::empty(root)?);
    let rbac = Filter::rbac(&policy);
    let log = Filter::plugin(root, LOG, &Variant::log())?;
    let sdk = Filter::plugin(root, SDK, &Variant::sdk())?;
    let behind = Filter::behind(&policy, &build::artifact(root, &Variant::default())?);
    let setup = |name, log, filters, requests| Setup { name, log, filters, requests };

    let filters = vec![
        none(),
        empty,
        ours.clone(),
        floor.clone(),
        baseline.clone(),
        rbac.clone(),
        Filter::lua(&policy),
    ];
    let fronts = vec![none(), ours.clone(), log.clone(), sdk];
    let logging = vec![none(), ours.clone(), log, baseline.clone()];
    let growing = vec![none(), ours, floor, baseline, rbac, behind];
    Ok(vec![
        setup(FILTERS, DROPPED, filters, paths.to_vec()),
        setup(FRONTS, DROPPED, fronts, paths.to_vec()),
        setup(LOGGING, WRITTEN, logging, paths.to_vec()),
        setup(REQUESTS, DROPPED, growing, grown(&policy)),
        setup(POLICIES, DROPPED, policies(root, &policy)?, paths.to_vec()),
    ])
}

/// Requests with more of everything.
fn grown(policy: &Policy) -> Vec<Request> {
    let mut grown =
        vec![Request::allow(policy), Request::wrong(policy), Request::long(policy, LONG)];
    grown.extend(FIELDS.map(|fields| Request::allow(policy).padded(fields)));
    grown.extend(FIELDS.map(|fields| Request::missing(policy).padded(fields)));
    grown
}

/// The committed policy with more values, and with less of an answer.
fn policies(root: &Path, policy: &Policy) -> Result<Vec<Filter>> {
    let mut filters = vec![Filter::none()];
    let mut add = |name, policy: &Policy| -> Result<()> {
        let variant = Variant::default().with_policy(policy_file(root, name, policy)?);
        filters.push(Filter::plugin(root, name, &variant)?);
        Ok(())
    };
    for (count, name) in VALUES {
        let mut values = vec![policy.values[0].clone()];
        // The others are as long, and none of them is what a wrong request sends.
        let stem = &policy.values[0][..policy.values[0].len() - 1];
        values.extend(('0'..='9').map(|c| format!("{stem}{c}")).filter(|v| *v != policy.values[0]));
        values.truncate(count);
        add(name, &Policy { values, ..policy.clone() })?;
    }
    let mut answer = policy.clone();
    answer.deny.headers.clear();
    add(NO_PAIRS, &answer)?;
    Ok(filters)
}

/// Counts everything that `docs/cost.md` tells.
pub fn measure(root: &Path, effort: Effort) -> Result<Data> {
    let binary = envoy::install(root, NEWEST)?;
    let Effort { processes, rounds, requests } = effort;
    let samples =
        format!("{processes} processes, {rounds} rounds in each, {requests} requests a sample");
    let mut data = Data::new(
        "cost instructions",
        &[
            ("date", tools::today()?),
            ("Envoy", format!("{NEWEST} (one worker)")),
            ("modules made by", Builder::new(root)?.toolchain()?),
            ("counted by", callgrind::version()?),
            ("in", samples),
        ],
    );
    for setup in setups(root)? {
        let mut samples = Samples::new(&setup);
        for process in 0..processes {
            let start = Instant::now();
            eprint!("gate: {} ({} of {processes}): ", setup.name, process + 1);
            setup.run(&binary, effort, &mut samples)?;
            eprintln!("{} s", start.elapsed().as_secs());
        }
        samples.store(&setup, &mut data);
    }
    Ok(data)
}

/// Instructions per request by filter and request.
struct Samples(Vec<Vec<Vec<(f64, f64)>>>);

impl Samples {
    fn new(setup: &Setup) -> Self {
        Self(vec![vec![Vec::new(); setup.requests.len()]; setup.filters.len()])
    }

    fn store(&self, setup: &Setup, data: &mut Data) {
        for (filter, samples) in setup.filters.iter().zip(&self.0) {
            for (request, samples) in setup.requests.iter().zip(samples) {
                let all: Vec<_> = samples.iter().map(|sample| sample.0.round()).collect();
                let guest: Vec<_> = samples.iter().map(|sample| sample.1.round()).collect();
                data.put([setup.name, filter.name, &request.name], &all);
                data.put([&format!("{} guest", setup.name), filter.name, &request.name], &guest);
            }
        }
    }
}

impl Setup {
    fn run(&self, binary: &Path, effort: Effort, samples: &mut Samples) -> Result<()> {
        let modules = self.filters.iter().filter(|filter| filter.is_module()).count();
        ensure!(modules <= MODULES, "{} modules are too many for valgrind", modules);
        ensure!(self.filters[0].name == NO_FILTER, "the listener to compare with is missing");
        let listeners: Vec<_> =
            self.filters.iter().map(|filter| filter.listener().clone()).collect();
        let mut config = config::config(&listeners);
        // Otherwise 300,000 instructions every five seconds fall on whichever filter is measured.
        config["stats_flush_on_admin"] = true.into();
        let mut callgrind = Callgrind::start(binary, &config.to_string(), self.log)?;
        let mut connections = Vec::new();
        for filter in &self.filters {
            let mut connection = Connection::open(callgrind.envoy.port(filter.name)?)?;
            for request in &self.requests {
                request.send(&mut connection, filter, WARM_UP)?;
            }
            connections.push(connection);
        }
        callgrind.count()?;
        for round in 0..effort.rounds {
            eprint!("round {}, ", round + 1);
            for (r, request) in self.requests.iter().enumerate() {
                for i in 0..self.filters.len() {
                    // Another filter is first in each round.
                    let f = (i + round) % self.filters.len();
                    request.send(&mut connections[f], &self.filters[f], effort.requests)?;
                    let count = callgrind.dump()?;
                    let each = |count: u64| count as f64 / f64::from(effort.requests);
                    samples.0[f][r].push((each(count.all), each(count.guest)));
                }
            }
        }
        Ok(())
    }
}
