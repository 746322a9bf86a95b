//! The filters that are compared, each in a listener of its own, and the requests that they get.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use header_gate_cli::build::variant::Variant;
use header_gate_cli::build::{self, native};
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::raw::Connection;
use header_gate_envoy::{
    DYNAMIC_MODULES, Envoy, NEWEST, Options, install, until, virtual_machines,
};
use header_gate_policy::Policy;
use serde_json::{Value, json};

/// No filter: what the others are compared with.
pub const NO_FILTER: &str = "no filter";
/// The plugin as it ships.
pub const OURS: &str = "header-gate";
/// The plugin with feature `log`.
pub const LOG: &str = "header-gate, feature log";
/// The plugin with feature `sdk`.
pub const SDK: &str = "header-gate, feature sdk";
/// The native gate.
pub const NATIVE: &str = "header-gate, native";
/// The plugin with options of the policy: their names, and what the policy has more.
pub const REMOVE: &str = "`remove`";
pub const COUNT: &str = "`count`";
pub const EXCEPT: &str = "`except.paths` (two patterns)";
pub const DRY_RUN: &str = "`enforce = false`";
pub const ALL_OPTIONS: &str = "`remove`, `count`, `except`, `missing_details`";
const OPTIONS: [(&str, &str, &str); 5] = [
    (REMOVE, "remove = true", ""),
    (COUNT, "count = true", ""),
    (EXCEPT, PATTERNS, ""),
    (DRY_RUN, "enforce = false", ""),
    (ALL_OPTIONS, ALL, "missing_details = \"gate_no_header\""),
];
const PATTERNS: &str = "[except]\npaths = [\"/healthz\", \"/.well-known/acme-challenge/*\"]";
const ALL: &str = "remove = true\ncount = true\n[except]\npreflight = true\n\
    paths = [\"/healthz\", \"/.well-known/acme-challenge/*\"]";
/// `benches/floor.wat`, the same rule written by hand.
pub const FLOOR: &str = "floor (hand-written WAT)";
/// `benches/empty.wat`, which Envoy never calls.
pub const EMPTY: &str = "module without callbacks";
/// `baseline/`, the same rule as one writes it with the SDK.
pub const BASELINE: &str = "SDK baseline";
/// Envoy's native filter with the same rule, and a denial of its own.
pub const RBAC: &str = "Envoy's RBAC filter";
/// Envoy's native filter for keys of clients, with another denial of its own.
pub const API_KEY: &str = "Envoy's api_key_auth filter";
/// Envoy's Lua filter with the same rule and denial.
pub const LUA: &str = "Envoy's Lua filter";

/// Those that are no WebAssembly modules.
pub const NO_MODULES: [&str; 5] = [NO_FILTER, NATIVE, RBAC, API_KEY, LUA];

/// The status of the route behind each filter.
const UPSTREAM: u16 = 200;

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
    /// The status of the answer to a request without an accepted value.
    denial: u16,
}

impl Filter {
    pub fn is_module(&self) -> bool {
        !NO_MODULES.contains(&self.name)
    }

    pub fn status(&self, request: &Request) -> u16 {
        if request.name == PATHS[0] { UPSTREAM } else { self.denial }
    }
}

