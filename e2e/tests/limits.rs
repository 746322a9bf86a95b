//! An Envoy with too little address space for the virtual machine of every worker serves all the same,
//! and `FAIL_CLOSED` does not help: what finds it and what stops it, with the files of `deploy/`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::{module, policy, root, until, virtual_machines};
use header_gate_envoy::config::{Listener, config, is_upstream};
use header_gate_envoy::denial::difference;
use header_gate_envoy::http1::{Connection, Response};
use header_gate_envoy::{Envoy, NEWEST, OLDEST, Options, install};
use tempfile::TempDir;

const WORKERS: usize = 8;
/// What the net of `deploy/` answers.
const NET: (u16, &[u8]) = (403, b"RBAC: access denied");
/// What the gauge of virtual machines shows where none is missing.
const HEALTHY: usize = WORKERS + 2;
/// New connections for each kind of request. That none of them reaches a given worker has a chance below
/// one in ten million.
const CONNECTIONS: usize = 128;
/// Where limits are searched, in MiB: no Envoy starts with the first, every one is healthy with the
/// other.
const LIMITS: (u64, u64) = (1 << 10, 1 << 18);

const ROUTER: &str = "- name: envoy.filters.http.router\n";

/// `deploy/envoy.yaml` with `net`, a list of filters, behind the gate.
fn gateway(upstream: u16, net: &str) -> String {
    let file = fs::read_to_string(root().join("deploy/envoy.yaml")).unwrap();
    let indent = file.lines().find_map(|line| line.strip_suffix(ROUTER.trim_end())).unwrap();
    let net = net.lines().map(|line| format!("{line}\n{indent}")).collect::<String>();
    let mut file = file.replace(ROUTER, &(net + ROUTER));
    for (port, own) in [("9901", 0), ("10000", 0), ("8000", upstream)] {
        file = file.replace(&format!("port_value: {port}"), &format!("port_value: {own}"));
    }
    file
}

/// A folder with plugin.wasm.
fn plugin() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("plugin.wasm"), module(&Variant::default())).unwrap();
    folder
}

/// That gateway, serving with fewer virtual machines than it needs; and how many it has.
fn starved(config: &str) -> (Envoy, usize) {
    let folder = plugin();
    let (mut dies, mut healthy) = LIMITS;
    let mut tries = Vec::new();
    while healthy - dies > 256 {
        let limit = dies.midpoint(healthy);
        match start(config, folder.path(), limit) {
            Err(error) => {
                tries.push(format!("{limit} MiB: {error:#}"));
                dies = limit;
            }
            Ok(envoy) => match settled(&envoy) {
                HEALTHY => {
                    tries.push(format!("{limit} MiB: healthy"));
                    healthy = limit;
                }
                active => return (envoy, active),
            },
        }
    }
    panic!("no limit of address space leaves a worker without its virtual machine: {tries:#?}")
}

/// How many virtual machines there are, once every worker has one or has said that it has none.
fn settled(envoy: &Envoy) -> usize {
    let missing = || envoy.log().matches("Wasm VM failed").count();
    until("a worker without a word", || virtual_machines(envoy) + missing() >= HEALTHY);
    virtual_machines(envoy)
}

/// Envoy with its plugin in `folder`, in that many MiB of address space.
fn start(config: &str, folder: &Path, limit: u64) -> Result<Envoy> {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -v $0 && exec \"$@\"", &(limit * 1024).to_string()]);
    shell.arg(install(root(), NEWEST)?).current_dir(folder);
    let options = Options { concurrency: WORKERS.try_into()?, ..Options::default() };
    Envoy::start(shell, config, &options)
}

fn upstream() -> Envoy {
    let config = config(&[Listener::new("upstream")]).to_string();
    let binary = install(root(), NEWEST).unwrap();
    Envoy::start(Command::new(binary), &config, &Options::default()).unwrap()
}

/// The answers to that many requests with `headers`, each on a new connection.
fn ask(envoy: &Envoy, headers: &[(&[u8], &[u8])]) -> Vec<Response> {
    let port = envoy.port("gate").unwrap();
    let ask = |_| Connection::open(port).unwrap().send("GET", "/", headers, b"").unwrap();
    (0..CONNECTIONS).map(ask).collect()
}

fn passed(answers: &[Response]) -> usize {
    answers.iter().filter(|answer| is_upstream(answer)).count()
}

