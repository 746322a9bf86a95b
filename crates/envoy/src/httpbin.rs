//! httpbin, the upstream of the demo: found or installed from PyPI, and run.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use header_gate_system::install;
use header_gate_system::process::{Folder, Process};

/// The longest wait for httpbin to listen.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running httpbin; dropping it ends it.
#[derive(Debug)]
pub struct Httpbin {
    process: Process,
    port: u16,
}

impl Httpbin {
    /// Starts httpbin on `port` of 127.0.0.1 (0: any that is free), installing it if need be.
    ///
    /// # Errors
    /// It cannot be installed, or does not listen; nothing is left running.
    pub fn start(root: &Path, port: u16) -> Result<Self> {
        let folder = install::pypi(root, "httpbin")?;
        let mut python = Command::new("python3");
        python.args(["-c", include_str!("httpbin.py"), &port.to_string()]);
        python.env("PYTHONPATH", folder);
        let process = Process::start(&mut python, Folder::new()?).context("cannot run python3")?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = process.log();
            let port =
                said.lines().find_map(|line| line.strip_prefix("listening on ")?.parse().ok());
            if let Some(port) = port {
                return Ok(Self { process, port });
            }
            if process.ended()?.is_some() || Instant::now() > deadline {
                let last = process.log().lines().last().unwrap_or("it says nothing").to_owned();
                bail!("httpbin does not start: {last}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is still there.
    ///
    /// # Errors
    /// It has ended; says why.
    pub fn check(&self) -> Result<()> {
        match self.process.ended()? {
            Some(status) => {
                bail!("httpbin has ended ({status}): {}", self.process.log().trim_end())
            }
            None => Ok(()),
        }
    }
}
