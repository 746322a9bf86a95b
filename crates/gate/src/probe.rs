//! `gate probe`: whether a running gate does what its policy says, on every worker.

mod check;
mod machines;
mod report;
mod target;

use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Error, Result, bail, ensure};
use header_gate_envoy::client::{Connection, Transport, addresses};
use header_gate_envoy::tls::{Trust, tls};
use header_gate_policy::Policy;
use http::uri::Authority;

use crate::build;
use check::{Check, Rules};
use machines::Machines;
use report::Report;
use target::Target;

/// Checks a running gate against its policy, and exits with 1 if the gate contradicts it.
///
/// On each connection it sends every accepted value, no header (also as a gRPC call), an empty value, wrong values
/// (one too long, and each accepted one with its last byte altered), what --denied-file lists, a byte that is not
/// UTF-8, and an accepted value again. Denied is an answer with the status, the body and the headers of the policy
/// (nginx adds a line feed to the body, Envoy answers gRPC calls in gRPC's form; the table says so). Passed is an
/// answer with a status of 2xx or 3xx, or one that --expect names, and never the denial's status. Anything else is a
/// failure: the table shows its status, and how its body begins (not if it answers a secret value). If a host has
/// several addresses, they are asked in turn, and each has to answer.
///
/// A gateway gives each connection to one of its workers, and a single worker can be without its plugin. Open
/// ten connections for each worker, counting those of all replicas.
///
/// This counts connections to the gateway itself. A balancer of layer 7 (an ALB, a CDN, another proxy) sends all
/// requests over a few connections of its own: behind one, probe each gateway's own address.
///
/// The probe sends accepted values. Without TLS it sends them to this machine only (a port-forward), or anywhere
/// with --plaintext. No value is printed.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// http[s]://host[:port][/path], the gateway's own address, with a path that the service behind the gate
    /// answers with 2xx or 3xx. Over TLS, the gateway chooses between HTTP/2 and HTTP/1.1
    url: Target,
    /// The policy that the gate was built from
    #[arg(long, value_name = "FILE", default_value = "policy.toml")]
    policy: PathBuf,
    /// Values that have to be denied too, such as withdrawn ones, one in a line; - is standard input
    #[arg(long, value_name = "FILE")]
    denied_file: Option<PathBuf>,
    /// What the service answers to an accepted value, in place of 2xx and 3xx
    #[arg(long, value_name = "STATUS,...", value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u16).range(200..=599))]
    expect: Vec<u16>,
    /// Compare only the status of denials, where the gateway rewrites their headers or body (Envoy's
    /// local_reply_config). An answer of another filter with the same status looks the same then
    #[arg(long)]
    status_only: bool,
    /// The host to ask for, and to expect in the certificate, where it is not the URL's (behind a port-forward)
    #[arg(long, value_name = "NAME")]
    host: Option<Authority>,
    /// Trust the authorities in this PEM file, in place of the machine's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    cacert: Option<PathBuf>,
    /// Accept any certificate: whoever answers is sent the accepted values
    #[arg(long)]
    insecure: bool,
    /// Send accepted values without TLS to another machine
    #[arg(long)]
    plaintext: bool,
    /// New connections to open, one after another
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// This Envoy's admin API: also check that each worker has its virtual machine
    #[arg(long, value_name = "URL")]
    admin: Option<Target>,
    /// Print JSON: {"ok", "gate", "host", "policy", "connections", "protocol", "error", "checks": [{"check",
    /// "expected", "seen": [{"count", "answer"}], "ok"}]}
    #[arg(long)]
    json: bool,
    /// Also write metrics to this file, for the textfile collector of Prometheus' node exporter, whatever the
    /// outcome: header_gate_probe_success, _check_success, _timestamp_seconds
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,
}

