//! A rollout under load: the gate of `deploy/envoy-xds` is replaced again and again while clients ask. No request
//! slips through, and none that satisfies both gates is refused.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::gateway::{deployed, envoy, get, stat};
use header_gate_e2e::{module, policy, root};
use header_gate_envoy::client::{Closed, Connection, Response};
use header_gate_envoy::config::{Listener, is_upstream};
use header_gate_envoy::denial::difference;
use header_gate_envoy::{Envoy, NEWEST, Options, install};
use header_gate_policy::Policy;
use tempfile::TempDir;

const SWAPS: usize = 20;
/// Requests that each client sends on a connection: new ones are opened all the time, and some are kept until
/// Envoy drains them, a second after a swap.
const CLIENTS: [usize; 4] = [8, 64, usize::MAX, usize::MAX];
/// Requests that are answered between a swap and the next.
const BETWEEN: u64 = 1500;
/// Envoy's count of gates that are replaced and still have connections.
const DRAINING: &str = "listener_manager.total_filter_chains_draining";
/// The longest wait for a swap with the requests after it.
const TIMEOUT: Duration = Duration::from_mins(2);

/// The two gates: other headers, other values, other answers.
#[derive(Clone)]
struct Gates([Policy; 2]);

impl Gates {
    /// Which gate denied; none if `response` is the upstream's.
    fn denied(&self, response: &Response) -> Result<Option<usize>> {
        let denier = self.0.iter().position(|policy| difference(policy, response).is_none());
        ensure!(denier.is_some() || is_upstream(response), "neither gate answers {response:?}");
        Ok(denier)
    }

    /// The header that gate number `i` lets through.
    fn header(&self, i: usize) -> (&[u8], &[u8]) {
        (self.0[i].header.as_bytes(), self.0[i].values[0].as_bytes())
    }
}

/// What the clients saw.
#[derive(Debug, Default)]
struct Seen {
    /// All answers.
    answers: AtomicU64,
    /// Requests without a header, by the gate that denied them.
    denied: [AtomicU64; 2],
    /// Requests with the header of one gate, by the gate that let them through: its own.
    passed: [AtomicU64; 2],
    /// Requests with both headers.
    both: AtomicU64,
    /// Connections that Envoy closed.
    closed: AtomicU64,
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Asks until `done`, `kept` requests on a connection; an error is an answer that no gate may give.
fn client(port: u16, kept: usize, gates: &Gates, seen: &Seen, done: &AtomicBool) -> Result<()> {
    let both = [gates.header(0), gates.header(1)];
    let kinds = [&[][..], &both, &both[..1], &both[1..]];
    let done = || done.load(Ordering::Relaxed);
    while !done() {
        let mut connection = Connection::open(port)?;
        for turn in (0..kept).take_while(|_| !done()) {
            let kind = turn % kinds.len();
            let response = match connection.send("GET", "/", kinds[kind], b"") {
                // A listener that drains closes its connections. Nothing was decided.
                Err(error) if error.is::<Closed>() => {
                    add(&seen.closed);
                    break;
                }
                response => response?,
            };
            match (kind, gates.denied(&response)?) {
                (0, Some(gate)) => add(&seen.denied[gate]),
                (0, None) => bail!("a request without a header passed"),
                (1, None) => add(&seen.both),
                (1, Some(gate)) => bail!("gate {gate} denied a request with both headers"),
                (one, None) => add(&seen.passed[one - 2]),
                (one, Some(gate)) => ensure!(gate != one - 2, "gate {gate} denied its own header"),
            }
            add(&seen.answers);
        }
    }
    Ok(())
}

/// The dynamic Envoy of `deploy/`, in a folder of its own.
struct Gateway {
    folder: TempDir,
    envoy: Envoy,
    port: u16,
}

impl Gateway {
    /// Envoy with two workers in front of `upstream`, with the first of `plugins`.
    fn start(upstream: u16, plugins: &[Variant]) -> Result<Self> {
        let folder = TempDir::new()?;
        let clusters = deployed("envoy-xds/cds.yaml", &[("8000", &upstream.to_string())]);
        fs::write(folder.path().join("cds.yaml"), clusters)?;
        for (i, plugin) in plugins.iter().enumerate() {
            fs::write(folder.path().join(format!("plugin-{i}.wasm")), module(plugin))?;
        }
        put(&folder, 0)?;
        let bootstrap = deployed("envoy-xds/envoy.yaml", &[("9901", "0")]);
        let mut command = Command::new(install(root(), NEWEST)?);
        command.arg("--reject-unknown-dynamic-fields").current_dir(folder.path());
        let envoy = Envoy::start(command, &bootstrap, &Options::default())?;
        let port = envoy.port("gate")?;
        Ok(Self { folder, envoy, port })
    }

    fn lds(&self, name: &str) -> u64 {
        stat(&self.envoy, &format!("listener_manager.lds.{name}"))
    }

