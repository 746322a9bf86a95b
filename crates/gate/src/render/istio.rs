//! Resources of Istio.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use header_gate_contract::limits;
use header_gate_policy::Policy;
use serde_json::{Value, json};

use super::FILTER;

const NAMESPACE: &str = "istio-system";

/// The labels of the gateway's pods.
fn labels() -> Value {
    json!({ "istio": "ingressgateway" })
}

/// A module as part of the resource.
pub fn inline(module: &[u8]) -> Value {
    json!({ "local": { "inline_bytes": STANDARD.encode(module) } })
}

/// An `EnvoyFilter` with this HTTP filter in front of all others.
pub fn matcher(filter: Value) -> Value {
    let manager = json!({ "name": "envoy.filters.network.http_connection_manager" });
    let listener = json!({ "filterChain": { "filter": manager } });
    let patch = json!({
        "applyTo": "HTTP_FILTER",
        "match": { "context": "GATEWAY", "listener": listener },
        "patch": { "operation": "INSERT_FIRST", "value": filter },
    });
    json!({
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": { "name": FILTER, "namespace": NAMESPACE },
        "spec": { "workloadSelector": { "labels": labels() }, "configPatches": [patch] },
    })
}

/// The gate as a `WasmPlugin` whose configuration is the policy.
///
/// # Errors
/// The policy has more than a configuration may have.
pub fn wasmplugin(policy: &Policy) -> Result<Value> {
    let configuration = serde_json::to_value(policy)?;
    let (size, clients) = (configuration.to_string().len(), policy.client.len());
    let fits = size <= limits::TEXT && clients <= limits::ITEMS;
    ensure!(
        fits,
        "{clients} clients, {size} bytes: a configuration has at most {} clients and {} bytes",
        limits::ITEMS,
        limits::TEXT
    );
    Ok(json!({
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": { "name": FILTER, "namespace": NAMESPACE },
        "spec": {
            "selector": { "matchLabels": labels() },
            "url": "oci://registry.example.com/header-gate:unpinned",
            "imagePullPolicy": "IfNotPresent",
            "phase": "AUTHN",
            "failStrategy": "FAIL_CLOSE",
            "pluginConfig": configuration,
        },
    }))
}

/// The fallback. It is a DENY policy because another ALLOW policy could not widen it.
pub fn net(policy: &Policy) -> Value {
    let key = format!("request.headers[{}]", policy.header);
    let rule = json!({ "when": [{ "key": key, "notValues": policy.accepted() }] });
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": { "name": format!("{FILTER}-fallback"), "namespace": NAMESPACE },
        "spec": {
            "selector": { "matchLabels": labels() },
            "action": "DENY",
            "rules": [rule],
        },
    })
}