impl Options {
    /// Refuses options that contradict the policy or each other.
    fn check(&self, policy: &Policy) -> Result<()> {
        let denial = policy.deny.status;
        if self.expect.contains(&denial) {
            let file = self.policy.display();
            bail!("--expect {denial}: {file} denies with this status, so it cannot mean passed");
        }
        let tls = self.url.tls || self.admin.as_ref().is_some_and(|admin| admin.tls);
        ensure!(tls || !self.insecure, "--insecure is for an https:// URL");
        ensure!(tls || self.cacert.is_none(), "--cacert is for an https:// URL");
        Ok(())
    }

    /// The values of --denied-file. No error shows one: they may be secret.
    fn denied(&self, policy: &Policy) -> Result<Vec<String>> {
        let Some(file) = &self.denied_file else { return Ok(Vec::new()) };
        let name = format!("--denied-file {}", file.display());
        let mut text = String::new();
        let read = if file.as_os_str() == "-" {
            io::stdin().read_to_string(&mut text).map(drop)
        } else {
            fs::read_to_string(file).map(|read| text = read)
        };
        read.with_context(|| name.clone())?;
        let values: Vec<_> = text.lines().map(str::to_owned).collect();
        ensure!(!values.is_empty(), "{name} has no value");
        for (number, value) in (1..).zip(&values) {
            let place = format!("{name}, line {number}");
            if policy.accepts(value) {
                bail!("{place}: {} accepts this value", self.policy.display());
            }
            if value.trim() != value || value.is_empty() || value.contains(char::is_control) {
                bail!("{place} is empty, or has blanks around its value or a control character");
            }
        }
        Ok(values)
    }

    /// Refuses to send accepted values to another machine without TLS.
    fn check_plaintext(&self, peers: &[SocketAddr]) -> Result<()> {
        let other = peers.iter().find(|peer| !peer.ip().to_canonical().is_loopback());
        match other {
            Some(peer) if !self.url.tls && !self.plaintext => bail!(
                "the probe would send accepted values to {peer} without TLS: use https://, a port-forward to \
                 127.0.0.1, or --plaintext if nobody else can read them on the way"
            ),
            _ => Ok(()),
        }
    }

    fn transport(&self, target: &Target) -> Result<Transport> {
        match &self.cacert {
            _ if !target.tls => Ok(Transport::Http1),
            _ if self.insecure => tls(Trust::Anyone),
            Some(file) => tls(Trust::Authorities(file)).context("--cacert"),
            None => tls(Trust::System),
        }
    }

    fn report(&self) -> Report {
        Report {
            ok: false,
            gate: self.url.address.clone(),
            host: self.host().to_owned(),
            policy: self.policy.display().to_string(),
            connections: self.connections,
            protocol: None,
            checks: Vec::new(),
            error: None,
        }
    }

    fn host(&self) -> &str {
        self.host.as_ref().unwrap_or(&self.url.authority).as_str()
    }
}

pub fn run(options: Options) -> Result<()> {
    let mut report = options.report();
    let probed = probe(&options, &mut report);
    report.ok = probed.is_ok();
    report.error = probed.as_ref().err().map(|error| format!("{error:#}"));
    // Before anything is printed: a closed pipe must not leave the last probe's metrics.
    let write = |file: &PathBuf| build::put(file, report.metrics()?.as_bytes());
    let outcome = match (probed, options.prometheus.as_ref().map_or(Ok(()), write)) {
        (Err(error), Err(unwritten)) => Err(error.context(format!("{unwritten:#}"))),
        (probed, written) => probed.and(written),
    };
    let text = if options.json { report.json()? } else { report.text() };
    let shown = io::stdout().write_all(text.as_bytes());
    outcome.and(shown.context("cannot print"))
}

