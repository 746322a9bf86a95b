//! The filters that are compared, each in a listener of its own, and the requests that they get.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use header_gate_cli::build;
use header_gate_cli::build::variant::Variant;
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::raw::Connection;
use header_gate_envoy::{ACTIVE, Envoy, NEWEST, Options, install, until, virtual_machines};
use header_gate_policy::Policy;
use serde_json::{Value, json};

use crate::tools;

/// No filter: what the others are compared with.
pub const NO_FILTER: &str = "no filter";
/// The plugin as it ships.
pub const OURS: &str = "header-gate";
/// The plugin with feature `log`.
pub const LOG: &str = "header-gate, feature log";
/// The plugin with feature `sdk`.
pub const SDK: &str = "header-gate, feature sdk";
/// The plugin as the second filter, behind [`RBAC`].
pub const BEHIND: &str = "header-gate behind RBAC";
/// `benches/floor.wat`, the same rule written by hand.
pub const FLOOR: &str = "floor (hand-written WAT)";
/// `benches/empty.wat`, which Envoy never calls.
pub const EMPTY: &str = "module without callbacks";
/// `baseline/`, the same rule as one writes it with the SDK.
pub const BASELINE: &str = "SDK baseline";
/// Envoy's native filter with the same rule, and a denial of its own.
pub const RBAC: &str = "Envoy's RBAC filter";
/// Envoy's Lua filter with the same rule and denial.
pub const LUA: &str = "Envoy's Lua filter";

/// The status of the route behind each filter, and of RBAC's denial.
const UPSTREAM: u16 = 200;
const FORBIDDEN: u16 = 403;

/// The committed policy.
pub fn policy(root: &Path) -> Result<Policy> {
    Ok(Policy::read(&root.join("policy.toml"))?)
}

/// A listener with a filter.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Its name in samples and tables, and the listener's.
    pub name: &'static str,
    listener: Listener,
    /// The status of a denial; none if every request passes.
    denies: Option<u16>,
}

impl Filter {
    /// One of the filters above.
    pub fn new(root: &Path, policy: &Policy, name: &'static str) -> Result<Self> {
        let listener = Listener::new(name);
        let artifact = |variant: &Variant| build::artifact(root, variant);
        let (listener, denies) = match name {
            NO_FILTER => (listener, None),
            EMPTY => (listener.wasm(&tools::assemble(root, "empty")?), None),
            FLOOR => (listener.wasm(&tools::assemble(root, "floor")?), Some(policy.deny.status)),
            RBAC => (listener.filter(rbac(policy)), Some(FORBIDDEN)),
            LUA => (listener.filter(lua(policy)), Some(policy.deny.status)),
            BEHIND => {
                let plugin = artifact(&Variant::default())?;
                (listener.filter(rbac(policy)).wasm(&plugin), Some(FORBIDDEN))
            }
            OURS => return Ok(Self::plugin(policy, name, &artifact(&Variant::default())?)),
            LOG => return Ok(Self::plugin(policy, name, &artifact(&Variant::log())?)),
            SDK => return Ok(Self::plugin(policy, name, &artifact(&Variant::sdk())?)),
            BASELINE => return Ok(Self::plugin(policy, name, &artifact(&Variant::baseline())?)),
            _ => bail!("unknown filter `{name}`"),
        };
        Ok(Self { name, listener, denies })
    }

