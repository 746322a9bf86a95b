//! Instructions per request by the number of keys: the gate with clients, and Envoy's filters with the same keys.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use header_gate_cli::build;
use header_gate_envoy::{NEWEST, install};
use header_gate_policy::Policy;
use sha2::{Digest, Sha256};

use super::callgrind::{self, Callgrind};
use crate::chart::{self, Line};
use crate::filter::{self, API_KEY, Client, NATIVE, NO_FILTER, OURS, PATHS, RBAC, Request, SHA256};
use crate::samples::{Samples, median, spread};
use crate::table::{markdown, thousands};

const KEYS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const FILTERS: [&str; 6] = [NO_FILTER, OURS, SHA256, NATIVE, RBAC, API_KEY];

/// The group of the samples with so many keys.
fn group(keys: usize) -> String {
    format!("{keys} keys")
}

/// A policy with so many clients, each with a key of 36 characters, or its digest.
fn policy(keys: usize, digests: bool) -> String {
    let mut text = "header = \"x-api-key\"\n".to_owned();
    for n in 0..keys {
        let key = format!("{:x}", Sha256::digest(n.to_le_bytes()));
        let known = match digests {
            // One is enough to make digests of all, and requests need values.
            true if n == 0 => {
                format!("sha256 = \"{:x}\"\nsize = 36", Sha256::digest(&key[..36]))
            }
            _ => format!("value = \"{}\"", &key[..36]),
        };
        let _ = writeln!(text, "[[client]]\nid = \"{n}\"\n{known}");
    }
    text + "[deny]\nstatus = 401\nbody = \"no\\n\"\n"
}

/// Counts in so many rounds for each number of keys; a sample is so many requests.
pub fn measure(root: &Path, rounds: usize, requests: u32) -> Result<Samples> {
    let details = format!(
        "one worker, {}, {rounds} rounds, {requests} requests a sample, keys of 36 bytes",
        callgrind::version()?
    );
    let mut samples = Samples::new(root, "cost keys", details)?;
    let folder = filter::folder(root)?;
    for keys in KEYS {
        eprintln!("lab: {keys} keys");
        let [plain, digests] = [false, true].map(|digests| {
            let name = if digests { "digests" } else { "keys" };
            (folder.join(format!("{name}-{keys}.toml")), policy(keys, digests))
        });
        for (file, text) in [&plain, &digests] {
            build::put(file, text.as_bytes())?;
        }
        count(root, keys, [&plain.0, &digests.0], [rounds, requests as usize], &mut samples)
            .with_context(|| group(keys))?;
    }
    Ok(samples)
}

/// Counts in one Envoy.
fn count(
    root: &Path,
    keys: usize,
    [plain, digests]: [&Path; 2],
    [rounds, requests]: [usize; 2],
    samples: &mut Samples,
) -> Result<()> {
    let policy = Policy::read(plain)?;
    // With one key, the policy with digests knows no value, and accepts the same one.
    let filters = filter::of_keys(root, &policy, [plain, digests], &FILTERS)?;
    let mut callgrind =
        Callgrind::start(root, &install(root, NEWEST)?, &filter::configuration(&filters))?;
    let mut clients = Vec::new();
    for filter in &filters {
        clients.push(Client::warmed_up(&callgrind.envoy, filter, &policy)?);
    }
    callgrind.count()?;
    for _ in 0..rounds {
        for request in Request::paths(&policy) {
            for (client, filter) in clients.iter_mut().zip(&filters) {
                client.send(&request, requests)?;
                let count = callgrind.dump()?;
                let each = (count.all as f64 / requests as f64).round();
                samples.push([&group(keys), filter.name, request.name], each);
            }
        }
    }
    Ok(())
}

fn label(filter: &str) -> &str {
    if filter == SHA256 { "header-gate, digests" } else { filter }
}

fn added(samples: &Samples, keys: usize, filter: &str, path: &str) -> Result<Vec<f64>> {
    let group = group(keys);
    let (own, none) = ([&*group, filter, path], [&*group, NO_FILTER, path]);
    samples.pairs(own, none, |own, none| own - none)
}

/// What each filter adds to a request with the last key, and with a wrong one, by the number of keys.
pub fn table(samples: &Samples) -> Result<String> {
    let numbers = KEYS.map(|keys| thousands(keys as f64));
    let head: Vec<_> = ["instructions added, by keys"]
        .into_iter()
        .chain(numbers.iter().map(String::as_str))
        .collect();
    let mut rows = Vec::new();
    for path in &PATHS[..2] {
        for filter in &FILTERS[1..] {
            let mut row = vec![format!("{}: {path}", label(filter))];
            for keys in KEYS {
                row.push(spread(added(samples, keys, filter, path)?, thousands));
            }
            rows.push(row);
        }
    }
    Ok(markdown(&head, rows))
}

/// The picture of what each filter adds to a request that passes.
pub fn picture(samples: &Samples) -> Result<String> {
    let line = |filter: &&str| -> Result<Line> {
        let point = |keys| Ok((keys as f64, median(added(samples, keys, filter, PATHS[0])?)));
        Ok((label(filter).to_owned(), KEYS.into_iter().map(point).collect::<Result<_>>()?))
    };
    let lines = FILTERS[1..].iter().map(line).collect::<Result<Vec<_>>>()?;
    chart::lines("Instructions added to a request with the last of N keys", "keys", &lines)
}
