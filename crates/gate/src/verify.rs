//! `gate verify`: what a WebAssembly module can do, and whether it keeps to a contract.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use header_gate_contract::{Contract, inspect};
use serde_json::json;

/// Shows what a WebAssembly module can do
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The module
    file: PathBuf,
    /// Also fail unless the module keeps to a contract: abi (the default front), with any of +log,
    /// +nginx (features), +dry-run, +remove, +replace (client_header), +count (keys of the policy), +pages=N (memory); or
    /// config (feature config)
    #[arg(long, value_name = "NAME")]
    contract: Option<Contract>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `gate verify`.
pub fn run(options: Options) -> Result<()> {
    let file = options.file.display();
    let wasm = fs::read(&options.file).with_context(|| file.to_string())?;
    let properties = inspect(&wasm).with_context(|| file.to_string())?;
    let violations = options.contract.map(|contract| properties.violations(&contract));
    if options.json {
        let report = json!({ "properties": properties, "violations": violations });
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{properties}");
    }
    match violations {
        Some(violations) if !violations.is_empty() => {
            bail!("{file} breaks its contract: {}", violations.join("; "))
        }
        Some(_) if !options.json => {
            println!("{:<20}kept", "contract");
            Ok(())
        }
        _ => Ok(()),
    }
}
