//! A rollout under load: the gate of `deploy/envoy-xds` is replaced again and again while clients ask.
//! No request slips through, and none that satisfies both gates is refused.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::{module, policy, root};
use header_gate_envoy::config::{Listener, config, is_upstream};
use header_gate_envoy::denial::difference;
use header_gate_envoy::http1::{Closed, Connection, Response};
use header_gate_envoy::{Envoy, NEWEST, Options, install};
use header_gate_policy::Policy;
use tempfile::TempDir;

const SWAPS: usize = 20;
/// Requests that each client sends on a connection: new ones are opened all the time, and some are
/// kept until Envoy drains them, a second after a swap.
const CLIENTS: [usize; 4] = [8, 64, usize::MAX, usize::MAX];
/// Requests that are answered between a swap and the next.
const BETWEEN: u64 = 1500;
/// Envoy's count of gates that are replaced and still have connections.
const DRAINING: &str = "listener_manager.total_filter_chains_draining";
/// The longest wait for a swap, and for the next answer to a client.
const PATIENCE: Duration = Duration::from_mins(1);

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
    /// Connections that Envoy closed, with or without saying so in an answer.
    closed: AtomicU64,
    /// Looks at Envoy that found a replaced gate which still had connections.
    draining: AtomicU64,
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
                // A listener that drains may close what is idle. Nothing was decided.
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
            if response.has("connection", b"close") {
                add(&seen.closed);
            }
        }
    }
    Ok(())
}

/// The dynamic Envoy of `deploy/`, in a folder of its own.
struct Gateway {
    folder: TempDir,
    listener: String,
    envoy: Envoy,
}

impl Gateway {
    /// Envoy with two workers in front of `upstream`, with the first of `plugins`.
    fn start(upstream: u16, plugins: &[Variant]) -> Result<Self> {
        let folder = TempDir::new()?;
        let read = |name: &str| fs::read_to_string(root().join("deploy/envoy-xds").join(name));
        let clusters = read("cds.yaml")?.replace("8000", &upstream.to_string());
        fs::write(folder.path().join("cds.yaml"), clusters)?;
        for (i, plugin) in plugins.iter().enumerate() {
            fs::write(folder.path().join(format!("plugin-{i}.wasm")), module(plugin))?;
        }
        let listener = read("lds.yaml")?.replace("port_value: 10000", "port_value: 0");
        put(folder.path(), &listener, 0)?;
        let bootstrap = read("envoy.yaml")?.replace("port_value: 9901", "port_value: 0");
        let mut command = Command::new(install(root(), NEWEST)?);
        command.arg("--reject-unknown-dynamic-fields").current_dir(folder.path());
        let envoy = Envoy::start(command, &bootstrap, &Options::default())?;
        Ok(Self { folder, listener, envoy })
    }

    fn stat(&self, name: &str) -> Result<usize> {
        let value = self.envoy.stat(name)?;
        Ok(value.with_context(|| format!("Envoy has no {name}"))? as usize)
    }

