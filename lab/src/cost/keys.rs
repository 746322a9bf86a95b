//! Instructions per request by the number of keys: the gate with clients, and Envoy's filters with the same keys.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use header_gate_policy::Policy;
use sha2::{Digest, Sha256};

use super::callgrind;
use super::instructions::count;
use crate::chart::{self, Line};
use crate::filter::{self, API_KEY, NATIVE, NO_FILTER, OURS, PATHS, RBAC, SHA256};
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
pub fn measure(root: &Path, rounds: usize, requests: usize) -> Result<Samples> {
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
        // Requests need values: with one key, the policy with digests knows none, and accepts the same one.
        let (names, policy) = ([NO_FILTER, OURS, NATIVE, RBAC, API_KEY], Policy::read(&plain.0)?);
        let mut filters = filter::of(root, &names, None, &plain.0)?;
        let hashed = build::artifact(root, &Variant::default().with_policy(&digests.0))?;
        filters.extend(filter::of(root, &[SHA256], Some(&hashed), &plain.0)?);
        count(root, &group(keys), &filters, &policy, [rounds, requests], &mut samples)
            .with_context(|| group(keys))?;
    }
    Ok(samples)
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
