//! What is measured: filters that decide by the committed policy, and the requests that they get.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use header_gate_policy::Policy;
use serde_json::{Value, json};

use crate::tools;
use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use header_gate_envoy::config::Listener;
use header_gate_envoy::http1::Connection;

/// What the routes behind a filter answer with.
const UPSTREAM: u16 = 200;
/// What Envoy's RBAC filter answers with.
const FORBIDDEN: u16 = 403;

/// A listener's filter.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Its name, in data and in tables.
    pub name: &'static str,
    listener: Listener,
    /// The status of a request that does not pass; none if every request passes.
    denies: Option<u16>,
}

/// The name of the listener without any filter, which the others are compared with.
pub const NO_FILTER: &str = "no filter";
/// The name of the plugin as it ships.
pub const OURS: &str = "header-gate";
/// The name of the plugin with feature `log`.
pub const LOG: &str = "header-gate, feature log";
/// The name of the plugin on the SDK.
pub const SDK: &str = "header-gate, feature sdk";
/// The name of the plugin as the second filter.
pub const BEHIND: &str = "header-gate behind RBAC";
/// The name of `benches/floor.wat`.
pub const FLOOR: &str = "floor (hand-written WAT)";
/// The name of `benches/empty.wat`.
pub const EMPTY: &str = "module without callbacks";
/// The name of the plain plugin.
pub const BASELINE: &str = "plain SDK plugin";
/// The name of Envoy's native filter.
pub const RBAC: &str = "Envoy's RBAC filter";
/// The name of Envoy's Lua filter.
pub const LUA: &str = "Envoy's Lua filter";

impl Filter {
    /// No filter.
    pub fn none() -> Self {
        Self { name: NO_FILTER, listener: Listener::new(NO_FILTER), denies: None }
    }

    /// The plugin behind Envoy's native filter with the same rule.
    pub fn behind(policy: &Policy, plugin: &Path) -> Self {
        let listener = Listener::new(BEHIND).filter(rbac(policy)).wasm(plugin);
        Self { name: BEHIND, listener, denies: Some(FORBIDDEN) }
    }

    /// A variant of the plugin.
    pub fn plugin(root: &Path, name: &'static str, variant: &Variant) -> Result<Self> {
        eprintln!("gate: building {} ...", variant.name());
        let file = variant.policy_file(root).unwrap_or_else(|| root.join("policy.toml"));
        let denies = Some(Policy::read(&file)?.deny.status);
        let listener = Listener::new(name).wasm(&build::artifact(root, variant)?);
        Ok(Self { name, listener, denies })
    }

    /// The committed plugin.
    pub fn ours(root: &Path) -> Result<Self> {
        Self::plugin(root, OURS, &Variant::default())
    }

    /// The plain plugin.
    pub fn baseline(root: &Path) -> Result<Self> {
        Self::plugin(root, BASELINE, &Variant::baseline())
    }

    /// The committed rule, written by hand.
    pub fn floor(root: &Path, policy: &Policy) -> Result<Self> {
        let listener = Listener::new(FLOOR).wasm(&tools::assemble(root, "floor")?);
        Ok(Self { name: FLOOR, listener, denies: Some(policy.deny.status) })
    }

    /// A module that lets everything pass, as it is never called.
    pub fn empty(root: &Path) -> Result<Self> {
        let listener = Listener::new(EMPTY).wasm(&tools::assemble(root, "empty")?);
        Ok(Self { name: EMPTY, listener, denies: None })
    }

    /// Envoy's native filter with the rule of `policy`, and an answer of its own.
    pub fn rbac(policy: &Policy) -> Self {
        let listener = Listener::new(RBAC).filter(rbac(policy));
        Self { name: RBAC, listener, denies: Some(FORBIDDEN) }
    }

    /// Envoy's Lua filter with the rule and the answer of `policy`.
    pub fn lua(policy: &Policy) -> Self {
        let accepted = policy.values.iter().map(|value| format!("value == {value:?}"));
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
        let listener = Listener::new(LUA).filter(json!({
            "name": "lua",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                "default_source_code": { "inline_string": script },
            },
        }));
        Self { name: LUA, listener, denies: Some(policy.deny.status) }
    }

    /// The listener to put into Envoy's configuration.
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Whether it is a WebAssembly module.
    pub fn is_module(&self) -> bool {
        ![NO_FILTER, RBAC, LUA].contains(&self.name)
    }

    /// The status of the answer to `request`.
    pub fn status(&self, request: &Request) -> u16 {
        self.denies.filter(|_| !request.passes).unwrap_or(UPSTREAM)
    }
}

