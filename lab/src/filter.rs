//! The filters that are compared, each in a listener of its own, and the requests that they get.

mod rivals;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use header_gate_cli::build::variant::Variant;
use header_gate_cli::build::{self, native};
use header_gate_cli::render::{self, Kind};
use header_gate_envoy::config::{Listener, config};
use header_gate_envoy::raw::Connection;
use header_gate_envoy::{
    DYNAMIC_MODULES, Envoy, NEWEST, Options, install, until, virtual_machines,
};
use header_gate_policy::Policy;
use header_gate_system::command::{ask, on_path};
use serde_json::json;

/// No filter: what the others are compared with.
pub const NO_FILTER: &str = "no filter";
/// The plugin as it ships.
pub const OURS: &str = "header-gate";
/// The plugin with feature `log`.
pub const LOG: &str = "header-gate, feature log";
/// The plugin with feature `sdk`.
pub const SDK: &str = "header-gate, feature sdk";
/// The module whose policy comes from configuration.
pub const CONFIG: &str = "header-gate, feature config";
/// The native gate.
pub const NATIVE: &str = "header-gate, native";
/// The plugin with an option of the policy: its name, and its file in `policies/options/`.
pub const OPTIONS: [(&str, &str); 13] = [
    (CLIENT, "client"),
    ("`client_header`", "client-header"),
    (SHA256, "sha256"),
    ("`remove`", "remove"),
    (COUNT, "count"),
    ("`except.preflight`", "preflight"),
    ("`except.methods` (one)", "methods"),
    ("`except.paths` (two patterns)", "paths"),
    ("`deny.details`", "details"),
    ("`deny.missing_details`", "missing-details"),
    ("`deny.grpc_status`", "grpc-status"),
    (DRY_RUN, "enforce"),
    ("`client_header`, `remove`, `count`, `except`, details", "all"),
];
pub const CLIENT: &str = "`client`";
pub const SHA256: &str = "`client.sha256`";
pub const COUNT: &str = "`count`";
const DRY_RUN: &str = "`enforce = false`";
/// The fast lanes: Envoy compares the header first, in a matcher around the filter, or in a route that switches it off.
pub const MATCHER: &str = "header-gate behind Envoy's matcher";
pub const ROUTE: &str = "header-gate, off on a matching route";
pub const NATIVE_MATCHER: &str = "header-gate, native, behind Envoy's matcher";
pub const NATIVE_ROUTE: &str = "header-gate, native, off on a matching route";
/// The others with `count`.
pub const NATIVE_COUNT: &str = "header-gate, native, `count`";
pub const CONFIG_COUNT: &str = "header-gate, feature config, `count`";
/// `benches/floor.wat`, the same rule written by hand.
pub const FLOOR: &str = "floor (hand-written WAT)";
/// `benches/empty.wat`, which Envoy never calls.
pub const EMPTY: &str = "module without callbacks";
/// `baseline/`, the same rule as one writes it with the SDK.
pub const BASELINE: &str = "SDK baseline";
/// The same without its log lines.
pub const QUIET_BASELINE: &str = "SDK baseline without log lines";
/// `benches/native/floor.c`, the rule of the native gate written by hand.
pub const NATIVE_FLOOR: &str = "native floor (hand-written C)";
/// `benches/native/empty.c`, a dynamic module that lets every request pass.
pub const NATIVE_EMPTY: &str = "dynamic module without a rule";
/// `benches/ask.wat`, which asks for the header and for a missing one, and the same asking for the header twice.
pub const ASK_OTHER: &str = "a module that asks for the header, then for a missing one";
pub const ASK_AGAIN: &str = "a module that asks for the header twice";
/// Envoy's native filter with the same rule, and a denial of its own.
pub const RBAC: &str = "Envoy's RBAC filter";
/// Envoy's native filter for keys of clients, with another denial of its own.
pub const API_KEY: &str = "Envoy's api_key_auth filter";
/// The same with a rule that only counts, and counters of each rule.
pub const RBAC_COUNTED: &str = "Envoy's RBAC filter, shadow rules and counters";
/// `api_key_auth` that takes the key off and names the client.
pub const API_KEY_NAMED: &str = "Envoy's api_key_auth filter, hides the key, names the client";
/// Envoy's Lua filter with the same rule and denial.
pub const LUA: &str = "Envoy's Lua filter";

