//! An Envoy with too little address space for the virtual machine of every worker serves all the same, and
//! `FAIL_CLOSED` does not help: what finds it and what stops it, with the files of `deploy/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use header_gate_cli::build::variant::Variant;
use header_gate_e2e::gateway::Answer::{Gate, Rbac, Upstream};
use header_gate_e2e::gateway::{
    Answer, BAD, Fields, GOOD, ask, deployed, envoy, failure, on_each_worker, probe, start_in, stat,
};
use header_gate_e2e::{module, root, until, virtual_machines};
use header_gate_envoy::config::Listener;
use header_gate_envoy::{Envoy, NEWEST, OLDEST, Options, install, process_memory};
use tempfile::TempDir;

const WORKERS: u32 = 8;
/// The number of virtual machines where none is missing.
const HEALTHY: u64 = header_gate_envoy::virtual_machines(WORKERS as u64);
/// The listener of `deploy/envoy.yaml`, on a free port, in Envoy's statistics.
const LISTENER: &str = "127.0.0.1_0";

/// `deploy/envoy.yaml` on free ports, with or without the fallback filter behind the gate.
fn gateway(upstream: u16, fallback: bool) -> String {
    let ports = [("9901", "0"), ("10000", "0"), ("8000", &*upstream.to_string())];
    let file = deployed("envoy.yaml", &ports);
    if !fallback {
        return file;
    }
    let router = "- name: envoy.filters.http.router\n";
    let indent = file.lines().find_map(|line| line.strip_suffix(router.trim_end())).unwrap();
    let filter = deployed("envoy-fallback.yaml", &[]);
    let filter: String = filter.lines().map(|line| format!("{line}\n{indent}")).collect();
    file.replace(router, &(filter + router))
}

/// Envoy with its plugin in `folder`, in an address space of that many KiB.
fn start(config: &str, folder: &Path, limit: &str, concurrency: u32) -> Envoy {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -v $0 && exec \"$@\"", limit]);
    shell.arg(install(root(), NEWEST, None).unwrap()).current_dir(folder);
    Envoy::start(shell, config, &Options { concurrency, ..Options::default() }).unwrap()
}

/// A folder with plugin.wasm.
fn folder(plugin: &[u8]) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("plugin.wasm"), plugin).unwrap();
    folder
}

/// That gateway, serving with fewer virtual machines than it needs, and how many it has.
fn starved(config: &str, plugin: &[u8]) -> (Envoy, u64) {
    let folder = folder(plugin);
    let size = |workers| {
        let envoy = start(config, folder.path(), "unlimited", workers);
        process_memory(envoy.pid(), "status", "VmPeak:").unwrap()
    };
    // V8 reserves one large block for each machine. With one and a half of them less than needed, a block is refused
    // and all small ones are granted.
    let (one, all) = (size(1), size(WORKERS));
    let limit = all - 1.5 * (all - one) / f64::from(WORKERS - 1);
    let envoy = start(config, folder.path(), &format!("{limit:.0}"), WORKERS);
    // Every worker has a virtual machine or has logged that it has none.
    let missing = || envoy.log().matches("Wasm VM failed").count() as u64;
    until("a worker does not start", || virtual_machines(&envoy) + missing() >= HEALTHY);
    let active = virtual_machines(&envoy);
    assert!(active < HEALTHY, "no worker is without its virtual machine: {}", envoy.log());
    (envoy, active)
}

/// Who answers requests with `headers` on each worker, and how many of them.
fn answers(envoy: &Envoy, headers: Fields) -> BTreeMap<Answer, usize> {
    let port = envoy.port("gate").unwrap();
    let mut counts = BTreeMap::new();
    for answer in on_each_worker(envoy, LISTENER, || ask(port, headers)) {
        *counts.entry(answer).or_default() += 1;
    }
    counts
}

/// The row of requests without the header in the table of a probe, which fails.
fn probed(envoy: &Envoy) -> String {
    let url = format!("http://127.0.0.1:{}/", envoy.port("gate").unwrap());
    let table = on_each_worker(envoy, LISTENER, || failure(probe(&[&url])).1).join("");
    let mut rows = table.lines().filter(|line| line.starts_with("no header "));
    rows.find(|row| row.ends_with(" FAILED")).map(str::to_owned).expect(&table)
}

#[test]
fn the_gauge_and_the_probe_find_a_worker_without_its_virtual_machine() {
    let upstream = envoy(&[Listener::new("upstream")]);
    let plugin = module(&Variant::default());
    let (gateway, active) = starved(&gateway(upstream.port("upstream").unwrap(), false), &plugin);
    // The fault itself: what no worker with a gate lets pass.
    let answers = answers(&gateway, &[]);
    println!("{active} of {HEALTHY}: without the header, {answers:?}");
    assert!(answers.keys().eq(&[Upstream, Gate]), "{answers:?}");
    let row = probed(&gateway);
    assert!(row.contains(" x 200, "), "{row}");
}

/// What docs/deploy.md alerts on.
#[test]
fn the_counters_find_a_worker_without_its_virtual_machine() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("counting.toml");
    let policy = fs::read_to_string(root().join("policy.toml")).unwrap();
    fs::write(&file, policy.replace("[deny]", "count = true\n[deny]")).unwrap();
    let plugin = module(&Variant::default().with_policy(&file));
    let upstream = envoy(&[Listener::new("upstream")]);
    let config = gateway(upstream.port("upstream").unwrap(), false);
    // What the gate has counted, and what the listener has.
    let counted = |envoy: &Envoy| {
        let stats = envoy.admin("/stats?filter=^wasmcustom.header_gate").unwrap();
        let counts = stats.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        (counts.sum::<u64>(), stat(envoy, "http.gate.downstream_rq_completed"))
    };
    let (starved, _) = starved(&config, &plugin);
    let healthy = start(&config, self::folder(&plugin).path(), "unlimited", WORKERS);
    for envoy in [&healthy, &starved] {
        for headers in [GOOD, &[]] {
            answers(envoy, headers);
        }
    }
    let (own, all) = counted(&healthy);
    assert!(own == all && all > 0, "{own} of {all}");
    let (own, all) = counted(&starved);
    assert!(own < all && own > 0, "{own} of {all}");
}

#[test]
fn the_fallback_filter_denies_what_a_missing_virtual_machine_lets_pass() {
    let upstream = envoy(&[Listener::new("upstream")]);
    let plugin = module(&Variant::default());
    let (gateway, active) = starved(&gateway(upstream.port("upstream").unwrap(), true), &plugin);
    for headers in BAD {
        // Not one passes, and both are needed for that.
        let answers = answers(&gateway, headers);
        println!("{active} of {HEALTHY}: {answers:?}");
        assert!(answers.keys().eq(&[Gate, Rbac]), "{answers:?}");
    }
    assert!(answers(&gateway, GOOD).keys().eq(&[Upstream]));
    // The probe still fails.
    let row = probed(&gateway);
    assert!(row.contains(r#" x 403, not the gate's denial "RBAC: access denied", "#), "{row}");
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
        let start =
            |fallback| start_in(folder.path(), version, &gateway(port, fallback), 2).unwrap();
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
            assert!(answers.keys().eq(&[expected]), "{version}, {headers:?}: {answers:?}");
        }
    }
}
