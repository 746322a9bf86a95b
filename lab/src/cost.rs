//! `gate cost`: what the plugin costs a real Envoy, beside other filters, in `docs/cost.md`.

mod callgrind;
pub mod draw;
mod instructions;
mod load;
mod tables;
mod workers;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lexopt::{Arg, Parser};

const HELP: &str = "\
Measures what a filter costs a real Envoy, and draws docs/cost.md from what was measured.

Usage: gate cost instructions|workers|load [--quick]

  instructions  instructions per request, counted by callgrind (15 minutes)
  workers       memory and time to ready of an Envoy with 32 workers (half a minute)
  load          requests per second and latency under wrk (17 minutes); let nothing else run

  --quick       few samples, to see that it works; prints and writes nothing
  --help        this text

A measurement goes to docs/cost/NAME.toml, and is drawn (`gate draw` does that alone). Envoy, valgrind and wrk are installed where
that is possible.
";

/// `gate cost` in the checkout at `root`.
///
/// # Errors
/// A wrong argument, a missing tool, a filter that answers otherwise than it should.
pub fn run(root: &Path, mut args: Parser) -> Result<()> {
    let (mut command, mut quick) = (None, false);
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Value(name) if command.is_none() => command = Some(name),
            Arg::Long("quick") => quick = true,
            Arg::Long("help") | Arg::Short('h') => {
                print!("{HELP}");
                return Ok(());
            }
            other => bail!("{}; --help lists what there is", other.unexpected()),
        }
    }
    let command = command.context("cost takes a command; --help lists them")?;
    let command = command.to_str().context("the command is not UTF-8; --help lists them")?;
    let data = match command {
        "instructions" => {
            let full = instructions::Effort { processes: 3, rounds: 3, requests: 200 };
            let few = instructions::Effort { processes: 1, rounds: 1, requests: 50 };
            let data = instructions::measure(root, if quick { few } else { full })?;
            for table in [tables::ratios, tables::filters, tables::requests, tables::policies] {
                println!("{}\n", table(&data)?);
            }
            data
        }
        "workers" => {
            let data = workers::measure(root, if quick { 1 } else { 31 })?;
            println!("{}", tables::workers(&data)?);
            data
        }
        "load" => {
            let full = load::Effort { rounds: 5, seconds: 2 };
            let few = load::Effort { rounds: 1, seconds: 1 };
            let data = load::measure(root, if quick { few } else { full })?;
            println!("{}", tables::load(&data)?);
            data
        }
        _ => bail!("there is no command `cost {command}`; --help lists them"),
    };
    if quick {
        return Ok(());
    }
    data.write(&file(root, command))?;
    draw::draw(root)
}

/// Where the samples of a command are kept.
fn file(root: &Path, command: &str) -> PathBuf {
    root.join("docs/cost").join(command).with_extension("toml")
}
