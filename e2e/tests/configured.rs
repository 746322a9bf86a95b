//! The module whose policy comes from the plugin's configuration, in a real Envoy: plugins that share a virtual machine,
//! configurations that are refused, and one that is replaced under load.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::gateway::{get, start_in, stat};
use header_gate_e2e::{root, until, virtual_machines};
use header_gate_envoy::client::{Closed, Connection, Response};
use header_gate_envoy::config::{Listener, config, is_upstream};
use header_gate_envoy::{Envoy, NEWEST, OLDEST, virtual_machines as expected};
use serde_json::{Map, Value, json};

const WORKERS: u32 = 2;
/// More than the root contexts that a virtual machine has room for: it forgets those that Envoy has deleted.
const SWAPS: u64 = 70;
/// Requests that are answered between a swap and the next.
const BETWEEN: u64 = 200;

/// A policy that accepts one value of one header, and denies with this status.
fn policy(header: &str, value: &str, status: u16) -> Value {
    json!({ "header": header, "values": [value], "deny": { "status": status } })
}

/// The plugin with this configuration, in the one virtual machine that all share.
fn plugin(listener: Listener, configuration: &Value) -> Listener {
    // Found once: it is verified each time.
    static FILE: LazyLock<PathBuf> =
        LazyLock::new(|| artifact(root(), &Variant::config()).unwrap());
    let file = &*FILE;
    let code = json!({ "local": { "filename": file } });
    let vm = json!({ "vm_id": "shared", "runtime": "envoy.wasm.runtime.v8", "code": code });
    let own = json!({ "vm_config": vm, "configuration": configuration });
    listener.wasm_with(file, own.as_object().cloned().unwrap_or_else(Map::new))
}

/// A configuration as a text, which is how Istio and Envoy Gateway send it.
fn string(text: &str) -> Value {
    json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": text })
}

fn text(policy: &Value) -> Value {
    string(&policy.to_string())
}

/// The same with numbers as doubles, as Istio's are.
fn doubles(policy: &Value) -> Value {
    let mut policy = policy.clone();
    policy["deny"]["status"] = policy["deny"]["status"].as_f64().into();
    text(&policy)
}

fn run(version: &str, config: &Value, folder: &Path) -> anyhow::Result<Envoy> {
    start_in(folder, version, &config.to_string(), WORKERS)
}

/// What a client gets: the status, if the upstream does not answer.
fn answer(response: &Response) -> u16 {
    if is_upstream(response) { 0 } else { response.status }
}

#[track_caller]
fn check(port: u16, headers: &[(&str, &str)], expected: u16) {
    let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    let response = get(port, &headers);
    assert_eq!(answer(&response), expected, "{headers:?}: {response:?}");
}

#[test]
fn plugins_of_one_virtual_machine_have_a_policy_each() {
    for version in [OLDEST, NEWEST] {
        let (first, second, third) =
            (policy("x-one", "1", 401), policy("x-two", "2", 402), policy("x-one", "3", 403));
        let two = plugin(plugin(Listener::new("two"), &text(&first)), &doubles(&second));
        let one = plugin(Listener::new("one"), &doubles(&third));
        let envoy = run(version, &config(&[two, one]), root()).unwrap();
        assert_eq!(virtual_machines(&envoy), expected(WORKERS.into()), "they share one");
        let (two, one) = (envoy.port("two").unwrap(), envoy.port("one").unwrap());
        for _ in 0..20 {
            check(two, &[("x-one", "1"), ("x-two", "2")], 0);
            check(two, &[("x-one", "1")], 402);
            check(two, &[("x-one", "1"), ("x-two", "1")], 402);
            check(two, &[("x-two", "2")], 401);
            check(two, &[("x-one", "3"), ("x-two", "2")], 401);
            check(one, &[("x-one", "3")], 0);
            check(one, &[("x-one", "1"), ("x-two", "2")], 403);
            check(one, &[], 403);
        }
        envoy.stop().unwrap();
    }
}

