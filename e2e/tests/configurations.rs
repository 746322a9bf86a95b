//! What Envoy's configuration does to the gate, in the oldest and the newest Envoy: configurations.toml.

use std::collections::BTreeMap;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::gateway::{Answer, send, start, stat};
use header_gate_e2e::{root, until};
use header_gate_envoy::client::Connection;
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::{NEWEST, OLDEST, raw};
use serde::Deserialize;
use serde_json::{Map, Value};

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
    #[serde(default)]
    method: String,
    #[serde(default)]
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
            let Request { method, path, headers, .. } = request;
            let expected = match request.answer {
                Expected::None => {
                    let mut connection = raw::Connection::open(port).unwrap();
                    assert!(method.is_empty() && path.is_empty() && headers.is_empty());
                    connection.write(&raw::request("gate", "GET", "/", &[], b"")).unwrap();
                    waiting.push(connection);
                    continue;
                }
                Expected::Gate => Answer::Gate,
                Expected::Upstream => Answer::Upstream,
                Expected::Status(status) => Answer::Envoy(status),
            };
            let response = send(Connection::open(port).unwrap(), method, path, headers);
            let about = format!("{}: {request:?}: {response:?}", self.name);
            for (name, value) in &request.has {
                assert!(response.has(name, value.as_bytes()), "{about}");
            }
            assert_eq!(Answer::from(response), expected, "{about}");
        }
        waiting
    }
}

#[test]
fn the_configurations_hold_in_the_oldest_and_the_newest_envoy() {
    let table: BTreeMap<String, Vec<Configuration>> =
        toml::from_str(include_str!("configurations.toml")).unwrap();
    let rows = &table["configuration"];
    assert_eq!(table.len(), 1);
    let listeners: Vec<_> = rows.iter().map(Configuration::listener).collect();
    for version in [OLDEST, NEWEST] {
        let envoy = start(version, &config(&listeners), 2).unwrap();
        let waiting: Vec<_> =
            rows.iter().map(|row| (row, row.check(envoy.port(&row.key()).unwrap()))).collect();
        assert!(waiting.iter().any(|(_, waiting)| !waiting.is_empty()));
        // All others have been answered meanwhile.
        for (row, connections) in waiting {
            let active = format!("http.{}.downstream_rq_active", row.key());
            let expected = connections.len() as u64;
            let about = format!("Envoy {version}: {}", row.name);
            until(&about, || stat(&envoy, &active) == expected);
        }
    }
}
