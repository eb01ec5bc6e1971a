//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Delivers what databases commit, in order and without loss.
#[derive(Debug, Parser)]
#[command(name = "outflow", version, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How logs are written to stderr
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormatArg>,
    /// The folder that holds the state of all pipelines; else .outflow beside each pipeline file
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormatArg {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run pipelines until they end or are stopped
    Run(Run),
    /// Look for mistakes in pipeline files, without touching any system
    Validate(Files),
    /// Look at the systems of pipelines, changing nothing, and print what to do
    Check(Check),
    /// List the connectors, formats, transforms and stores of this build
    List,
    /// Print the keys, guarantees and an example of one of them
    Describe {
        /// Its type, such as polling
        connector: String,
    },
    /// Print a pipeline file to start from, or begin a connector of your own
    Init(Init),
    /// Print the JSON Schema of pipeline files, for editors
    Schema,
    /// Show or change where a pipeline goes on
    Position(PositionArgs),
    /// Watch a small shop's changes flow, without any set-up
    Quickstart(Quickstart),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
}

/// Pipeline files.
#[derive(Clone, Debug, Args)]
pub(crate) struct Files {
    /// Pipeline files, or folders of them
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(crate) paths: Vec<PathBuf>,
    /// Sets a key over the file: NAME.sink.topic=x
    #[arg(long = "set", value_name = "NAME.KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) files: Files,
    /// End once everything has been delivered that was committed when the run started
    #[arg(long, value_name = "POINT")]
    pub(crate) stop_at: Option<StopAt>,
    /// Serve /healthz, /readyz and /metrics here
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StopAt {
    Current,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Print only the statements that remedy what was found
    #[arg(long)]
    pub(crate) sql: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The type of the source, or the word connector
    pub(crate) source: String,
    /// The type of the sink, or the name of the connector
    pub(crate) sink: String,
}

#[derive(Debug, Args)]
pub(crate) struct PositionArgs {
    #[command(subcommand)]
    pub(crate) action: PositionAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PositionAction {
    /// Print where a pipeline goes on; also while it runs
    Show {
        #[command(flatten)]
        files: Files,
    },
    /// Make a pipeline go on elsewhere; refused while it runs
    Set {
        /// The pipeline file
        file: PathBuf,
        /// The partition, as show prints it
        partition: String,
        /// The position, as show prints it
        position: String,
    },
    /// Make a pipeline start from the beginning; refused while it runs
    Reset {
        /// The pipeline file
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// Leave the database and the pipeline file in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Stop by itself after a few events; only the events are on stdout
    #[arg(long)]
    pub(crate) once: bool,
}