#[test]
fn a_bad_configuration_is_refused_with_a_reason_and_no_value() {
    let good = policy("x-one", "topsecret", 401);
    let with = |key: &str, value: Value| {
        let mut bad = good.clone();
        bad[key] = value;
        text(&bad)
    };
    let cut = good.to_string();
    // Envoy hands it over as protobuf.
    let object = json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": good });
    for (version, configuration, reason) in [
        (NEWEST, Value::Null, "policy: missing"),
        (OLDEST, Value::Null, "policy: missing"),
        (NEWEST, string(""), "policy: missing"),
        (NEWEST, string("topsecret"), "policy: wrong type"),
        (NEWEST, string(&cut[..cut.len() - 2]), "values: invalid JSON"),
        (NEWEST, object, "policy: wrong type"),
        (NEWEST, with("vaules", json!([])), "policy: unknown key"),
        (OLDEST, with("values", json!("topsecret")), "values: wrong type"),
        (NEWEST, with("deny", json!({ "status": 403.5 })), "deny.status: wrong type"),
        (NEWEST, with("values", json!(["topsecret", "topsecret"])), "values: duplicate"),
    ] {
        let listener = plugin(Listener::new("one"), &configuration);
        let error = run(version, &config(&[listener]), root()).expect_err(reason);
        let error = format!("{error:#}");
        assert!(error.contains(&format!(": {reason}")), "{version}: {error}\nand not: {reason}");
        assert!(!error.contains("topsecret"), "{error}");
    }
    // The module may not ask for it.
    let listener = plugin(Listener::new("one"), &text(&good)).wrap(|mut filter| {
        let allowed = json!({ "proxy_on_configure": {}, "proxy_log": {} });
        filter["typed_config"]["config"]["capability_restriction_config"] =
            json!({ "allowed_capabilities": allowed });
        anyhow::Ok(filter)
    });
    let error = run(NEWEST, &config(&[listener.unwrap()]), root()).expect_err("a capability");
    let error = format!("{error:#}");
    assert!(error.contains(": policy: not delivered"), "{error}");
}

/// What clients of the gate that is replaced saw.
#[derive(Default)]
struct Load {
    answers: AtomicU64,
    closed: AtomicU64,
    done: AtomicBool,
}

impl Load {
    /// Asks with a value until done; each answer is one of these.
    fn client(&self, port: u16, value: &str, allowed: &[u16]) {
        let done = || self.done.load(Relaxed);
        while !done() {
            let Ok(mut connection) = Connection::open(port) else { continue };
            for _ in (0..64).take_while(|_| !done()) {
                match connection.send("GET", "/", &[(b"x-one", value.as_bytes())], b"") {
                    Err(error) if error.is::<Closed>() => {
                        self.closed.fetch_add(1, Relaxed);
                        break;
                    }
                    response => {
                        let answer = answer(&response.unwrap());
                        assert!(allowed.contains(&answer), "{answer} for {value}");
                        self.answers.fetch_add(1, Relaxed);
                        // Envoy's main thread has work to do, too.
                        thread::sleep(Duration::from_millis(2));
                    }
                }
            }
        }
    }
}

/// Writes these resources to a file that Envoy watches, in one step.
fn publish(folder: &Path, name: &str, resources: &Value) {
    let new = folder.join(format!("{name}.new"));
    fs::write(&new, json!({ "resources": resources }).to_string()).unwrap();
    fs::rename(new, folder.join(format!("{name}.yaml"))).unwrap();
}

/// Where Envoy reads what is published under this name.
fn watched(name: &str) -> Value {
    let watched = json!({ "path": format!("{name}.yaml"), "watched_directory": { "path": "." } });
    json!({ "path_config_source": watched, "resource_api_version": "V3" })
}

/// An Envoy that reads what is published: it has to have a name.
fn with_node(listeners: &[Listener]) -> Value {
    let mut bootstrap = config(listeners);
    bootstrap["node"] = json!({ "id": "a", "cluster": "a" });
    bootstrap
}

