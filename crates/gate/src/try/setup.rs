//! Starts what `gate try` needs: the plugin, httpbin and Envoy.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{self, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use header_gate_envoy::httpbin::Httpbin;
use header_gate_envoy::{self as envoy, Envoy, NEWEST};

use super::Options;
use crate::build;
use crate::build::variant::Variant;

/// What runs; dropping it ends all of it.
pub struct Setup {
    pub envoy: Envoy,
    pub httpbin: Httpbin,
}

impl Setup {
    pub fn start(root: &Path, options: &Options) -> Result<Self> {
        check_ports(options)?;
        let plugin = match &options.plugin {
            Some(file) => path::absolute(file)?,
            None => {
                eprintln!("gate: building {} ...", Variant::default().file_name());
                build::artifact(root, &Variant::default())?
            }
        };
        let about = || format!("cannot read the plugin {}", plugin.display());
        let size = fs::metadata(&plugin).with_context(about)?.len();
        let binary = match (&options.envoy_version, env::var_os("ENVOY")) {
            (None, Some(binary)) => PathBuf::from(binary),
            (version, _) => envoy::install(root, version.as_deref().unwrap_or(NEWEST))?,
        };
        ensure!(binary.is_file(), "ENVOY names {}, which is not a file", binary.display());
        let httpbin = Httpbin::start(root, options.upstream_port)?;
        let config = config(root, options, &plugin, httpbin.port())?;
        eprintln!("gate: starting Envoy with {} ({size} bytes) ...", plugin.display());
        let envoy = Envoy::start(Command::new(binary), &config, &envoy::Options::default())?;
        Ok(Self { envoy, httpbin })
    }
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
