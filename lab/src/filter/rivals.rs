//! Envoy's own filters with the policy's rule.

use header_gate_policy::Policy;
use serde_json::{Value, json};

/// Envoy's RBAC filter, with a rule that only counts, and counters of each rule.
pub fn counted(mut rbac: Value) -> Value {
    let config = &mut rbac["typed_config"];
    config["shadow_rules"] = config["rules"].clone();
    config["track_per_rule_stats"] = true.into();
    rbac
}

/// `api_key_auth`, which takes the key off and names the client.
pub fn named(mut api_key: Value) -> Value {
    api_key["typed_config"]["forwarding"] =
        json!({ "header": "x-client-id", "hide_credentials": true });
    api_key
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
