//! `gate`: the command behind the repository's scripts.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use header_gate_cli::{build, probe, push, r#try, verify};

/// Builds, verifies, tries, probes and pushes header-gate plugins
#[derive(Parser)]
#[command(name = "gate", version)]
enum Command {
    Build(build::Options),
    Verify(verify::Options),
    /// Runs the plugin in a real Envoy
    Try(Raw),
    /// Checks a running gate against its policy
    Probe(Raw),
    Push(push::Options),
    /// Prints a completion script
    #[command(hide = true)]
    Completions {
        /// The shell to complete in
        shell: Shell,
    },
}

/// The arguments of a subcommand that parses them itself.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
struct Raw {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

fn main() -> ExitCode {
    header_gate_cli::main(|command| match command {
        Command::Build(options) => build::run(options),
        Command::Verify(options) => verify::run(options),
        Command::Try(raw) => r#try::run(lexopt::Parser::from_args(raw.args)),
        Command::Probe(raw) => probe::run(lexopt::Parser::from_args(raw.args)),
        Command::Push(options) => push::run(options),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Command::command(), "gate", &mut script);
            Ok(io::stdout().write_all(&script)?)
        }
    })
}
