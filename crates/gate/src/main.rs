//! `gate`: the command behind the repository's scripts.

use std::process::ExitCode;

use anyhow::{Result, bail};
use header_gate_cli::{command, probe, push, root, r#try};
use lexopt::{Arg, Parser};

const HELP: &str = "\
Usage: gate COMMAND [OPTIONS]

  build   builds and verifies the plugin (build.sh)
  verify  tells what a WebAssembly module can do
  try     runs the plugin in a real Envoy (deploy/try.sh)
  probe   checks a gate that serves (deploy/probe.sh)

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
        Some(Arg::Value(name)) if name == "try" => r#try::run(args),
        Some(Arg::Value(name)) if name == "probe" => probe::run(args),
        Some(Arg::Value(name)) if name == "push" => {
            push::run(args.raw_args()?, header_gate_host::gate::check)
        }
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
