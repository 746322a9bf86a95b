//! Faults around the gate, in a real Envoy: any number of workers, an upstream that is down, clients that give
//! up, and other plugins that fail beside it.

use std::fs;
use std::path::Path;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::gateway::Answer::{self, Envoy as ByEnvoy, Gate, Upstream};
use header_gate_e2e::gateway::{BAD, GOOD, ask, envoy, gate, on_each_worker, start, stat};
use header_gate_e2e::{policy, root, until, virtual_machines};
use header_gate_envoy::client::Connection;
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::{Envoy, NEWEST, raw};
use serde_json::json;
use tempfile::TempDir;

/// Asks each worker on a new connection, a bad request of each kind after a good one.
#[track_caller]
fn assert_gates(envoy: &Envoy, upstream: Answer) {
    let port = envoy.port("gate").unwrap();
    on_each_worker(envoy, "gate", || {
        let mut connection = Connection::open(port).unwrap();
        let mut ask = |fields| Answer::from(connection.send("GET", "/", fields, b"").unwrap());
        for bad in BAD {
            assert_eq!((ask(GOOD), ask(bad)), (upstream, Gate));
        }
    });
}

#[test]
fn the_gate_works_on_every_worker_however_many_there_are() {
    for workers in [1, 2, 8, 32] {
        let envoy = start(NEWEST, &config(&[gate("gate")]), workers).unwrap();
        assert_gates(&envoy, Upstream);
        assert_eq!(virtual_machines(&envoy), header_gate_envoy::virtual_machines(workers.into()));
    }
}

#[test]
fn an_upstream_that_is_down_is_not_the_gates_answer() {
    // A socket in a folder of ours: nobody else can take its address in the meantime.
    let folder = TempDir::new().unwrap();
    let socket = json!({ "pipe": { "path": folder.path().join("upstream") } });
    let mut upstream = config(&[Listener::new("upstream")]);
    upstream["static_resources"]["listeners"][0]["address"] = socket.clone();
    let mut gateway = config(&[gate("gate").upstream(1)]);
    let cluster = &mut gateway["static_resources"]["clusters"][0]["load_assignment"];
    cluster["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = socket;
    let running = start(NEWEST, &upstream, 1).unwrap();
    let envoy = start(NEWEST, &gateway, 2).unwrap();
    assert_gates(&envoy, Upstream);
    running.stop().unwrap();
    assert_gates(&envoy, ByEnvoy(503));
    let _running = start(NEWEST, &upstream, 1).unwrap();
    assert_gates(&envoy, Upstream);
    assert_eq!(virtual_machines(&envoy), 4);
}

#[test]
fn clients_that_give_up_change_nothing() {
    const RESETS: usize = 100;
    // To an upstream, so that a good request whose body is announced waits for it.
    let upstream = envoy(&[Listener::new("upstream")]);
    let envoy = envoy(&[gate("gate").upstream(upstream.port("upstream").unwrap())]);
    let port = envoy.port("gate").unwrap();
    for _ in 0..RESETS {
        for headers in [GOOD, BAD[0], BAD[2]] {
            // In the middle of the headers, after them, and in the middle of the body.
            let request = raw::request("gate", "POST", "/", headers, &[b'x'; 1000]);
            for missing in [1002, 1000, 990] {
                let mut connection = raw::Connection::open(port).unwrap();
                connection.write(&request[..request.len() - missing]).unwrap();
                connection.reset().unwrap();
            }
            assert_eq!((ask(port, GOOD), ask(port, BAD[0])), (Upstream, Gate));
        }
    }
    // Some may be gone before they are seen; this many are not.
    let resets = || stat(&envoy, "http.gate.downstream_rq_rx_reset");
    let seen = RESETS as u64 * 3;
    until("too few connections are seen to be reset", || resets() >= seen);
    // Streams of one connection that are reset, with whole requests between them.
    let mut connection = Connection::http2(port).unwrap();
    let (before, denied) = (resets(), policy(&Variant::default()).deny.status);
    for headers in [GOOD, BAD[0], GOOD, BAD[2], BAD[3]].into_iter().cycle().take(3 * RESETS) {
        connection.give_up(headers).unwrap();
        let answer = connection.send("GET", "/", headers, b"").unwrap();
        assert_eq!(answer.status, if headers == GOOD { 200 } else { denied });
    }
    until("too few streams are seen to be reset", || resets() >= before + seen);
    assert_gates(&envoy, Upstream);
    assert_eq!(virtual_machines(&envoy), 4);
}

#[test]
fn a_denied_upload_is_answered_before_it_ends_and_then_cut() {
    const SIZE: usize = 1 << 30;
    let envoy = envoy(&[gate("gate")]);
    let mut upload = raw::Connection::open(envoy.port("gate").unwrap()).unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n");
    upload.write(head.as_bytes()).unwrap();
    let answer = upload.receive("POST").unwrap();
    assert!(answer.has("connection", b"close"), "{answer:?}");
    assert_eq!(Answer::from(answer), Gate);
    // Envoy reads no more, and resets the connection.
    let part = [0; 1 << 16];
    assert!((0..SIZE / part.len()).any(|_| upload.write(&part).is_err()));
    assert_gates(&envoy, Upstream);
}

/// A plugin that takes all memory it gets on every request, and then goes on, or traps.
fn hog(end: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) "memory is full")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 0))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
              (loop $more
                (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1))))
              (drop (call $log (i32.const 2) (i32.const 16) (i32.const 14)))
              {end}))"#
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn plugins_that_break_beside_the_gate_do_not_change_what_it_decides() {
    let folder = TempDir::new().unwrap();
    let put = |name: &str, end: &str| {
        let file = folder.path().join(name);
        fs::write(&file, hog(end)).unwrap();
        file
    };
    let (full, traps) = (put("full.wasm", "(i32.const 0)"), put("traps.wasm", "unreachable"));
    let gate = artifact(root(), &Variant::default()).unwrap();
    // A plugin that fails closed answers 503 to what gets as far as it.
    let failed = ByEnvoy(503);
    let chains: [(&str, &[&Path], Answer, Answer); 5] = [
        ("full_then_gate", &[&full, &gate], Upstream, Gate),
        ("gate_then_full", &[&gate, &full], Upstream, Gate),
        ("traps_then_gate", &[&traps, &gate], failed, failed),
        ("gate_then_traps", &[&gate, &traps], failed, Gate),
        ("gate", &[&gate], Upstream, Gate),
    ];
    let listeners = chains.map(|(name, plugins, ..)| {
        plugins.iter().fold(Listener::new(name), |listener, plugin| listener.wasm(plugin))
    });
    let envoy = envoy(&listeners);
    let active = virtual_machines(&envoy);
    for (name, _, good, bad) in chains {
        let port = envoy.port(name).unwrap();
        for (fields, answer) in [(GOOD, good), (BAD[0], bad), (BAD[2], bad), (GOOD, good)] {
            on_each_worker(&envoy, name, || assert_eq!(ask(port, fields), answer, "{name}"));
        }
    }
    assert_eq!(virtual_machines(&envoy), active);
    assert!(envoy.log().contains("memory is full"), "{}", envoy.log());
}
