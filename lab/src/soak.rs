//! `gate soak`: millions of good, bad and hostile requests to the plugin in a real Envoy, counted to the
//! last one, in `docs/robustness.md`.

mod client;
mod mix;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};
use header_gate_policy::Policy;
use lexopt::{Arg, Parser, ValueExt};

use crate::chart::thousands;
use crate::data::Data;
use crate::filter::{NO_FILTER, OURS};
use crate::plot::Plot;
use crate::report;
use crate::tools;
use client::{Answer, Clients, Sample, Sent};
use header_gate_cli::build::variant::Variant;
use header_gate_cli::build::{self, Builder};
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::{self as envoy, ACTIVE, Envoy, NEWEST, Options, until};
use mix::{End, KINDS};

/// What is sent unless it is told otherwise, and is committed.
const REQUESTS: u64 = 3_000_000;
/// Envoy's worker threads.
const WORKERS: u32 = 2;
/// Each worker's machine, the main thread's, and the one that the others are cloned from.
const MACHINES: f64 = (WORKERS + 2) as f64;
/// Clients that ask at the same time.
const CLIENTS: u64 = 4;
/// Samples of Envoy's memory.
const SAMPLES: u64 = 300;
/// Envoy and V8 take what they need during the first third, or so many requests: the warm-up.
const WARM_UP: u64 = 200_000;
/// So that there is something to look at after the warm-up.
const LEAST: u64 = WARM_UP / 2 * 3;
/// How much more memory may be resident after the warm-up than during it, in KiB: Envoy's allocator
/// takes some more in steps at any time, with and without a filter. One word of eight bytes that a
/// request left behind would be 15,625 KiB after the warm-up of the committed run.
const MOST_GROWTH: f64 = 4096.0;
/// The listener without a filter, on which memory is looked at for comparison.
const CONTROL: &str = "no-filter";

/// Envoy's count of virtual machines that were ever made.
const CREATED: &str = "wasm.envoy.wasm.runtime.v8.created";

/// The data's tables and keys.
const SENT: &str = "sent";
const COUNTED: &str = "counted";
const SAMPLED: &str = "samples";
const BY_CLIENTS: &str = "by the clients";
const BY_ENVOY: &str = "by Envoy";
const REQUESTS_KEY: &str = "requests";
const RESIDENT: &str = "resident KiB";

fn help() -> String {
    format!(
        "\
Sends good, bad and hostile requests to the plugin in a real Envoy with {WORKERS} workers. Every answer has
to be right, Envoy's own counts have to be those of the clients, no virtual machine may be made anew,
and resident memory may not grow after the warm-up. Another Envoy gets the same without any filter, so
that its memory can be compared.

Usage: gate soak [OPTIONS]

  --requests N   how many [{REQUESTS}]
  --plugin FILE  a module in place of the plugin that is built
  --help         this text

Without options (5 minutes) the counts go to docs/robustness/soak.toml and docs/robustness.md is drawn;
with any, they are only printed.
"
    )
}

/// `gate soak` in the checkout at `root`.
///
/// # Errors
/// A wrong argument, a missing tool, a wrong answer or count, or memory that grows.
pub fn run(root: &Path, mut args: Parser) -> Result<()> {
    let (mut requests, mut plugin) = (None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("requests") => requests = Some(args.value()?.parse()?),
            Arg::Long("plugin") => plugin = Some(PathBuf::from(args.value()?)),
            Arg::Long("help") | Arg::Short('h') => {
                print!("{}", help());
                return Ok(());
            }
            other => bail!("{}; --help lists what there is", other.unexpected()),
        }
    }
    let plain = requests.is_none() && plugin.is_none();
    let plugin = match plugin {
        Some(file) => file,
        None => build::artifact(root, &Variant::default())?,
    };
    let data = soak(root, &plugin, requests.unwrap_or(REQUESTS))?;
    println!("{}\n\n{}\n\n{}", sent(&data)?, counted(&data)?, memory(&data)?);
    if plain {
        data.write(&report::file(root, "soak"))?;
        report::draw(root)?;
    }
    Ok(())
}

