//! `lab`: measures the gate, and tries to break it.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use header_gate_cli::checkout;
use header_gate_lab::{anatomy, cost, differ, draw, soak};

/// Measures the plugin and its rivals, and tries to break it
///
/// Samples are written to docs/*/*.toml, and drawn in docs/*.md and docs/*.svg.
#[derive(Parser)]
#[command(name = "lab")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Cost(cost::Options),
    Differ(differ::Options),
    /// Sends millions of requests to the plugin (docs/robustness.md, 15 minutes)
    ///
    /// Fails if an answer is wrong, if Envoy's counts differ from the client's, if a virtual machine is created, or if
    /// memory grows after the warm-up. Another Envoy without a filter gets the same requests, for comparison; three gates
    /// with `count`, one of them native and one with its policy from configuration, get a third of them, and must count
    /// each.
    Soak,
    /// Draws docs/cost.md, docs/robustness.md and their pictures from the committed samples
    Draw,
    /// Draws every byte of plugin.wasm in docs/anatomy.svg
    Anatomy,
}

fn main() -> ExitCode {
    header_gate_cli::main(run)
}

fn run(Options { command }: Options) -> Result<()> {
    let root = checkout()?;
    let (samples, complete) = match command {
        Command::Cost(options) => cost::run(&root, &options)?,
        Command::Differ(options) => differ::run(&root, &options)?,
        Command::Soak => (soak::soak(&root, None, soak::REQUESTS)?, true),
        Command::Draw => return draw::draw(&root),
        Command::Anatomy => return anatomy::run(&root),
    };
    println!("{}", draw::tables(&samples)?);
    if complete {
        samples.write(&root)?;
        draw::draw(&root)?;
    }
    Ok(())
}