/// Asks everything. What was seen goes to `report`; an error is why the gate cannot be relied on.
fn probe(options: &Options, report: &mut Report) -> Result<()> {
    let policy = Policy::read(&options.policy)?;
    options.check(&policy)?;
    let rules =
        Rules { policy: &policy, expect: &options.expect, status_only: options.status_only };
    let mut checks = Check::all(&policy, &options.denied(&policy)?);
    let Options { url, admin, .. } = options;
    let addresses = addresses(&url.address)?;
    options.check_plaintext(&addresses)?;
    let transport = options.transport(url)?;
    // Each of them at least once.
    report.connections = options.connections.max(u32::try_from(addresses.len())?);
    let unverified = if options.insecure { ", accepting any certificate" } else { "" };
    eprintln!("gate: probing {} on {} connections{unverified}", url.address, report.connections);
    let broken = ask(options, &rules, &mut checks, &addresses, &transport, report)?;
    report.checks = checks.iter().map(|check| check.row(&rules)).collect();
    if let Some(admin) = admin {
        report.checks.push(Machines::ask(admin, options.transport(admin)?)?.row());
    }
    if let Some(error) = broken {
        return Err(error.context(format!("{} stopped answering", url.address)));
    }
    let (all, failed) = (report.checks.len(), report.checks.iter().filter(|row| !row.ok).count());
    let (gate, file) = (&report.gate, &report.policy);
    ensure!(failed == 0, "{gate} contradicts {file}: {failed} of {all} checks failed");
    Ok(())
}

/// Asks everything on each connection. Ends at the first missing answer, which is returned; it is an error if there
/// was no answer before it.
fn ask(
    options: &Options,
    rules: &Rules,
    checks: &mut [Check],
    addresses: &[SocketAddr],
    transport: &Transport,
    report: &mut Report,
) -> Result<Option<Error>> {
    let Options { url, insecure, .. } = options;
    let mut answered = false;
    for &peer in addresses.iter().cycle().take(report.connections as usize) {
        let several = addresses.len() > 1;
        let place = if several { format!(" from {peer}") } else { String::new() };
        let outcome =
            Connection::at(peer, options.host(), transport.clone()).and_then(|mut connection| {
                let unverified =
                    if *insecure && url.tls { ", certificate not verified" } else { "" };
                report.protocol = Some(format!("{}{unverified}", connection.protocol()));
                checks.iter_mut().try_for_each(|check| {
                    check.ask(rules, &url.path, &mut connection, &place)?;
                    answered = true;
                    Ok(())
                })
            });
        let Err(mut error) = outcome else { continue };
        if format!("{error:#}").contains("invalid peer certificate") {
            error = error
                .context("use --cacert FILE for a private authority, --host NAME for another name");
        }
        if several {
            let (count, address) = (addresses.len(), &url.address);
            error = error.context(format!("{peer} is one of {count} addresses of {address}"));
        }
        return if answered { Ok(Some(error)) } else { Err(error) };
    }
    Ok(None)
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
        let options = options.get_matches_from(["probe", "http://gate/", "--connections", "4"]);
        let options = Options::from_arg_matches(&options).unwrap();
        let (good, open) = (server(|value| value == "b"), server(|_| true));
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let ask = |addresses: &[SocketAddr]| {
            let rules = Rules { policy: &policy, expect: &[], status_only: false };
            let (mut checks, mut report) = (Check::all(&policy, &[]), options.report());
            let transport = &Transport::Http1;
            let broken =
                ask(&options, &rules, &mut checks, addresses, transport, &mut report).unwrap();
            report.checks = checks.iter().map(|check| check.row(&rules)).collect();
            report.checks.retain(|row| !row.ok);
            (report.table(), broken.map(|error| format!("{error:#}")))
        };
        assert!(!ask(&[good, good]).0.contains("FAILED"));
        let seen = format!("2 x 200 from {open}, 2 x denied");
        assert!(ask(&[good, open]).0.contains(&seen));
        let (_, broken) = ask(&[good, closed]);
        let part = format!("{closed} is one of 2 addresses of gate:80: cannot connect to {closed}");
        assert!(broken.as_ref().is_some_and(|error| error.starts_with(&part)), "{broken:?}");
    }
}
