//! Every file of `deploy/`: rendered by kustomize and held to the schemas of its resource, or taken by
//! a real Envoy, or it says that nothing validates it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_cli::push::pin;
use header_gate_e2e::schemas::Schemas;
use header_gate_e2e::{module, root};
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::http1::Connection;
use header_gate_envoy::{Envoy, NEWEST, Options, install};
use header_gate_policy::Policy;
use serde_json::{Value, json};
use tempfile::TempDir;

const IMAGE: &str = "registry.example.com:5000/team/gate@sha256:00000000000000000000000000000000000000000000000000000000000000ff";

/// The folders that pin an image, and what they put before it.
const PINNED: [(&str, &str); 4] = [
    ("envoy-gateway", "url: "),
    ("higress", "url: oci://"),
    ("istio-gateway-api", "url: oci://"),
    ("istio-ingress", "url: oci://"),
];

/// Nets behind the gate, which repeat its rule. tests/limits.rs runs the first.
const NETS: [&str; 2] = ["envoy-net.yaml", "istio-ingress/net.yaml"];

/// `deploy/` with a pinned image and the plugin for the EnvoyFilter.
fn deploy() -> TempDir {
    let copy = TempDir::new().unwrap();
    let status =
        Command::new("cp").arg("-r").arg(root().join("deploy/.")).arg(copy.path()).status();
    assert!(status.unwrap().success());
    fs::write(copy.path().join("image/kustomization.yaml"), pin::kustomization(IMAGE)).unwrap();
    let base64 = Command::new("base64").arg("-w0").arg(plugin()).output().unwrap().stdout;
    fs::write(copy.path().join("istio-envoyfilter/plugin.base64"), base64).unwrap();
    copy
}

fn plugin() -> PathBuf {
    artifact(root(), &Variant::default()).unwrap()
}

#[track_caller]
fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The rendered resources of `folder`, alike by every kustomize.
#[track_caller]
fn render(folder: &Path) -> String {
    let mut rendered: Vec<_> = Schemas::get().kustomize(folder).into_iter().map(text).collect();
    rendered.dedup();
    assert_eq!(rendered.len(), 1, "{rendered:#?}");
    rendered.remove(0)
}

/// Higress has no schema of its own, see its manifest.
fn as_istio(resource: &str) -> String {
    resource.replace("extensions.higress.io/", "extensions.istio.io/")
}

#[test]
fn every_pinned_manifest_is_valid() {
    let (deploy, mut resources) = (deploy(), Vec::new());
    for (folder, prefix) in PINNED {
        let rendered = render(&deploy.path().join(folder));
        assert!(rendered.contains(&format!("{prefix}{IMAGE}\n")), "{rendered}");
        assert!(!rendered.contains("unpinned"), "{rendered}");
        resources.push(as_istio(&rendered));
    }
    assert_valid(&resources);
}

#[track_caller]
fn assert_valid(resources: &[String]) {
    for (resource, problems) in resources.iter().zip(Schemas::get().problems(resources)) {
        assert!(problems.is_empty(), "{problems:#?}\n{resource}");
    }
}

#[test]
fn a_wrong_field_or_value_is_refused() {
    let deploy = deploy();
    let mistakes = [
        ("envoy-gateway", "failOpen", "failOpn"),
        ("envoy-gateway", "rootID", "rootId"),
        ("envoy-gateway", "type: Image", "type: Picture"),
        ("envoy-gateway", "url:", "uri:"),
        ("higress", "failStrategy", "failPolicy"),
        ("istio-envoyfilter", "INSERT_FIRST", "INSERT_1ST"),
        ("istio-envoyfilter", "workloadSelector", "selector"),
        ("istio-gateway-api", "targetRefs", "targetRef"),
        ("istio-gateway-api", "kind: Gateway", "kind: [Gateway]"),
        ("istio-ingress", "phase: AUTHN", "phase: AUTH"),
        ("istio-ingress", "matchLabels", "labels"),
        ("istio-ingress", "kind: WasmPlugin", "kind: WasmPlugins"),
        ("istio-ingress", "url:", "image:"),
    ];
    let broken = mistakes.map(|(folder, right, wrong)| {
        let rendered = render(&deploy.path().join(folder));
        assert!(rendered.contains(right), "{folder}: {right}");
        as_istio(&rendered.replacen(right, wrong, 1))
    });
    for (mistake, problems) in mistakes.iter().zip(Schemas::get().problems(&broken)) {
        assert!(!problems.is_empty(), "{mistake:?} is taken");
    }
}

#[test]
fn nothing_is_rendered_before_an_image_is_pinned() {
    let deploy = deploy();
    fs::remove_file(deploy.path().join("image/kustomization.yaml")).unwrap();
    for (folder, _) in PINNED {
        for output in Schemas::get().kustomize(&deploy.path().join(folder)) {
            assert!(!output.status.success() && output.stdout.is_empty(), "{folder}");
            // As docs/deploy.md shows it.
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(error.contains("unable to find one of 'kustomization.yaml'"), "{error}");
        }
    }
}

