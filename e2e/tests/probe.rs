//! `deploy/probe.sh`, the check after a deployment: it accepts a gate that does what its policy says on every
//! connection, and nothing else.

use std::fs;

use anyhow::Result;
use header_gate_cli::build::variant::Variant;
use header_gate_e2e::gateway::{failure, gate, listener, probe, start};
use header_gate_e2e::probe::{assert_probe, assert_rows, denials, policy_file, write};
use header_gate_e2e::{certificates, module, policy, root};
use header_gate_envoy::config::{Listener, config, extension};
use header_gate_envoy::{Envoy, NEWEST};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Status, and who answered.
const ACCESS_LOG: &str = "access log: %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%";

/// An Envoy with two workers and a listener `gate`, and the URL of that.
fn serve(listener: Listener) -> Result<(Envoy, String)> {
    let envoy = start(NEWEST, &config(&[listener]), 2)?;
    let url = format!("http://127.0.0.1:{}/status/418", envoy.port("gate")?);
    Ok((envoy, url))
}

fn serve_variant(variant: &Variant) -> (Envoy, String) {
    serve(listener("gate", variant)).unwrap()
}

fn api_key() -> Variant {
    Variant::default().with_policy(root().join("policies/api-key.toml"))
}

#[test]
fn a_working_gate_is_accepted() {
    let (_envoy, url) = serve_variant(&Variant::default());
    let table = assert_probe(&[&url], "ok", &denials("64 x denied | ok"));
    assert_rows(&table, "no header, gRPC | 64 x denied (by its gRPC status) | ok");
    assert_rows(&table, "value 1 of 1 | 64 x 200 | ok\nvalue 1, afterwards | 64 x 200 | ok");
}

#[test]
fn a_gateway_without_the_gate_fails() {
    let (_envoy, url) = serve(Listener::new("gate")).unwrap();
    assert_probe(&[&url, "--connections", "4"], "6 of 8", &denials("4 x 200 | FAILED"));
}

#[test]
fn a_plugin_that_dies_fails() {
    // Alive at first: the probe's own byte that is not UTF-8 kills one worker after the other.
    let (envoy, url) =
        serve(listener("gate", &Variant::baseline()).access_log(ACCESS_LOG)).unwrap();
    let end = "64 x 503, not the gate's denial | FAILED";
    let rows = format!("a byte that is not UTF-8 | {end}\nvalue 1, afterwards | {end}");
    assert_probe(&[&url], "8 of 8", &rows);
    // What docs/deploy.md says of such a gateway: the gauge does not show it, the logs do.
    assert_eq!(header_gate_e2e::virtual_machines(&envoy), 4);
    let log = envoy.stop().unwrap();
    for line in ["Function: proxy_on_request_headers failed", "access log: 503 wasm_fail_stream\n"]
    {
        assert!(log.contains(line), "{line} is not in\n{log}");
    }
}

/// A filter that answers every request by itself, with this script.
fn lua(script: &str) -> Value {
    let script = format!("function envoy_on_request(handle) handle:respond({script}) end");
    let config = json!({ "default_source_code": { "inline_string": script } });
    extension("lua", "filters.http.lua.v3.Lua", config)
}

/// Probes each listener with these arguments: the outcome, and rows of the table, which never shows a secret value.
fn assert_each<const N: usize>(envoy: &Envoy, probes: [(&str, &str, &str, String); N]) {
    for (listener, arguments, outcome, rows) in probes {
        let url = format!("http://127.0.0.1:{}/", envoy.port(listener).unwrap());
        let arguments = format!("{url} --connections 2 {arguments}");
        let table = assert_probe(&arguments.split_whitespace().collect::<Vec<_>>(), outcome, &rows);
        let secret = policy(&api_key()).values;
        assert!(secret.iter().all(|value| !table.contains(&value[..8])), "{table}");
    }
}

