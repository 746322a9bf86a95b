//! Instructions per request of Envoy with each filter, under callgrind.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use header_gate_envoy::{NEWEST, install};
use header_gate_policy::Policy;

use super::callgrind::{self, Callgrind, MODULES};
use crate::filter::{
    self, API_KEY, API_KEY_NAMED, ASK_AGAIN, ASK_OTHER, BASELINE, CONFIG, Client, EMPTY, FLOOR,
    Filter, LOG, LUA, MATCHER, NATIVE, NATIVE_EMPTY, NATIVE_FLOOR, NATIVE_MATCHER, NATIVE_ROUTE,
    NO_FILTER, OPTIONS, OURS, QUIET_BASELINE, RBAC, RBAC_COUNTED, ROUTE, Request, SDK,
};
use crate::samples::Samples;

/// A group of samples, and the filters that run in one Envoy for it.
type Group = (String, Vec<&'static str>);

/// The comparison with other filters, and the other fronts.
pub const FILTERS: &str = "filters";
pub const FRONTS: &str = "fronts";

/// What a command counts. One process cannot hold more modules than a group has.
pub fn groups(command: &str) -> Vec<Group> {
    let groups: &[(&str, &[&str])] = match command {
        "cost instructions" => &[
            (FILTERS, &[NO_FILTER, EMPTY, OURS, FLOOR, BASELINE, NATIVE, RBAC, API_KEY, LUA]),
            (FRONTS, &[NO_FILTER, OURS, LOG, SDK]),
        ],
        // The forms that a gate may have, and its rivals; the fronts on the SDK need an Envoy of their own.
        "cost forms" => &[
            (
                "forms",
                &[
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
                ],
            ),
            ("forms on the SDK", &[NO_FILTER, OURS, SDK, QUIET_BASELINE, BASELINE]),
        ],
        // What delivering a value costs, by two modules that differ in it alone.
        "cost allocation" => &[("allocation", &[NO_FILTER, ASK_OTHER, ASK_AGAIN, OURS])],
        "cost config" => &[("config", &[NO_FILTER, OURS, CONFIG])],
        _ => return options(),
    };
    groups.iter().map(|(group, names)| ((*group).to_owned(), names.to_vec())).collect()
}

/// The plugin without and with each option of the policy, as many in one group as one Envoy can hold.
fn options() -> Vec<Group> {
    let names: Vec<_> = [OURS].into_iter().chain(OPTIONS.map(|(name, _)| name)).collect();
    let chunks = (1..).zip(names.chunks(MODULES));
    chunks.map(|(n, names)| (format!("options {n}"), [&[NO_FILTER], names].concat())).collect()
}

/// The group of what V8's code takes of the instructions in `group`.
pub fn guest(group: &str) -> String {
    format!("{group} guest")
}

/// Counts in so many processes one after the other, with so many rounds in each; a sample is so many
/// requests.
pub fn measure(
    root: &Path,
    command: &str,
    [processes, rounds]: [usize; 2],
    requests: usize,
) -> Result<Samples> {
    let details = format!(
        "one worker, {}, {processes} processes, {rounds} rounds in each, {requests} requests a \
         sample",
        callgrind::version()?
    );
    let mut samples = Samples::new(root, command, details)?;
    let policy = filter::policy(root)?;
    for (group, names) in groups(command) {
        let filters = filter::all(root, &names, None)?;
        for process in 0..processes {
            let start = Instant::now();
            eprint!("lab: {group} ({} of {processes}): ", process + 1);
            count(root, &group, &filters, &policy, [rounds, requests], &mut samples)?;
            eprintln!("{} s", start.elapsed().as_secs());
        }
    }
    Ok(samples)
}

/// Counts in one Envoy.
pub fn count(
    root: &Path,
    group: &str,
    filters: &[Filter],
    policy: &Policy,
    [rounds, requests]: [usize; 2],
    samples: &mut Samples,
) -> Result<()> {
    let modules = filters.iter().filter(|filter| filter.is_module()).count();
    ensure!(modules <= MODULES, "{modules} modules are too many for valgrind");
    let mut callgrind =
        Callgrind::start(root, &install(root, NEWEST, None)?, &filter::configuration(filters))?;
    let mut clients = Vec::new();
    for filter in filters {
        clients.push(Client::warmed_up(&callgrind.envoy, filter, policy)?);
    }
    callgrind.count()?;
    for round in 0..rounds {
        eprint!("round {}, ", round + 1);
        for request in Request::paths(policy) {
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