#[test]
fn an_envoyfilter_without_a_module_is_not_rendered() {
    let deploy = deploy();
    for wrong in ["", "bm8gbW9kdWxl"] {
        fs::write(deploy.path().join("istio-envoyfilter/plugin.base64"), wrong).unwrap();
        for output in Schemas::get().kustomize(&deploy.path().join("istio-envoyfilter")) {
            assert!(!output.status.success() && output.stdout.is_empty(), "{wrong:?}");
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(error.contains("options.index 1 is out of bounds"), "{error}");
        }
    }
}

#[test]
fn the_filter_order_of_envoy_gateway_is_valid() {
    let file = root().join("deploy/envoy-gateway/filter-order.yaml");
    let order = fs::read_to_string(file).unwrap();
    assert_valid(std::slice::from_ref(&order));
    let wrong = [
        order.replacen("before: ", "befor: ", 1),
        order.replacen("http.cors", "http.corse", 1),
        order.replacen("filterOrder:", "filtersOrder:", 1),
    ];
    for (wrong, problems) in wrong.iter().zip(Schemas::get().problems(&wrong)) {
        assert!(*wrong != order && !problems.is_empty(), "{wrong} is taken");
    }
}

/// No schema of it is to be had; but it is YAML, and what it names is there.
#[test]
fn kong_s_configuration_names_what_it_has() {
    let kong =
        Schemas::get().json(&fs::read_to_string(root().join("deploy/kong/kong.yml")).unwrap());
    assert_eq!(kong["_format_version"], "3.0");
    let [service, chain] = ["services", "filter_chains"].map(|list| &kong[list][0]);
    assert_eq!(
        (&chain["service"], &chain["filters"][0]["name"]),
        (&service["name"], &json!("header-gate"))
    );
    assert_eq!(service["routes"][0]["paths"], json!(["/"]));
    assert!(service["url"].as_str().unwrap().starts_with("http://"));
}

fn statuses(port: u16) -> [u16; 2] {
    let ask = |headers: &[(&[u8], &[u8])]| {
        Connection::open(port).unwrap().send("GET", "/", headers, b"").unwrap().status
    };
    [ask(&[]), ask(&[(b"allow", b"true")])]
}

#[test]
fn the_envoyfilter_carries_a_filter_that_envoy_runs() {
    let deploy = deploy();
    let rendered = render(&deploy.path().join("istio-envoyfilter"));
    assert_valid(std::slice::from_ref(&rendered));
    let resource: Value = Schemas::get().json(&rendered);
    let filter = &resource["spec"]["configPatches"][0]["patch"]["value"];
    let binary = install(root(), NEWEST).unwrap();
    let start = |filter: Value| {
        let config = config(&[Listener::new("gate").filter(filter)]).to_string();
        Envoy::start(Command::new(&binary), &config, &Options::default())
    };
    let envoy = start(filter.clone()).unwrap();
    assert_eq!(statuses(envoy.port("gate").unwrap()), [403, 200]);
    for (right, wrong) in [("failure_policy", "fail_policy"), ("FAIL_CLOSED", "FAIL_CLOSE")] {
        let broken = filter.to_string().replace(right, wrong);
        assert!(start(serde_json::from_str(&broken).unwrap()).is_err(), "{wrong} is taken");
    }
}

#[test]
fn the_net_of_istio_is_valid_and_a_wrong_one_refused() {
    let net = fs::read_to_string(root().join("deploy").join(NETS[1])).unwrap();
    assert_valid(std::slice::from_ref(&net));
    for (right, wrong) in [
        ("action: DENY", "action: DENIED"),
        ("selector:", "selectors:"),
        ("kind: AuthorizationPolicy", "kind: AuthorisationPolicy"),
    ] {
        let problems = Schemas::get().problems(&[net.replace(right, wrong)]).remove(0);
        assert!(!problems.is_empty(), "{wrong} is taken");
    }
}

#[test]
fn the_nets_have_the_rule_of_the_policy() {
    let Policy { header, values, .. } = header_gate_e2e::policy(&Variant::default());
    let [envoy, istio] = NETS.map(|name| {
        Schemas::get().json(&fs::read_to_string(root().join("deploy").join(name)).unwrap())
    });
    let exact = |value| json!({ "header": { "name": header, "string_match": { "exact": value } } });
    let rules = &envoy[0]["typed_config"]["rules"];
    assert_eq!(rules["action"], "ALLOW");
    let principals = &rules["policies"]["agreed"]["principals"];
    assert_eq!(principals, &Value::from_iter(values.iter().map(exact)));
    let rule = json!({ "key": format!("request.headers[{header}]"), "notValues": values });
    assert_eq!(istio["spec"]["action"], "DENY");
    assert_eq!(istio["spec"]["rules"], json!([{ "when": [rule] }]));
    // It selects the pods that the gate is on.
    let gate = fs::read_to_string(root().join("deploy/istio-ingress/wasmplugin.yaml")).unwrap();
    let gate = Schemas::get().json(&gate);
    for path in ["/spec/selector", "/metadata/namespace"] {
        assert_eq!(istio.pointer(path).unwrap(), gate.pointer(path).unwrap());
    }
}