/// Sends that many requests to `plugin`.
///
/// # Errors
/// A missing tool, a wrong answer or count, or memory that grows.
pub fn soak(root: &Path, plugin: &Path, requests: u64) -> Result<Data> {
    ensure!(requests >= LEAST, "--requests takes a number of at least {LEAST}");
    let policy = Policy::read(&root.join("policy.toml"))?;
    let envoy = start(root, Listener::new(OURS).wasm(plugin))?;
    until(|| Ok((envoy.stat(ACTIVE)? == Some(MACHINES)).then_some(())))
        .context("not every worker has its virtual machine")?;
    let created = envoy.stat(CREATED)?.context("Envoy does not count virtual machines")?;
    let (sent, samples) = send(&envoy, OURS, &policy, requests)?;
    let counts = counts(&envoy, &sent, created)?;
    envoy.stop()?;
    let mut data = Data::new(
        "soak",
        &[
            ("date", tools::today()?),
            ("Envoy", format!("{NEWEST} ({WORKERS} workers)")),
            ("modules made by", Builder::new(root)?.toolchain()?),
            ("requests", thousands(requests as f64)),
        ],
    );
    put(&mut data, &sent, &counts);
    put_samples(&mut data, OURS, &samples);
    let Growth { more, .. } = Growth::of(&points(&data, OURS)?)?;
    ensure!(
        more <= MOST_GROWTH,
        "{more} KiB more are resident after the warm-up than during it; {MOST_GROWTH} may be"
    );
    let envoy = start(root, Listener::new(CONTROL))?;
    let (_, samples) = send(&envoy, CONTROL, &policy, requests)?;
    envoy.stop()?;
    put_samples(&mut data, CONTROL, &samples);
    Ok(data)
}

fn start(root: &Path, listener: Listener) -> Result<Envoy> {
    let options = Options { concurrency: WORKERS, ..Options::default() };
    let binary = envoy::install(root, NEWEST)?;
    Envoy::start(Command::new(binary), &config(&[listener]).to_string(), &options)
}

/// Lets all clients send their requests to a listener; what was sent, and Envoy's memory meanwhile.
fn send(
    envoy: &Envoy,
    listener: &str,
    policy: &Policy,
    requests: u64,
) -> Result<(Sent, Vec<Sample>)> {
    eprintln!("gate: soak, {listener}");
    let clients = Clients {
        port: envoy.port(listener)?,
        pid: envoy.pid(),
        policy,
        denies: listener == OURS,
        requests,
        step: requests / SAMPLES,
        line: requests / 10,
        progress: Mutex::default(),
        failed: AtomicBool::new(false),
    };
    let sent = all(&clients)?;
    let progress = clients.progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((sent, progress.samples))
}

