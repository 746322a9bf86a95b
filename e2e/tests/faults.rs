//! Faults around the gate, in a real Envoy: any number of workers, an upstream that is down, clients that give
//! up, and other plugins that fail beside it.

use std::fs;
use std::path::Path;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::gateway::Answer::{self, Envoy as ByEnvoy, Gate, Upstream};
use header_gate_e2e::gateway::{BAD, Fields, GOOD, ask, envoy, gate, start, stat};
use header_gate_e2e::{policy, root, until, virtual_machines};
use header_gate_envoy::client::Connection;
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::{NEWEST, raw};
use tempfile::TempDir;

/// Asks on `connections` new connections, a bad request of each kind after a good one.
#[track_caller]
fn assert_gates(port: u16, connections: u32, upstream: Answer) {
    for _ in 0..connections {
        let mut connection = Connection::open(port).unwrap();
        let mut ask = |fields| Answer::from(connection.send("GET", "/", fields, b"").unwrap());
        for bad in BAD {
            assert_eq!((ask(GOOD), ask(bad)), (upstream, Gate));
        }
    }
}

#[test]
fn the_gate_works_on_every_worker_however_many_there_are() {
    for workers in [1, 2, 8, 32] {
        let envoy = start(NEWEST, &config(&[gate("gate")]), workers).unwrap();
        let port = envoy.port("gate").unwrap();
        let connections = |worker| {
            stat(&envoy, &format!("listener.127.0.0.1_0.worker_{worker}.downstream_cx_total"))
        };
        until("a worker is given no connection", || {
            assert_gates(port, workers, Upstream);
            (0..workers).all(|worker| connections(worker) > 0)
        });
        assert_eq!(virtual_machines(&envoy), workers as usize + 2);
    }
}

#[test]
fn an_upstream_that_is_down_is_not_the_gates_answer() {
    let mut upstream = config(&[Listener::new("upstream")]);
    let running = start(NEWEST, &upstream, 1).unwrap();
    let port = running.port("upstream").unwrap();
    let envoy = envoy(&[gate("gate").upstream(port)]);
    let gate = envoy.port("gate").unwrap();
    assert_gates(gate, 8, Upstream);
    running.stop().unwrap();
    assert_gates(gate, 8, ByEnvoy(503));
    upstream["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] =
        port.into();
    let _running = start(NEWEST, &upstream, 1).unwrap();
    assert_gates(gate, 8, Upstream);
    assert_eq!(virtual_machines(&envoy), 4);
}

/// Sends `request` and resets the connection.
fn reset(port: u16, request: &[u8]) {
    let mut connection = raw::Connection::open(port).unwrap();
    connection.write(request).unwrap();
    connection.reset().unwrap();
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
                reset(port, &request[..request.len() - missing]);
            }
            assert_gates(port, 1, Upstream);
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
    assert_gates(port, 16, Upstream);
    assert_eq!(virtual_machines(&envoy), 4);
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
        ("full, gate", &[&full, &gate], Upstream, Gate),
        ("gate, full", &[&gate, &full], Upstream, Gate),
        ("traps, gate", &[&traps, &gate], failed, failed),
        ("gate, traps", &[&gate, &traps], failed, Gate),
        ("gate", &[&gate], Upstream, Gate),
    ];
    let listeners = chains.map(|(name, plugins, ..)| {
        plugins.iter().fold(Listener::new(name), |listener, plugin| listener.wasm(plugin))
    });
    let envoy = envoy(&listeners);
    let active = virtual_machines(&envoy);
    for _ in 0..16 {
        for (name, _, good, bad) in chains {
            let port = envoy.port(name).unwrap();
            for (fields, answer) in
                BAD.map(|fields| (fields, bad)).into_iter().chain([(GOOD, good)])
            {
                let fields: Fields = fields;
                assert_eq!(ask(port, fields), answer, "{name}");
            }
        }
    }
    assert_eq!(virtual_machines(&envoy), active);
    assert!(envoy.log().contains("memory is full"), "{}", envoy.log());
}
