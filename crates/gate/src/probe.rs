//! `gate probe`: whether a gate that serves does what its policy says, on every worker.

mod check;
mod machines;
mod url;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Error, Result, bail};
use header_gate_policy::Policy;
use lexopt::prelude::*;

use crate::root;
use check::Check;
use header_gate_envoy::http1::{self, Connection};
use machines::Machines;
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
  URL                  http://host[:port][/path], the gateway's own address, with a path that the
                       service behind the gate answers with a status below 500
  --policy FILE        the policy that the gate was built from [policy.toml]
  --denied VALUE       a value that has to be denied as well, such as a withdrawn one; repeatable
  --host NAME          the Host to ask for, where it is not the URL's (behind a port-forward)
  --connections N      new connections to open, one after another [{CONNECTIONS}]
  --admin URL          this Envoy's admin API: also check that each worker has its virtual machine
  --help               this text

On each connection it sends every accepted value, no header, an empty value, wrong values (one too
long, and each accepted one with its last byte altered), what --denied names, a byte that is not
UTF-8, and an accepted value again. Denied is an answer with the status, the body and the headers of
the policy; passed is any other answer with a status below 500 (a host whose plugin has died answers
503 by itself). The addresses of a host with several are asked in turn, and each has to answer.

A gateway gives each connection to one of its workers (count those of all replicas), and a single
worker can be without its plugin. The chance that {CONNECTIONS} connections reach all of them:
{}Ten connections for each worker are a good measure.

That counts connections to the gateway itself. A balancer of layer 7 (an ALB, a CDN, another proxy)
sends all requests over a few of its own: behind one, ask each gateway's own address.
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
    denied: Vec<String>,
    host: String,
    connections: u32,
    admin: Option<Url>,
}