    /// Waits until `met` holds and the clients have had enough answers.
    fn wait(&self, seen: &Seen, mut met: impl FnMut() -> Result<bool>) -> Result<()> {
        let answers = || seen.answers.load(Ordering::Relaxed);
        let (enough, deadline) = (answers() + BETWEEN, Instant::now() + TIMEOUT);
        while !met()? || answers() < enough {
            ensure!(Instant::now() < deadline, "not in time: {}", self.envoy.log());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Puts plugin number `i` in place, and waits until new connections meet it. Whether a replaced gate still had
    /// connections.
    fn swap(&self, gates: &Gates, i: usize, seen: &Seen) -> Result<bool> {
        let before = self.lds("update_success");
        put(&self.folder, i)?;
        let (mut met, mut draining) = (0, false);
        // Several in a row, for both workers: what the other gate lets pass is denied by this one.
        self.wait(seen, || {
            if met < 8 {
                let taken = self.lds("update_success") == before + 1;
                let by = |headers: &[_]| gates.denied(&get(self.port, headers));
                let here = by(&[])? == Some(i) && by(&[gates.header(1 - i)])? == Some(i);
                met = if taken && here { met + 1 } else { 0 };
                draining |= stat(&self.envoy, DRAINING) > 0;
            }
            Ok(met == 8)
        })?;
        Ok(draining)
    }

    /// Offers plugin number `i`, which Envoy refuses, and waits until it has: new connections meet gate number
    /// `old` as before.
    fn offer(&self, gates: &Gates, i: usize, old: usize, seen: &Seen) -> Result<()> {
        let before = self.lds("update_rejected");
        put(&self.folder, i)?;
        self.wait(seen, || {
            ensure!(gates.denied(&get(self.port, &[]))? == Some(old), "gate {old} is gone");
            Ok(self.lds("update_rejected") > before)
        })
    }
}

/// Replaces lds.yaml in `folder` by a rename, as its comments advise, with one that names plugin `i`.
fn put(folder: &TempDir, i: usize) -> Result<()> {
    let plugin = format!("filename: plugin-{i}.wasm");
    let edits = [("10000", "0"), ("filename: plugin.wasm", &*plugin)];
    let [new, file] = ["lds.new", "lds.yaml"].map(|name| folder.path().join(name));
    fs::write(&new, deployed("envoy-xds/lds.yaml", &edits))?;
    Ok(fs::rename(new, file)?)
}

#[test]
fn a_gate_is_replaced_under_load_and_no_request_is_decided_wrongly() {
    let other = Variant::default().with_policy(root().join("policies/api-key.toml"));
    let variants = [Variant::default(), other];
    let gates = Gates(variants.each_ref().map(policy));
    let upstream = envoy(&[Listener::new("upstream")]);
    let upstream = upstream.port("upstream").map(|port| (upstream, port)).unwrap();
    let gateway = Gateway::start(upstream.1, &variants).unwrap();
    let (seen, done) = (Seen::default(), AtomicBool::new(false));

    // A client notices what it is there to notice.
    let error = client(upstream.1, 1, &gates, &seen, &done).unwrap_err();
    assert_eq!(error.to_string(), "a request without a header passed");
    let mut wrong = gates.clone();
    wrong.0.iter_mut().for_each(|policy| policy.values[0].push('x'));
    let error = client(gateway.port, 2, &wrong, &seen, &done).unwrap_err();
    assert_eq!(error.to_string(), "gate 0 denied a request with both headers");

    let seen = Seen::default();
    let mut draining = false;
    thread::scope(|scope| {
        let (gates, seen, done, port) = (&gates, &seen, &done, gateway.port);
        let clients =
            CLIENTS.map(|kept| scope.spawn(move || client(port, kept, gates, seen, done)));
        let swapped = (1..=SWAPS).try_for_each(|swap| {
            draining |=
                gateway.swap(gates, swap % 2, seen).with_context(|| format!("swap {swap}"))?;
            if swap == SWAPS / 2 {
                // In the middle of it all, half a module, and one that is not there.
                let half = &module(&variants[0])[..100];
                fs::write(gateway.folder.path().join("plugin-2.wasm"), half)?;
                (2..=3).try_for_each(|i| gateway.offer(gates, i, swap % 2, seen))?;
            }
            anyhow::Ok(())
        });
        done.store(true, Ordering::Relaxed);
        // A client's error says more than what followed from it.
        clients.into_iter().for_each(|client| client.join().unwrap().unwrap());
        swapped.unwrap();
    });
    let Seen { denied, passed, both, closed, .. } = &seen;
    let decided = denied.iter().chain(passed).chain([both, closed]);
    assert!(draining && decided.map(|n| n.load(Ordering::Relaxed)).all(|n| n > 0), "{seen:?}");
    // The first update is the start; the others left the listening socket where it was.
    assert_eq!(gateway.lds("update_success"), 1 + SWAPS as u64);
    assert_eq!(gateway.lds("update_rejected"), 2);
    let in_place = stat(&gateway.envoy, "listener_manager.listener_in_place_updated");
    assert_eq!(in_place, SWAPS as u64);
    header_gate_e2e::until("a replaced gate stays", || stat(&gateway.envoy, DRAINING) == 0);
    gateway.envoy.stop().unwrap();
}
