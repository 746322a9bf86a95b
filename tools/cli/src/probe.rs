//! `gate probe`: whether a gate that serves does what its policy says, on every worker.

mod check;
mod url;

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Error, Result, bail};
use header_gate_policy::Policy;
use lexopt::prelude::*;

use crate::http1::Connection;
use crate::root;
use check::Check;
pub use check::difference;
use url::Url;

/// New connections, unless told otherwise.
const CONNECTIONS: u32 = 64;
/// Numbers of workers that `--help` gives the chance for.
const WORKERS: [u32; 4] = [4, 8, 16, 32];

/// What `--help` says.
fn help() -> String {
    let chances = WORKERS.map(|workers| {
        // Cut, not rounded: none of them is certain.
        let percent = (1000.0 * chance(workers, CONNECTIONS)).floor() / 10.0;
        format!("  {workers:>5} workers  {percent:5.1} %\n")
    });
    format!(
        "\
Asks a gate that serves, and prints whether it does what its policy says. Exits with 1 if not.

Usage: deploy/probe.sh URL [options]
  URL                  http://host[:port][/path], with a path that the service behind the gate
                       answers with a status below 500
  --policy FILE        the policy that the gate was built from [policy.toml]
  --host NAME          the Host to ask for, where it is not the URL's (behind a port-forward)
  --connections N      new connections to open, one after another [{CONNECTIONS}]
  --help               this text

On each connection it sends every accepted value, no header, a wrong value, a byte that is not
UTF-8, and an accepted value again. Denied is an answer with the status, the body and the headers of
the policy; passed is any other answer with a status below 500 (a host whose plugin has died answers
503 by itself).

A gateway gives each connection to one of its workers (count those of all replicas), and a single
worker can be without its plugin. The chance that {CONNECTIONS} connections reach all of them:
{}Ten connections for each worker are a good measure.
",
        chances.concat()
    )
}

/// The chance that so many connections, each given to any worker alike, reach all workers.
fn chance(workers: u32, connections: u32) -> f64 {
    // reached[n]: the chance that n workers have been reached so far.
    let mut reached = vec![0.0; workers as usize + 1];
    reached[0] = 1.0;
    let all = f64::from(workers);
    for _ in 0..connections {
        let before = reached.clone();
        for (n, count) in (0..=workers).map(f64::from).enumerate() {
            let new = if n == 0 { 0.0 } else { before[n - 1] * (all - count + 1.0) / all };
            reached[n] = before[n] * count / all + new;
        }
    }
    reached[workers as usize]
}

/// The options of `gate probe`.
struct Options {
    url: Url,
    policy: PathBuf,
    host: String,
    connections: u32,
}

impl Options {
    /// The options in `args`; none if help was asked for.
    fn parse(mut args: lexopt::Parser) -> Result<Option<Self>> {
        let (mut url, mut policy, mut host, mut connections) = (None, None, None, CONNECTIONS);
        while let Some(argument) = args.next()? {
            match argument {
                Value(value) if url.is_none() => url = Some(Url::parse(&value.string()?)?),
                Long("policy") => policy = Some(args.value()?.into()),
                Long("host") => host = Some(args.value()?.string()?),
                Long("connections") => {
                    let value = args.value()?.string()?;
                    connections = value.parse().ok().filter(|&n| n > 0).with_context(|| {
                        format!("--connections {value:?} is not a whole number above 0")
                    })?;
                }
                Long("help") | Short('h') => return Ok(None),
                other => bail!("{}; see deploy/probe.sh --help", other.unexpected()),
            }
        }
        let url = url.context("a URL is missing, such as http://127.0.0.1:10000/; see --help")?;
        let host = host.unwrap_or_else(|| url.authority.clone());
        if let Some(bad) = host.chars().find(|c| !c.is_ascii_graphic()) {
            bail!("--host {host:?} holds {bad:?}, which no host name does");
        }
        let policy = policy.unwrap_or_else(|| root().join("policy.toml"));
        Ok(Some(Self { url, policy, host, connections }))
    }
}

/// Runs `gate probe` with the arguments that follow.
///
/// # Errors
/// A bad option or policy, nobody who speaks HTTP at the URL, or a gate that does not do as the
/// policy says.
pub fn run(args: lexopt::Parser) -> Result<()> {
    let mut out = io::stdout().lock();
    let Some(options) = Options::parse(args)? else {
        return Ok(out.write_all(help().as_bytes())?);
    };
    let Options { url, connections, .. } = &options;
    let policy = Policy::read(&options.policy)?;
    let mut checks = Check::all(&policy);
    let Url { address, .. } = url;
    eprintln!("gate: asking {address} on {connections} connections");
    let broken = ask(&options, &policy, &mut checks)?;
    show(&checks, &policy, &mut out)?;
    let file = options.policy.display();
    if let Some(error) = broken {
        return Err(error.context(format!("{address} stopped answering")));
    }
    let failed = checks.iter().filter(|check| !check.is_ok()).count();
    if failed > 0 {
        bail!("{address} does not do as {file} says: {failed} of {} checks failed", checks.len());
    }
    writeln!(out, "ok: {address} does as {file} says, on {connections} connections")?;
    Ok(())
}

/// Asks everything on every connection. Ends at the first answer that does not come, which is
/// returned; it is an error if there was none before.
fn ask(options: &Options, policy: &Policy, checks: &mut [Check]) -> Result<Option<Error>> {
    let Options { url, host, connections, .. } = options;
    let mut answered = false;
    for _ in 0..*connections {
        let outcome = Connection::to(&url.address, host).and_then(|mut connection| {
            checks.iter_mut().try_for_each(|check| {
                check.ask(policy, &url.path, &mut connection)?;
                answered = true;
                Ok(())
            })
        });
        match outcome {
            Err(error) if answered => return Ok(Some(error)),
            outcome => outcome?,
        }
    }
    Ok(None)
}

/// Prints the table.
fn show(checks: &[Check], policy: &Policy, out: &mut impl Write) -> io::Result<()> {
    let heads = ["check", "expected", "seen", "verdict"].map(str::to_owned);
    let rows: Vec<_> =
        std::iter::once(heads).chain(checks.iter().map(|check| check.row(policy))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let [first, second, third] = [0, 1, 2].map(width);
    for [name, expected, seen, verdict] in &rows {
        writeln!(out, "{name:first$}  {expected:second$}  {seen:third$}  {verdict}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::chance;

    #[test]
    fn the_chance_is_that_of_collecting_every_worker() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(chance(1, 1), 1.0) && close(chance(2, 1), 0.0));
        // Of 16 runs, two reach one worker only; of 27, the 3! without a repetition reach all.
        assert!(close(chance(2, 4), 14.0 / 16.0) && close(chance(3, 3), 6.0 / 27.0));
        assert!(chance(8, 64) > 0.99);
    }
}