#[test]
fn only_answers_of_the_service_count_as_passed() {
    let folder = TempDir::new().unwrap();
    let old = json!({ "name": "allow", "string_match": { "exact": "old" } });
    let rule = json!({ "permissions": [{ "any": true }], "principals": [{ "header": old }] });
    let rules = json!({ "rules": { "action": "ALLOW", "policies": { "rule": rule } } });
    let another = policy_file(&folder, "\"true\"", "\"another\"");
    let fallback = extension("rbac", "filters.http.rbac.v3.RBAC", rules);
    let listeners = [
        // The value was changed in the gate and not in the filter behind it.
        gate("fallback").filter(fallback.clone()),
        listener("secret", &api_key()).filter(fallback),
        gate("jwt").filter(lua("{[':status'] = '401'}, 'Jwt is missing\\n'")),
        gate("missing").filter(lua("{[':status'] = '404'}, 'no such page'")),
        // The answer to a secret value may repeat it.
        listener("echo", &api_key())
            .filter(lua("{[':status'] = '400'}, handle:headers():get('x-api-key')")),
        listener("older", &api_key()),
        // The same denial, another value.
        listener("another", &Variant::default().with_policy(&another)),
        gate("right"),
    ];
    let envoy = start(NEWEST, &config(&listeners), 2).unwrap();
    let accepted = |end: &str| format!("value 1 of 1 | {end}\nvalue 1, afterwards | {end}");
    let other = |status: u16, body: &str| {
        accepted(&format!("2 x {status}, not the gate's denial{body} | FAILED"))
    };
    let older = other(401, r#" "{\"error\":\"a valid x-api-key is required\"}""#);
    let key = api_key().policy_file(root()).unwrap();
    let key = format!("--policy {}", key.display());
    let secret = |seen: &str| format!("value 2 of 2 | 2 x {seen} | FAILED");
    let denied = secret("403, not the gate's denial \"RBAC: access denied\"");
    assert_each(
        &envoy,
        [
            ("fallback", "", "2 of 8", other(403, " \"RBAC: access denied\"")),
            (
                "fallback",
                "--status-only",
                "2 of 8",
                accepted("2 x denied (by its status) | FAILED"),
            ),
            ("jwt", "", "2 of 8", other(401, " \"Jwt is missing\"")),
            ("jwt", "", "2 of 8", denials("2 x denied | ok")),
            ("missing", "", "2 of 8", other(404, " \"no such page\"")),
            ("missing", "--expect 404", "ok", accepted("2 x 404 | ok")),
            ("missing", "--expect 201,404", "ok", accepted("2 x 404 | ok")),
            ("right", "--expect 201,404", "2 of 8", accepted("2 x 200 | FAILED")),
            ("echo", &key, "3 of 10", secret("400, not the gate's denial")),
            ("secret", &key, "3 of 10", denied),
            ("older", "", "8 of 8", older),
            ("older", &key, "ok", "value 2 of 2 | 2 x 200 | ok".to_owned()),
            ("another", "", "2 of 8", accepted("2 x denied | FAILED")),
            ("another", &format!("--policy {another}"), "ok", accepted("2 x 200 | ok")),
        ],
    );
}

#[test]
fn only_answers_of_the_gate_count_as_denied() {
    let folders = [(); 4].map(|()| TempDir::new().unwrap());
    let sorry = json!({ "text_format_source": { "inline_string": "sorry\n" } });
    let rewritten = json!({ "body_format": sorry });
    let listeners = [gate("rewritten").manager("local_reply_config", rewritten), gate("gate")];
    let envoy = start(NEWEST, &config(&listeners), 2).unwrap();
    let [body, kind, shorter, longer] = [
        ("body = \"", "body = \"not "),
        ("text/plain", "text/html"),
        ("version\\n\"", "version\""),
        ("version\\n\"", "version\\n\\n\""),
    ];
    let edited = |n: usize, (old, new)| format!("--policy {}", policy_file(&folders[n], old, new));
    let other =
        |body: &str| denials(&format!("2 x 403, not the gate's denial \"{body}\" | FAILED"));
    let forbidden = other("Forbidden by ASM Wasm Plugin, rust version");
    let grpc = "no header, gRPC | 2 x grpc-status 7, not the gate's denial | FAILED";
    let headers = denials("2 x 403 without the policy's Content-Type | FAILED");
    assert_each(
        &envoy,
        [
            ("rewritten", "", "6 of 8", other("sorry")),
            ("rewritten", "--status-only", "ok", denials("2 x denied (by its status) | ok")),
            ("rewritten", "", "6 of 8", grpc.to_owned()),
            ("gate", &edited(0, body), "6 of 8", forbidden.clone()),
            ("gate", &edited(1, kind), "5 of 8", headers),
            // nginx adds one line feed to the policy's body.
            ("gate", &edited(2, shorter), "ok", denials("2 x denied (one line feed more) | ok")),
            ("gate", &edited(3, longer), "6 of 8", forbidden),
        ],
    );
}

#[test]
fn a_module_cut_short_does_not_start() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("plugin.wasm");
    let module = module(&Variant::default());
    fs::write(&file, &module[..module.len() / 2]).unwrap();
    let error = serve(Listener::new("gate").wasm(&file)).unwrap_err();
    assert!(error.to_string().contains("corrupted Wasm module"), "{error:#}");
}

