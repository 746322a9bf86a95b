//! Every file of `deploy/`: rendered by kustomize and validated with the schema of its resource, or loaded
//! by a real Envoy, or listed as not validated.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_cli::push::kustomization;
use header_gate_e2e::schemas::{Validated, json, kustomize, validate};
use header_gate_e2e::{module, root, stdout, until};
use header_gate_envoy::client::Connection;
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::{Envoy, NEWEST, Options, install};
use header_gate_policy::Policy;
use serde_json::{Value, json};
use tempfile::TempDir;

const IMAGE: &str = "registry.example.com:5000/team/gate@sha256:00000000000000000000000000000000000000000000000000000000000000ff";

/// The folders whose image is pinned, and the field.
const PINNED: [(&str, &str); 4] = [
    ("envoy-gateway", "url: "),
    ("higress", "url: oci://"),
    ("istio-gateway-api", "url: oci://"),
    ("istio-ingress", "url: oci://"),
];
const ENVOY_FILTER: &str = "istio-envoyfilter";
/// Fallback filters, which repeat the rule of the gate. tests/limits.rs runs the first.
const FALLBACKS: [&str; 2] = ["envoy-net.yaml", "istio-ingress/net.yaml"];
/// Folders that a real Envoy loads.
const LOADED: [&str; 1] = ["envoy-xds"];
/// Folders of gateways that no package registry has, neither them nor a schema.
const NOT_VALIDATED: [&str; 2] = ["kong", "nginx"];

/// Mistakes that the schema of a resource must find: the resource, a text in it, the wrong text.
const MISTAKES: &str = "\
envoy-gateway | failOpen | failOpn
envoy-gateway | rootID | rootId
envoy-gateway | type: Image | type: Picture
envoy-gateway | url: | uri:
envoy-gateway/filter-order.yaml | before: | befor:
envoy-gateway/filter-order.yaml | http.cors | http.corse
envoy-gateway/filter-order.yaml | filterOrder: | filtersOrder:
higress | failStrategy | failPolicy
istio-envoyfilter | INSERT_FIRST | INSERT_1ST
istio-envoyfilter | workloadSelector | selector
istio-gateway-api | targetRefs | targetRef
istio-gateway-api | kind: Gateway | kind: [Gateway]
istio-ingress | phase: AUTHN | phase: AUTH
istio-ingress | matchLabels | labels
istio-ingress | kind: WasmPlugin | kind: WasmPlugins
istio-ingress | url: | image:
istio-ingress/net.yaml | action: DENY | action: DENIED
istio-ingress/net.yaml | selector: | selectors:
istio-ingress/net.yaml | kind: AuthorizationPolicy | kind: AuthorisationPolicy
";

fn plugin() -> PathBuf {
    artifact(root(), &Variant::default()).unwrap()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join("deploy").join(name)).unwrap()
}

/// A copy of `deploy/` with a pinned image and the plugin for the EnvoyFilter.
fn deploy() -> TempDir {
    let copy = TempDir::new().unwrap();
    let script =
        r#"cp -r deploy/. "$0" && base64 "$1" | tr -d '\n' >"$0/istio-envoyfilter/plugin.base64""#;
    let mut shell = Command::new("sh");
    shell.current_dir(root()).args(["-c", script]).arg(copy.path()).arg(plugin());
    stdout(shell.output().unwrap());
    fs::write(copy.path().join("image/kustomization.yaml"), kustomization(IMAGE)).unwrap();
    copy
}

/// The resources of a folder of `deploy`, rendered alike by every kustomize, or of a file.
fn resource(deploy: &Path, name: &str) -> String {
    let path = deploy.join(name);
    if path.is_file() {
        return fs::read_to_string(path).unwrap();
    }
    let mut rendered: Vec<_> = kustomize(&path).into_iter().map(stdout).collect();
    rendered.dedup();
    assert_eq!(rendered.len(), 1, "{rendered:#?}");
    // Higress has no schema of its own, see its manifest.
    rendered.remove(0).replace("extensions.higress.io/", "extensions.istio.io/")
}

