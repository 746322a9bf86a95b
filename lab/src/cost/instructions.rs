//! Instructions per request of Envoy with each filter, under callgrind.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use header_gate_envoy::{NEWEST, install};

use super::callgrind::{self, Callgrind, MODULES};
use crate::filter::{
    self, API_KEY, API_KEY_NAMED, ASK_AGAIN, ASK_OTHER, BASELINE, CONFIG, Client, EMPTY, FLOOR,
    LOG, LUA, MATCHER, NATIVE, NATIVE_EMPTY, NATIVE_FLOOR, NATIVE_MATCHER, NATIVE_ROUTE, NO_FILTER,
    OPTIONS, OURS, QUIET_BASELINE, RBAC, RBAC_COUNTED, ROUTE, Request, SDK,
};
use crate::samples::Samples;

/// The groups of samples, which are also what runs in one Envoy: the comparison with other filters, and the other
/// fronts. One process cannot hold more modules.
pub const FILTERS: &str = "filters";
pub const FRONTS: &str = "fronts";
const SETUPS: [(&str, &[&str]); 2] = [
    (FILTERS, &[NO_FILTER, EMPTY, OURS, FLOOR, BASELINE, NATIVE, RBAC, API_KEY, LUA]),
    (FRONTS, &[NO_FILTER, OURS, LOG, SDK]),
];

/// The forms that a gate may have, and its rivals; the fronts on the SDK need an Envoy of their own.
pub const FORMS: &str = "forms";
pub const IN_FORMS: [&str; 15] = [
    NO_FILTER,
    EMPTY,
    OURS,
    MATCHER,
    ROUTE,
    NATIVE,
    NATIVE_MATCHER,
    NATIVE_ROUTE,
    NATIVE_FLOOR,
    NATIVE_EMPTY,
    RBAC,
    RBAC_COUNTED,
    API_KEY,
    API_KEY_NAMED,
    LUA,
];
pub const SDK_FORMS: &str = "forms on the SDK";
pub const IN_SDK_FORMS: [&str; 5] = [NO_FILTER, OURS, SDK, QUIET_BASELINE, BASELINE];

/// The group of what V8's code takes of the instructions in `group`.
pub fn guest(group: &str) -> String {
    format!("{group} guest")
}

/// Counts for each of the comparisons.
pub fn measure(root: &Path, repeated: [usize; 2], requests: u32) -> Result<Samples> {
    measure_in(root, "cost instructions", &SETUPS, repeated, requests)
}

/// Counts for each form of a gate.
pub fn measure_forms(root: &Path, repeated: [usize; 2], requests: u32) -> Result<Samples> {
    measure_in(
        root,
        "cost forms",
        &[(FORMS, &IN_FORMS), (SDK_FORMS, &IN_SDK_FORMS)],
        repeated,
        requests,
    )
}

/// What delivering a value costs, by two modules that differ in it alone.
pub const ALLOCATION: &str = "allocation";
pub const IN_ALLOCATION: [&str; 4] = [NO_FILTER, ASK_OTHER, ASK_AGAIN, OURS];

/// Counts for the delivery of a value.
pub fn measure_allocation(root: &Path, repeated: [usize; 2], requests: u32) -> Result<Samples> {
    measure_in(root, "cost allocation", &[(ALLOCATION, &IN_ALLOCATION)], repeated, requests)
}

/// The default build, and the one whose policy comes from configuration.
pub const CONFIGURED: &str = "config";
pub const IN_CONFIGURED: [&str; 3] = [NO_FILTER, OURS, CONFIG];

/// Counts for both.
pub fn measure_configured(root: &Path, repeated: [usize; 2], requests: u32) -> Result<Samples> {
    measure_in(root, "cost config", &[(CONFIGURED, &IN_CONFIGURED)], repeated, requests)
}

/// The plugin without and with each option of the policy, as many in one group as one Envoy can hold.
pub fn option_groups() -> Vec<(String, Vec<&'static str>)> {
    let names: Vec<_> = [OURS].into_iter().chain(OPTIONS.map(|(name, _)| name)).collect();
    let group = |(n, names): (usize, &[&'static str])| (format!("options {n}"), names.to_vec());
    (1..).zip(names.chunks(MODULES)).map(group).collect()
}

/// Counts for each option of the policy.
pub fn measure_options(root: &Path, repeated: [usize; 2], requests: u32) -> Result<Samples> {
    let groups: Vec<_> = option_groups()
        .into_iter()
        .map(|(group, names)| (group, [&[NO_FILTER], &names[..]].concat()))
        .collect();
    let setups: Vec<_> = groups.iter().map(|(group, names)| (&**group, &names[..])).collect();
    measure_in(root, "cost options", &setups, repeated, requests)
}

/// Counts in so many processes one after the other, with so many rounds in each; a sample is so many
/// requests.
fn measure_in(
    root: &Path,
    command: &str,
    setups: &[(&str, &[&'static str])],
    [processes, rounds]: [usize; 2],
    requests: u32,
) -> Result<Samples> {
    let details = format!(
        "one worker, {}, {processes} processes, {rounds} rounds in each, {requests} requests a \
         sample",
        callgrind::version()?
    );
    let mut samples = Samples::new(root, command, details)?;
    for &(group, names) in setups {
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
