//! Every file of `deploy/`: rendered by kustomize and validated with the schema of its resource. tests/limits.rs
//! runs `envoy.yaml`, tests/rollout.rs `envoy-xds`, tests/native.rs `envoy-native.yaml`, tests/render.rs
//! `envoy-fast-lane.yaml`; tests/repository.rs checks `compose.yaml`. No package registry has the gateway of `nginx`, and
//! no builder for `gate.Dockerfile`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use header_gate_cli::build::artifact;
use header_gate_cli::build::variant::Variant;
use header_gate_cli::push::kustomization;
use header_gate_e2e::gateway::Answer::{Gate, Upstream};
use header_gate_e2e::gateway::{GOOD, ask, deployed, start};
use header_gate_e2e::schemas::{Validated, json, kustomize, validate};
use header_gate_e2e::{error, root, stdout};
use header_gate_envoy::NEWEST;
use header_gate_envoy::config::{Listener, config};
use header_gate_policy::Policy;
use serde_json::{Value, json};
use tempfile::TempDir;

const IMAGE: &str = "registry.example.com:5000/team/gate@sha256:00000000000000000000000000000000000000000000000000000000000000ff";

/// The folders whose image is pinned, and the field.
const PINNED: [(&str, &str); 5] = [
    ("envoy-gateway", "url: "),
    ("higress", "url: oci://"),
    ("istio-gateway-api", "url: oci://"),
    ("istio-ingress", "url: oci://"),
    ("istio-traffic-extension", "url: oci://"),
];
/// The folders whose resource contains the module.
const ENVOY_FILTERS: [&str; 2] = ["istio-envoyfilter", "istio-cors"];
/// Fallback filters, which repeat the rule of the gate. tests/limits.rs runs the first.
const FALLBACKS: [&str; 2] = ["envoy-fallback.yaml", "istio-ingress/fallback.yaml"];

/// Mistakes that the schema of a resource must find: the resource, a text in it, the wrong text.
const MISTAKES: &str = "\
envoy-gateway | failOpen | failOpn
envoy-gateway | rootID | rootId
envoy-gateway | type: Image | type: Picture
envoy-gateway | url: | uri:
envoy-gateway/filter-order.yaml | before: | befor:
envoy-gateway/filter-order.yaml | http.cors | http.corse
envoy-gateway/filter-order.yaml | filterOrder: | filtersOrder:
envoy-gateway/native.yaml | kind: EnvoyProxy | kind: EnvoyProxi
envoy-gateway/native.yaml | container: | containers:
envoy-gateway/native.yaml | type: Kubernetes | type: Cluster
envoy-gateway/native.yaml | targetRefs: | targetsRef:
higress | failStrategy | failPolicy
istio-cors | INSERT_BEFORE | INSERT_BEHIND
istio-cors | subFilter | subfilter
istio-envoyfilter | INSERT_FIRST | INSERT_1ST
istio-envoyfilter | workloadSelector | selector
istio-gateway-api | targetRefs | targetRef
istio-gateway-api | kind: Gateway | kind: [Gateway]
istio-ingress | phase: AUTHN | phase: AUTH
istio-ingress | matchLabels | labels
istio-ingress | kind: WasmPlugin | kind: WasmPlugins
istio-ingress | url: | image:
istio-traffic-extension | failStrategy | failPolicy
istio-traffic-extension | phase: AUTHN | phase: AUTH
istio-ingress/fallback.yaml | action: DENY | action: DENIED
istio-ingress/fallback.yaml | selector: | selectors:
istio-ingress/fallback.yaml | kind: AuthorizationPolicy | kind: AuthorisationPolicy
probe-cronjob.yaml | kind: CronJob | kind: Cronjob
probe-cronjob.yaml | schedule: | plan:
probe-cronjob.yaml | restartPolicy: Never | restartPolicy: Sometimes
probe-cronjob.yaml | secretName: | secret:
probe-cronjob.yaml | readOnlyRootFilesystem: | readonlyRootFilesystem:
";

/// Fields of Envoy Gateway 1.8, which the schema does not have: the modules of a proxy, and a policy that uses one.
const DYNAMIC_MODULES: [&str; 2] = [
    "  dynamicModules:
    - name: header-gate
      source:
        type: Local
        local: { path: /usr/local/lib/libheader_gate.so }
",
    "  dynamicModule:
    - name: header-gate
      filterName: header-gate
",
];

/// A copy of `deploy/` with a pinned image and the plugin for the EnvoyFilter.
fn deploy() -> TempDir {
    let copy = TempDir::new().unwrap();
    let script =
        r#"cp -r deploy/. "$0" && base64 "$1" | tr -d '\n' >"$0/istio-envoyfilter/plugin.base64""#;
    let mut shell = Command::new("sh");
    shell.current_dir(root()).args(["-c", script]).arg(copy.path());
    shell.arg(artifact(root(), &Variant::default()).unwrap());
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
    rendered.remove(0)
}

