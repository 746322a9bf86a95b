//! `gate differ`: random requests through one real Envoy, to the plugin and to independent statements
//! of the same rule, in `docs/robustness.md`.

mod ask;
mod request;
mod rule;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};
use header_gate_policy::Policy;
use lexopt::{Arg, Parser, ValueExt};

use crate::chart::thousands;
use crate::data::Data;
use crate::filter::{FLOOR, Filter, NO_FILTER, OURS, RBAC};
use crate::report;
use crate::tools;
use ask::{Asker, Outcome};
use header_gate_cli::build::variant::Variant;
use header_gate_cli::build::{self, Builder};
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::{self as envoy, Envoy, NEWEST, Options};
use request::{Protocol, Request};
use rule::{AGREED, BLANKS, Expected, REPEATED, RETURN};

/// What is compared unless it is told otherwise, and is committed.
const REQUESTS: u64 = 300_000;
const SEED: u64 = 1;
/// Requests between two lines that tell how far it is.
const CHUNK: u64 = 20_000;
/// Requests that are shown if they are not as they should be.
const SHOWN: usize = 5;

/// The data's tables.
const OUTCOMES: &str = "outcomes";
const HOLD: &str = "hold";
/// The name, in the data and in the table, of what nothing explains.
const UNEXPLAINED: &str = "anything else";

/// A name, and whether a request has it.
type Trait = (&'static str, fn(&Policy, &Request) -> bool);

/// What the grammar is to bring about.
const TRAITS: [Trait; 11] = [
    ("the header, once", |policy, request| request.values(&policy.header).count() == 1),
    ("the header, repeated", |policy, request| request.values(&policy.header).count() > 1),
    ("the header's name not in small letters", |policy, request| {
        let own = |name: &[u8]| name.eq_ignore_ascii_case(policy.header.as_bytes());
        request.fields.iter().any(|(n, _)| own(n) && n.iter().any(u8::is_ascii_uppercase))
    }),
    ("an empty value of the header", |policy, request| {
        request.values(&policy.header).any(<[u8]>::is_empty)
    }),
    ("blanks around a value of the header", |policy, request| {
        request.values(&policy.header).any(|value| value != rule::stripped(value))
    }),
    ("a comma in a value of the header", |policy, request| {
        request.values(&policy.header).any(|value| value.contains(&b','))
    }),
    ("bytes above 0x7f", |_, request| request.has(|byte| !byte.is_ascii())),
    ("control bytes other than the tab", |_, request| {
        request.has(|byte| request::is_control(byte) && byte != b'\t')
    }),
    ("names that HTTP forbids", |_, request| !request.has_names()),
    ("more than 100 fields", |_, request| request.fields.len() > 100),
    ("a value of more than 10,000 bytes", |_, request| {
        request.fields.iter().any(|(_, value)| value.len() > 10_000)
    }),
];

fn help() -> String {
    format!(
        "\
Sends random requests through a real Envoy to the plugin, to the floor (benches/floor.wat), to Envoy's
RBAC filter and to no filter, and holds all of them to what the rule says. Every difference has to be
one that is known, and anything else fails.

Usage: gate differ [OPTIONS]

  --requests N   how many, each over HTTP/1.1 or HTTP/2 [{REQUESTS}]
  --seed S       what they are made from [{SEED}]
  --index I      only request number I, shown in full
  --plugin FILE  a module in place of the plugin that is built
  --help         this text

Without options (5 minutes) the counts go to docs/robustness/differ.toml and docs/robustness.md is
drawn; with any, they are only printed.
"
    )
}

/// `gate differ` in the checkout at `root`.
///
/// # Errors
/// A wrong argument, a missing tool, or an answer that nothing explains.
pub fn run(root: &Path, mut args: Parser) -> Result<()> {
    let (mut requests, mut seed, mut index, mut plugin) = (None, None, None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("requests") => requests = Some(args.value()?.parse()?),
            Arg::Long("seed") => seed = Some(args.value()?.parse()?),
            Arg::Long("index") => index = Some(args.value()?.parse()?),
            Arg::Long("plugin") => plugin = Some(PathBuf::from(args.value()?)),
            Arg::Long("help") | Arg::Short('h') => {
                print!("{}", help());
                return Ok(());
            }
            other => bail!("{}; --help lists what there is", other.unexpected()),
        }
    }
    ensure!(requests.is_none() || index.is_none(), "--index does not go with --requests");
    ensure!(requests != Some(0), "--requests takes a number above 0");
    let plain = [requests, seed, index].iter().all(Option::is_none) && plugin.is_none();
    let plugin = match plugin {
        Some(file) => file,
        None => build::artifact(root, &Variant::default())?,
    };
    let seed = seed.unwrap_or(SEED);
    let range = match index {
        Some(index) => index..index.checked_add(1).context("--index is too large")?,
        None => 0..requests.unwrap_or(REQUESTS),
    };
    if index.is_some() {
        println!("{:#}", Request::random(&policy(root)?, seed, range.start));
    }
    let data = compare(root, &plugin, seed, range)?;
    println!("{}\n\n{}", table(&data)?, traits(&data)?);
    if plain {
        data.write(&report::file(root, "differ"))?;
        report::draw(root)?;
    }
    Ok(())
}

fn policy(root: &Path) -> Result<Policy> {
    Ok(Policy::read(&root.join("policy.toml"))?)
}

