//! The `outflow` binary with the connectors of this workspace.

fn main() -> std::process::ExitCode {
    outflow_cli::main(|registry| {
        outflow::register_all(registry);
        acme_outflow_http::register(registry);
    })
}
