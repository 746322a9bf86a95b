//! What `gate render` prints: in Envoy in front of the gate, or in place of it, and by the schemas of Istio.

use std::fs;
use std::path::Path;
use std::process::Output;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::conformance;
use header_gate_e2e::gateway::{self, Answer, Fields, GOOD, ask, deployed, start};
use header_gate_e2e::schemas::{json, validate};
use header_gate_e2e::{error, native, policy, root, stdout};
use header_gate_envoy::client::Connection;
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::{NEWEST, OLDEST};
use header_gate_host::gate;
use header_gate_policy::Policy;
use header_gate_system::command;
use serde_json::{Value, json};

/// Runs `gate render` with these arguments, in the root of the repository.
fn render(arguments: &[&str]) -> Output {
    let mut gate = command::cargo(env!("CARGO"));
    gate.current_dir(root()).args(["run", "--quiet", "--locked", "-p", "header-gate-cli", "--"]);
    gate.arg("render").args(arguments).output().unwrap()
}

fn rendered(arguments: &[&str]) -> Value {
    json(&stdout(render(arguments)))
}

/// What the committed policy becomes, for the plugin that is built.
fn of_plugin(kind: &str) -> Value {
    let plugin = artifact(root(), &Variant::default()).unwrap();
    rendered(&[kind, "--plugin", plugin.to_str().unwrap()])
}

fn conforms(port: u16, about: &str) {
    conformance::conforms(port, about);
    // Repeated headers: Envoy 1.36 joins the values, 1.40 delivers the first.
    let repeated: [Fields; 3] = [
        &[(b"allow", b"false"), (b"allow", b"true")],
        &[(b"allow", b""), (b"allow", b"true")],
        &[(b"allow", b"x"), (b"allow", b"true"), (b"allow", b"true")],
    ];
    for fields in repeated {
        assert_eq!(ask(port, fields), Answer::Gate, "{about}: {fields:?}");
        let mut http2 = Connection::http2(port).unwrap();
        let answer = http2.send("GET", "/", fields, b"").unwrap();
        assert_eq!(Answer::from(answer), Answer::Gate, "{about}: {fields:?}");
    }
}

