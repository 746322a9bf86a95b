//! Ten thousand clients in Envoy, as plugin and as native gate.

use std::fmt::Write as _;
use std::fs;

use header_gate_cli::build::variant::Variant;
use header_gate_e2e::gateway::{get, listener, start};
use header_gate_e2e::native;
use header_gate_envoy::config::{Listener, config, is_upstream};
use header_gate_envoy::denial::difference;
use header_gate_envoy::{NEWEST, OLDEST};
use header_gate_policy::Policy;

const CLIENTS: u64 = 10_000;

/// A key of 36 characters. Any odd factor tells all of them apart.
fn key(n: u64) -> String {
    format!("{n:04x}-{:031x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[test]
fn ten_thousand_clients_are_told_from_everybody_else() {
    let mut text = "header = \"x-api-key\"\nclient_header = \"x-client-id\"\n".to_owned();
    for n in 0..CLIENTS {
        writeln!(text, "[[client]]\nid = \"client {n}\"\nvalue = \"{}\"", key(n)).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("many.toml");
    fs::write(&file, text + "[deny]\nstatus = 401\nbody = \"no\\n\"\n").unwrap();
    let policy = Policy::read(&file).unwrap();
    let variant = Variant::default().with_policy(&file);
    let plugin = [listener("gate", &variant)];
    let name = native::build(folder.path(), &file, None);
    let envoys = [
        start(OLDEST, &config(&plugin), 2),
        start(NEWEST, &config(&plugin), 2),
        native::start(NEWEST, folder.path(), &[Listener::new("gate").native(&name)]),
    ];
    for envoy in envoys.map(Result::unwrap) {
        let port = envoy.port("gate").unwrap();
        let ask = |key: &str| get(port, &[(b"x-api-key", key.as_bytes())]);
        for n in (0..CLIENTS).step_by(97).chain([CLIENTS - 1]) {
            assert!(is_upstream(&ask(&key(n))), "{n}");
        }
        for n in CLIENTS..CLIENTS + 100 {
            assert_eq!(difference(&policy, &ask(&key(n))), None, "{n}");
        }
    }
}