    /// Puts plugin number `i` in place, and waits until new connections meet it and enough requests
    /// have been answered.
    fn swap(&self, port: u16, gates: &Gates, i: usize, seen: &Seen) -> Result<()> {
        const UPDATES: &str = "listener_manager.lds.update_success";
        let before = self.stat(UPDATES)?;
        put(self.folder.path(), &self.listener, i)?;
        let answers = || seen.answers.load(Ordering::Relaxed);
        let mut last = answers();
        let until = last + BETWEEN;
        let mut deadline = Instant::now() + PATIENCE;
        let mut met = 0;
        // Several in a row, for both workers: what the other gate would let pass is denied by this one.
        while met < 8 {
            ensure!(Instant::now() < deadline, "gate {i} is not met: {}", self.envoy.log());
            let taken = self.stat(UPDATES)? == before + 1;
            let by = |headers: &[_]| {
                gates.denied(&Connection::open(port)?.send("GET", "/", headers, b"")?)
            };
            let here = by(&[])? == Some(i) && by(&[gates.header(1 - i)])? == Some(i);
            met = if taken && here { met + 1 } else { 0 };
            if self.stat(DRAINING)? > 0 {
                add(&seen.draining);
            }
            thread::sleep(Duration::from_millis(5));
        }
        while last < until {
            if answers() > last {
                (last, deadline) = (answers(), Instant::now() + PATIENCE);
            }
            ensure!(Instant::now() < deadline, "no client is answered: {}", self.envoy.log());
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Offers plugin number `i`, which Envoy is to refuse, and waits until it has and enough requests
    /// have been answered: new connections meet gate number `old` as before.
    fn offer(&self, port: u16, gates: &Gates, i: usize, old: usize, seen: &Seen) -> Result<()> {
        const REFUSED: &str = "listener_manager.lds.update_rejected";
        let before = self.stat(REFUSED)?;
        put(self.folder.path(), &self.listener, i)?;
        let until = seen.answers.load(Ordering::Relaxed) + BETWEEN;
        let deadline = Instant::now() + PATIENCE;
        while self.stat(REFUSED)? == before || seen.answers.load(Ordering::Relaxed) < until {
            ensure!(Instant::now() < deadline, "{i} is not refused: {}", self.envoy.log());
            let response = Connection::open(port)?.send("GET", "/", &[], b"")?;
            ensure!(gates.denied(&response)? == Some(old), "gate {old} is gone");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Replaces lds.yaml in `folder` at once, as its comments advise, with one that names plugin `i`.
fn put(folder: &Path, listener: &str, i: usize) -> Result<()> {
    let new = listener.replace("filename: plugin.wasm", &format!("filename: plugin-{i}.wasm"));
    ensure!(new != listener, "lds.yaml does not name plugin.wasm");
    fs::write(folder.join("lds.new"), new)?;
    Ok(fs::rename(folder.join("lds.new"), folder.join("lds.yaml"))?)
}

#[test]
fn a_gate_is_replaced_under_load_and_no_request_is_decided_wrongly() {
    let variants =
        [Variant::default(), Variant::default().with_policy(root().join("policies/api-key.toml"))];
    let gates = Gates(variants.each_ref().map(policy));
    let upstream = config(&[Listener::new("upstream")]).to_string();
    let binary = install(root(), NEWEST).unwrap();
    let upstream = Envoy::start(Command::new(binary), &upstream, &Options::default()).unwrap();
    let upstream_port = upstream.port("upstream").unwrap();
    let gateway = Gateway::start(upstream_port, &variants).unwrap();
    let port = gateway.envoy.port("gate").unwrap();
    let (seen, done) = (Seen::default(), AtomicBool::new(false));

    // A client notices what it is there to notice.
    let error = client(upstream_port, 1, &gates, &seen, &done).unwrap_err();
    assert_eq!(error.to_string(), "a request without a header passed");
    let mut wrong = gates.clone();
    wrong.0.iter_mut().for_each(|policy| policy.values[0].push('x'));
    let error = client(port, 2, &wrong, &seen, &done).unwrap_err();
    assert_eq!(error.to_string(), "gate 0 denied a request with both headers");

    let seen = Seen::default();
    thread::scope(|scope| {
        let (gates, seen, done) = (&gates, &seen, &done);
        let clients =
            CLIENTS.map(|kept| scope.spawn(move || client(port, kept, gates, seen, done)));
        let swapped = (1..=SWAPS).try_for_each(|swap| {
            let swapped = gateway.swap(port, gates, swap % 2, seen);
            swapped.with_context(|| format!("swap {swap}"))?;
            if swap == SWAPS / 2 {
                // In the middle of it all, half a module, and one that is not there.
                let half = module(&variants[0])[..100].to_vec();
                fs::write(gateway.folder.path().join("plugin-2.wasm"), half)?;
                (2..=3).try_for_each(|i| gateway.offer(port, gates, i, swap % 2, seen))?;
            }
            anyhow::Ok(())
        });
        done.store(true, Ordering::Relaxed);
        // A client's error tells more than what followed from it.
        clients.into_iter().for_each(|client| client.join().unwrap().unwrap());
        swapped.unwrap();
    });
    let Seen { denied, passed, both, closed, draining, .. } = &seen;
    let decided = denied.iter().chain(passed).chain([both, closed, draining]);
    assert!(decided.map(|n| n.load(Ordering::Relaxed)).all(|n| n > 0), "{seen:?}");
    let stat = |name: &str| gateway.stat(&format!("listener_manager.{name}")).unwrap();
    // The first update is the start; the others left the listening socket where it was.
    assert_eq!(stat("lds.update_success"), 1 + SWAPS);
    assert_eq!(stat("lds.update_rejected"), 2);
    assert_eq!(stat("listener_in_place_updated"), SWAPS);
    let deadline = Instant::now() + PATIENCE;
    while gateway.stat(DRAINING).unwrap() > 0 {
        assert!(Instant::now() < deadline, "a replaced gate stays: {}", gateway.envoy.log());
        thread::sleep(Duration::from_millis(50));
    }
    gateway.envoy.stop().unwrap();
}
