//! Gates with options, as plugin and as native gate, in each Envoy that runs them: options.toml.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use header_gate_cli::build::variant::Variant;
use header_gate_e2e::gateway::{self, listener};
use header_gate_e2e::native;
use header_gate_envoy::client::Connection;
use header_gate_envoy::config::{Listener, UPSTREAM, config};
use header_gate_envoy::denial::difference;
use header_gate_envoy::{Envoy, NEWEST, OLDEST};
use header_gate_host::combinations::{self, CLIENT as FRIEND, Combination, Decision, HEADER};
use header_gate_policy::Policy;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    text: String,
    requests: Vec<Request>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    method: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    answer: Answer,
    seen: Option<String>,
    client: Option<String>,
    details: Option<String>,
    count: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    #[default]
    Gate,
    Upstream,
    Grpc,
}

/// The fields in which an answer has the policy's headers, as the upstream saw them.
const SEEN: &str = "x-seen";
const CLIENT: &str = "x-client-seen";

/// `listener`, which shows what the upstream sees, and logs the details of each answer.
fn showing(listener: Listener, policy: &Policy) -> Listener {
    let show = |(key, name)| {
        let value = format!("%REQ({name})%");
        json!({ "header": { "key": key, "value": value } })
    };
    let client = policy.client_header.iter().map(|name| (CLIENT, name));
    let shown: Vec<_> = [(SEEN, &policy.header)].into_iter().chain(client).map(show).collect();
    let route = json!({
        "match": { "prefix": "/" },
        "direct_response": { "status": 200, "body": { "inline_string": UPSTREAM } },
        "response_headers_to_add": shown,
    });
    let hosts = json!([{ "name": "all", "domains": ["*"], "routes": [route] }]);
    listener
        .manager("route_config", json!({ "virtual_hosts": hosts }))
        .access_log("details: %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%")
}

/// Sends the requests over HTTP/1.1, then over HTTP/2, and checks the answers and Envoy's counters.
fn check(envoy: Envoy, policy: &Policy, requests: &[Request], about: &str) {
    let port = envoy.port("gate").unwrap();
    let mut counts = BTreeMap::<_, u32>::new();
    for connect in [Connection::open, Connection::http2] {
        for request in requests {
            let Request { method, path, headers, .. } = request;
            let response = gateway::send(connect(port).unwrap(), method, path, headers);
            let about = format!("{about}: {request:?}: {response:?}");
            match request.answer {
                Answer::Upstream => {
                    assert_eq!(response.status, 200, "{about}");
                    for (name, expected) in [(SEEN, &request.seen), (CLIENT, &request.client)] {
                        let seen = response.header(name).map(String::from_utf8_lossy);
                        assert_eq!(seen.as_deref(), expected.as_deref(), "{name}: {about}");
                    }
                }
                Answer::Gate => assert_eq!(difference(policy, &response), None, "{about}"),
                Answer::Grpc => {
                    let status = policy.grpc_status().to_string();
                    assert!(response.has("grpc-status", status.as_bytes()), "{about}");
                }
            }
            if let Some(name) = &request.count {
                *counts.entry(name.as_str()).or_default() += 1;
            }
        }
    }
    let stats = envoy.admin("/stats?filter=custom.header_gate").unwrap();
    let stats: BTreeMap<_, u32> = stats
        .lines()
        .filter_map(|line| line.split_once("custom.header_gate.")?.1.split_once(": "))
        .map(|(name, count)| (name, count.parse().unwrap()))
        .collect();
    assert_eq!(stats, counts, "{about}");
    let log = envoy.stop().unwrap();
    // The details of denials; a native gate gives none to a gRPC call, which has another status.
    let denied = format!("details: {} ", policy.deny.status);
    let logged: Vec<_> = log.lines().filter_map(|line| line.strip_prefix(&denied)).collect();
    let gate = requests.iter().filter(|request| matches!(request.answer, Answer::Gate));
    let own = !policy.deny.details.is_empty();
    let details: Vec<_> = gate.map(|request| request.details.as_deref().unwrap_or("-")).collect();
    let expected = if own { [&details[..], &details].concat() } else { logged.clone() };
    assert_eq!(logged, expected, "{about}");
}