fn assert_not_rendered(folder: &Path, reason: &str) {
    for output in kustomize(folder) {
        assert!(!output.status.success() && output.stdout.is_empty(), "{}", folder.display());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn every_resource_is_valid_and_every_mistake_is_found() {
    let deploy = deploy();
    let (mut valid, mut wrong) = (BTreeMap::new(), Vec::new());
    for mistake in MISTAKES.lines() {
        let [name, from, to] = mistake.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        let resource = valid.entry(name).or_insert_with(|| resource(deploy.path(), name));
        assert!(resource.contains(from), "{mistake}");
        wrong.push(resource.replacen(from, to, 1));
    }
    let valid: Vec<_> = valid.into_values().collect();
    for (resource, Validated { problems, .. }) in valid.iter().zip(validate(&valid)) {
        assert!(problems.is_empty(), "{problems:#?}\n{resource}");
    }
    for (mistake, Validated { problems, .. }) in MISTAKES.lines().zip(validate(&wrong)) {
        assert!(!problems.is_empty(), "{mistake} is accepted");
    }
}

#[test]
fn the_pinned_image_is_rendered_and_nothing_without_one() {
    let deploy = deploy();
    for (folder, field) in PINNED {
        let rendered = resource(deploy.path(), folder);
        assert!(rendered.contains(&format!("{field}{IMAGE}\n")), "{rendered}");
        assert!(!rendered.contains("unpinned"), "{rendered}");
    }
    fs::remove_file(deploy.path().join("image/kustomization.yaml")).unwrap();
    for (folder, _) in PINNED {
        // As docs/deploy.md shows it.
        let reason = "unable to find one of 'kustomization.yaml'";
        assert_not_rendered(&deploy.path().join(folder), reason);
    }
}

#[test]
fn an_envoyfilter_without_a_module_is_not_rendered() {
    let deploy = deploy();
    let folder = deploy.path().join(ENVOY_FILTER);
    for wrong in ["", "bm8gbW9kdWxl"] {
        fs::write(folder.join("plugin.base64"), wrong).unwrap();
        assert_not_rendered(&folder, "options.index 1 is out of bounds");
    }
}

#[test]
fn the_kong_configuration_attaches_the_filter_to_its_service() {
    let kong = json(&read("kong/kong.yml"));
    assert_eq!(kong["_format_version"], "3.0");
    let [service, chain] = ["services", "filter_chains"].map(|list| &kong[list][0]);
    assert_eq!(chain["service"], service["name"]);
    assert_eq!(chain["filters"][0]["name"], "header-gate");
    assert_eq!(service["routes"][0]["paths"], json!(["/"]));
    assert!(service["url"].as_str().unwrap().starts_with("http://"));
}

#[test]
fn the_fallback_filters_have_the_rule_of_the_policy() {
    let Policy { header, values, .. } = header_gate_e2e::policy(&Variant::default());
    let [envoy, istio] = FALLBACKS.map(|name| json(&read(name)));
    let exact = |value| json!({ "header": { "name": header, "string_match": { "exact": value } } });
    let rules = &envoy[0]["typed_config"]["rules"];
    assert_eq!(rules["action"], "ALLOW");
    let principals = &rules["policies"]["agreed"]["principals"];
    assert_eq!(principals, &Value::from_iter(values.iter().map(exact)));
    let rule = json!({ "key": format!("request.headers[{header}]"), "notValues": values });
    assert_eq!(istio["spec"]["action"], "DENY");
    assert_eq!(istio["spec"]["rules"], json!([{ "when": [rule] }]));
    // It selects the same pods as the gate.
    let gate = json(&read("istio-ingress/wasmplugin.yaml"));
    for path in ["/spec/selector", "/metadata/namespace"] {
        assert_eq!(istio.pointer(path).unwrap(), gate.pointer(path).unwrap());
    }
}

/// The statuses of a request without the header and of one with `allow: true`.
fn statuses(envoy: &Envoy) -> [u16; 2] {
    let port = envoy.port("gate").unwrap();
    let ask = |headers: &[(&[u8], &[u8])]| {
        Connection::open(port).unwrap().send("GET", "/", headers, b"").unwrap().status
    };
    [ask(&[]), ask(&[(b"allow", b"true")])]
}

#[test]
fn envoy_runs_the_filter_of_the_envoyfilter() {
    let resource = json(&resource(deploy().path(), ENVOY_FILTER));
    let filter = &resource["spec"]["configPatches"][0]["patch"]["value"];
    let binary = install(root(), NEWEST).unwrap();
    let start = |filter: Value| {
        let config = config(&[Listener::new("gate").filter(filter)]).to_string();
        Envoy::start(Command::new(&binary), &config, &Options::default())
    };
    assert_eq!(statuses(&start(filter.clone()).unwrap()), [403, 200]);
    for (right, wrong) in [("failure_policy", "fail_policy"), ("FAIL_CLOSED", "FAIL_CLOSE")] {
        let broken = filter.to_string().replace(right, wrong);
        assert!(start(serde_json::from_str(&broken).unwrap()).is_err(), "{wrong} is accepted");
    }
}

#[test]
fn envoy_accepts_the_static_configuration() {
    let folder = TempDir::new().unwrap();
    fs::copy(plugin(), folder.path().join("plugin.wasm")).unwrap();
    let binary = install(root(), NEWEST).unwrap();
    let accepts = |config: &str| {
        let mut envoy = Command::new(&binary);
        envoy.args(["--mode", "validate", "--config-yaml", config]);
        envoy.current_dir(folder.path()).output().unwrap().status.success()
    };
    let file = read("envoy.yaml");
    assert!(accepts(&file));
    assert!(!accepts(&file.replace("failure_policy", "fail_policy")));
}

#[test]
fn envoy_replaces_the_gate_of_the_dynamic_configuration_while_it_serves() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let read = |name: &str| read(&format!("envoy-xds/{name}"));
    let bootstrap = read("envoy.yaml").replace("port_value: 9901", "port_value: 0");
    assert!(bootstrap.contains("--reject-unknown-dynamic-fields"));
    // Nothing listens on port 1: Envoy answers 503 to a request that passes.
    let clusters = read("cds.yaml").replace("port_value: 8000", "port_value: 1");
    fs::write(path("cds.yaml"), clusters).unwrap();
    let listener = read("lds.yaml").replace("port_value: 10000", "port_value: 0");
    let replace = |listener: &str| {
        fs::write(path("new"), listener).unwrap();
        fs::rename(path("new"), path("lds.yaml")).unwrap();
    };
    replace(&listener);
    fs::copy(plugin(), path("plugin.wasm")).unwrap();

    let mut command = Command::new(install(root(), NEWEST).unwrap());
    command.arg("--reject-unknown-dynamic-fields").current_dir(folder.path());
    let envoy = Envoy::start(command, &bootstrap, &Options::default()).unwrap();
    assert_eq!(statuses(&envoy), [403, 503]);

    let counted = |name: &str| {
        let name = format!("listener_manager.{name}");
        until(&name, || envoy.stat(&name).unwrap() == Some(1.0));
    };
    replace(&listener.replace("failure_policy", "fail_policy"));
    counted("lds.update_rejected");
    assert_eq!(statuses(&envoy), [403, 503]);

    // A policy with another header: `allow: true` is denied now.
    let other = Variant::default().with_policy(root().join("policies/api-key.toml"));
    fs::write(path("other.wasm"), module(&other)).unwrap();
    replace(&listener.replace("plugin.wasm", "other.wasm"));
    counted("listener_modified");
    let denied = header_gate_e2e::policy(&other).deny.status;
    until("the new gate is not used", || statuses(&envoy) == [denied, denied]);
}

/// The command names the new module, whatever the name of the old one.
#[test]
fn the_replacement_command_of_the_guide_works_each_time() {
    let guide = fs::read_to_string(root().join("docs/deploy.md")).unwrap();
    let command = guide.lines().find_map(|line| line.strip_prefix("$ sed ")).unwrap();
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("lds.yaml"), read("envoy-xds/lds.yaml")).unwrap();
    for new in 2..4 {
        let command = format!("sed {}", command.replace("plugin-2", &format!("plugin-{new}")));
        let mut shell = Command::new("sh");
        stdout(shell.args(["-c", &command]).current_dir(folder.path()).output().unwrap());
        fs::rename(path("lds.new"), path("lds.yaml")).unwrap();
        let listener = fs::read_to_string(path("lds.yaml")).unwrap();
        assert!(listener.contains(&format!("{{ filename: plugin-{new}.wasm }}")), "{listener}");
    }
}

#[test]
fn every_file_of_deploy_is_listed_here() {
    let folders = PINNED.map(|(folder, _)| folder);
    let listed =
        [&folders[..], &[ENVOY_FILTER, "envoy.yaml", "image"], &FALLBACKS, &LOADED, &NOT_VALIDATED];
    for entry in fs::read_dir(root().join("deploy")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = name.ends_with(".sh") || listed.concat().contains(&&*name);
        assert!(known, "deploy/{name} is neither validated nor listed as not validated");
    }
}