impl Options {
    /// The options in `args`; none if help was asked for.
    fn parse(mut args: lexopt::Parser) -> Result<Option<Self>> {
        let (mut url, mut policy, mut host, mut connections) = (None, None, None, CONNECTIONS);
        let (mut denied, mut admin) = (Vec::new(), None);
        while let Some(argument) = args.next()? {
            match argument {
                Value(value) if url.is_none() => url = Some(Url::parse(&value.string()?)?),
                Long("policy") => policy = Some(args.value()?.into()),
                Long("denied") => denied.push(args.value()?.string()?),
                Long("host") => host = Some(args.value()?.string()?),
                Long("admin") => admin = Some(Url::parse(&args.value()?.string()?)?),
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
        Ok(Some(Self { url, policy, denied, host, connections, admin }))
    }

    /// Refuses to ask for values that can say nothing. No error tells one: they may be secret.
    fn check(&self, policy: &Policy) -> Result<()> {
        for (i, value) in self.denied.iter().enumerate() {
            let number = i + 1;
            if policy.values.contains(value) {
                bail!("--denied {number}: {} accepts this value", self.policy.display());
            }
            if value.trim() != value || value.is_empty() || value.contains(char::is_control) {
                bail!("--denied {number} is empty, or has blanks around it or a control character");
            }
        }
        Ok(())
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
    let Options { url, admin, .. } = &options;
    let policy = Policy::read(&options.policy)?;
    options.check(&policy)?;
    let mut checks = Check::all(&policy, &options.denied);
    let Url { address, .. } = url;
    let addresses = http1::addresses(address)?;
    // Each of them at least once.
    let connections = options.connections.max(u32::try_from(addresses.len())?);
    eprintln!("gate: asking {address} on {connections} connections");
    let broken = ask(&options, &policy, &mut checks, &addresses, connections)?;
    let machines = admin.as_ref().map(Machines::ask).transpose()?;
    let rows = checks.iter().map(|check| check.row(&policy));
    show(rows.chain(machines.iter().map(Machines::row)), &mut out)?;
    let file = options.policy.display();
    if let Some(error) = broken {
        return Err(error.context(format!("{address} stopped answering")));
    }
    let verdicts = checks.iter().map(Check::is_ok).chain(machines.iter().map(Machines::is_ok));
    let (all, failed) = (verdicts.clone().count(), verdicts.filter(|ok| !ok).count());
    if failed > 0 {
        bail!("{address} does not do as {file} says: {failed} of {all} checks failed");
    }
    writeln!(out, "ok: {address} does as {file} says, on {connections} connections")?;
    Ok(())
}

/// Asks everything on so many connections, to each of `addresses` in turn. Ends at the first answer
/// that does not come, which is returned; it is an error if there was none before.
fn ask(
    options: &Options,
    policy: &Policy,
    checks: &mut [Check],
    addresses: &[SocketAddr],
    connections: u32,
) -> Result<Option<Error>> {
    let Options { url, host, .. } = options;
    let mut answered = false;
    for (_, &peer) in (0..connections).zip(addresses.iter().cycle()) {
        let place = if addresses.len() > 1 { format!(" from {peer}") } else { String::new() };
        let outcome = Connection::at(peer, host).and_then(|mut connection| {
            checks.iter_mut().try_for_each(|check| {
                check.ask(policy, &url.path, &mut connection, &place)?;
                answered = true;
                Ok(())
            })
        });
        let outcome = outcome.map_err(|error| {
            let named =
                format!("{peer} is one of {} addresses of {}", addresses.len(), url.address);
            if place.is_empty() { error } else { error.context(named) }
        });
        match outcome {
            Err(error) if answered => return Ok(Some(error)),
            outcome => outcome?,
        }
    }
    Ok(None)
}

/// Prints the table.
fn show(rows: impl Iterator<Item = [String; 4]>, out: &mut impl Write) -> io::Result<()> {
    let heads = ["check", "expected", "seen", "verdict"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(heads).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let [first, second, third] = [0, 1, 2].map(width);
    for [name, expected, seen, verdict] in &rows {
        writeln!(out, "{name:first$}  {expected:second$}  {seen:third$}  {verdict}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::net::TcpListener;
    use std::path::Path;
    use std::thread;

    use super::*;

    #[test]
    fn the_chance_is_that_of_collecting_every_worker() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(close(chance(1, 1), 1.0) && close(chance(2, 1), 0.0));
        // Of 16 runs, two reach one worker only; of 27, the 3! without a repetition reach all.
        assert!(close(chance(2, 4), 14.0 / 16.0) && close(chance(3, 3), 6.0 / 27.0));
        assert!(chance(8, 64) > 0.99);
    }

    /// An address that answers each request, on one connection at a time, by what `passes` says of its
    /// value.
    fn address(passes: fn(&str) -> bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map(Result::unwrap) {
                let mut stream = BufReader::new(stream);
                loop {
                    let lines = stream.by_ref().split(b'\n').map(Result::unwrap_or_default);
                    let head: Vec<_> = lines.take_while(|line| line.len() > 1).collect();
                    let head = String::from_utf8_lossy(&head.concat()).into_owned();
                    let value = head.split_once("a: ").map_or("", |(_, value)| value.trim_end());
                    let status = if passes(value) { 200 } else { 403 };
                    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                    if head.is_empty() || stream.get_mut().write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            }
        });
        address
    }

    #[test]
    fn every_address_of_a_host_is_asked_and_a_bad_one_named() {
        let text = "header = \"a\"\nvalues = [\"b\"]\n[deny]\nstatus = 403\n";
        let policy = Policy::parse(text, Path::new("")).unwrap();
        let args = lexopt::Parser::from_args(["http://gate/"]);
        let options = Options::parse(args).unwrap().unwrap();
        let (good, open) = (address(|value| value == "b"), address(|_| true));
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let ask = |addresses: &[SocketAddr]| {
            let mut checks = Check::all(&policy, &[]);
            let broken = ask(&options, &policy, &mut checks, addresses, 4).unwrap();
            let row = checks.iter().find(|check| !check.is_ok()).map(|check| check.row(&policy));
            (row.map(|[_, _, seen, _]| seen), broken.map(|error| format!("{error:#}")))
        };
        assert_eq!(ask(&[good]), (None, None));
        assert_eq!(ask(&[good, good]), (None, None));
        let seen = format!("2 x 200 from {open}, 2 x denied");
        assert_eq!(ask(&[good, open]), (Some(seen), None));
        let (_, broken) = ask(&[good, closed]);
        let part = format!("{closed} is one of 2 addresses of gate:80: cannot connect to {closed}");
        assert!(broken.as_ref().is_some_and(|error| error.starts_with(&part)), "{broken:?}");
    }
}
