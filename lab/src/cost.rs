//! `lab cost`: what a filter costs Envoy.

mod callgrind;
mod instructions;
pub mod keys;
mod load;
pub mod tables;
mod workers;

use std::path::Path;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::samples::Samples;

/// Measures what a filter costs Envoy (docs/cost.md)
#[derive(Debug, Args)]
pub struct Options {
    /// What to measure
    what: What,
    /// Take few samples, to see that it works; print them and write nothing
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Instructions per request, counted by callgrind (10 minutes)
    Instructions,
    /// The same of each option of the policy (12 minutes)
    Options,
    /// The same of each form of a gate, and of its rivals (5 minutes)
    Forms,
    /// The same of the delivery of a value to a module (4 minutes)
    Allocation,
    /// The same of a policy from configuration (2 minutes)
    Config,
    /// The same by the number of keys (10 minutes)
    Keys,
    /// Memory and start-up time with 32 workers (a minute)
    Workers,
    /// Requests per second and latency under wrk (half an hour, on an idle machine)
    Load,
}

/// Takes the samples; the second value is whether they are to be committed.
pub fn run(root: &Path, options: &Options) -> Result<(Samples, bool)> {
    let name = options.what.to_possible_value().context("it is not skipped")?;
    let command = format!("cost {}", name.get_name());
    let samples = match (options.what, options.quick) {
        (What::Keys, false) => keys::measure(root, 5, 100),
        (What::Keys, true) => keys::measure(root, 1, 20),
        (What::Workers, quick) => workers::measure(root, if quick { 1 } else { 31 }),
        (What::Load, false) => load::measure(root, 5, 2),
        (What::Load, true) => load::measure(root, 1, 1),
        (_, false) => instructions::measure(root, &command, [3, 3], 200),
        (_, true) => instructions::measure(root, &command, [1, 1], 50),
    };
    Ok((samples?, !options.quick))
}
