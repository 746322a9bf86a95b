//! What Envoy's configuration does to the gate, in the oldest and the newest Envoy: configurations.toml.

use std::collections::BTreeMap;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::gateway::{Answer, start, stat};
use header_gate_e2e::{root, until};
use header_gate_envoy::client::Connection;
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::{NEWEST, OLDEST, raw};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    configuration: Vec<Configuration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    name: String,
    /// Whether the module is the one whose policy is its configuration.
    #[serde(default)]
    configured: bool,
    #[serde(default)]
    plugin: Map<String, Value>,
    #[serde(default = "gate_alone")]
    filters: Vec<Value>,
    #[serde(default)]
    manager: Map<String, Value>,
    requests: Vec<Request>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default = "get")]
    method: String,
    #[serde(default = "slash")]
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    answer: Expected,
    #[serde(default)]
    has: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    Gate,
    Upstream,
    None,
    #[serde(untagged)]
    Status(u16),
}

fn gate_alone() -> Vec<Value> {
    vec!["gate".into()]
}

fn get() -> String {
    "GET".to_owned()
}

fn slash() -> String {
    "/".to_owned()
}

impl Configuration {
    /// Its listener's name, for Envoy's statistics.
    fn key(&self) -> String {
        self.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
    }

    fn listener(&self) -> Listener {
        let variant = if self.configured { Variant::config() } else { Variant::default() };
        let plugin = artifact(root(), &variant).unwrap();
        let mut listener = Listener::new(&self.key());
        for filter in &self.filters {
            listener = match filter {
                gate if gate == "gate" => listener.wasm_with(&plugin, self.plugin.clone()),
                other => listener.filter(other.clone()),
            };
        }
        self.manager.iter().fold(listener, |l, (field, value)| l.manager(field, value.clone()))
    }

    /// Sends each request and checks the answer. Returns the connections that wait for one.
    fn check(&self, port: u16) -> Vec<raw::Connection> {
        let mut waiting = Vec::new();
        for request in &self.requests {
            let headers = request.headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
            let headers: Vec<_> = headers.collect();
            let Request { method, path, .. } = request;
            let expected = match request.answer {
                Expected::None => {
                    let mut connection = raw::Connection::open(port).unwrap();
                    let bytes = raw::request("gate", method, path, &headers, b"");
                    connection.write(&bytes).unwrap();
                    waiting.push(connection);
                    continue;
                }
                Expected::Gate => Answer::Gate,
                Expected::Upstream => Answer::Upstream,
                Expected::Status(status) => Answer::Envoy(status),
            };
            let mut connection = Connection::open(port).unwrap();
            let response = connection.send(method, path, &headers, b"").unwrap();
            let about = format!("{}: {request:?}: {response:?}", self.name);
            for (name, value) in &request.has {
                assert!(response.has(name, value.as_bytes()), "{about}");
            }
            assert_eq!(Answer::from(response), expected, "{about}");
        }
        waiting
    }
}

fn hold_in(version: &str) {
    let table: Table = toml::from_str(include_str!("configurations.toml")).unwrap();
    let listeners: Vec<_> = table.configuration.iter().map(Configuration::listener).collect();
    let envoy = start(version, &config(&listeners), 2).unwrap();
    let waiting: Vec<_> = table
        .configuration
        .iter()
        .map(|row| (row, row.check(envoy.port(&row.key()).unwrap())))
        .collect();
    assert!(waiting.iter().any(|(_, waiting)| !waiting.is_empty()));
    // All others have been answered meanwhile.
    for (row, connections) in waiting {
        let active = format!("http.{}.downstream_rq_active", row.key());
        let expected = connections.len() as u64;
        until(&format!("Envoy {version}: {}", row.name), || stat(&envoy, &active) == expected);
    }
}

#[test]
fn the_configurations_hold_in_the_oldest_envoy() {
    hold_in(OLDEST);
}

#[test]
fn the_configurations_hold_in_the_newest_envoy() {
    hold_in(NEWEST);
}
