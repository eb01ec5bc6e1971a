//! Writers of the delivery verifier, as a process of their own.

use std::process::ExitCode;

fn main() -> ExitCode {
    outflow_testkit::verifier::generator_main()
}
