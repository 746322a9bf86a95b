//! `gate probe`: whether a running gate does what its policy says, on every worker.

mod check;
mod machines;
mod target;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Error, Result, bail};
use header_gate_envoy::client::{Connection, Transport, addresses};
use header_gate_policy::Policy;
use http::uri::Authority;

use check::Check;
use machines::Machines;
use target::Target;

/// Checks a running gate against its policy, and exits with 1 if the gate contradicts it.
///
/// On each connection it sends every accepted value, no header, an empty value, wrong values (one too long, and
/// each accepted one with its last byte altered), what --denied names, a byte that is not UTF-8, and an accepted
/// value again. Denied is an answer with the status, the body and the headers of the policy; passed is any other
/// answer with a status below 500 (a host whose plugin has failed answers 503 by itself). If a host has several
/// addresses, they are asked in turn, and each has to answer.
///
/// A gateway gives each connection to one of its workers, and a single worker can be without its plugin. Open
/// ten connections for each worker, counting those of all replicas.
///
/// This counts connections to the gateway itself. A balancer of layer 7 (an ALB, a CDN, another proxy) sends all
/// requests over a few connections of its own: behind one, probe each gateway's own address.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// http://host[:port][/path], the gateway's own address, with a path that the service behind the gate
    /// answers with a status below 500
    url: Target,
    /// The policy that the gate was built from
    #[arg(long, value_name = "FILE", default_value = "policy.toml")]
    policy: PathBuf,
    /// A value that has to be denied too, such as a withdrawn one; repeatable
    #[arg(long, value_name = "VALUE")]
    denied: Vec<String>,
    /// The host to ask for, where it is not the URL's (behind a port-forward)
    #[arg(long, value_name = "NAME")]
    host: Option<Authority>,
    /// New connections to open, one after another
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// This Envoy's admin API: also check that each worker has its virtual machine
    #[arg(long, value_name = "URL")]
    admin: Option<Target>,
}

impl Options {
    /// Refuses values that prove nothing. The error does not show them: they may be secret.
    fn check(&self, policy: &Policy) -> Result<()> {
        for (number, value) in (1..).zip(&self.denied) {
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

pub fn run(options: Options) -> Result<()> {
    let mut out = io::stdout().lock();
    let policy = Policy::read(&options.policy)?;
    options.check(&policy)?;
    let mut checks = Check::all(&policy, &options.denied);
    let address = &options.url.address;
    let addresses = addresses(address)?;
    // Each of them at least once.
    let connections = options.connections.max(u32::try_from(addresses.len())?);
    eprintln!("gate: probing {address} on {connections} connections");
    let peers = addresses.iter().copied().cycle().take(connections as usize);
    let broken = ask(&options, &policy, &mut checks, peers, addresses.len())?;
    let machines = options.admin.as_ref().map(Machines::ask).transpose()?;
    let rows = checks.iter().map(|check| check.row(&policy));
    show(rows.chain(machines.iter().map(Machines::row)), &mut out)?;
    if let Some(error) = broken {
        return Err(error.context(format!("{address} stopped answering")));
    }
    let verdicts = checks.iter().map(Check::is_ok).chain(machines.iter().map(Machines::is_ok));
    let (all, failed) = (verdicts.clone().count(), verdicts.filter(|ok| !ok).count());
    let file = options.policy.display();
    if failed > 0 {
        bail!("{address} contradicts {file}: {failed} of {all} checks failed");
    }
    writeln!(out, "ok: {address} does what {file} says, on {connections} connections")?;
    Ok(())
}

/// Asks everything on a connection to each of `peers`. Ends at the first missing answer, which is returned; it is
/// an error if there was no answer before it.
fn ask(
    options: &Options,
    policy: &Policy,
    checks: &mut [Check],
    peers: impl Iterator<Item = SocketAddr>,
    addresses: usize,
) -> Result<Option<Error>> {
    let Options { url, host, .. } = options;
    let host = host.as_ref().unwrap_or(&url.authority).as_str();
    let mut answered = false;
    for peer in peers {
        let place = if addresses > 1 { format!(" from {peer}") } else { String::new() };
        let outcome = Connection::at(peer, host, Transport::Http1).and_then(|mut connection| {
            checks.iter_mut().try_for_each(|check| {
                check.ask(policy, &url.path, &mut connection, &place)?;
                answered = true;
                Ok(())
            })
        });
        let Err(mut error) = outcome else { continue };
        if addresses > 1 {
            let address = &url.address;
            error = error.context(format!("{peer} is one of {addresses} addresses of {address}"));
        }
        return if answered { Ok(Some(error)) } else { Err(error) };
    }
    Ok(None)
}

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
    use std::io::Read;
    use std::net::TcpListener;
    use std::path::Path;
    use std::thread;

    use clap::{Args, FromArgMatches};

    use super::*;

    /// The address of a server that passes the values that `passes` accepts; each answer closes its connection.
    fn server(passes: fn(&str) -> bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().map(Result::unwrap) {
                let mut head = [0; 1024];
                let size = stream.read(&mut head).unwrap();
                let head = String::from_utf8_lossy(&head[..size]).into_owned();
                let value = head.split_once("a: ").map_or("", |(_, value)| value.trim_end());
                let status = if passes(value) { 200 } else { 403 };
                write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").unwrap();
            }
        });
        address
    }

    #[test]
    fn every_address_of_a_host_is_asked_and_a_bad_one_named() {
        let text = "header = \"a\"\nvalues = [\"b\"]\n[deny]\nstatus = 403\n";
        let policy = Policy::parse(text, Path::new("")).unwrap();
        let options = Options::augment_args(clap::Command::new("probe"));
        let options = options.get_matches_from(["probe", "http://gate/"]);
        let options = Options::from_arg_matches(&options).unwrap();
        let (good, open) = (server(|value| value == "b"), server(|_| true));
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let ask = |addresses: &[SocketAddr]| {
            let mut checks = Check::all(&policy, &[]);
            let peers = addresses.iter().copied().cycle().take(4);
            let broken = ask(&options, &policy, &mut checks, peers, addresses.len()).unwrap();
            let row = checks.iter().find(|check| !check.is_ok()).map(|check| check.row(&policy));
            (row.map(|[_, _, seen, _]| seen), broken.map(|error| format!("{error:#}")))
        };
        assert_eq!(ask(&[good, good]), (None, None));
        let seen = format!("2 x 200 from {open}, 2 x denied");
        assert_eq!(ask(&[good, open]), (Some(seen), None));
        let (_, broken) = ask(&[good, closed]);
        let part = format!("{closed} is one of 2 addresses of gate:80: cannot connect to {closed}");
        assert!(broken.as_ref().is_some_and(|error| error.starts_with(&part)), "{broken:?}");
    }
}
