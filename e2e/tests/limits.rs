//! An Envoy with too little address space for the virtual machine of every worker serves all the same, and
//! `FAIL_CLOSED` does not help: what finds it and what stops it, with the files of `deploy/`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::gateway::Answer::{Gate, Rbac, Upstream};
use header_gate_e2e::gateway::{Answer, BAD, Fields, GOOD, ask, deployed, envoy, failure, probe};
use header_gate_e2e::{module, root, until, virtual_machines};
use header_gate_envoy::config::Listener;
use header_gate_envoy::{Envoy, NEWEST, OLDEST, Options, install};
use tempfile::TempDir;

const WORKERS: u32 = 8;
/// The number of virtual machines where none is missing.
const HEALTHY: usize = header_gate_envoy::virtual_machines(WORKERS as u64) as usize;
/// New connections for each kind of request. The chance that none of them reaches a given worker is less than
/// one in ten million.
const CONNECTIONS: usize = 128;
/// The limits to search between, in MiB: no Envoy starts with the first, every one is healthy with the second.
const LIMITS: (u64, u64) = (1 << 10, 1 << 18);

/// `deploy/envoy.yaml` on free ports, with or without the fallback filter behind the gate.
fn gateway(upstream: u16, fallback: bool) -> String {
    let ports = [("9901", "0"), ("10000", "0"), ("8000", &*upstream.to_string())];
    let file = deployed("envoy.yaml", &ports);
    if !fallback {
        return file;
    }
    let router = "- name: envoy.filters.http.router\n";
    let indent = file.lines().find_map(|line| line.strip_suffix(router.trim_end())).unwrap();
    let filter = deployed("envoy-net.yaml", &[]);
    let filter: String = filter.lines().map(|line| format!("{line}\n{indent}")).collect();
    file.replace(router, &(filter + router))
}

/// Envoy with its plugin in `folder`, in that many MiB of address space.
fn start(config: &str, folder: &Path, limit: u64) -> Result<Envoy> {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -v $0 && exec \"$@\"", &(limit * 1024).to_string()]);
    shell.arg(install(root(), NEWEST)?).current_dir(folder);
    Envoy::start(shell, config, &Options { concurrency: WORKERS, ..Options::default() })
}

/// A folder with plugin.wasm.
fn folder(plugin: &[u8]) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("plugin.wasm"), plugin).unwrap();
    folder
}

/// That gateway, serving with fewer virtual machines than it needs, and how many it has.
fn starved(config: &str) -> (Envoy, usize) {
    let folder = folder(&module(&Variant::default()));
    let (mut dies, mut healthy) = LIMITS;
    let mut tries = Vec::new();
    while healthy - dies > 256 {
        let limit = dies.midpoint(healthy);
        match start(config, folder.path(), limit) {
            Err(error) => {
                tries.push(format!("{limit} MiB: {error:#}"));
                dies = limit;
            }
            Ok(envoy) => {
                // Every worker has a virtual machine or has logged that it has none.
                let missing = || envoy.log().matches("Wasm VM failed").count();
                let settled = || virtual_machines(&envoy) + missing() >= HEALTHY;
                until("a worker does not start", settled);
                let active = virtual_machines(&envoy);
                if active < HEALTHY {
                    return (envoy, active);
                }
                tries.push(format!("{limit} MiB: healthy"));
                healthy = limit;
            }
        }
    }
    panic!("no limit of address space leaves a worker without its virtual machine: {tries:#?}")
}

/// Who answers requests with `headers`, each on a new connection.
fn answers(envoy: &Envoy, headers: Fields) -> Vec<Answer> {
    let port = envoy.port("gate").unwrap();
    (0..CONNECTIONS).map(|_| ask(port, headers)).collect()
}

/// How many of `answers` are by `answer`.
fn count(answers: &[Answer], answer: Answer) -> usize {
    answers.iter().filter(|found| **found == answer).count()
}

/// The error and the table of the probe of a gateway that is broken.
fn probe_failure(envoy: &Envoy) -> (String, String) {
    let url = format!("http://127.0.0.1:{}/", envoy.port("gate").unwrap());
    failure(probe(&[&url, "--connections", &CONNECTIONS.to_string()]))
}

#[test]
fn the_gauge_and_the_probe_find_a_worker_without_its_virtual_machine() {
    let upstream = envoy(&[Listener::new("upstream")]);
    let (gateway, active) = starved(&gateway(upstream.port("upstream").unwrap(), false));
    // The fault itself: what no worker with a gate lets pass.
    let passed = count(&answers(&gateway, &[]), Upstream);
    println!("{active} of {HEALTHY}: {passed} of {CONNECTIONS} without the header passed");
    assert!(passed > 0 && passed < CONNECTIONS && active < HEALTHY);
    let (error, table) = probe_failure(&gateway);
    let row = table.lines().find(|line| line.starts_with("no header ")).unwrap();
    assert!(row.contains(" x 200, ") && row.ends_with(" FAILED"), "{table}");
    assert!(error.contains("6 of 8 checks failed"), "{error}");
}

#[test]
fn the_fallback_filter_denies_what_a_missing_virtual_machine_lets_pass() {
    let upstream = envoy(&[Listener::new("upstream")]);
    let (gateway, active) = starved(&gateway(upstream.port("upstream").unwrap(), true));
    for headers in BAD {
        let answers = answers(&gateway, headers);
        let [gate, fallback] = [Gate, Rbac].map(|who| count(&answers, who));
        println!("{active} of {HEALTHY}: {gate} denied by the gate, {fallback} by the filter");
        // Not one passes, and both are needed for that.
        assert!(gate > 0 && fallback > 0 && gate + fallback == CONNECTIONS, "{answers:?}");
    }
    assert_eq!(count(&answers(&gateway, GOOD), Upstream), CONNECTIONS);
    // The probe still fails.
    let (_, table) = probe_failure(&gateway);
    assert!(table.contains(r#" x 403, not the gate's denial "RBAC: access denied", "#), "{table}");
}

#[test]
fn the_fallback_filter_denies_what_an_open_gate_lets_pass() {
    // One letter off, and there is nothing that a gateway calls.
    let callback = b"proxy_on_request_headers";
    let mut open = module(&Variant::default());
    let at = open.windows(callback.len()).position(|bytes| bytes == callback).unwrap();
    open[at] ^= 1;
    let (folder, upstream) = (folder(&open), envoy(&[Listener::new("upstream")]));
    let port = upstream.port("upstream").unwrap();
    let [right, wrong]: [(&[u8], &[u8]); 2] = [(b"allow", b"true"), (b"allow", b"wrong")];
    // Of a repeated header older versions join all values, newer ones accept any that is right.
    for (version, repeated) in [(OLDEST, Rbac), (NEWEST, Upstream)] {
        let start = |fallback| {
            let mut envoy = Command::new(install(root(), version).unwrap());
            envoy.current_dir(folder.path());
            Envoy::start(envoy, &gateway(port, fallback), &Options::default()).unwrap()
        };
        let (open, filtered) = (start(false), start(true));
        let cases: [(&Envoy, Fields, Answer); 6] = [
            (&open, &[], Upstream),
            (&filtered, &[], Rbac),
            (&filtered, &[wrong], Rbac),
            (&filtered, &[right], Upstream),
            (&filtered, &[right, wrong], repeated),
            (&filtered, &[wrong, right], repeated),
        ];
        for (envoy, headers, expected) in cases {
            let answers = answers(envoy, headers);
            assert_eq!(
                count(&answers, expected),
                CONNECTIONS,
                "{version}, {headers:?}: {answers:?}"
            );
        }
    }
}
