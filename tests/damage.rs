//! The module with every one of its bits flipped in turn, and cut short at every length. Nothing in
//! WebAssembly guards against that: a flipped bit can make another gate, or none. A digest does.

#[path = "support/damage.rs"]
mod damage;
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::thread;

use anyhow::Result;
use damage::{Examiner, Fate, Finding, flips};
use header_gate_host::Headers;
use header_gate_tools::build::Builder;
use header_gate_tools::envoy::config::{Listener, config, is_upstream};
use header_gate_tools::envoy::{Envoy, NEWEST, Options, install};
use header_gate_tools::http1::{Connection, Response};
use header_gate_tools::ledger::{FILE, Ledger};
use header_gate_tools::probe::difference;
use header_gate_tools::variant::Variant;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::{module, policy, root, until};
use tempfile::TempDir;

/// What becomes of the module with each bit flipped.
static FLIPPED: LazyLock<Vec<(Vec<u8>, Finding)>> = LazyLock::new(|| {
    let examiner = Examiner::new();
    let all: Vec<_> = flips(&module(&Variant::default())).collect();
    let part = all.len().div_ceil(thread::available_parallelism().map_or(1, usize::from));
    let examine = |part: &[Vec<u8>]| -> Vec<Finding> {
        part.iter().map(|wasm| examiner.examine(wasm)).collect()
    };
    let findings: Vec<Finding> = thread::scope(|scope| {
        let threads: Vec<_> =
            all.chunks(part).map(|part| scope.spawn(move || examine(part))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    all.into_iter().zip(findings).collect()
});

/// Modules of each kind that a real Envoy is given.
const SAMPLE: usize = 8;

fn count(wanted: impl Fn(&Finding) -> bool) -> usize {
    FLIPPED.iter().filter(|(_, finding)| wanted(finding)).count()
}

fn opens(Finding { fate, .. }: &Finding) -> bool {
    matches!(fate, Fate::Absent | Fate::Opens(_))
}

#[test]
fn a_module_cut_short_lets_nothing_pass_at_any_length() {
    let (examiner, wasm) = (Examiner::new(), module(&Variant::default()));
    assert_eq!(examiner.examine(&wasm).fate, Fate::Unchanged);
    for length in 0..wasm.len() {
        // Without its last section it is a module, which asks for a header of zeros.
        let fate = examiner.examine(&wasm[..length]).fate;
        assert!(matches!(fate, Fate::Refused | Fate::Denies(_)), "{length} bytes: {fate:?}");
    }
}

#[test]
fn what_each_flipped_bit_does_is_told_in_the_documentation() {
    let of = |wanted: fn(&Fate) -> bool| count(|finding| wanted(&finding.fate));
    let rows = [
        ("all bits", FLIPPED.len()),
        ("Envoy does not load the module", of(|fate| *fate == Fate::Refused)),
        ("it denies what should pass", of(|fate| matches!(fate, Fate::Denies(_)))),
        ("it denies with another answer", of(|fate| matches!(fate, Fate::Misspeaks(_)))),
        ("no difference is seen", of(|fate| *fate == Fate::Unchanged)),
        ("Envoy crashes", of(|fate| *fate == Fate::Crashes)),
        ("of a part of WebAssembly that is not examined here", of(|f| *f == Fate::Foreign)),
        ("its callback has another name: **every request passes**", of(|f| *f == Fate::Absent)),
        ("**a request passes that should not**", of(|fate| matches!(fate, Fate::Opens(_)))),
        ("of the last two, what the probe asks does not tell", count(|f| opens(f) && !f.probed)),
    ];
    let table: String = rows.iter().map(|(what, n)| format!("| {what} | {n} |\n")).collect();
    println!("{table}");
    let hangs = of(|fate| matches!(fate, Fate::Hangs(_)));
    assert_eq!(hangs, 0, "modules that do not come to an end have no row");
    assert_eq!(rows[1..9].iter().map(|(_, n)| n).sum::<usize>(), FLIPPED.len());
    // Another compiler makes other bytes.
    let toolchain = Builder::new(root()).unwrap().toolchain().unwrap();
    let ledger = Ledger::read(&root().join(FILE)).unwrap();
    if ledger.toolchain() == Some(&toolchain) {
        let faults = fs::read_to_string(root().join("docs/faults.md")).unwrap();
        assert!(faults.contains(&table), "docs/faults.md is to have\n{table}");
    }
}

/// Envoy with a listener for each module, named by its place; those that it does not take are missing.
fn serve(modules: &[Vec<u8>]) -> Envoy {
    let folder = TempDir::new().unwrap();
    let listener = |(i, wasm): (usize, &Vec<u8>)| {
        let file = folder.path().join(format!("{i}.wasm"));
        fs::write(&file, wasm).unwrap();
        Listener::new(&i.to_string()).wasm(&file)
    };
    let listeners: Vec<_> = modules.iter().enumerate().map(listener).collect();
    let mut config = config(&listeners);
    let mut listeners = config["static_resources"]["listeners"].take();
    for listener in listeners.as_array_mut().unwrap() {
        listener["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
        // A request that is neither answered nor let through ends at last.
        listener["filter_chains"][0]["filters"][0]["typed_config"]["stream_idle_timeout"] =
            "1s".into();
    }
    let lds = folder.path().join("lds.yaml");
    fs::write(&lds, json!({ "resources": listeners }).to_string()).unwrap();
    config["static_resources"]["listeners"] = json!([]);
    config["dynamic_resources"] =
        json!({ "lds_config": { "path_config_source": { "path": lds } } });
    config["node"] = json!({ "id": "damage", "cluster": "damage" });
    start(&config, 1)
}

fn start(config: &Value, concurrency: u32) -> Envoy {
    let options = Options { concurrency, ..Options::default() };
    let envoy = Command::new(install(root(), NEWEST).unwrap());
    Envoy::start(envoy, &config.to_string(), &options).unwrap()
}

fn ask(port: u16, headers: &Headers) -> Result<Response> {
    let headers: Vec<(&[u8], &[u8])> = headers.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    Connection::open(port)?.send("GET", "/", &headers, b"")
}

fn passes(port: u16, headers: &Headers) -> bool {
    // A denial may be damaged beyond HTTP.
    ask(port, headers).is_ok_and(|answer| is_upstream(&answer))
}

#[test]
fn envoy_agrees_on_damaged_modules() {
    let (policy, wasm) = (policy(&Variant::default()), module(&Variant::default()));
    let examiner = Examiner::new();
    let cut = |length: usize| (wasm[..length].to_vec(), examiner.examine(&wasm[..length]));
    let mut sample: Vec<_> = [0, 8, wasm.len() / 2, wasm.len() - 1].map(cut).into();
    // What is refused costs nothing: all of it.
    let refused = |fate: &Fate| matches!(fate, Fate::Refused | Fate::Foreign);
    sample.extend(FLIPPED.iter().filter(|(_, finding)| refused(&finding.fate)).cloned());
    let kinds: [fn(&Fate) -> bool; 5] = [
        |fate| *fate == Fate::Absent,
        |fate| matches!(fate, Fate::Opens(_)),
        |fate| matches!(fate, Fate::Denies(_)),
        |fate| matches!(fate, Fate::Misspeaks(_)),
        |fate| *fate == Fate::Unchanged,
    ];
    for kind in kinds {
        let all: Vec<_> = FLIPPED.iter().filter(|(_, finding)| kind(&finding.fate)).collect();
        sample.extend(all.iter().step_by(all.len().div_ceil(SAMPLE)).copied().cloned());
    }
    let modules: Vec<_> = sample.iter().map(|(wasm, _)| wasm.clone()).collect();
    let envoy = serve(&modules);
    let good: Headers = vec![(policy.header.clone().into(), policy.values[0].clone().into())];
    for (i, (_, Finding { fate, .. })) in sample.iter().enumerate() {
        let about = format!("module {i}, {fate:?}");
        let port = envoy.port(&i.to_string());
        if *fate == Fate::Refused {
            assert!(port.is_err(), "{about}: Envoy takes it");
            continue;
        }
        if port.is_err() && *fate == Fate::Foreign {
            continue;
        }
        let port = port.unwrap_or_else(|error| panic!("{about}: {error:#}: {}", envoy.log()));
        match fate {
            Fate::Absent => assert!(passes(port, &vec![]), "{about}"),
            Fate::Opens(headers) => assert!(passes(port, headers), "{about}"),
            Fate::Denies(headers) => assert!(!passes(port, headers), "{about}"),
            Fate::Misspeaks(headers) => {
                assert!(passes(port, &good), "{about}");
                assert!(!passes(port, headers), "{about}");
            }
            Fate::Unchanged => {
                assert!(passes(port, &good), "{about}");
                assert_eq!(difference(&policy, &ask(port, &vec![]).unwrap()), None, "{about}");
            }
            // What another host makes of it is not known beforehand.
            Fate::Foreign => assert!(!passes(port, &vec![]), "{about}"),
            Fate::Refused | Fate::Crashes | Fate::Hangs(_) => unreachable!("{about}"),
        }
    }
    envoy.check().unwrap();
}

#[test]
fn what_crashes_envoy_lets_nothing_pass() {
    for (wasm, _) in FLIPPED.iter().filter(|(_, finding)| finding.fate == Fate::Crashes) {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("plugin.wasm");
        fs::write(&file, wasm).unwrap();
        let config = config(&[Listener::new("gate").wasm(&file)]).to_string();
        let envoy = Command::new(install(root(), NEWEST).unwrap());
        // Some while they are loaded, some at the first request.
        if let Ok(envoy) = Envoy::start(envoy, &config, &Options::default()) {
            assert!(ask(envoy.port("gate").unwrap(), &vec![]).is_err());
            until("it lives on", || envoy.check().is_err());
        }
    }
}

/// The statuses without and with the header, of an Envoy that fetches its plugin from `server`.
fn fetched(server: u16, digest: &str) -> ([u16; 2], Envoy) {
    let listener = Listener::new("gate").upstream(server).wasm(Path::new("remote"));
    let mut config = config(&[listener]);
    let http = &mut config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
    let filters = &mut http["typed_config"]["http_filters"];
    filters[0]["typed_config"]["config"]["vm_config"]["code"] = json!({ "remote": {
        "http_uri": { "uri": "gate/plugin.wasm", "cluster": "gate", "timeout": "5s" },
        "sha256": digest,
        "retry_policy": { "num_retries": 0 },
    } });
    let envoy = start(&config, 2);
    let (port, policy) = (envoy.port("gate").unwrap(), policy(&Variant::default()));
    let good = vec![(policy.header.into(), policy.values[0].clone().into())];
    ([vec![], good].map(|headers| ask(port, &headers).unwrap().status), envoy)
}

#[test]
fn a_digest_keeps_a_damaged_module_out() {
    let wasm = module(&Variant::default());
    let (open, _) = FLIPPED.iter().find(|(_, finding)| finding.fate == Fate::Absent).unwrap();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("plugin.wasm");
    fs::write(&file, &wasm).unwrap();
    // A server of that file, which Envoy reads when it starts.
    let serve = || {
        let mut config = config(&[Listener::new("server")]);
        let http =
            &mut config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0];
        let route = &mut http["typed_config"]["route_config"]["virtual_hosts"][0]["routes"][0];
        route["direct_response"]["body"] = json!({ "filename": file });
        start(&config, 1)
    };
    let digest = |wasm: &[u8]| format!("{:x}", Sha256::digest(wasm));
    let server = serve();
    let port = |server: &Envoy| server.port("server").unwrap();
    let denied = policy(&Variant::default()).deny.status;
    assert_eq!(fetched(port(&server), &digest(&wasm)).0, [denied, 200]);
    fs::write(&file, open).unwrap();
    let server = serve();
    // With a digest of its own the damaged module lets every request pass; with the right one, none.
    assert_eq!(fetched(port(&server), &digest(open)).0, [200, 200]);
    let (statuses, envoy) = fetched(port(&server), &digest(&wasm));
    assert_eq!(statuses, [503, 503], "{}", envoy.log());
    let stats = envoy.admin("/stats?filter=wasm.remote_load_fetch_failures").unwrap();
    assert_eq!(stats.trim_end(), "wasm.remote_load_fetch_failures: 1");
}
