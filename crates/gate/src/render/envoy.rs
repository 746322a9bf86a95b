//! Configuration of Envoy.

use std::path::Path;

use anyhow::{Result, ensure};
use header_gate_policy::Policy;
use serde_json::{Map, Value, json};

use super::FILTER;
use super::regex::complement;

/// An extension with the type `api` in Envoy's API.
fn extension(name: &str, api: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/envoy.{api}").into();
    json!({ "name": name, "typed_config": config })
}

/// A module in a file of Envoy's machine.
pub fn local(file: &Path) -> Value {
    json!({ "local": { "filename": file } })
}

/// The gate as plugin.
pub fn wasm(code: Value) -> Value {
    let config = json!({
        "name": FILTER,
        "root_id": FILTER,
        "failure_policy": "FAIL_CLOSED",
        "vm_config": { "vm_id": FILTER, "code": code },
    });
    extension(FILTER, "extensions.filters.http.wasm.v3.Wasm", json!({ "config": config }))
}

/// Envoy's matcher around a filter, which a request with an accepted value skips. Several lines of the header are one
/// value for the matcher, joined by commas, and no accepted one.
pub fn matcher(policy: &Policy, filter: Value) -> Value {
    let input = json!({ "header_name": policy.header });
    let input = extension("header", "type.matcher.v3.HttpRequestHeaderMatchInput", input);
    let skip = "extensions.filters.common.matcher.action.v3.SkipFilter";
    let skip = json!({ "action": extension("skip", skip, json!({})) });
    let accepted = policy.accepted();
    let map: Map<_, _> = accepted.iter().map(|value| ((*value).to_owned(), skip.clone())).collect();
    let tree = json!({ "input": input, "exact_match_map": { "map": map } });
    let config = json!({ "xds_matcher": { "matcher_tree": tree }, "extension_config": filter });
    extension(FILTER, "extensions.common.matching.v3.ExtensionWithMatcher", config)
}

/// For a copy of a route, in front of it: a match of the header, and the switch that turns the gate off.
pub fn route(policy: &Policy) -> Result<Value> {
    let values = policy.accepted();
    ensure!(
        values.iter().all(|value| value.is_ascii()),
        "`values`: envoy-route: only ASCII can be written as a regular expression"
    );
    // A header with several lines matches if one of them does: the second match refuses any other line.
    let one_of: Vec<_> = values.iter().map(|value| regex_escaped(value)).collect();
    let matches = |regex: String| json!({ "safe_regex": { "regex": regex } });
    let headers = json!([
        { "name": policy.header, "string_match": matches(one_of.join("|")) },
        { "name": policy.header, "string_match": matches(complement(&values)), "invert_match": true },
    ]);
    let off = json!({ "disabled": true, "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig" });
    Ok(json!({
        "match": { "prefix": "/", "headers": headers },
        "typed_per_filter_config": { FILTER: off },
    }))
}

fn regex_escaped(value: &str) -> String {
    value.bytes().map(super::regex::literal).collect()
}

/// The fallback: Envoy's RBAC filter.
pub fn rbac(policy: &Policy) -> Value {
    let principal =
        |value| json!({ "header": { "name": policy.header, "string_match": { "exact": value } } });
    let principals: Vec<_> = policy.accepted().into_iter().map(principal).collect();
    let agreed = json!({ "permissions": [{ "any": true }], "principals": principals });
    let rules = json!({ "action": "ALLOW", "policies": { "agreed": agreed } });
    extension("fallback", "extensions.filters.http.rbac.v3.RBAC", json!({ "rules": rules }))
}

/// Envoy's filter for API keys.
pub fn api_key_auth(policy: &Policy) -> Value {
    let credential = |(client, key): (String, &str)| json!({ "key": key, "client": client });
    let ids = policy.client.iter().map(|client| client.id.clone());
    let names = ids.chain((1..).map(|n| n.to_string()).take(policy.values.len()));
    let credentials: Vec<_> = names.zip(policy.accepted()).map(credential).collect();
    let mut config =
        json!({ "credentials": credentials, "key_sources": [{ "header": policy.header }] });
    if policy.client_header.is_some() || policy.remove {
        config["forwarding"] = json!({ "hide_credentials": policy.remove });
    }
    if let Some(name) = &policy.client_header {
        config["forwarding"]["header"] = name.as_str().into();
    }
    extension("api_key_auth", "extensions.filters.http.api_key_auth.v3.ApiKeyAuth", config)
}
