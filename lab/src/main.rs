//! `lab`: measures the gate, and tries to break it.

use std::process::ExitCode;

use anyhow::{Result, bail};
use header_gate_cli::root;
use header_gate_lab::{cost, differ, report, soak};
use lexopt::{Arg, Parser};

const HELP: &str = "\
Usage: lab COMMAND [OPTIONS]

  cost    measures what a filter costs Envoy (docs/cost.md)
  differ  compares the plugin with other statements of its rule (docs/robustness.md)
  soak    sends the plugin millions of requests (docs/robustness.md)
  draw    draws docs/cost.md and docs/robustness.md from what was measured

lab COMMAND --help tells more.
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
        Some(Arg::Value(name)) if name == "cost" => cost::run(&root(), args),
        Some(Arg::Value(name)) if name == "differ" => differ::run(&root(), args),
        Some(Arg::Value(name)) if name == "soak" => soak::run(&root(), args),
        Some(Arg::Value(name)) if name == "draw" => report::run(&root(), args),
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