/// The resource in the form of another one, of which npm has a schema: Higress's WasmPlugin has the fields of
/// Istio's; so has a TrafficExtension, some of them under `wasm`.
fn with_schema(resource: &str) -> String {
    let resource =
        DYNAMIC_MODULES.iter().fold(resource.to_owned(), |rest, fields| rest.replace(fields, ""));
    let resource = resource.replace("extensions.higress.io/", "extensions.istio.io/");
    if !resource.contains("kind: TrafficExtension\n") {
        return resource;
    }
    let mut plugin = json(&resource);
    plugin["kind"] = "WasmPlugin".into();
    let spec = plugin["spec"].as_object_mut().unwrap();
    let Some(Value::Object(fields)) = spec.remove("wasm") else { panic!("{resource}") };
    spec.extend(fields);
    plugin.to_string()
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
        wrong.push(with_schema(&resource.replacen(from, to, 1)));
    }
    let valid: Vec<_> = valid.into_values().map(|resource| with_schema(&resource)).collect();
    for (resource, Validated { problems, .. }) in valid.iter().zip(validate(&valid)) {
        assert!(problems.is_empty(), "{problems:#?}\n{resource}");
    }
    let native = deployed("envoy-gateway/native.yaml", &[]);
    assert!(DYNAMIC_MODULES.iter().all(|fields| native.contains(fields)), "{native}");
    for (mistake, Validated { problems, .. }) in MISTAKES.lines().zip(validate(&wrong)) {
        assert!(!problems.is_empty(), "{mistake} is accepted");
    }
}

#[test]
fn the_pinned_image_is_rendered_and_nothing_without_an_image_or_a_module() {
    let deploy = deploy();
    for (folder, field) in PINNED {
        let rendered = resource(deploy.path(), folder);
        assert!(rendered.contains(&format!("{field}{IMAGE}\n")), "{rendered}");
        assert!(!rendered.contains("unpinned"), "{rendered}");
    }
    // As docs/deploy.md shows the errors.
    fs::remove_file(deploy.path().join("image/kustomization.yaml")).unwrap();
    for (folder, _) in PINNED {
        let reason = "unable to find one of 'kustomization.yaml'";
        assert_not_rendered(&deploy.path().join(folder), reason);
    }
    for wrong in ["", "bm8gbW9kdWxl"] {
        fs::write(deploy.path().join("istio-envoyfilter/plugin.base64"), wrong).unwrap();
        for folder in ENVOY_FILTERS {
            let folder = deploy.path().join(folder);
            assert_not_rendered(&folder, "options.index 1 is out of bounds");
        }
    }
}

#[test]
fn the_fallback_filters_have_the_rule_of_the_policy() {
    let Policy { header, values, .. } = header_gate_e2e::policy(&Variant::default());
    let [envoy, istio] = FALLBACKS.map(|name| json(&deployed(name, &[])));
    let exact = |value| json!({ "header": { "name": header, "string_match": { "exact": value } } });
    let rules = &envoy[0]["typed_config"]["rules"];
    assert_eq!(rules["action"], "ALLOW");
    let principals = &rules["policies"]["agreed"]["principals"];
    assert_eq!(principals, &Value::from_iter(values.iter().map(exact)));
    let rule = json!({ "key": format!("request.headers[{header}]"), "notValues": values });
    assert_eq!(istio["spec"]["action"], "DENY");
    assert_eq!(istio["spec"]["rules"], json!([{ "when": [rule] }]));
    // It selects the same pods as the gate.
    let gate = json(&deployed("istio-ingress/wasmplugin.yaml", &[]));
    for path in ["/spec/selector", "/metadata/namespace"] {
        assert_eq!(istio.pointer(path).unwrap(), gate.pointer(path).unwrap());
    }
}

#[test]
fn envoy_runs_the_filter_of_each_envoyfilter() {
    let deploy = deploy();
    let start = |filter: Value| start(NEWEST, &config(&[Listener::new("gate").filter(filter)]), 2);
    for folder in ENVOY_FILTERS {
        let resource = json(&resource(deploy.path(), folder));
        let filter = &resource["spec"]["configPatches"][0]["patch"]["value"];
        let envoy = start(filter.clone()).unwrap();
        let port = envoy.port("gate").unwrap();
        assert_eq!((ask(port, &[]), ask(port, GOOD)), (Gate, Upstream), "{folder}");
        for (right, wrong) in [("failure_policy", "fail_policy"), ("FAIL_CLOSED", "FAIL_CLOSE")] {
            let broken = filter.to_string().replace(right, wrong);
            assert!(start(serde_json::from_str(&broken).unwrap()).is_err(), "{wrong} is accepted");
        }
    }
}

#[test]
fn the_arguments_of_the_cron_job_are_the_probe_s() {
    let job = json(&deployed("probe-cronjob.yaml", &[]));
    let container = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    let args = container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap());
    let mut gate = Command::new(root().join(".cargo/gate.sh"));
    // Nothing listens on port 1.
    gate.args(args.map(|arg| match arg {
        url if url.starts_with("https://") => "https://127.0.0.1:1/",
        "--policy=/policy/policy.toml" => "--policy=policy.toml",
        other => other,
    }));
    let error = error(&gate.current_dir(root()).output().unwrap());
    assert!(error.contains("127.0.0.1:1: "), "{error}");
}

#[test]
fn every_file_of_deploy_is_named_here() {
    for entry in fs::read_dir(root().join("deploy")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let named = [format!("`{name}`"), format!("\"{name}\"")];
        let named = named.iter().any(|name| include_str!("manifests.rs").contains(name));
        assert!(
            named || name == "image" || name.ends_with(".sh"),
            "deploy/{name} is not validated"
        );
    }
}
