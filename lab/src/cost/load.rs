//! Requests per second and latency under wrk, each filter right beside no filter.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use header_gate_policy::Policy;

use crate::data::Data;
use crate::filter::{Filter, LOG, NO_FILTER, Request, SDK};
use crate::tools;
use header_gate_cli::build::Builder;
use header_gate_cli::build::variant::Variant;
use header_gate_envoy::config::config;
use header_gate_envoy::http1::Connection;
use header_gate_envoy::{self as envoy, Envoy, NEWEST, Options};

/// Connections that wrk keeps busy.
const CONNECTIONS: u32 = 16;
/// Requests to each filter before anything is measured.
const WARM_UP: u32 = 1500;

/// How long it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds of pairs.
    pub rounds: usize,
    /// Seconds of each of the four runs of a pair and its reverse.
    pub seconds: u32,
}

/// Requests per second.
pub const RATE: &str = "requests per second";
/// The median latency in microseconds.
pub const P50: &str = "p50 us";
/// The latency in microseconds that one request in a hundred exceeds.
pub const P99: &str = "p99 us";

/// Measures each filter in turn: no filter, the filter, the filter, no filter.
pub fn measure(root: &Path, effort: Effort) -> Result<Data> {
    let wrk = tools::find_or_install("wrk", "wrk")?;
    let policy = Policy::read(&root.join("policy.toml"))?;
    let binary = envoy::install(root, NEWEST)?;
    let Effort { rounds, seconds } = effort;
    let runs = format!("{rounds} rounds of paired runs of {seconds} s, on {}", tools::machine()?);
    let mut data = Data::new(
        "cost load",
        &[
            ("date", tools::today()?),
            ("Envoy", format!("{NEWEST} (one worker)")),
            ("modules made by", Builder::new(root)?.toolchain()?),
            ("load by", format!("{}, {CONNECTIONS} connections", version(&wrk)?)),
            ("in", runs),
        ],
    );
    let none = Filter::none();
    let filters = [
        Filter::empty(root)?,
        Filter::floor(root, &policy)?,
        Filter::ours(root)?,
        Filter::plugin(root, LOG, &Variant::log())?,
        Filter::plugin(root, SDK, &Variant::sdk())?,
        Filter::baseline(root)?,
        Filter::rbac(&policy),
        Filter::lua(&policy),
    ];
    let requests = Request::paths(&policy);
    let listeners: Vec<_> =
        [&none].into_iter().chain(&filters).map(|f| f.listener().clone()).collect();
    // The lines of modules are dropped, as in a gateway that logs warnings only.
    let component_log_level = "wasm:warning";
    let options = Options { concurrency: 1, component_log_level, ..Options::default() };
    let envoy = Envoy::start(Command::new(binary), &config(&listeners).to_string(), &options)?;
    for filter in [&none].into_iter().chain(&filters) {
        let mut connection = Connection::open(envoy.port(filter.name)?)?;
        for request in &requests {
            request.send(&mut connection, filter, WARM_UP)?;
        }
    }
    let load = |filter: &Filter, request: &Request| -> Result<[f64; 3]> {
        let (fields, port) = (&request.fields, envoy.port(filter.name)?);
        let mut command = Command::new(&wrk);
        command.args(["--threads", "1", "--latency"]);
        command.arg(format!("--connections={CONNECTIONS}")).arg(format!("--duration={seconds}s"));
        command.args(fields.iter().flat_map(|(n, v)| ["-H".to_owned(), format!("{n}: {v}")]));
        command.arg(format!("http://127.0.0.1:{port}/"));
        let said = tools::run(&mut command, Duration::from_secs(u64::from(seconds) + 30))?;
        let refused = filter.status(request) >= 300;
        parse(&said, refused).with_context(|| format!("{}, {}", filter.name, request.name))
    };
    let mut samples = vec![vec![Vec::new(); requests.len()]; filters.len()];
    for round in 0..rounds {
        eprintln!("gate: load, round {} of {rounds}", round + 1);
        for i in 0..filters.len() {
            let f = (i + round) % filters.len();
            for (r, request) in requests.iter().enumerate() {
                let (a, b) = (load(&none, request)?, load(&filters[f], request)?);
                let (c, d) = (load(&filters[f], request)?, load(&none, request)?);
                samples[f][r].extend([(a, b), (d, c)]);
            }
        }
    }
    for (filter, samples) in filters.iter().zip(&samples) {
        for (request, samples) in requests.iter().zip(samples) {
            for (i, key) in [RATE, P50, P99].into_iter().enumerate() {
                let (without, with): (Vec<_>, Vec<_>) = samples
                    .iter()
                    .map(|(none, own): &([f64; 3], [f64; 3])| (none[i], own[i]))
                    .unzip();
                let key = format!("{}, {key}", request.name);
                data.put(["load", filter.name, &key], &with);
                data.put(["load", &format!("{NO_FILTER} beside {}", filter.name), &key], &without);
            }
        }
    }
    Ok(data)
}

/// wrk's version, which it tells together with how it is used, and fails.
fn version(wrk: &Path) -> Result<String> {
    let output = Command::new(wrk).arg("--version").output().context("wrk does not run")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().nth(1).context("wrk does not tell its version")?;
    Ok(format!("wrk {version}"))
}

/// Reads what wrk says, and holds every answer to whether the filter was to refuse it.
fn parse(said: &str, refused: bool) -> Result<[f64; 3]> {
    let after = |key: &str| {
        let line = said.lines().find_map(|line| line.trim_start().strip_prefix(key));
        line.map(str::trim).with_context(|| format!("wrk does not tell {key:?}: {said}"))
    };
    let number = |text: &str| text.parse::<f64>().with_context(|| format!("wrk's {text:?}"));
    ensure!(!said.contains("Socket errors"), "wrk meets errors: {}", after("Socket errors")?);
    let requests = said.lines().find_map(|line| line.split_once(" requests in "));
    let requests = requests.context("wrk counts no requests")?.0.trim();
    let failed = after("Non-2xx or 3xx responses:").unwrap_or("0");
    let expected = if refused { requests } else { "0" };
    ensure!(failed == expected, "{failed} of {requests} requests were refused, not {expected}");
    Ok([number(after("Requests/sec:")?)?, micros(after("50%")?)?, micros(after("99%")?)?])
}

/// A time such as `1.25ms`, in microseconds.
fn micros(text: &str) -> Result<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let found = units
        .iter()
        .find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor));
    found.with_context(|| format!("{text:?} is not a time"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    const SAID: &str = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 16 connections\n  \
        Latency Distribution\n     50%  845.00us\n     75%    1.02ms\n     90%    1.40ms\n     \
        99%    2.31ms\n  18000 requests in 1.00s, 2.00MB read\n  \
        Non-2xx or 3xx responses: 18000\nRequests/sec:  17990.12\nTransfer/sec:      2.00MB\n";

    #[test]
    fn what_wrk_says_is_read_and_held_to_the_expected_answers() {
        assert_eq!(parse(SAID, true).unwrap(), [17_990.12, 845.0, 2310.0]);
        let error = parse(SAID, false).unwrap_err().to_string();
        assert!(error.contains("18000 of 18000 requests were refused, not 0"), "{error}");
        let some = SAID.replace("responses: 18000", "responses: 17999");
        assert!(parse(&some, true).is_err());
        let passed = SAID.replace("  Non-2xx or 3xx responses: 18000\n", "");
        assert!(parse(&passed, false).is_ok() && parse(&passed, true).is_err());
    }
}