#[test]
fn the_static_envoy_is_valid() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("plugin.wasm"), module(&Variant::default())).unwrap();
    let file = fs::read_to_string(root().join("deploy/envoy.yaml")).unwrap();
    let binary = install(root(), NEWEST).unwrap();
    let validate = |config: &str| {
        let mut envoy = Command::new(&binary);
        envoy.args(["--mode", "validate", "--config-yaml", config]);
        envoy.current_dir(folder.path()).output().unwrap().status.success()
    };
    assert!(validate(&file));
    assert!(!validate(&file.replace("failure_policy", "fail_policy")));
}

#[test]
fn the_gate_of_the_dynamic_envoy_is_replaced_while_it_serves() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let read = |name: &str| fs::read_to_string(root().join("deploy/envoy-xds").join(name)).unwrap();
    let bootstrap = read("envoy.yaml").replace("port_value: 9901", "port_value: 0");
    assert!(bootstrap.contains("--reject-unknown-dynamic-fields"));
    // Nobody listens on port 1: what passes the gate is answered 503.
    fs::write(path("cds.yaml"), read("cds.yaml").replace("port_value: 8000", "port_value: 1"))
        .unwrap();
    let listener = read("lds.yaml").replace("port_value: 10000", "port_value: 0");
    let replace = |listener: &str| {
        fs::write(path("new"), listener).unwrap();
        fs::rename(path("new"), path("lds.yaml")).unwrap();
    };
    replace(&listener);
    fs::write(path("plugin.wasm"), module(&Variant::default())).unwrap();

    let mut command = Command::new(install(root(), NEWEST).unwrap());
    command.arg("--reject-unknown-dynamic-fields").current_dir(folder.path());
    let envoy = Envoy::start(command, &bootstrap, &Options::default()).unwrap();
    assert_eq!(statuses(envoy.port("gate").unwrap()), [403, 503]);

    let counted = |name: &str| {
        let name = format!("listener_manager.{name}");
        header_gate_e2e::until(&name, || envoy.stat(&name).unwrap() == Some(1.0));
    };
    replace(&listener.replace("failure_policy", "fail_policy"));
    counted("lds.update_rejected");
    assert_eq!(statuses(envoy.port("gate").unwrap()), [403, 503]);

    // A policy with another header: the article's is denied now.
    let other = Variant::default().with_policy(root().join("policies/api-key.toml"));
    fs::write(path("other.wasm"), module(&other)).unwrap();
    replace(&listener.replace("plugin.wasm", "other.wasm"));
    counted("listener_modified");
    let denied = header_gate_e2e::policy(&other).deny.status;
    header_gate_e2e::until("the other gate is not met", || {
        statuses(envoy.port("gate").unwrap()) == [denied, denied]
    });
}

/// The guide's own command names the new module, whatever the old one is called.
#[test]
fn the_guide_s_replacement_works_each_time() {
    let guide = fs::read_to_string(root().join("docs/deploy.md")).unwrap();
    let command = guide.lines().find_map(|line| line.strip_prefix("$ sed ")).unwrap();
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::copy(root().join("deploy/envoy-xds/lds.yaml"), path("lds.yaml")).unwrap();
    for new in 2..4 {
        let command = format!("sed {}", command.replace("plugin-2", &format!("plugin-{new}")));
        let status = Command::new("sh").args(["-c", &command]).current_dir(folder.path()).status();
        assert!(status.unwrap().success(), "{command}");
        fs::rename(path("lds.new"), path("lds.yaml")).unwrap();
        let listener = fs::read_to_string(path("lds.yaml")).unwrap();
        assert!(listener.contains(&format!("{{ filename: plugin-{new}.wasm }}")), "{listener}");
    }
}

#[test]
fn no_file_of_deploy_is_left_out() {
    let checked = PINNED.map(|(folder, _)| folder);
    let checked: Vec<_> = checked.into_iter().chain(["envoy-xds", "istio-envoyfilter"]).collect();
    for entry in fs::read_dir(root().join("deploy")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "image" && !checked.contains(&name) {
            for file in fs::read_dir(&path).unwrap() {
                let file = file.unwrap().path();
                let says = fs::read_to_string(&file).unwrap().contains("# No package registry has");
                assert!(says, "{}: neither validated nor says why not", file.display());
            }
        }
        let known = path.is_dir() || NETS.contains(&name) || name == "envoy.yaml";
        let known = known || name.ends_with(".sh");
        assert!(known, "{name}: neither validated nor says why not");
    }
}