/// The probe's table and error about a gateway that it does not believe.
fn probe(envoy: &Envoy) -> String {
    let url = format!("http://127.0.0.1:{}/", envoy.port("gate").unwrap());
    let mut probe = Command::new(root().join("deploy/probe.sh"));
    let output = probe.args([&url, "--connections", &CONNECTIONS.to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn a_worker_without_its_virtual_machine_is_found() {
    let upstream = upstream();
    let (gateway, active) = starved(&gateway(upstream.port("upstream").unwrap(), ""));
    // The fault itself: what no worker with a gate lets pass.
    let bad = passed(&ask(&gateway, &[]));
    assert!(bad > 0 && bad < CONNECTIONS, "{bad} of {CONNECTIONS} without the header passed");
    println!("{active} of {HEALTHY}: {bad} of {CONNECTIONS} without the header passed");
    // The gauge that docs/deploy.md alerts on.
    assert!(active < HEALTHY);
    // The probe.
    let told = probe(&gateway);
    let row = told.lines().find(|line| line.starts_with("no header ")).unwrap();
    assert!(row.contains(" x 200, ") && row.ends_with(" FAILED"), "{told}");
    assert!(told.contains("5 of 7 checks failed"), "{told}");
}

fn net() -> String {
    fs::read_to_string(root().join("deploy/envoy-net.yaml")).unwrap()
}

#[test]
fn a_net_behind_the_gate_stops_what_a_missing_virtual_machine_lets_pass() {
    let upstream = upstream();
    let (gateway, active) = starved(&gateway(upstream.port("upstream").unwrap(), &net()));
    assert!(active < HEALTHY);
    let policy = policy(&Variant::default());
    let header = policy.header.as_bytes();
    let value = policy.values[0].as_bytes();
    let bad: [&[(&[u8], &[u8])]; 4] =
        [&[], &[(header, b"")], &[(header, &value.to_ascii_uppercase())], &[(header, b"\xff")]];
    for headers in bad {
        let answers = ask(&gateway, headers);
        let by_gate = answers.iter().filter(|a| difference(&policy, a).is_none()).count();
        let by_net = answers.iter().filter(|a| (a.status, &*a.body) == NET).count();
        println!("{active} of {HEALTHY}: {by_gate} denied by the gate, {by_net} by the net");
        // Not one passes, and both are needed to say so.
        assert_eq!(by_gate + by_net, CONNECTIONS, "{headers:?}: {answers:#?}");
        assert!(by_gate > 0 && by_net > 0, "{by_gate}, {by_net}");
    }
    assert_eq!(passed(&ask(&gateway, &[(header, value)])), CONNECTIONS);
    // The probe still tells that something is wrong.
    let told = probe(&gateway);
    assert!(told.contains(" x 403 with another body, "), "{told}");
}

#[test]
fn a_net_denies_what_an_open_gate_lets_pass() {
    let (upstream, folder) = (upstream(), plugin());
    let port = upstream.port("upstream").unwrap();
    // One letter off, and there is nothing that a gateway calls.
    let file = folder.path().join("plugin.wasm");
    let mut open = fs::read(&file).unwrap();
    let callback = b"proxy_on_request_headers";
    let at = open.windows(callback.len()).position(|bytes| bytes == callback).unwrap();
    open[at] ^= 1;
    fs::write(&file, open).unwrap();
    let policy = policy(&Variant::default());
    let [right, wrong] = [policy.values[0].as_bytes(), b"wrong"];
    let [right, wrong] = [right, wrong].map(|value| (policy.header.as_bytes(), value));
    for (version, joins) in [(OLDEST, true), (NEWEST, false)] {
        let start = |net: &str| {
            let mut envoy = Command::new(install(root(), version).unwrap());
            envoy.current_dir(folder.path());
            Envoy::start(envoy, &gateway(port, net), &Options::default()).unwrap()
        };
        assert_eq!(passed(&ask(&start(""), &[])), CONNECTIONS, "{version}");
        let gateway = start(&net());
        for headers in [&[][..], &[wrong]] {
            let answers = ask(&gateway, headers);
            assert!(answers.iter().all(|a| (a.status, &*a.body) == NET), "{version}: {headers:?}");
        }
        assert_eq!(passed(&ask(&gateway, &[right])), CONNECTIONS, "{version}");
        // Of a repeated header older versions join all values, newer ones look for one that is right.
        for headers in [[right, wrong], [wrong, right]] {
            let expected = if joins { 0 } else { CONNECTIONS };
            assert_eq!(passed(&ask(&gateway, &headers)), expected, "{version}: {headers:?}");
        }
    }
}
