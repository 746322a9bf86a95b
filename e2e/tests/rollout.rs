//! A rollout under load: the gate of `deploy/envoy-xds` is replaced again and again, by the commands of
//! docs/deploy.md, while clients ask. No request slips through, and none that satisfies both gates is refused.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use anyhow::{Result, ensure};
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::gateway::{deployed, envoy, get, stat};
use header_gate_e2e::{module, policy, root, stdout, until};
use header_gate_envoy::client::{Closed, Connection, Response};
use header_gate_envoy::config::{Listener, is_upstream};
use header_gate_envoy::denial::difference;
use header_gate_envoy::{Envoy, NEWEST, Options, install};
use header_gate_policy::Policy;
use tempfile::TempDir;

const SWAPS: usize = 20;
const WORKERS: u32 = 2;
/// Requests that each client sends on a connection: new ones are opened all the time, and some are kept until
/// Envoy drains them, a second after a swap.
const CLIENTS: [usize; 4] = [8, 64, usize::MAX, usize::MAX];
/// Requests that are answered between a swap and the next.
const BETWEEN: u64 = 1500;
/// Who may answer a request without a header, with the one of gate 0, of gate 1, with both: gate 0, gate 1, or
/// the upstream.
const ALLOWED: [[bool; 3]; 4] =
    [[true, true, false], [false, true, true], [true, false, true], [false, false, true]];
const UPSTREAM: usize = 2;

/// The clients, and what they saw. The two gates have other headers, other values and other answers.
struct Load {
    gates: [Policy; 2],
    /// Answers, by request and by who answered, as in [`ALLOWED`].
    seen: [[AtomicU64; 3]; 4],
    /// Connections that Envoy closed.
    closed: AtomicU64,
    done: AtomicBool,
}

impl Load {
    fn new(gates: [Policy; 2]) -> Self {
        Self { gates, seen: Default::default(), closed: 0.into(), done: false.into() }
    }

    fn who(&self, response: &Response) -> Result<usize> {
        let gate = self.gates.iter().position(|policy| difference(policy, response).is_none());
        ensure!(gate.is_some() || is_upstream(response), "neither gate answers {response:?}");
        Ok(gate.unwrap_or(UPSTREAM))
    }

    /// The headers of a request, by its place in [`ALLOWED`]: bit N is the header of gate N.
    fn headers(&self, request: usize) -> Vec<(&[u8], &[u8])> {
        let gates = self.gates.iter().enumerate().filter(|(gate, _)| request >> gate & 1 == 1);
        gates.map(|(_, policy)| (policy.header.as_bytes(), policy.values[0].as_bytes())).collect()
    }

    fn answers(&self) -> u64 {
        self.seen.iter().flatten().map(|count| count.load(Relaxed)).sum()
    }