#[test]
fn a_plugin_that_was_never_fetched_fails() {
    // An Envoy that fetches its plugin starts without it; this one gets something else.
    let (upstream, _) = serve(Listener::new("gate")).unwrap();
    for (failure_policy, seen, failed) in
        [("FAIL_CLOSED", "503, not the gate's denial", "8 of 8"), ("FAIL_OPEN", "200", "6 of 8")]
    {
        let remote = json!({
            "http_uri": { "uri": "gate/plugin.wasm", "cluster": "gate", "timeout": "1s" },
            "sha256": "00".repeat(32),
            "retry_policy": { "num_retries": 0 },
        });
        let vm = json!({ "runtime": "envoy.wasm.runtime.v8", "code": { "remote": remote } });
        let config = json!({ "failure_policy": failure_policy, "vm_config": vm });
        let filter = extension("gate", "filters.http.wasm.v3.Wasm", json!({ "config": config }));
        let listener = Listener::new("gate").upstream(upstream.port("gate").unwrap());
        let (_envoy, url) = serve(listener.filter(filter)).unwrap();
        let row = format!("no header | 4 x {seen} | FAILED");
        assert_probe(&[&url, "--connections", "4"], failed, &row);
    }
}

#[test]
fn a_gateway_with_tls_is_asked_over_both_versions_of_http() {
    let folder = TempDir::new().unwrap();
    let [root, certificate, key] = certificates("gate.test");
    let listeners = [("h2", &["h2", "http/1.1"][..]), ("http1", &[])]
        .map(|(name, alpn)| gate(name).tls(&certificate, &key, alpn));
    let envoy = start(NEWEST, &config(&listeners), 2).unwrap();
    let root = format!("--cacert {}", write(folder.path(), "root.pem", &root));
    let other =
        format!("--cacert {}", write(folder.path(), "other.pem", &certificates("gate.test")[0]));
    let name = "--host gate.test";
    for (listener, arguments, outcome, part) in [
        ("h2", [&root, name], "ok", "(HTTP/2 over TLS)"),
        ("http1", [&root, name], "ok", "(HTTP/1.1 over TLS)"),
        ("h2", ["--insecure", ""], "ok", "(HTTP/2 over TLS, certificate not verified)"),
        ("h2", [&root, ""], "no", "not valid for name \"127.0.0.1\""),
        ("h2", [&other, name], "no", "--cacert FILE"),
        ("h2", ["", name], "no", "--cacert FILE"),
    ] {
        let port = envoy.port(listener).unwrap();
        let arguments =
            format!("https://127.0.0.1:{port}/ --connections 4 {}", arguments.join(" "));
        let arguments: Vec<_> = arguments.split_whitespace().collect();
        let said = match outcome {
            "ok" => assert_probe(&arguments, "ok", &denials("4 x denied | ok")),
            _ => failure(probe(&arguments)).0,
        };
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn the_admin_api_and_the_access_log_show_what_the_gate_does() {
    let (upstream, _) = serve(Listener::new("gate")).unwrap();
    let listener = gate("gate").upstream(upstream.port("gate").unwrap());
    let (envoy, url) = serve(listener.access_log(ACCESS_LOG)).unwrap();
    for (envoy, outcome, row) in [
        (&envoy, "ok", "virtual machines | 4 x active | ok"),
        // This one has no plugin, whatever the answers of the other say.
        (&upstream, "1 of 9", "virtual machines | 0 x active | FAILED"),
    ] {
        let admin = format!("http://127.0.0.1:{}", envoy.admin_port());
        assert_probe(&[&url, "--admin", &admin, "--connections", "2"], outcome, row);
    }
    let (error, _) = failure(probe(&[&url, "--admin", &url, "--connections", "2"]));
    assert!(error.contains("is not an admin API") && error.contains("403"), "{error}");
    let log = envoy.stop().unwrap();
    for line in ["200 via_upstream", "403 "] {
        assert!(log.contains(&format!("access log: {line}\n")), "{line} is not in\n{log}");
    }
}
