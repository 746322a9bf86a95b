//! `deploy/push.sh`: pushes a plugin, once the host here has seen that it is the policy's gate.

use std::env;
use std::process::ExitCode;

use header_gate_host::gate;
use header_gate_tools::image;

fn main() -> ExitCode {
    match image::run(env::args_os().skip(1), gate::check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
