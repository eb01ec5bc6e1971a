//! The `outflow` binary as a library: custom builds call [`main`] with their own connectors.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     outflow_cli::main(|registry| {
//!         outflow::register_all(registry);
//!         // my_connector::register(registry);
//!     })
//! }
//! ```

mod arguments;
mod assemble;
mod check;
mod describe;
mod exit;
mod init;
mod keys;
mod output;
mod position;
mod process;
mod quickstart;
mod run;
mod say;

use std::process::ExitCode;

use clap::Parser as _;
use outflow_sdk::Registry;

use arguments::{Arguments, Verb};
use exit::Exit;
use process::Process;

/// Runs the command line of this process with the types that `register` adds.
///
/// Exit codes: 0 in order, 1 a pipeline failed, 2 a mistake in the configuration or the command line, 3 something
/// around is missing or not set up.
pub fn main(register: impl FnOnce(&mut Registry)) -> ExitCode {
    let mut registry = Registry::new();
    register(&mut registry);
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Configuration } else { Exit::Ok };
            // Nothing can be said where nothing can be printed.
            let _ = error.print();
            return code.into();
        }
    };
    act(&registry, arguments).into()
}

fn act(registry: &Registry, arguments: Arguments) -> Exit {
    let Arguments { verb, global } = arguments;
    let records = matches!(verb, Verb::Run(_) | Verb::Quickstart(_));
    let process = match Process::settle(&global, records) {
        Ok(process) => process,
        Err(exit) => return exit,
    };
    match verb {
        Verb::Run(run) => run::run(registry, &run, &process),
        Verb::Validate(files) => check::validate(registry, &files, &process),
        Verb::Check(check) => check::check(registry, &check, &process),
        Verb::List => describe::list(registry, &process),
        Verb::Describe { connector } => describe::describe(registry, &connector, &process),
        Verb::Init(init) => init::init(registry, &init, &process),
        Verb::Schema => describe::schema(registry),
        Verb::Position(position) => position::position(registry, &position, &process),
        Verb::Quickstart(quickstart) => quickstart::quickstart(registry, &quickstart, &process),
        Verb::Completions { shell } => describe::completions(shell),
        Verb::Version => describe::version(&process),
    }
}