/// Counts what becomes of the requests of `seed` with numbers in `range`.
///
/// # Errors
/// A missing tool, or an answer that nothing explains; the error tells the request.
pub fn compare(root: &Path, plugin: &Path, seed: u64, range: Range<u64>) -> Result<Data> {
    let policy = policy(root)?;
    let listeners = [
        Filter::none().listener().clone(),
        Listener::new(OURS).wasm(plugin),
        Filter::floor(root, &policy)?.listener().clone(),
        Filter::rbac(&policy).listener().clone(),
    ];
    let config = config(&listeners).to_string();
    let binary = envoy::install(root, NEWEST)?;
    let envoy = Envoy::start(Command::new(binary), &config, &Options::default())?;
    let mut askers = [
        Asker::new(envoy.port(NO_FILTER)?, &policy, ask::is_policys)?,
        Asker::new(envoy.port(OURS)?, &policy, ask::is_policys)?,
        Asker::new(envoy.port(FLOOR)?, &policy, ask::is_policys)?,
        Asker::new(envoy.port(RBAC)?, &policy, ask::is_rbacs)?,
    ];
    let mut counts = Counts::default();
    for start in range.clone().step_by(CHUNK as usize) {
        let chunk = start..range.end.min(start.saturating_add(CHUNK));
        let outcomes = ask_all(&mut askers, seed, &chunk)?;
        envoy.check()?;
        for (place, index) in chunk.clone().enumerate() {
            let seen = outcomes.each_ref().map(|all| &all[place]);
            counts.add(&policy, &Request::random(&policy, seed, index), seen, index);
        }
        eprintln!("gate: differ, {} of {}", chunk.end - range.start, range.end - range.start);
    }
    counts.check(seed)?;
    let requests = format!("{} from seed {seed}", thousands((range.end - range.start) as f64));
    counts.data(&[
        ("date", tools::today()?),
        ("Envoy", NEWEST.to_owned()),
        ("modules made by", Builder::new(root)?.toolchain()?),
        ("requests", requests),
    ])
}

/// Asks all listeners at once.
fn ask_all(
    askers: &mut [Asker<'_>; 4],
    seed: u64,
    range: &Range<u64>,
) -> Result<[Vec<Outcome>; 4]> {
    thread::scope(|scope| {
        let threads =
            askers.each_mut().map(|asker| scope.spawn(|| asker.ask_all(seed, range.clone())));
        let mut all = [const { Vec::new() }; 4];
        for (all, thread) in all.iter_mut().zip(threads) {
            *all = thread.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        Ok(all)
    })
}

/// What has become of the requests so far.
#[derive(Default)]
struct Counts {
    /// By class and protocol.
    classes: BTreeMap<&'static str, [u64; 2]>,
    /// By trait and protocol.
    traits: BTreeMap<&'static str, [u64; 2]>,
    /// How many are not explained, and the first of them.
    unexplained: [u64; 2],
    shown: Vec<String>,
}

impl Counts {
    fn add(&mut self, policy: &Policy, request: &Request, seen: [&Outcome; 4], index: u64) {
        let column = usize::from(request.protocol == Protocol::Http2);
        for (name, holds) in TRAITS {
            self.traits.entry(name).or_default()[column] += u64::from(holds(policy, request));
        }
        let Expected { class, route, gate, rbac } = Expected::of(policy, request);
        if seen == [&route, &gate, &gate, &rbac] {
            self.classes.entry(class).or_default()[column] += 1;
            return;
        }
        self.unexplained[column] += 1;
        if self.shown.len() < SHOWN {
            let names = [NO_FILTER, OURS, FLOOR, RBAC].iter().zip(seen);
            let seen: Vec<_> = names.map(|(name, seen)| format!("{name}: {seen}")).collect();
            let expected = format!("{class}: {route}, {gate}, {gate}, {rbac}");
            self.shown.push(format!(
                "request {index} over {request}\n  {}\n  expected as {expected}",
                seen.join("\n  ")
            ));
        }
    }

    fn check(&self, seed: u64) -> Result<()> {
        let all: u64 = self.unexplained.iter().sum();
        ensure!(
            all == 0,
            "{all} requests are not answered as they should be, among them\n{}\n\
             `gate differ --seed {seed} --index I` asks one of them again",
            self.shown.join("\n")
        );
        Ok(())
    }

    fn data(&self, about: &[(&str, String)]) -> Result<Data> {
        let mut data = Data::new("differ", about);
        let mut put = |table, name, counts: [u64; 2]| {
            for (protocol, count) in PROTOCOLS.iter().zip(counts) {
                data.put([table, name, protocol], &[count as f64]);
            }
        };
        for class in AGREED.into_iter().chain(KNOWN) {
            put(OUTCOMES, class, self.classes.get(class).copied().unwrap_or_default());
        }
        put(OUTCOMES, UNEXPLAINED, self.unexplained);
        for (name, _) in TRAITS {
            put(HOLD, name, self.traits.get(name).copied().unwrap_or_default());
        }
        Ok(data)
    }
}

/// The differences that are known.
const KNOWN: [&str; 3] = [REPEATED, BLANKS, RETURN];
/// The columns of the tables.
const PROTOCOLS: [&str; 2] = ["HTTP/1.1", "HTTP/2"];

/// What became of the requests.
///
/// # Errors
/// The data are not those of this command.
pub fn table(data: &Data) -> Result<String> {
    let rows = AGREED.into_iter().chain(KNOWN).chain([UNEXPLAINED]);
    report::table(data, OUTCOMES, "what became of a request", rows, &PROTOCOLS)
}

/// What was in the requests.
///
/// # Errors
/// The data are not those of this command.
pub fn traits(data: &Data) -> Result<String> {
    let rows = TRAITS.into_iter().map(|(name, _)| name);
    report::table(data, HOLD, "requests that hold", rows, &PROTOCOLS)
}
