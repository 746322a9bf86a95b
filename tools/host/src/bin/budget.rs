//! `budget [--bless]`: what a request costs each variant, held against `ledger.toml`.

use std::process::ExitCode;

use header_gate_host::budget;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let bless = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--bless"] => true,
        _ => {
            eprintln!("error: budget takes nothing, or --bless to write ledger.toml");
            return ExitCode::FAILURE;
        }
    };
    match budget::compare(&header_gate_tools::root(), bless) {
        Err(error) => eprintln!("error: {error:#}"),
        Ok(differences) if differences.is_empty() => return ExitCode::SUCCESS,
        Ok(differences) => {
            differences.iter().for_each(|line| eprintln!("error: {line}"));
            eprintln!("If that is meant: cargo run -p header-gate-host --bin budget -- --bless");
        }
    }
    ExitCode::FAILURE
}
