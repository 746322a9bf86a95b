//! `gate`: the command behind the repository's scripts.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use header_gate_cli::{build, hash, probe, push, release, render, r#try, verify};

/// Builds, verifies, tries, probes, pushes and releases header-gate plugins, and renders their configuration
#[derive(Parser)]
#[command(name = "gate", version)]
enum Command {
    Build(build::Options),
    Verify(verify::Options),
    Try(r#try::Options),
    Probe(Box<probe::Options>),
    Push(push::Options),
    Hash(hash::Options),
    Render(render::Options),
    Release(release::Options),
    /// Prints a completion script
    Completions {
        /// The shell to complete in
        shell: Shell,
    },
    /// Writes the manual pages
    Man {
        /// The folder to write them to
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    header_gate_cli::main(|command| match command {
        Command::Build(options) => build::run(options),
        Command::Verify(options) => verify::run(options),
        Command::Try(options) => r#try::run(options),
        Command::Probe(options) => probe::run(*options),
        Command::Push(options) => push::run(options),
        Command::Hash(options) => hash::run(options),
        Command::Render(options) => render::run(options),
        Command::Release(options) => release::run(&options),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Command::command(), "gate", &mut script);
            Ok(io::stdout().write_all(&script)?)
        }
        Command::Man { folder } => {
            ensure!(folder.is_dir(), "there is no folder {}", folder.display());
            Ok(clap_mangen::generate_to(Command::command(), folder)?)
        }
    })
}