    /// Asks until done, `kept` requests on a connection; an error is an answer that no gate may give.
    fn client(&self, port: u16, kept: usize) -> Result<()> {
        let done = || self.done.load(Relaxed);
        while !done() {
            let mut connection = Connection::open(port)?;
            for request in (0..ALLOWED.len()).cycle().take(kept).take_while(|_| !done()) {
                match connection.send("GET", "/", &self.headers(request), b"") {
                    // A listener that drains closes its connections. Nothing was decided.
                    Err(error) if error.is::<Closed>() => {
                        self.closed.fetch_add(1, Relaxed);
                        break;
                    }
                    response => {
                        let who = self.who(&response?)?;
                        ensure!(ALLOWED[request][who], "{who} answers request {request}");
                        self.seen[request][who].fetch_add(1, Relaxed);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The dynamic Envoy of `deploy/`, in a folder of its own, and the clients.
struct Gateway {
    folder: TempDir,
    envoy: Envoy,
    port: u16,
    load: Arc<Load>,
}

impl Gateway {
    /// Envoy in front of `upstream`, with the first of `plugins`.
    fn start(upstream: u16, plugins: &[Variant; 2]) -> Self {
        let folder = TempDir::new().unwrap();
        let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        for (gate, plugin) in plugins.iter().enumerate() {
            put(&format!("plugin-{gate}.wasm"), &module(plugin));
        }
        put("plugin-half.wasm", &module(&plugins[0])[..100]);
        let upstream = upstream.to_string();
        put("cds.yaml", deployed("envoy-xds/cds.yaml", &[("8000", &upstream)]).as_bytes());
        let edits = [("10000", "0"), ("filename: plugin.wasm", "filename: plugin-0.wasm")];
        put("lds.yaml", deployed("envoy-xds/lds.yaml", &edits).as_bytes());
        let mut command = Command::new(install(root(), NEWEST, None).unwrap());
        command.arg("--reject-unknown-dynamic-fields").current_dir(folder.path());
        let options = Options { concurrency: WORKERS, ..Options::default() };
        let bootstrap = deployed("envoy-xds/envoy.yaml", &[("9901", "0")]);
        let envoy = Envoy::start(command, &bootstrap, &options).unwrap();
        let port = envoy.port("gate").unwrap();
        let load = Load::new(plugins.each_ref().map(policy)).into();
        Self { folder, envoy, port, load }
    }

    fn stat(&self, name: &str) -> u64 {
        stat(&self.envoy, &format!("listener_manager.{name}"))
    }

    /// Runs the commands of docs/deploy.md after the text `before`, for the plugin `name`.
    fn run(&self, before: &str, name: &str) {
        let guide = fs::read_to_string(root().join("docs/deploy.md")).unwrap();
        let commands = guide.split_once(before).unwrap().1.split("```").next().unwrap();
        let commands = commands.replace("$ ", "").replace("plugin-2", &format!("plugin-{name}"));
        let mut shell = Command::new("sh");
        stdout(shell.args(["-ec", &commands]).current_dir(self.folder.path()).output().unwrap());
    }

    fn replace(&self, plugin: &str) {
        self.run("$ cp NEW_PLUGIN plugin-2.wasm\n", plugin);
    }

    /// New connections meet this gate.
    #[track_caller]
    fn assert_serves(&self, gate: usize) {
        for request in [0, 2 - gate] {
            let response = get(self.port, &self.load.headers(request));
            assert_eq!(self.load.who(&response).unwrap(), gate);
        }
    }

    /// Runs `change`, and waits until the counter is that much higher and the clients have had enough answers.
    fn wait(&self, counter: &str, more: u32, change: impl Fn()) {
        let (count, answers) = (self.stat(counter) + u64::from(more), self.load.answers());
        change();
        let answered = || self.load.answers() >= answers + BETWEEN;
        until(counter, || self.stat(counter) == count && answered());
    }

    /// Offers half a module, one that is not there, and a misspelt field: the old gate stays.
    fn offer_what_does_not_load(&self, old: usize) {
        let misspelt = || {
            let [file, new] = ["lds.yaml", "lds.new"].map(|name| self.folder.path().join(name));
            let listener = fs::read_to_string(&file).unwrap();
            fs::write(&new, listener.replace("failure_policy", "fail_policy")).unwrap();
            fs::rename(new, file).unwrap();
        };
        let offers: [&dyn Fn(); 3] =
            [&|| self.replace("half"), &|| self.replace("none"), &misspelt];
        for offer in offers {
            self.wait("lds.update_rejected", 1, offer);
            self.assert_serves(old);
            self.run("restore the copy, again by a rename:\n\n  ```console\n", "");
        }
    }
}

#[test]
fn a_gate_is_replaced_under_load_and_no_request_is_decided_wrongly() {
    let other = Variant::default().with_policy(root().join("policies/api-key.toml"));
    let upstream = envoy(&[Listener::new("upstream")]);
    let upstream = upstream.port("upstream").map(|port| (upstream, port)).unwrap();
    let gateway = Gateway::start(upstream.1, &[Variant::default(), other]);
    let (port, load) = (gateway.port, &gateway.load);

    // A client notices an open gate, and a gate that denies what it should not.
    let error = Load::new(load.gates.clone()).client(upstream.1, 1).unwrap_err();
    assert_eq!(error.to_string(), "2 answers request 0");
    let mut wrong = load.gates.clone();
    wrong[0].values[0].push('x');
    let error = Load::new(wrong).client(port, 2).unwrap_err();
    assert_eq!(error.to_string(), "0 answers request 1");

    let clients = CLIENTS.map(|kept| {
        let load = load.clone();
        thread::spawn(move || load.client(port, kept).unwrap())
    });
    for swap in 1..=SWAPS {
        let gate = swap % 2;
        // Each worker counts when it has taken the new gate.
        let change = || gateway.replace(&gate.to_string());
        gateway.wait("listener_create_success", WORKERS, change);
        gateway.assert_serves(gate);
        if swap == SWAPS / 2 {
            gateway.offer_what_does_not_load(gate);
        }
    }
    load.done.store(true, Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    let seen = load.seen.each_ref().map(|row| row.each_ref().map(|count| count.load(Relaxed) > 0));
    assert_eq!(seen, ALLOWED);
    // Replaced gates had connections, and the listening socket stayed where it was.
    assert!(load.closed.load(Relaxed) > 0);
    assert_eq!(gateway.stat("listener_in_place_updated"), SWAPS as u64);
    until("a replaced gate stays", || gateway.stat("total_filter_chains_draining") == 0);
    gateway.envoy.stop().unwrap();
}