/// Those that are no WebAssembly modules.
pub const NO_MODULES: [&str; 12] = [
    NO_FILTER,
    NATIVE_EMPTY,
    NATIVE_FLOOR,
    NATIVE,
    NATIVE_COUNT,
    NATIVE_MATCHER,
    NATIVE_ROUTE,
    RBAC,
    RBAC_COUNTED,
    API_KEY,
    API_KEY_NAMED,
    LUA,
];

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
    of(root, names, plugin, &root.join("policy.toml"))
}

/// The same with the policy in `file`.
pub fn of(
    root: &Path,
    names: &[&'static str],
    plugin: Option<&Path>,
    file: &Path,
) -> Result<Vec<Filter>> {
    let policy = Policy::read(file)?;
    let ours = Variant::default().with_policy(file).normalized(root);
    let net = |kind: Kind| kind.render(&policy, &|| bail!("it names no module"));
    let counted = || option(root, COUNT).context("no such option");
    let filter = |&name| {
        let listener = Listener::new(name);
        let wasm = |module: &Path| listener.clone().wasm(module);
        let built = |variant: &Variant| anyhow::Ok(wasm(&build::artifact(root, variant)?));
        let wat = |file| anyhow::Ok(wasm(&assemble(root, file, ["", ""])?));
        let own = policy.deny.status;
        let (listener, denial) = match (name, plugin) {
            (NO_FILTER, _) => (listener, UPSTREAM),
            (EMPTY, _) => (wat("empty")?, UPSTREAM),
            (FLOOR, _) => (wat("floor")?, own),
            (ASK_OTHER, _) => (wat("ask")?, UPSTREAM),
            (ASK_AGAIN, _) => (wasm(&assemble(root, "ask", ["other", "allow"])?), UPSTREAM),
            (RBAC, _) => (listener.filter(net(Kind::EnvoyNet)?), 403),
            (API_KEY, _) => (listener.filter(net(Kind::ApiKeyAuth)?), 401),
            (RBAC_COUNTED, _) => (listener.filter(rivals::counted(net(Kind::EnvoyNet)?)), 403),
            (API_KEY_NAMED, _) => (listener.filter(rivals::named(net(Kind::ApiKeyAuth)?)), 401),
            (LUA, _) => (listener.filter(rivals::lua(&policy)), own),
            (OURS | SHA256, Some(plugin)) => (wasm(plugin), own),
            (OURS, None) => (built(&ours)?, own),
            (NATIVE, _) => (listener.native(&link(root, file)?), own),
            (MATCHER | ROUTE, _) => (lane(built(&ours)?, name, &policy)?, own),
            (NATIVE_MATCHER | NATIVE_ROUTE, _) => {
                let native = listener.native(&link(root, file)?);
                (lane(native, name, &policy)?, own)
            }
            (NATIVE_COUNT, _) => (listener.native(&link(root, &counted()?)?), own),
            (NATIVE_EMPTY, _) => (listener.native(&compile(root, "empty")?), UPSTREAM),
            (NATIVE_FLOOR, _) => (listener.native(&compile(root, "floor")?), own),
            (CONFIG, _) => (configured(listener, root, &policy)?, own),
            (CONFIG_COUNT, _) => (configured(listener, root, &Policy::read(&counted()?)?)?, own),
            (LOG, _) => (built(&Variant::log())?, own),
            (SDK, _) => (built(&Variant::sdk())?, own),
            (BASELINE, _) => (built(&Variant::baseline())?, own),
            (QUIET_BASELINE, _) => (built(&Variant::quiet_baseline())?, own),
            _ => {
                let file =
                    option(root, name).with_context(|| format!("unknown filter `{name}`"))?;
                let denial = if name == DRY_RUN { UPSTREAM } else { own };
                (built(&Variant::default().with_policy(file))?, denial)
            }
        };
        Ok(Filter { name, listener, denial })
    };
    names.iter().map(filter).collect()
}

/// The module of feature `config` with the policy as its configuration.
fn configured(listener: Listener, root: &Path, policy: &Policy) -> Result<Listener> {
    let api = "type.googleapis.com/google.protobuf.StringValue";
    let text = json!({ "@type": api, "value": serde_json::to_string(policy)? });
    let plugin = [("configuration".to_owned(), text)].into_iter().collect();
    Ok(listener.wasm_with(&build::artifact(root, &Variant::config())?, plugin))
}

/// The folder of what is made here.
pub fn folder(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/lab");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// The gate of `listener` behind the fast lane `name`, as `gate render` prints it.
fn lane(listener: Listener, name: &str, policy: &Policy) -> Result<Listener> {
    if let MATCHER | NATIVE_MATCHER = name {
        return listener.wrap(|filter| render::fast_lane(policy, filter));
    }
    let route = Kind::EnvoyRoute.render(policy, &|| bail!("it names no module"))?;
    Ok(listener.route(route, render::FILTER))
}

/// The file of an option's policy.
fn option(root: &Path, name: &str) -> Option<PathBuf> {
    let (_, file) = OPTIONS.iter().find(|(option, _)| *option == name)?;
    Some(root.join("policies/options").join(file).with_extension("toml"))
}

/// Compiles the native gate with the policy in `file`; returns the name that Envoy knows it by.
fn link(root: &Path, file: &Path) -> Result<String> {
    let (library, _) = native::build(root, file, None)?;
    let name = native::file_name(Some(file));
    build::put(&folder(root)?.join(&name), &library)?;
    Ok(name.trim_start_matches("lib").trim_end_matches(".so").to_owned())
}

/// Compiles `benches/native/NAME.c`; returns the name that Envoy knows the module by.
pub fn compile(root: &Path, name: &str) -> Result<String> {
    let source = root.join("benches/native").join(name).with_extension("c");
    let mut cc = Command::new(on_path("cc").context("cc is missing: install a C compiler")?);
    cc.args(["-O2", "-fPIC", "-shared", "-nostdlib", "-Wall", "-Werror", "-Wl,-z,now", "-o"]);
    cc.arg(folder(root)?.join(format!("lib{name}.so"))).arg(source);
    ask(&mut cc)?;
    Ok(name.to_owned())
}

/// Compiles `benches/NAME.wat`, with one text in place of another, to a module.
fn assemble(root: &Path, name: &str, [from, to]: [&str; 2]) -> Result<PathBuf> {
    let source = root.join("benches").join(name).with_extension("wat");
    let about = || source.display().to_string();
    let text = fs::read_to_string(&source)
        .with_context(about)?
        .replace(&format!("\"{from}\""), &format!("\"{to}\""));
    let wasm = wat::parse_str(&text).with_context(about)?;
    let file = folder(root)?.join(format!("{name}{to}.wasm"));
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
    let command = command(root, &install(root, NEWEST, None)?)?;
    let envoy = Envoy::start(command, &configuration(filters), options)?;
    let modules = filters.iter().filter(|filter| filter.is_module()).count() as u64;
    let expected = modules * virtual_machines(options.concurrency.into());
    until(|| Ok((envoy.virtual_machines()? == expected).then_some(())))
        .with_context(|| format!("Envoy does not have its {expected} virtual machines"))?;
    Ok(envoy)
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
    /// A request on each path: the last accepted value, another one of the same length, and no header.
    pub fn paths(policy: &Policy) -> Vec<Self> {
        let values = policy.accepted();
        let accepted = values[values.len() - 1].to_owned();
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