impl Request {
    /// A request of a combination of options, and what it has to lead to with this policy.
    fn of(case: &combinations::Case, policy: &Policy) -> Self {
        let value = case.header(HEADER);
        let headers = case.headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let count = policy.count.then(|| case.decision.counter().to_owned());
        let request = Self {
            method: case.method.to_owned(),
            path: case.path.to_owned(),
            headers: headers.collect(),
            count,
            ..Self::default()
        };
        let allowed = case.decision == Decision::Allowed;
        let removed = allowed && policy.remove;
        if case.decision == Decision::Denied {
            let missing = policy.deny.missing_details.clone();
            let missing = missing.filter(|_| value.is_none_or(str::is_empty));
            return Self { details: missing.or(Some(policy.deny.details.clone())), ..request };
        }
        Self {
            answer: Answer::Upstream,
            // Envoy shows an empty value as none.
            seen: value.filter(|v| !v.is_empty() && !removed).map(str::to_owned),
            client: policy.client_header.as_ref().filter(|_| allowed).map(|_| FRIEND.to_owned()),
            ..request
        }
    }
}

/// A policy of ten thousand clients, and what becomes of some of them and of others.
fn many_clients() -> Case {
    const CLIENTS: u64 = 10_000;
    // Any odd factor tells all of them apart.
    let key = |n: u64| format!("{n:04x}-{:031x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let client = |n| format!("[[client]]\nid = \"client {n}\"\nvalue = \"{}\"\n", key(n));
    let clients: String = (0..CLIENTS).map(client).collect();
    let head = format!("header = \"{HEADER}\"\nclient_header = \"x-client-id\"\n");
    let request = |n: u64| {
        let (seen, client) = (Some(key(n)), Some(format!("client {n}")));
        let request =
            Request { headers: [(HEADER.to_owned(), key(n))].into(), ..Request::default() };
        let known = n < CLIENTS;
        if known { Request { answer: Answer::Upstream, seen, client, ..request } } else { request }
    };
    let known = (0..CLIENTS).step_by(97).chain([CLIENTS - 1]);
    Case {
        text: head + &clients + "[deny]\nstatus = 401\nbody = \"no\\n\"\n",
        requests: known.chain(CLIENTS..CLIENTS + 100).map(request).collect(),
    }
}

fn cases(folder: &Path) -> Vec<(PathBuf, Policy, Vec<Request>)> {
    let mut table: BTreeMap<String, Vec<Case>> =
        toml::from_str(include_str!("options.toml")).unwrap();
    table.get_mut("policy").unwrap().push(many_clients());
    let case = |(n, Case { text, requests }): (usize, Case)| {
        let file = folder.join(format!("options-{n}.toml"));
        fs::write(&file, text).unwrap();
        (file.clone(), Policy::read(&file).unwrap(), requests)
    };
    let mut cases: Vec<_> = table.into_values().flatten().enumerate().map(case).collect();
    for (n, Combination { policy: text, cases: pairs }) in (0..).zip(combinations::pairwise()) {
        let file = folder.join(format!("pair-{n}.toml"));
        fs::write(&file, text).unwrap();
        let policy = Policy::read(&file).unwrap();
        let requests = pairs.iter().map(|case| Request::of(case, &policy)).collect();
        cases.push((file, policy, requests));
    }
    cases
}

#[test]
fn plugins_with_options_do_what_the_policy_says() {
    let folder = tempfile::tempdir().unwrap();
    for (file, policy, requests) in cases(folder.path()) {
        let variant = Variant::default().with_policy(&file);
        for version in [OLDEST, NEWEST] {
            let listeners = [showing(listener("gate", &variant), &policy)];
            let envoy = gateway::start(version, &config(&listeners), 2).unwrap();
            check(envoy, &policy, &requests, &format!("Envoy {version}, {}", file.display()));
        }
    }
}

#[test]
fn native_gates_with_options_do_what_the_policy_says() {
    let folder = tempfile::tempdir().unwrap();
    for (file, policy, requests) in cases(folder.path()) {
        let name = native::build(folder.path(), &file, None);
        for version in native::VERSIONS {
            let listeners = [showing(Listener::new("gate").native(&name), &policy)];
            let envoy = native::start(version, folder.path(), &listeners).unwrap();
            check(
                envoy,
                &policy,
                &requests,
                &format!("Envoy {version}, native, {}", file.display()),
            );
        }
    }
}
