//! Writers of the delivery verifier, as a process of their own. See `outflow_testkit::verifier::GeneratorProcess`.

use std::process::ExitCode;

fn main() -> ExitCode {
    outflow_testkit::verifier::generator_main()
}
