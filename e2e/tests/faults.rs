//! Faults around the gate, in a real Envoy: any number of workers, an upstream that is down, clients that
//! give up, and other plugins that break beside it.

use std::fs;
use std::path::Path;
use std::process::Command;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::{policy, root, until, virtual_machines};
use header_gate_envoy::config::{Listener, config, is_upstream};
use header_gate_envoy::denial::difference;
use header_gate_envoy::http1::{Connection, Response};
use header_gate_envoy::http2;
use header_gate_envoy::{Envoy, NEWEST, Options, install};
use header_gate_host::Headers;
use serde_json::Value;
use tempfile::TempDir;

fn start(config: &Value, concurrency: u32) -> Envoy {
    let options = Options { concurrency, ..Options::default() };
    let envoy = Command::new(install(root(), NEWEST).unwrap());
    Envoy::start(envoy, &config.to_string(), &options).unwrap()
}

fn gate(name: &str) -> Listener {
    Listener::new(name).wasm(&artifact(root(), &Variant::default()).unwrap())
}

/// Who answered.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Upstream,
    Gate,
    /// Envoy itself, with that status.
    Envoy(u16),
}
use Answer::{Envoy as ByEnvoy, Gate, Upstream};

fn answer(response: &Response) -> Answer {
    if difference(&policy(&Variant::default()), response).is_none() {
        Gate
    } else if is_upstream(response) {
        Upstream
    } else {
        ByEnvoy(response.status)
    }
}

/// The headers of a request that passes, and of some that do not.
fn good_and_bad() -> (Headers, [Headers; 3]) {
    let policy = policy(&Variant::default());
    let with = |value: &[u8]| vec![(policy.header.clone().into_bytes(), value.to_vec())];
    let value = policy.values[0].as_bytes();
    (with(value), [vec![], with(&value.to_ascii_uppercase()), with(b"\xff")])
}

fn send(connection: &mut Connection, headers: &Headers) -> Answer {
    let headers: Vec<(&[u8], &[u8])> = headers.iter().map(|(n, v)| (&n[..], &v[..])).collect();
    answer(&connection.send("GET", "/", &headers, b"").unwrap())
}

/// Asks on `connections` new connections, a bad request of each kind after a good one.
#[track_caller]
fn assert_gates(port: u16, connections: usize, upstream: &Answer) {
    let (good, bad) = good_and_bad();
    for _ in 0..connections {
        let mut connection = Connection::open(port).unwrap();
        for bad in &bad {
            assert_eq!(send(&mut connection, &good), *upstream);
            assert_eq!(send(&mut connection, bad), Gate);
        }
    }
}

/// A counter or gauge of Envoy's.
fn stat(envoy: &Envoy, name: &str) -> u64 {
    envoy.stat(name).unwrap().unwrap_or_else(|| panic!("Envoy has no {name}")) as u64
}

#[test]
fn the_gate_works_on_every_worker_however_many_there_are() {
    for workers in [1, 2, 8, 32] {
        let envoy = start(&config(&[gate("gate")]), workers);
        let port = envoy.port("gate").unwrap();
        // A worker that is not reached says nothing.
        let unreached = || {
            let connections = |worker| {
                stat(&envoy, &format!("listener.127.0.0.1_0.worker_{worker}.downstream_cx_total"))
            };
            (0..workers).map(connections).any(|connections| connections == 0)
        };
        until("a worker is given no connection", || {
            assert_gates(port, workers as usize, &Upstream);
            !unreached()
        });
        assert_eq!(virtual_machines(&envoy), workers as usize + 2);
    }
}

#[test]
fn an_upstream_that_is_down_is_not_the_gates_answer() {
    let mut upstream = config(&[Listener::new("upstream")]);
    let running = start(&upstream, 1);
    let port = running.port("upstream").unwrap();
    let envoy = start(&config(&[gate("gate").upstream(port)]), 2);
    let gate = envoy.port("gate").unwrap();
    assert_gates(gate, 8, &Upstream);
    running.stop().unwrap();
    assert_gates(gate, 8, &ByEnvoy(503));
    upstream["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"] =
        port.into();
    let _running = start(&upstream, 1);
    assert_gates(gate, 8, &Upstream);
    assert_eq!(virtual_machines(&envoy), 4);
}

/// Clients of each kind that give up.
const RESETS: usize = 100;