/// Publishes the listeners.
fn put(folder: &Path, changing: &Value, lasting: &Value) {
    let gates = [("changing", changing), ("lasting", lasting)];
    let listeners = gates.map(|(name, policy)| plugin(Listener::new(name), &doubles(policy)));
    let mut all = config(&listeners)["static_resources"]["listeners"].take();
    for listener in all.as_array_mut().unwrap() {
        listener["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
    }
    publish(folder, "lds", &all);
}

#[test]
fn a_configuration_is_replaced_under_load_and_no_request_is_decided_wrongly() {
    let folder = tempfile::tempdir().unwrap();
    let gates = [policy("x-one", "zero", 410), policy("x-one", "one", 411)];
    let lasting = policy("x-one", "lasting", 412);
    put(folder.path(), &gates[0], &lasting);
    let mut bootstrap = with_node(&[]);
    bootstrap["dynamic_resources"] = json!({ "lds_config": watched("lds") });
    let envoy = run(NEWEST, &bootstrap, folder.path()).unwrap();
    let (changing, other) = (envoy.port("changing").unwrap(), envoy.port("lasting").unwrap());
    let load = Arc::new(Load::default());
    let clients = [
        (changing, "zero", vec![0, 411]),
        (changing, "one", vec![0, 410]),
        (changing, "lasting", vec![410, 411]),
        (other, "lasting", vec![0]),
        (other, "zero", vec![412]),
    ];
    let clients = clients.map(|(port, value, allowed)| {
        let load = load.clone();
        thread::spawn(move || load.client(port, value, &allowed))
    });
    let serves = |gate: usize| {
        check(changing, &[("x-one", ["zero", "one"][gate])], 0);
        check(changing, &[("x-one", ["one", "zero"][gate])], 410 + gate as u16);
        check(changing, &[], 410 + gate as u16);
        check(other, &[("x-one", "lasting")], 0);
    };
    let count = |name: &str| stat(&envoy, &format!("listener_manager.{name}"));
    // Runs a change, and waits until the counter is that much higher and the clients have had answers.
    let wait = |counter: &str, more: u64, change: &dyn Fn()| {
        let (before, answers) = (count(counter), load.answers.load(Relaxed));
        change();
        let answered = || load.answers.load(Relaxed) >= answers + BETWEEN;
        until(counter, || count(counter) == before + more && answered());
    };
    serves(0);
    for swap in 1..=SWAPS {
        let gate = (swap % 2) as usize;
        wait("listener_create_success", WORKERS.into(), &|| {
            put(folder.path(), &gates[gate], &lasting);
        });
        serves(gate);
        if swap.is_multiple_of(20) {
            // What is refused leaves the old one in place.
            let bad = policy("x-one", "lasting", 600);
            wait("lds.update_rejected", 1, &|| put(folder.path(), &bad, &lasting));
            serves(gate);
        }
    }
    load.done.store(true, Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(virtual_machines(&envoy), expected(WORKERS.into()), "they share one");
    let log = envoy.stop().unwrap();
    assert!(log.contains(": deny.status: out of range"), "{log}");
}

#[test]
fn a_filter_from_ecds_keeps_its_policy_when_the_next_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let put = |policy: &Value| {
        plugin(Listener::new("one"), &text(policy)).wrap(|mut filter| {
            let api = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
            let (name, kind) = (filter["name"].clone(), filter["typed_config"]["@type"].clone());
            filter["@type"] = api.into();
            publish(folder.path(), "ecds", &json!([filter]));
            let discovery = json!({ "config_source": watched("ecds"), "type_urls": [kind] });
            anyhow::Ok(json!({ "name": name, "config_discovery": discovery }))
        })
    };
    let gates = [policy("x-one", "zero", 410), policy("x-one", "one", 411)];
    let listener = put(&gates[0]).unwrap();
    let envoy = run(NEWEST, &with_node(&[listener]), folder.path()).unwrap();
    let port = envoy.port("one").unwrap();
    let serves = |gate: usize| {
        let own = get(port, &[(b"x-one", ["zero", "one"][gate].as_bytes())]);
        let other = get(port, &[(b"x-one", ["one", "zero"][gate].as_bytes())]);
        [answer(&own), answer(&other)] == [0, 410 + gate as u16]
    };
    until("the first policy", || serves(0));
    for swap in 1..=20 {
        put(&gates[swap % 2]).unwrap();
        until("the next policy", || serves(swap % 2));
    }
    put(&policy("x-one", "lasting", 600)).unwrap();
    let rejected = "extension_config_discovery.http_filter.header-authorization.update_rejected";
    until(rejected, || stat(&envoy, rejected) == 1);
    assert!(serves(0));
    let log = envoy.stop().unwrap();
    assert!(log.contains(": deny.status: out of range"), "{log}");
}
