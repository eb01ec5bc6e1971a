//! The `outflow` binary as a custom build has it: what the tests of this package start, kill and restart.

use std::process::ExitCode;

fn main() -> ExitCode {
    outflow_cli::main(outflow::register_all)
}
