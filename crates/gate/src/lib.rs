//! `gate`: builds, verifies, tries, probes, pushes and releases the plugin. One module for each subcommand.

pub mod build;
pub mod hash;
#[cfg(feature = "gateways")]
pub mod probe;
#[cfg(feature = "gateways")]
pub mod push;
#[cfg(feature = "gateways")]
pub mod release;
pub mod render;
#[cfg(feature = "gateways")]
pub mod r#try;
pub mod verify;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;

/// The root of the checkout: the folder with policy.toml and ledger.toml, at or above the package that
/// `cargo run` or `cargo test` runs, or the current folder.
pub fn checkout() -> Result<PathBuf> {
    let starts = [env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from), env::current_dir().ok()];
    let root = starts.iter().flatten().flat_map(|start| start.ancestors()).find(|folder| {
        ["policy.toml", "ledger.toml"].iter().all(|file| folder.join(file).is_file())
    });
    root.map(PathBuf::from).context(
        "not in a checkout of header-gate (a folder with policy.toml and ledger.toml): change to one",
    )
}

/// [`checkout`], for code that cannot go on without it.
pub fn root() -> PathBuf {
    checkout().unwrap_or_else(|error| panic!("{error}"))
}

/// The main function of a command: parses the arguments, runs it, and prints any error on one line.
pub fn main<C: Parser>(run: impl FnOnce(C) -> Result<()>) -> ExitCode {
    let error = match C::try_parse() {
        Ok(command) => match run(command) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => format!("{error:#}"),
        },
        // --help and --version
        Err(error) if !error.use_stderr() => {
            return if error.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        Err(error) if error.kind() == DisplayHelpOnMissingArgumentOrSubcommand => {
            "a subcommand is missing; --help lists them".to_owned()
        }
        Err(error) => {
            let text = error.to_string();
            let first = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
            let words: Vec<_> = first.split_whitespace().collect();
            format!("{}; --help lists the options", words.join(" "))
        }
    };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