/// Lets all clients send their part.
fn all(clients: &Clients<'_>) -> Result<Sent> {
    let mut all = Sent::default();
    let results: Vec<_> = thread::scope(|scope| {
        let part = |i| clients.requests / CLIENTS + u64::from(i < clients.requests % CLIENTS);
        let threads: Vec<_> =
            (0..CLIENTS).map(|i| scope.spawn(move || clients.run(i, part(i)))).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    for sent in results {
        let sent = sent.map_err(|_| anyhow!("a client panicked"))??;
        all.kinds.iter_mut().zip(sent.kinds).for_each(|(all, sent)| *all += sent);
        all.ends.iter_mut().zip(sent.ends).for_each(|(all, sent)| *all += sent);
    }
    Ok(all)
}

/// What clients and Envoy count.
const COUNTS: [&str; 7] = [
    "passed (2xx)",
    "denied by the plugin or refused by Envoy (4xx)",
    "failed (5xx)",
    "requests begun",
    "connections",
    "virtual machines",
    "virtual machines ever made",
];

/// A count as clients and Envoy have it.
struct Count {
    name: &'static str,
    clients: u64,
    envoy: f64,
}

/// Holds Envoy's counts to those of the clients.
fn counts(envoy: &Envoy, sent: &Sent, created: f64) -> Result<Vec<Count>> {
    let answers = |answer: Answer| {
        let kinds = KINDS.iter().zip(sent.kinds).filter(|(kind, _)| kind.answer == answer);
        let ends = End::ALL
            .iter()
            .zip(sent.ends)
            .filter(|(end, _)| end.name().is_some() && end.answer() == answer);
        kinds.map(|(_, n)| n).chain(ends.map(|(_, n)| n)).sum::<u64>()
    };
    let http = |name: &str| {
        let name = format!("http.{OURS}.downstream_{name}");
        envoy.stat(&name)?.with_context(|| format!("Envoy has no {name}"))
    };
    until(|| Ok((http("cx_active")? == 0.0).then_some(())))
        .context("Envoy keeps connections that are closed")?;
    let [passed, denied, refused, none] =
        [Answer::Passed, Answer::Denied, Answer::Refused, Answer::None].map(answers);
    let other = |key: &str| envoy.stat(key)?.with_context(|| format!("Envoy has no {key}"));
    let counts = [
        (passed, http("rq_2xx")?),
        (denied + refused, http("rq_4xx")?),
        (0, http("rq_5xx")?),
        (passed + denied + refused + none, http("rq_total")?),
        (sent.ends.iter().sum(), http("cx_total")?),
        (MACHINES as u64, other(ACTIVE)?),
        (created as u64, other(CREATED)?),
    ];
    let counts = COUNTS.iter().zip(counts);
    let counts: Vec<_> =
        counts.map(|(name, (clients, envoy))| Count { name, clients, envoy }).collect();
    for worker in 0..WORKERS {
        let key = format!("listener.127.0.0.1_0.worker_{worker}.downstream_cx_total");
        ensure!(other(&key)? > 0.0, "worker {worker} had no connection");
    }
    for Count { name, clients, envoy } in &counts {
        ensure!(*clients as f64 == *envoy, "{name}: Envoy counts {envoy}, not {clients}");
    }
    Ok(counts)
}

fn put(data: &mut Data, sent: &Sent, counts: &[Count]) {
    let kinds = KINDS.iter().zip(sent.kinds).map(|(kind, n)| (Some(kind.name), kind.answer, n));
    let ends = End::ALL.iter().zip(sent.ends).map(|(end, n)| (end.name(), end.answer(), n));
    for (name, answer, n) in kinds.chain(ends) {
        for (i, column) in Answer::NAMES.iter().enumerate() {
            let n = if i == answer as usize { n as f64 } else { 0.0 };
            if let Some(name) = name {
                data.put([SENT, name, column], &[n]);
            }
        }
    }
    for count in counts {
        data.put([COUNTED, count.name, BY_CLIENTS], &[count.clients as f64]);
        data.put([COUNTED, count.name, BY_ENVOY], &[count.envoy]);
    }
}

fn put_samples(data: &mut Data, listener: &str, samples: &[Sample]) {
    let list = |of: fn(&Sample) -> f64| samples.iter().map(of).collect::<Vec<_>>();
    data.put([SAMPLED, listener, REQUESTS_KEY], &list(|sample| sample.requests as f64));
    data.put([SAMPLED, listener, RESIDENT], &list(|sample| sample.resident));
}

/// How memory goes after the warm-up, in KiB.
struct Growth {
    /// The most and the least after the warm-up.
    most: f64,
    least: f64,
    /// How much the most is above the most before the end of the warm-up.
    more: f64,
    /// The slope of the line through all samples after the warm-up (least squares), by the million
    /// requests.
    slope: f64,
}

impl Growth {
    fn of(points: &[(f64, f64)]) -> Result<Self> {
        let warm = warm_up(points);
        let (before, after) = points.split_at(points.partition_point(|point| point.0 <= warm));
        ensure!(!before.is_empty() && after.len() > 1, "there are too few samples");
        let most = |of: &[(f64, f64)]| of.iter().map(|p| p.1).fold(0.0, f64::max);
        let mean =
            |of: fn(&(f64, f64)) -> f64| after.iter().map(of).sum::<f64>() / after.len() as f64;
        let (x, y) = (mean(|p| p.0), mean(|p| p.1));
        let (mut both, mut square) = (0.0, 0.0);
        for point in after {
            both += (point.0 - x) * (point.1 - y);
            square += (point.0 - x).powi(2);
        }
        Ok(Self {
            most: most(after),
            least: after.iter().map(|p| p.1).fold(f64::INFINITY, f64::min),
            more: most(after) - most(before),
            slope: both / square * 1e6,
        })
    }
}

/// Requests, and resident memory in KiB.
fn points(data: &Data, listener: &str) -> Result<Vec<(f64, f64)>> {
    let list = |key| data.get([SAMPLED, listener, key]);
    let (requests, resident) = (list(REQUESTS_KEY)?, list(RESIDENT)?);
    ensure!(requests.len() == resident.len(), "not every sample of memory has its requests");
    Ok(requests.into_iter().zip(resident).collect())
}

/// The number of requests that end the warm-up.
fn warm_up(points: &[(f64, f64)]) -> f64 {
    points.last().map_or(0.0, |last| last.0 / 3.0).max(WARM_UP as f64)
}

/// What was sent, and how it was answered.
///
/// # Errors
/// The data are not those of this command.
pub fn sent(data: &Data) -> Result<String> {
    let ends = End::ALL.iter().filter_map(|end| end.name());
    let rows = KINDS.iter().map(|kind| kind.name).chain(ends);
    report::table(data, SENT, "what was sent", rows, &Answer::NAMES)
}

/// What was counted on both sides.
///
/// # Errors
/// The data are not those of this command.
pub fn counted(data: &Data) -> Result<String> {
    report::table(data, COUNTED, "counted", COUNTS, &[BY_CLIENTS, BY_ENVOY])
}

/// Resident memory after the warm-up.
///
/// # Errors
/// The data are not those of this command.
pub fn memory(data: &Data) -> Result<String> {
    let ours = Growth::of(&points(data, OURS)?)?;
    let none = Growth::of(&points(data, CONTROL)?)?;
    let rows = [
        ("least after the warm-up", ours.least, none.least),
        ("most after the warm-up", ours.most, none.most),
        ("that is above the most during it", ours.more, none.more),
        ("slope after the warm-up, by the million requests", ours.slope, none.slope),
    ];
    let rows = rows.map(|(name, ours, none)| {
        format!("| {name} | {} | {} |\n", thousands(ours), thousands(none))
    });
    let head = format!("| resident KiB | {OURS} | {NO_FILTER} |\n|---|---:|---:|\n");
    Ok(format!("{head}{}\n<sub>{}</sub>", rows.concat(), data.about()?))
}

/// Resident memory over requests.
///
/// # Errors
/// The data are not those of this command.
pub fn plot(data: &Data) -> Result<Plot> {
    let (ours, none) = (points(data, OURS)?, points(data, CONTROL)?);
    let warm_up = warm_up(&ours);
    let mib = |points: Vec<(f64, f64)>| points.into_iter().map(|(x, y)| (x, y / 1024.0)).collect();
    Ok(Plot {
        title: "Resident memory of an Envoy with two workers (MiB)",
        below: "requests",
        lines: [(OURS, mib(ours)), (NO_FILTER, mib(none))],
        before: (warm_up, "warm-up"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples a hundred thousand requests apart.
    fn points(resident: &[f64]) -> Vec<(f64, f64)> {
        resident.iter().enumerate().map(|(i, &y)| ((i + 1) as f64 * 100_000.0, y)).collect()
    }

    #[test]
    fn growth_is_what_comes_after_the_warm_up() {
        let flat = Growth::of(&points(&[1.0, 70.0, 60.0, 70.0, 60.0, 65.0])).unwrap();
        assert_eq!([flat.least, flat.most, flat.more], [60.0, 70.0, 0.0]);
        let leak = Growth::of(&points(&[1.0, 10.0, 20.0, 30.0, 40.0, 50.0])).unwrap();
        assert_eq!([leak.more, leak.slope.round()], [40.0, 100.0]);
        assert!(Growth::of(&points(&[1.0, 2.0])).is_err());
    }
}
