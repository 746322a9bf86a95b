//! `lab differ`: random requests through one Envoy, to the plugin and to independent statements of
//! its rule.

use std::ops::Range;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Args;
use header_gate_envoy::client::{Closed, Connection};
use header_gate_envoy::{Options as EnvoyOptions, raw};
use header_gate_policy::Policy;

use crate::filter::{
    self, CONFIG, FLOOR, MATCHER, NATIVE, NATIVE_ROUTE, NO_FILTER, OURS, RBAC, ROUTE,
};
use crate::request::{Protocol, Request};
use crate::rule::{CLASSES, Expected, Outcome};
use crate::samples::Samples;
use crate::table::thousands;

/// What is compared, over HTTP/1.1 or HTTP/2, and committed for the default seed.
const REQUESTS: u64 = 300_000;
const SEED: u64 = 1;
/// The listeners. All but the first two have the rule of the gate.
const NAMES: [&str; 9] =
    [NO_FILTER, RBAC, OURS, FLOOR, NATIVE, CONFIG, MATCHER, ROUTE, NATIVE_ROUTE];
/// Requests that are sent to all listeners at once, one after another to each.
const BATCH: usize = 2_000;
/// Most requests that an error shows.
const SHOWN: usize = 5;
/// The group of the counts, and the columns.
pub const OUTCOMES: &str = "outcome";
const PROTOCOLS: [&str; 2] = ["HTTP/1.1", "HTTP/2"];

/// Compares the plugin with other statements of its rule (docs/robustness.md, 10 minutes)
///
/// Sends random requests to the plugin, with its policy compiled in and from configuration, to the floor
/// (benches/floor.wat), to Envoy's RBAC filter, to the native gate, to fast lanes in front of both (`gate render`) and
/// to no filter. Fails if one of them is not answered as the rule says. With any option, the counts are printed and not
/// written.
#[derive(Debug, Args)]
pub struct Options {
    /// What the requests are made from [default: 1]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Only request number I, which is printed in full
    #[arg(long, value_name = "I")]
    index: Option<u64>,
}

/// Compares; the second value is whether the counts are to be committed.
pub fn run(root: &Path, options: &Options) -> Result<(Samples, bool)> {
    let Options { seed, index } = options;
    let all = seed.is_none() && index.is_none();
    let seed = seed.unwrap_or(SEED);
    let range = match *index {
        Some(index) => {
            println!("{:#}", Request::random(&filter::policy(root)?, seed, index));
            index..index.checked_add(1).context("--index is too large")?
        }
        None => 0..REQUESTS,
    };
    Ok((compare(root, None, seed, range)?, all))
}

/// Counts what becomes of the requests of `seed` with numbers in `range`, with `plugin` or the one that
/// is built; fails if one is not answered as the rule says, and shows it.
pub fn compare(
    root: &Path,
    plugin: Option<&Path>,
    seed: u64,
    range: Range<u64>,
) -> Result<Samples> {
    let (policy, requests) = (filter::policy(root)?, range.end - range.start);
    let filters = filter::all(root, &NAMES, plugin)?;
    let envoy = filter::start(root, &filters, &EnvoyOptions::default())?;
    // The denial of Envoy's RBAC filter.
    let mut forbidden = policy.clone();
    (forbidden.deny.status, forbidden.deny.body) = (403, "RBAC: access denied".to_owned());
    forbidden.deny.headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
    let mut askers = Vec::new();
    for name in NAMES {
        let denial = if name == RBAC { &forbidden } else { &policy };
        askers.push(Asker::new(envoy.port(name)?, denial)?);
    }
    let mut counts = [[0_u32; 2]; CLASSES.len()];
    let (mut wrong, mut shown) = (0, Vec::new());
    for start in range.clone().step_by(BATCH) {
        let numbers = start..range.end.min(start + BATCH as u64);
        let batch: Vec<_> =
            numbers.map(|index| (index, Request::random(&policy, seed, index))).collect();
        let seen = ask_all(&mut askers, &batch)?;
        for (i, (index, request)) in batch.iter().enumerate() {
            let Expected { class, route, gate, rbac } = Expected::of(&policy, request);
            counts[class][usize::from(request.protocol == Protocol::Http2)] += 1;
            let mut expected = vec![gate; NAMES.len()];
            (expected[0], expected[1]) = (route, rbac);
            if expected.iter().zip(&seen).all(|(expected, seen)| *expected == seen[i]) {
                continue;
            }
            wrong += 1;
            let mut text = format!("request {index}: {request}");
            for ((name, seen), expected) in NAMES.iter().zip(&seen).zip(expected) {
                text += &format!("\n  {name}: {:?}, expected {expected:?}", seen[i]);
            }
            shown.push(text);
            shown.truncate(SHOWN);
        }
        eprintln!("lab: differ, {} of {}", start + batch.len() as u64 - range.start, requests);
    }
    ensure!(
        wrong == 0,
        "{wrong} requests are not answered as the rule says, among them\n{}\n\
         `cargo lab differ --seed {seed} --index I` sends one of them again",
        shown.join("\n")
    );
    let details = format!("{} requests from seed {seed}", thousands(requests as f64));
    let mut samples = Samples::new(root, "differ", details)?;
    for (class, counts) in CLASSES.iter().zip(counts) {
        for (protocol, count) in PROTOCOLS.iter().zip(counts) {
            samples.push([OUTCOMES, class, protocol], f64::from(count));
        }
    }
    Ok(samples)
}

/// What each listener does with each request of a batch.
fn ask_all(askers: &mut [Asker], batch: &[(u64, Request)]) -> Result<Vec<Vec<Outcome>>> {
    thread::scope(|scope| {
        let ask = |asker: &mut Asker| -> Result<Vec<Outcome>> {
            let all = batch.iter().map(|(index, request)| {
                asker.ask(request).with_context(|| format!("request {index}: {request}"))
            });
            all.collect()
        };
        let threads: Vec<_> =
            askers.iter_mut().map(|asker| scope.spawn(move || ask(asker))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    })
}

/// The connections to a listener.
struct Asker<'a> {
    port: u16,
    /// Whose denial is expected.
    policy: &'a Policy,
    http1: raw::Connection,
    http2: Connection,
}

impl<'a> Asker<'a> {
    fn new(port: u16, policy: &'a Policy) -> Result<Self> {
        let (http1, http2) = (raw::Connection::open(port)?, Connection::http2(port)?);
        Ok(Self { port, policy, http1, http2 })
    }

    fn ask(&mut self, request: &Request) -> Result<Outcome> {
        let fields = request.slices();
        // A connection may be closed for another reason: the second try is on a new one.
        for _ in 0..2 {
            let response = match request.protocol {
                Protocol::Http1 => self.http1.send("GET", "/", &fields, b""),
                Protocol::Http2 => self.http2.send("GET", "/", &fields, b""),
            };
            match response {
                Ok(response) => {
                    // Envoy would only close it a second later.
                    if response.has("connection", b"close") {
                        self.http1 = raw::Connection::open(self.port)?;
                    }
                    return Ok(Outcome::of(self.policy, &response));
                }
                Err(error) if error.is::<Closed>() => *self = Self::new(self.port, self.policy)?,
                Err(error) => return Err(error),
            }
        }
        Ok(Outcome::Closed)
    }
}