/// Some of the filters above; `plugin` replaces the module that is built.
pub fn all(root: &Path, names: &[&'static str], plugin: Option<&Path>) -> Result<Vec<Filter>> {
    let policy = policy(root)?;
    let filter = |&name| {
        let listener = Listener::new(name);
        let wasm = |module: &Path| listener.clone().wasm(module);
        let built = |variant: &Variant| anyhow::Ok(wasm(&build::artifact(root, variant)?));
        let wat = |file| anyhow::Ok(wasm(&assemble(root, file)?));
        let own = policy.deny.status;
        let (listener, denial) = match (name, plugin) {
            (NO_FILTER, _) => (listener, UPSTREAM),
            (EMPTY, _) => (wat("empty")?, UPSTREAM),
            (FLOOR, _) => (wat("floor")?, own),
            (RBAC, _) => (listener.filter(rbac(&policy)), 403),
            (API_KEY, _) => (listener.filter(api_key(&policy)), 401),
            (LUA, _) => (listener.filter(lua(&policy)), own),
            (OURS, Some(plugin)) => (wasm(plugin), own),
            (OURS, None) => (built(&Variant::default())?, own),
            (NATIVE, _) => (listener.native(&link(root)?), own),
            (LOG, _) => (built(&Variant::log())?, own),
            (SDK, _) => (built(&Variant::sdk())?, own),
            (BASELINE, _) => (built(&Variant::baseline())?, own),
            (DRY_RUN, _) => (built(&with_options(root, name)?)?, UPSTREAM),
            (REMOVE | COUNT | EXCEPT | ALL_OPTIONS, _) => (built(&with_options(root, name)?)?, own),
            _ => bail!("unknown filter `{name}`"),
        };
        Ok(Filter { name, listener, denial })
    };
    names.iter().map(filter).collect()
}

/// The folder of modules that are made here.
fn folder(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/lab");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// The plugin with the committed policy and options.
fn with_options(root: &Path, name: &str) -> Result<Variant> {
    let place = OPTIONS.iter().position(|(other, ..)| *other == name).context("no such options")?;
    let (_, before, more) = OPTIONS[place];
    let text = fs::read_to_string(root.join("policy.toml")).context("policy.toml")?;
    let text = text.replace("[deny]", &format!("{before}\n[deny]\n{more}"));
    let file = folder(root)?.join(format!("options-{place}.toml"));
    build::put(&file, text.as_bytes())?;
    Ok(Variant::default().with_policy(file))
}

/// Compiles the native gate with the committed policy; returns the name that Envoy knows it by.
fn link(root: &Path) -> Result<String> {
    let (library, _) = native::build(root, &root.join("policy.toml"), None)?;
    build::put(&folder(root)?.join(native::file_name(None)), &library)?;
    Ok(native::NAME.to_owned())
}

/// Compiles `benches/NAME.wat` to a module.
fn assemble(root: &Path, name: &str) -> Result<PathBuf> {
    let source = root.join("benches").join(name).with_extension("wat");
    let wasm = wat::parse_file(&source).with_context(|| format!("{}", source.display()))?;
    let file = folder(root)?.join(name).with_extension("wasm");
    build::put(&file, &wasm)?;
    Ok(file)
}

/// Envoy's configuration with a listener for each filter.
pub fn configuration(filters: &[Filter]) -> String {
    let listeners: Vec<_> = filters.iter().map(|filter| filter.listener.clone()).collect();
    let mut config = config(&listeners);
    // A flush every five seconds would cost 300,000 instructions at whichever filter is measured.
    config["stats_flush_on_admin"] = true.into();
    config.to_string()
}

/// The command that runs `program`, which is or runs Envoy, with the native gates that are made here.
pub fn command(root: &Path, program: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    command.env(DYNAMIC_MODULES, folder(root)?);
    Ok(command)
}

/// Starts Envoy with these filters, and waits until each worker has the virtual machines of all.
pub fn start(root: &Path, filters: &[Filter], options: &Options) -> Result<Envoy> {
    let command = command(root, &install(root, NEWEST)?)?;
    let envoy = Envoy::start(command, &configuration(filters), options)?;
    let modules = filters.iter().filter(|filter| filter.is_module()).count() as u64;
    let expected = modules * virtual_machines(options.concurrency.into());
    until(|| Ok((envoy.virtual_machines()? == expected).then_some(())))
        .with_context(|| format!("Envoy does not have its {expected} virtual machines"))?;
    Ok(envoy)
}

fn rbac(policy: &Policy) -> Value {
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

fn api_key(policy: &Policy) -> Value {
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

fn lua(policy: &Policy) -> Value {
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

/// The names of the three paths.
pub const PATHS: [&str; 3] = ["allow", "wrong value", "no header"];

/// A GET, the same for every filter.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its path in samples and tables.
    pub name: &'static str,
    pub field: Option<(String, String)>,
}

impl Request {
    /// A request on each path: an accepted value, another one of the same length, and no header.
    pub fn paths(policy: &Policy) -> Vec<Self> {
        let values = policy.accepted();
        let accepted = values[0].to_owned();
        let mut wrong = accepted.clone();
        wrong.pop();
        // One of these makes no accepted value.
        wrong.extend("xyz".chars().find(|&c| !values.contains(&&*format!("{wrong}{c}"))));
        let values = [Some(accepted), Some(wrong), None].into_iter();
        let fields = values.map(|value| Some((policy.header.clone(), value?)));
        PATHS.into_iter().zip(fields).map(|(name, field)| Self { name, field }).collect()
    }
}

/// A connection to the listener of a filter.
#[derive(Debug)]
pub struct Client<'a> {
    filter: &'a Filter,
    connection: Connection,
}

impl<'a> Client<'a> {
    /// Connects, and sends the request of each path 1,500 times: V8 has compiled by then what it will
    /// compile.
    pub fn warmed_up(envoy: &Envoy, filter: &'a Filter, policy: &Policy) -> Result<Self> {
        let connection = Connection::open(envoy.port(filter.name)?)?;
        let mut client = Self { filter, connection };
        Request::paths(policy).iter().try_for_each(|request| client.send(request, 1500))?;
        Ok(client)
    }

    /// Sends `request` so many times, and checks the status of every answer.
    pub fn send(&mut self, request: &Request, times: usize) -> Result<()> {
        let fields: Vec<_> =
            request.field.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let expected = self.filter.status(request);
        for _ in 0..times {
            let about = || format!("{}, {}", self.filter.name, request.name);
            let status = self.connection.send("GET", "/", &fields, b"").with_context(about)?.status;
            ensure!(status == expected, "{}: status {status} instead of {expected}", about());
        }
        Ok(())
    }
}
