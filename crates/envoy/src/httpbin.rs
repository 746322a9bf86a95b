//! httpbin, the upstream of `gate try`: installed from PyPI and run.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use header_gate_system::install;
use header_gate_system::process::{Folder, Process};

use crate::{check, wait};

const TIMEOUT: Duration = Duration::from_mins(1);

/// A running httpbin; dropping it ends it.
#[derive(Debug)]
pub struct Httpbin {
    process: Process,
    /// The port that it listens on.
    pub port: u16,
}

impl Httpbin {
    /// Starts httpbin on `port` of 127.0.0.1 (0: any free port), and installs it first if need be.
    pub fn start(root: &Path, port: u16) -> Result<Self> {
        let mut python = Command::new("python3");
        python.args(["-c", include_str!("httpbin.py"), &port.to_string()]);
        python.env("PYTHONPATH", install::pypi(root, "httpbin", None)?);
        let process = Process::start(&mut python, Folder::new()?).context("cannot run python3")?;
        let port = wait(&process, "httpbin", TIMEOUT, || {
            process.log().lines().find_map(|line| line.strip_prefix("listening on ")?.parse().ok())
        })?;
        Ok(Self { process, port })
    }

    /// Whether it still runs.
    pub fn check(&self) -> Result<()> {
        check(&self.process, "httpbin")
    }
}
