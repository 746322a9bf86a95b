//! Brings up what the demo needs: the plugin, httpbin and Envoy.

use std::env;
use std::fs;
use std::io::{self, stderr};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{self, Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use header_gate_policy::Policy;

use super::Options;
use crate::cleanup::{Folder, Process};
use crate::envoy::{self, Envoy, NEWEST};
use crate::httpbin::Httpbin;

/// The gate's listener in deploy/envoy.yaml.
pub const LISTENER: &str = "gate";
/// What plugin.wasm is made of.
const SOURCES: [&str; 7] = [
    ".cargo/config.toml",
    "Cargo.lock",
    "Cargo.toml",
    "build.rs",
    "policy.toml",
    "src",
    "tools/policy/src",
];

/// What runs; dropping it ends all of it.
pub struct Setup {
    pub policy: Policy,
    pub envoy: Envoy,
    pub httpbin: Httpbin,
}

impl Setup {
    pub fn start(options: &Options) -> Result<Self> {
        let root = crate::root();
        let policy = Policy::read(&root.join("policy.toml"))?;
        check_ports(options)?;
        let plugin = match &options.plugin {
            Some(file) => path::absolute(file)?,
            None => build(&root)?,
        };
        let size = fs::metadata(&plugin)
            .with_context(|| format!("cannot read the plugin {}", plugin.display()))?
            .len();
        let binary = binary(&root, options.envoy_version.as_deref())?;
        let httpbin = Httpbin::start(&root, options.upstream_port)?;
        let config = config(&root, options, &plugin, httpbin.port())?;
        eprintln!("gate: starting Envoy with {} ({size} bytes) ...", plugin.display());
        let envoy = Envoy::start(Command::new(binary), &config, &envoy::Options::default())?;
        Ok(Self { policy, envoy, httpbin })
    }
}

/// Refuses ports that are taken. Envoy would share one with another Envoy.
fn check_ports(options: &Options) -> Result<()> {
    let mut held = Vec::new();
    for (option, port) in [
        ("--port", options.port),
        ("--admin-port", options.admin_port),
        ("--upstream-port", options.upstream_port),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
            format!("cannot listen on port {port} of 127.0.0.1; choose another by {option} N")
        })?;
        // Held until all are checked, so that no two are the same.
        held.push(listener);
    }
    Ok(())
}

/// The Envoy to run: of the version asked for, or what `ENVOY` names, or the newest known.
fn binary(root: &Path, version: Option<&str>) -> Result<PathBuf> {
    match (version, env::var_os("ENVOY")) {
        (None, Some(binary)) => {
            let binary = PathBuf::from(binary);
            ensure!(binary.is_file(), "ENVOY names {}, which is not a file", binary.display());
            Ok(binary)
        }
        (version, _) => envoy::install(root, version.unwrap_or(NEWEST)),
    }
}

/// The repository's plugin.wasm, built if it is not there or older than its sources.
fn build(root: &Path) -> Result<PathBuf> {
    let plugin = root.join("plugin.wasm");
    if fs::metadata(&plugin).and_then(|m| m.modified()).is_ok_and(|built| !newer(root, built)) {
        return Ok(plugin);
    }
    eprintln!("gate: building plugin.wasm with build.sh ...");
    let build = Process::start(&mut Command::new(root.join("build.sh")), Folder::new()?)
        .context("cannot run build.sh")?;
    let mut log = build.open_log()?;
    loop {
        let ended = build.ended()?;
        io::copy(&mut log, &mut stderr())?;
        match ended {
            Some(status) if status.success() => return Ok(plugin),
            Some(status) => bail!("build.sh does not build plugin.wasm ({status})"),
            None => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Whether one of the sources was written after `built`, or cannot be looked at.
fn newer(root: &Path, built: SystemTime) -> bool {
    SOURCES.iter().any(|source| latest(&root.join(source)).map_or(true, |time| time > built))
}

/// When `path`, or anything in it, was last written.
fn latest(path: &Path) -> io::Result<SystemTime> {
    let mut time = fs::metadata(path)?.modified()?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            time = time.max(latest(&entry?.path())?);
        }
    }
    Ok(time)
}

/// deploy/envoy.yaml with the ports and the plugin of this run.
fn config(root: &Path, options: &Options, plugin: &Path, upstream: u16) -> Result<String> {
    let file = root.join("deploy/envoy.yaml");
    let mut config =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let plugin = plugin.to_str().context("the plugin's path is not UTF-8")?;
    for (ours, here) in [
        ("port_value: 9901 ", format!("port_value: {} ", options.admin_port)),
        ("port_value: 10000 ", format!("port_value: {} ", options.port)),
        ("port_value: 8000 ", format!("port_value: {upstream} ")),
        // A string of JSON is one of YAML, whatever the path holds.
        ("filename: plugin.wasm ", format!("filename: {} ", serde_json::to_string(plugin)?)),
    ] {
        let times = config.matches(ours).count();
        ensure!(times == 1, "{} has {ours:?} {times} times, not once", file.display());
        config = config.replace(ours, &here);
    }
    Ok(config)
}