    /// A plugin that decides by `policy`.
    pub fn plugin(policy: &Policy, name: &'static str, module: &Path) -> Self {
        let listener = Listener::new(name).wasm(module);
        Self { name, listener, denies: Some(policy.deny.status) }
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

/// The plugin in `module`, or the one that is built.
pub fn ours(root: &Path, policy: &Policy, module: Option<&Path>) -> Result<Filter> {
    match module {
        Some(module) => Ok(Filter::plugin(policy, OURS, module)),
        None => Filter::new(root, policy, OURS),
    }
}

/// Several of the filters above.
pub fn all(root: &Path, policy: &Policy, names: &[&'static str]) -> Result<Vec<Filter>> {
    names.iter().map(|name| Filter::new(root, policy, name)).collect()
}

/// Envoy's configuration with a listener for each filter.
pub fn configuration(filters: &[Filter]) -> String {
    let listeners: Vec<_> = filters.iter().map(|filter| filter.listener.clone()).collect();
    let mut config = config(&listeners);
    // A flush every five seconds would cost 300,000 instructions at whichever filter is measured.
    config["stats_flush_on_admin"] = true.into();
    config.to_string()
}

/// Starts Envoy with these filters, and waits until each worker has the virtual machines of all.
pub fn start(root: &Path, filters: &[Filter], options: &Options) -> Result<Envoy> {
    let binary = install(root, NEWEST)?;
    let envoy = Envoy::start(Command::new(binary), &configuration(filters), options)?;
    let modules = filters.iter().filter(|filter| filter.is_module()).count() as f64;
    let expected = modules * virtual_machines(options.concurrency.into()) as f64;
    until(|| Ok((envoy.stat(ACTIVE)?.unwrap_or_default() == expected).then_some(())))
        .with_context(|| format!("Envoy does not have its {expected} virtual machines"))?;
    Ok(envoy)
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

fn lua(policy: &Policy) -> Value {
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
    json!({
        "name": "lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": { "inline_string": script },
        },
    })
}

/// A GET, the same for every filter.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its name in samples and tables.
    pub name: String,
    /// Its fields without `Host`.
    pub fields: Vec<(String, String)>,
    /// Whether a gate lets it pass.
    passes: bool,
}

/// The names of the three paths.
pub const PATHS: [&str; 3] = ["allow", "wrong value", "no header"];

impl Request {
    /// A request on each path: an accepted value, another one of the same length, and no header.
    pub fn paths(policy: &Policy) -> [Self; 3] {
        let accepted = policy.values[0].clone();
        let mut wrong = accepted.clone();
        wrong.pop();
        // One of these makes no accepted value.
        wrong.extend("xyz".chars().find(|&c| !policy.values.contains(&format!("{wrong}{c}"))));
        let request = |name: &str, value: Option<String>| Self {
            name: name.to_owned(),
            fields: value.into_iter().map(|value| (policy.header.clone(), value)).collect(),
            passes: name == PATHS[0],
        };
        let [allow, wrong_value, missing] = PATHS;
        [request(allow, Some(accepted)), request(wrong_value, Some(wrong)), request(missing, None)]
    }

    /// The same request with a value of `size` bytes.
    #[must_use]
    pub fn long(mut self, size: usize) -> Self {
        self.fields.iter_mut().for_each(|(_, value)| *value = "x".repeat(size));
        Self { name: format!("{} of {size} bytes", self.name), ..self }
    }

    /// The same request with other fields in front, so that there are `fields` with `Host`.
    #[must_use]
    pub fn padded(mut self, fields: usize) -> Self {
        let others = fields.saturating_sub(1 + self.fields.len());
        let other = |i| (format!("x-field-{i:02}"), format!("the value of field {i:02}"));
        self.fields.splice(0..0, (1..=others).map(other));
        Self { name: format!("{}, {fields} fields", self.name), ..self }
    }
}

/// A connection to the listener of a filter.
#[derive(Debug)]
pub struct Client<'a> {
    filter: &'a Filter,
    connection: Connection,
}

impl<'a> Client<'a> {
    /// Connects, and sends each of these requests 1,500 times: V8 has compiled by then what it will
    /// compile.
    pub fn warmed_up(envoy: &Envoy, filter: &'a Filter, requests: &[Request]) -> Result<Self> {
        let connection = Connection::open(envoy.port(filter.name)?)?;
        let mut client = Self { filter, connection };
        requests.iter().try_for_each(|request| client.send(request, 1500))?;
        Ok(client)
    }

    /// Sends `request` so many times, and checks the status of every answer.
    pub fn send(&mut self, request: &Request, times: u32) -> Result<()> {
        let fields: Vec<_> =
            request.fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let expected = self.filter.status(request);
        for _ in 0..times {
            let about = || format!("{}, {}", self.filter.name, request.name);
            let status = self.connection.send("GET", "/", &fields, b"").with_context(about)?.status;
            ensure!(status == expected, "{}: status {status} instead of {expected}", about());
        }
        Ok(())
    }
}