#[test]
fn nothing_passes_a_fast_lane_that_the_gate_would_not_pass() {
    let (matcher, route) = (of_plugin("envoy-matcher"), rendered(&["envoy-route"]));
    let istio = of_plugin("istio-matcher");
    let patched = istio.pointer("/spec/configPatches/0/patch/value").unwrap().clone();
    let lanes = [
        Listener::new("matcher").filter(matcher),
        Listener::new("istio").filter(patched),
        gateway::gate("route").route(route.clone(), "header-gate"),
    ];
    for version in [OLDEST, NEWEST] {
        let envoy = start(version, &config(&lanes), 2).unwrap();
        for name in ["matcher", "istio", "route"] {
            conforms(envoy.port(name).unwrap(), &format!("Envoy {version}, {name}"));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let name = native::build(folder.path(), &root().join("policy.toml"), None);
    let listener = Listener::new("native").native(&name).route(route, "header-gate");
    let envoy = native::start(NEWEST, folder.path(), &[listener]).unwrap();
    conforms(envoy.port("native").unwrap(), "native, route");
}

#[test]
fn the_committed_fast_lane_is_the_rendered_one_and_runs() {
    let plugin = artifact(root(), &Variant::default()).unwrap();
    let filter = format!("filename: {}", plugin.display());
    let file = deployed(
        "envoy-fast-lane.yaml",
        &[("9901", "0"), ("10000", "0"), ("filename: plugin.wasm", &filter)],
    );
    let filters =
        "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0";
    assert_eq!(json(&file).pointer(filters), Some(&of_plugin("envoy-matcher")));
    for version in [OLDEST, NEWEST] {
        let envoy = start(version, &json(&file), 2).unwrap();
        let port = envoy.port("gate").unwrap();
        assert_eq!(ask(port, &[]), Answer::Gate);
        // No service listens on the port of the file.
        assert_eq!(ask(port, GOOD), Answer::Envoy(503));
    }
}

#[test]
fn the_filters_in_place_of_the_gate_have_its_rule() {
    let filters = ["envoy-net", "api-key-auth"].map(|kind| (kind, rendered(&[kind])));
    let listeners = filters.map(|(kind, filter)| Listener::new(kind).filter(filter));
    let envoy = gateway::envoy(&listeners);
    for (kind, denied) in [("envoy-net", Answer::Rbac), ("api-key-auth", Answer::Envoy(401))] {
        let port = envoy.port(kind).unwrap();
        assert_eq!(ask(port, GOOD), Answer::Upstream, "{kind}");
        for fields in gateway::BAD {
            assert_eq!(ask(port, fields), denied, "{kind}: {fields:?}");
        }
    }
}

#[test]
fn istio_accepts_its_resources() {
    let plugin = artifact(root(), &Variant::default()).unwrap();
    let matcher = stdout(render(&["istio-matcher", "--plugin", plugin.to_str().unwrap()]));
    let net = stdout(render(&["istio-net"]));
    let wrong = net.replace("action: DENY", "action: DENIED");
    let [matcher, net, wrong] = validate(&[matcher, net, wrong]).try_into().ok().unwrap();
    assert!(matcher.problems.is_empty() && net.problems.is_empty(), "{:?}", net.problems);
    assert!(!wrong.problems.is_empty());
    // The committed fallback has the same rule.
    let committed = json(&gateway::deployed("istio-ingress/fallback.yaml", &[]));
    assert_eq!(net.documents[0]["spec"], committed["spec"]);
}

/// The error of a policy of one line of options.
fn refused(folder: &Path, kind: &str, options: &str, more: &[&str]) -> String {
    let file = folder.join("policy.toml");
    std::fs::write(&file, format!("header = \"allow\"\n{options}\n[deny]\nstatus = 403")).unwrap();
    error(&render(&[&[kind, "--policy", file.to_str().unwrap()], more].concat()))
}

#[test]
fn a_form_that_would_not_keep_the_policy_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |kind: &str, options: &str, more: &[&str], reason: &str| {
        let error = refused(folder.path(), kind, options, more);
        assert!(error.contains(reason), "{kind}, {options}: {error}");
        assert!(!error.contains("k3y"), "{error}");
    };
    let values = "values = [\"k3y\"]\n";
    let skips = "a request with an accepted value never enters the gate";
    let secret = ["--with-secrets"];
    let repeated = format!("{values}repeated = \"deny\"");
    for kind in
        ["envoy-matcher", "envoy-route", "istio-matcher", "envoy-net", "istio-net", "api-key-auth"]
    {
        refused(kind, &repeated, &[], "`repeated`: ");
    }
    refused("istio-wasmplugin", &repeated, &["--config"], "`repeated`: ");
    for kind in ["envoy-matcher", "envoy-route", "istio-matcher"] {
        refused(
            kind,
            &format!("{values}remove = true"),
            &[],
            &format!("`remove`: {kind}: {skips}"),
        );
        refused(kind, &format!("{values}count = true"), &[], "`count`: ");
        refused(kind, "values = [\"k3y\", \"a,b\"]", &[], "`values`: ");
        let client = "client_header = \"x-id\"\n[[client]]\nid = \"a\"\nvalue = \"k3y\"";
        refused(kind, client, &secret, "`client_header`: ");
        refused(kind, client, &[], "the values are secret; --with-secrets prints them");
    }
    for kind in ["envoy-net", "istio-net", "api-key-auth"] {
        refused(kind, &format!("{values}enforce = false"), &[], "`enforce`: ");
        refused(kind, &format!("{values}[except]\npreflight = true"), &[], "`except`: ");
    }
    for kind in ["envoy-net", "istio-net"] {
        refused(kind, &format!("{values}remove = true"), &[], "`remove`: ");
    }
    let digest = format!("[[client]]\nid = \"a\"\nsha256 = \"{}\"", "0".repeat(64));
    refused("api-key-auth", &digest, &secret, "`client.sha256`: ");
    refused("istio-net", "values = [\"k3y*\"]", &[], "is a pattern for Istio");
    refused("envoy-route", "values = [\"ü\"]", &[], "only ASCII");
    refused("istio-matcher", values, &["--plugin", "none.wasm"], "--plugin none.wasm");
    refused("istio-matcher", values, &["--plugin", "policy.toml"], "is no WebAssembly module");
}

#[test]
fn a_policy_is_rendered_as_the_configuration_of_a_wasmplugin() {
    let manifest = stdout(render(&["istio-wasmplugin", "--config"]));
    let [valid] = &validate(&[&manifest])[..] else { panic!("{manifest}") };
    assert_eq!(valid.problems, Vec::<String>::new(), "{manifest}");
    let configuration = json(&manifest)["spec"]["pluginConfig"].take();
    let module = fs::read(artifact(root(), &Variant::config()).unwrap()).unwrap();
    let own = policy(&Variant::default());
    gate::check_configured(&module, &own, &configuration.to_string()).unwrap();
    // Digests are shown, and values only if that is asked for.
    let folder = tempfile::tempdir().unwrap();
    let (secret, digests) = ("policies/api-key.toml", folder.path().join("digests.toml"));
    let client = format!("[[client]]\nid = \"a\"\nsha256 = \"{:064}\"", 7);
    fs::write(&digests, format!("header = \"a\"\n{client}\n[deny]\nstatus = 403")).unwrap();
    let refused = error(&render(&["istio-wasmplugin", "--config", "--policy", secret]));
    assert!(refused.contains("--with-secrets"), "{refused}");
    let shown = render(&["istio-wasmplugin", "--config", "--policy", digests.to_str().unwrap()]);
    assert!(stdout(shown).contains("sha256"));
    let refused = error(&render(&["istio-wasmplugin"]));
    assert!(refused.contains("--config goes with istio-wasmplugin"), "{refused}");
}

#[test]
fn the_wasmplugin_of_the_readme_is_valid_and_its_configuration_is_taken() {
    let module = fs::read(artifact(root(), &Variant::config()).unwrap()).unwrap();
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = fs::read_to_string(root().join(readme)).unwrap();
        let manifest = text.split_once("```yaml\n").unwrap().1.split_once("```").unwrap().0;
        let mut validated = validate(&[manifest]).remove(0);
        assert_eq!(validated.problems, Vec::<String>::new(), "{readme}");
        let mut policy = validated.documents.remove(0)["spec"]["pluginConfig"].take();
        let configuration = policy.to_string();
        // The value that has this digest.
        let value = "correct horse battery staple 9";
        policy["client"] = json!([{ "id": policy["client"][0]["id"], "value": value }]);
        let policy = Policy::of(policy).unwrap();
        gate::check_configured(&module, &policy, &configuration).unwrap();
    }
}
