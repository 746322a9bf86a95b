//! `lab cost`: what a filter costs Envoy.

mod callgrind;
mod instructions;
mod load;
pub mod tables;
mod workers;

use std::path::Path;

use anyhow::Result;
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
    /// Memory and start-up time with 32 workers (a minute)
    Workers,
    /// Requests per second and latency under wrk (17 minutes, on an idle machine)
    Load,
}

/// Takes the samples; the second value is whether they are to be committed.
pub fn run(root: &Path, options: &Options) -> Result<(Samples, bool)> {
    let samples = match (options.what, options.quick) {
        (What::Instructions, false) => instructions::measure(root, [3, 3], 200),
        (What::Instructions, true) => instructions::measure(root, [1, 1], 50),
        (What::Workers, quick) => workers::measure(root, if quick { 1 } else { 31 }),
        (What::Load, false) => load::measure(root, 5, 2),
        (What::Load, true) => load::measure(root, 1, 1),
    };
    Ok((samples?, !options.quick))
}
