//! Gateways: how the tests start them, and who answers a request.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::Result;
use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_envoy::client::{Connection, Response};
use header_gate_envoy::config::{Listener, config, is_upstream};
use header_gate_envoy::denial::difference;
use header_gate_envoy::{DYNAMIC_MODULES, Envoy, NEWEST, Options, install};
use serde_json::Value;

use crate::{policy, root};

/// Header fields, name and value.
pub type Fields<'a> = &'a [(&'a [u8], &'a [u8])];

/// The header of a request that the committed policy lets pass, and of some that it denies.
pub const GOOD: Fields = &[(b"allow", b"true")];
pub const BAD: [Fields; 4] =
    [&[], &[(b"allow", b"")], &[(b"allow", b"TRUE")], &[(b"allow", b"\xff")]];

/// Envoy of that version with that configuration and number of workers.
pub fn start(version: &str, config: &Value, concurrency: u32) -> Result<Envoy> {
    start_in(root(), version, &config.to_string(), concurrency)
}

/// The same, run in `folder`, where it also finds native gates.
pub fn start_in(folder: &Path, version: &str, config: &str, concurrency: u32) -> Result<Envoy> {
    let mut command = Command::new(install(root(), version, None)?);
    command.current_dir(folder).env(DYNAMIC_MODULES, folder);
    Envoy::start(command, config, &Options { concurrency, ..Options::default() })
}

/// The newest Envoy with these listeners and two workers.
pub fn envoy(listeners: &[Listener]) -> Envoy {
    start(NEWEST, &config(listeners), 2).unwrap()
}

/// A listener with the plugin of `variant`.
pub fn listener(name: &str, variant: &Variant) -> Listener {
    Listener::new(name).wasm(&artifact(root(), variant).unwrap())
}

/// A listener with the default plugin.
pub fn gate(name: &str) -> Listener {
    listener(name, &Variant::default())
}

/// A counter or gauge of Envoy's.
pub fn stat(envoy: &Envoy, name: &str) -> u64 {
    envoy.stat(name).unwrap().unwrap_or_else(|| panic!("Envoy has no {name}")) as u64
}

/// Calls `ask`, which opens a connection, until each worker of the listener with that name (or address, if a file
/// of `deploy/` has it) has been given one.
#[track_caller]
pub fn on_each_worker<T>(envoy: &Envoy, listener: &str, mut ask: impl FnMut() -> T) -> Vec<T> {
    let connections = || -> Vec<u64> {
        let name = format!("listener.{listener}.worker_.*.downstream_cx_total");
        let counts = envoy.admin(&format!("/stats?filter=^{name}$")).unwrap();
        counts.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
    };
    let (before, mut answers) = (connections(), Vec::new());
    assert!(!before.is_empty(), "Envoy has no listener {listener}");
    while connections().iter().zip(&before).any(|(now, before)| now == before) {
        assert!(answers.len() < 100 * before.len(), "a worker is given no connection");
        answers.push(ask());
    }
    answers
}

/// A file of `deploy/` with each of these parts replaced.
pub fn deployed(file: &str, edits: &[(&str, &str)]) -> String {
    let text = fs::read_to_string(root().join("deploy").join(file)).unwrap();
    edits.iter().fold(text, |text, (old, new)| {
        assert!(text.contains(old), "{file} does not have {old:?}");
        text.replace(old, new)
    })
}

/// Who answered a request to a gateway with the committed policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    Upstream,
    Gate,
    /// Envoy's RBAC filter.
    Rbac,
    /// Envoy itself, with that status.
    Envoy(u16),
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        if is_upstream(&response) {
            Self::Upstream
        } else if difference(&policy(&Variant::default()), &response).is_none() {
            Self::Gate
        } else if response.status == 403 && response.body == b"RBAC: access denied" {
            Self::Rbac
        } else {
            Self::Envoy(response.status)
        }
    }
}

/// The answer to a GET on a new connection.
pub fn get(port: u16, headers: Fields) -> Response {
    Connection::open(port).unwrap().send("GET", "/", headers, b"").unwrap()
}

/// The answer to a request of a table, which is a GET of / unless it says otherwise.
pub fn send(
    mut connection: Connection,
    method: &str,
    path: &str,
    headers: &BTreeMap<String, String>,
) -> Response {
    let method = if method.is_empty() { "GET" } else { method };
    let path = if path.is_empty() { "/" } else { path };
    let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    connection.send(method, path, &headers, b"").unwrap()
}

/// Who answers a GET on a new connection.
pub fn ask(port: u16, headers: Fields) -> Answer {
    get(port, headers).into()
}

/// The output of `deploy/probe.sh`.
pub fn probe(arguments: &[&str]) -> Output {
    let mut script = Command::new(root().join("deploy/probe.sh"));
    script.current_dir(root()).args(arguments).output().unwrap()
}

/// The error of a command that failed, and what it printed.
#[track_caller]
pub fn failure(output: Output) -> (String, String) {
    (crate::error(&output), String::from_utf8(output.stdout).unwrap())
}
