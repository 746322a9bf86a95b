//! Envoy's own filters with the policy's rule.

use header_gate_policy::Policy;
use serde_json::{Value, json};

/// The rule in RBAC.
pub fn rbac(policy: &Policy) -> Value {
    let principals = policy.accepted().into_iter().map(
        |value| json!({ "header": { "name": policy.header, "string_match": { "exact": value } } }),
    );
    let rule = json!({
        "permissions": [{ "any": true }],
        "principals": principals.collect::<Vec<_>>(),
    });
    json!({
        "name": "rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": { "action": "ALLOW", "policies": { "gate": rule } },
        },
    })
}

/// The keys in `api_key_auth`.
pub fn api_key(policy: &Policy) -> Value {
    let clients = policy.accepted().into_iter().enumerate();
    let credentials = clients.map(|(i, value)| json!({ "key": value, "client": i.to_string() }));
    json!({
        "name": "api_key_auth",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
            "credentials": credentials.collect::<Vec<_>>(),
            "key_sources": [{ "header": policy.header }],
        },
    })
}

/// The same, with a rule that only counts, and counters of each rule.
pub fn rbac_counted(policy: &Policy) -> Value {
    let mut filter = rbac(policy);
    let config = &mut filter["typed_config"];
    config["shadow_rules"] = config["rules"].clone();
    config["track_per_rule_stats"] = true.into();
    filter
}

/// The same, which takes the key off and names the client.
pub fn api_key_named(policy: &Policy) -> Value {
    let mut filter = api_key(policy);
    filter["typed_config"]["forwarding"] =
        json!({ "header": "x-client-id", "hide_credentials": true });
    filter
}

/// The rule and the denial in Lua.
pub fn lua(policy: &Policy) -> Value {
    let accepted = policy.accepted().into_iter().map(|value| format!("value == {value:?}"));
    let headers =
        policy.deny.headers.iter().map(|(name, value)| format!(", [{name:?}] = {value:?}"));
    let script = format!(
        "function envoy_on_request(handle)\n\
         local value = handle:headers():get({:?})\n\
         if not ({}) then\n\
         handle:respond({{ [\":status\"] = \"{}\"{} }}, {:?})\n\
         end\n\
         end\n",
        policy.header,
        accepted.collect::<Vec<_>>().join(" or "),
        policy.deny.status,
        headers.collect::<String>(),
        policy.deny.body,
    );
    json!({
        "name": "lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": { "inline_string": script },
        },
    })
}
