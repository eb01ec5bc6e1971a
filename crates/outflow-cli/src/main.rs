//! The `outflow` binary with every connector of this repository.

fn main() -> std::process::ExitCode {
    outflow_cli::main(outflow::register_all)
}