/// Sends `request` and resets the connection.
fn reset(port: u16, request: &[u8]) {
    let mut connection = Connection::open(port).unwrap();
    connection.write(request).unwrap();
    connection.reset().unwrap();
}

#[test]
fn clients_that_give_up_change_nothing() {
    // To an upstream, so that a good request whose body is announced waits for it.
    let upstream = start(&config(&[Listener::new("upstream")]), 1);
    let listener = gate("gate").upstream(upstream.port("upstream").unwrap());
    let envoy = start(&config(&[listener]), 2);
    let port = envoy.port("gate").unwrap();
    let (good, bad) = good_and_bad();
    let head = |headers: &Headers| {
        let mut head = b"POST / HTTP/1.1\r\nHost: gate\r\nContent-Length: 1000\r\n".to_vec();
        headers.iter().for_each(|(n, v)| head.extend([n, &b": "[..], v, b"\r\n"].concat()));
        head
    };
    for _ in 0..RESETS {
        for headers in [&good, &bad[0], &bad[1]] {
            // In the middle of the headers, after them, and in the middle of the body.
            let head = head(headers);
            reset(port, &head);
            reset(port, &[&head[..], b"\r\n"].concat());
            reset(port, &[&head[..], b"\r\nhalf of it"].concat());
            assert_gates(port, 1, &Upstream);
        }
    }
    // Some may be gone before they are seen; these many are not.
    let resets = || stat(&envoy, "http.gate.downstream_rq_rx_reset");
    let seen = RESETS as u64 * 3;
    until("too few connections are seen to be reset", || resets() >= seen);
    // Streams of one connection that are reset, with whole requests between them.
    let connection = http2::Connection::open(port).unwrap();
    let (before, denied) = (resets(), policy(&Variant::default()).deny.status);
    let requests = [&good, &bad[0], &good, &bad[1], &bad[2]].into_iter().cycle();
    for headers in requests.take(3 * RESETS) {
        let fields: Vec<_> = headers.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        connection.give_up(&fields).unwrap();
        let answer = connection.send("GET", "/", &fields, b"").unwrap();
        assert_eq!(answer.status, if *headers == good { 200 } else { denied });
    }
    until("too few streams are seen to be reset", || resets() >= before + seen);
    assert_gates(port, 16, &Upstream);
    assert_eq!(virtual_machines(&envoy), 4);
}

/// A plugin that takes all memory it gets on every request, and then goes on, or traps.
fn hog(end: &str) -> Vec<u8> {
    let full = "memory is full";
    let text = format!(
        r#"(module
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) "{full}")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "malloc") (param i32) (result i32) (i32.const 0))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
              (loop $more
                (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1))))
              (drop (call $log (i32.const 2) (i32.const 16) (i32.const {})))
              {end}))"#,
        full.len()
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
    let chains: [(&str, [&Path; 2]); 4] = [
        ("full, gate", [&full, &gate]),
        ("gate, full", [&gate, &full]),
        ("traps, gate", [&traps, &gate]),
        ("gate, traps", [&gate, &traps]),
    ];
    let listener = |(name, plugins): (&str, [&Path; 2])| {
        plugins.iter().fold(Listener::new(name), |listener, plugin| listener.wasm(plugin))
    };
    let mut listeners: Vec<_> = chains.into_iter().map(listener).collect();
    listeners.push(Listener::new("gate").wasm(&gate));
    let envoy = start(&config(&listeners), 2);
    let (good, bad) = good_and_bad();
    let ask = |listener: &str, headers: &Headers| {
        send(&mut Connection::open(envoy.port(listener).unwrap()).unwrap(), headers)
    };
    let active = virtual_machines(&envoy);
    for _ in 0..16 {
        for bad in &bad {
            for listener in ["full, gate", "gate, full", "gate"] {
                assert_eq!(ask(listener, &good), Upstream, "{listener}");
                assert_eq!(ask(listener, bad), Gate, "{listener}");
            }
            // A plugin that fails closed answers 503 to what gets as far as it.
            assert_eq!(ask("traps, gate", &good), ByEnvoy(503));
            assert_eq!(ask("traps, gate", bad), ByEnvoy(503));
            assert_eq!(ask("gate, traps", &good), ByEnvoy(503));
            assert_eq!(ask("gate, traps", bad), Gate);
        }
    }
    assert_eq!(virtual_machines(&envoy), active);
    assert!(envoy.log().contains("memory is full"), "{}", envoy.log());
}