fn rbac(policy: &Policy) -> Value {
    let principals = policy.values.iter().map(
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

/// A request, the same to every filter.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its name, in data and in tables.
    pub name: String,
    /// Its fields without `Host`.
    pub fields: Vec<(String, String)>,
    /// Whether a gate lets it pass.
    passes: bool,
}

impl Request {
    /// A request with an accepted value.
    pub fn allow(policy: &Policy) -> Self {
        Self::with(policy, "allow", Some(policy.values[0].clone()), true)
    }

    /// A request with a value of the right length that is not accepted.
    pub fn wrong(policy: &Policy) -> Self {
        let accepted = &policy.values[0];
        let mut value = accepted.clone();
        value.pop();
        // The one character of these that makes no accepted value.
        let last = "xyz".chars().find(|&c| !policy.values.contains(&format!("{value}{c}")));
        value.extend(last);
        Self::with(policy, "wrong value", Some(value), false)
    }

    /// A request without the header.
    pub fn missing(policy: &Policy) -> Self {
        Self::with(policy, "no header", None, false)
    }

    /// The three of them.
    pub fn paths(policy: &Policy) -> [Self; 3] {
        [Self::allow(policy), Self::wrong(policy), Self::missing(policy)]
    }

    /// A request with a value that is far too long.
    pub fn long(policy: &Policy, size: usize) -> Self {
        Self::with(policy, &format!("wrong value of {size} bytes"), Some("x".repeat(size)), false)
    }

    fn with(policy: &Policy, name: &str, value: Option<String>, passes: bool) -> Self {
        let fields = value.map(|value| (policy.header.clone(), value)).into_iter().collect();
        Self { name: name.to_owned(), fields, passes }
    }

    /// The same request with other fields in front, so that there are `fields` in all, `Host`
    /// among them.
    pub fn padded(mut self, fields: usize) -> Self {
        let others = fields.saturating_sub(1 + self.fields.len());
        let other = |i| (format!("x-field-{i:02}"), format!("the value of field {i:02}"));
        self.fields.splice(0..0, (1..=others).map(other));
        self.name = format!("{}, {fields} fields", self.name);
        self
    }

    /// Sends the request `times` times, and holds every answer to the status it has to have.
    pub fn send(&self, connection: &mut Connection, filter: &Filter, times: u32) -> Result<()> {
        let fields: Vec<_> =
            self.fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let expected = filter.status(self);
        for _ in 0..times {
            let about = || format!("{}, {}", filter.name, self.name);
            let answer = connection.send("GET", "/", &fields, b"").with_context(about)?;
            ensure!(
                answer.status == expected,
                "{}: answered {} instead of {expected}",
                about(),
                answer.status
            );
        }
        Ok(())
    }
}

/// The committed policy with another list of values or headers, as a file below `target/cost`.
pub fn policy_file(root: &Path, name: &str, policy: &Policy) -> Result<std::path::PathBuf> {
    let mut document = toml_edit::DocumentMut::new();
    document["header"] = toml_edit::value(&policy.header);
    document["values"] = toml_edit::value(policy.values.iter().collect::<toml_edit::Array>());
    let mut deny = toml_edit::Table::new();
    deny["status"] = toml_edit::value(i64::from(policy.deny.status));
    let pairs = policy.deny.headers.iter().map(|(name, value)| {
        toml_edit::Value::from([name, value].into_iter().collect::<toml_edit::Array>())
    });
    deny["headers"] = toml_edit::value(pairs.collect::<toml_edit::Array>());
    deny["body"] = toml_edit::value(&policy.deny.body);
    deny["details"] = toml_edit::value(&policy.deny.details);
    document["deny"] = toml_edit::Item::Table(deny);
    let file = tools::folder(root)?.join(name).with_extension("toml");
    fs::write(&file, document.to_string()).with_context(|| file.display().to_string())?;
    Ok(file)
}
