//! `gate`: the command behind the repository's scripts.

use std::process::ExitCode;

use anyhow::{Result, bail};
use header_gate_tools::{command, cost, demo, differ, mutate, probe, robustness, root, soak};
use lexopt::{Arg, Parser};

const HELP: &str = "\
Usage: gate COMMAND [OPTIONS]

  build   builds and verifies the plugin (build.sh)
  verify  tells what a WebAssembly module can do
  try     runs the plugin in a real Envoy (deploy/try.sh)
  probe   checks a gate that serves (deploy/probe.sh)
  cost    measures what a filter costs Envoy (docs/cost.md)
  differ  compares the plugin with other statements of its rule (docs/robustness.md)
  soak    sends the plugin millions of requests (docs/robustness.md)
  draw    draws docs/cost.md and docs/robustness.md from what was measured
  mutate  breaks the plugin on purpose, and sees the tests notice

gate COMMAND --help tells more.
";

fn main() -> ExitCode {
    match run(Parser::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: Parser) -> Result<()> {
    match args.next()? {
        Some(Arg::Value(name)) if name == "build" => command::build(&root(), args.raw_args()?),
        Some(Arg::Value(name)) if name == "verify" => command::verify(args),
        Some(Arg::Value(name)) if name == "try" => demo::run(args),
        Some(Arg::Value(name)) if name == "probe" => probe::run(args),
        Some(Arg::Value(name)) if name == "cost" => cost::run(&root(), args),
        Some(Arg::Value(name)) if name == "differ" => differ::run(&root(), args),
        Some(Arg::Value(name)) if name == "soak" => soak::run(&root(), args),
        Some(Arg::Value(name)) if name == "draw" => robustness::run(&root(), args),
        Some(Arg::Value(name)) if name == "mutate" => mutate::run(&root(), args),
        Some(Arg::Long("help") | Arg::Short('h')) => {
            print!("{HELP}");
            Ok(())
        }
        Some(Arg::Value(name)) => {
            bail!("there is no command `{}`; --help lists them", name.display())
        }
        Some(other) => bail!("{}; --help lists what there is", other.unexpected()),
        None => bail!("a command is missing; --help lists them"),
    }
}
