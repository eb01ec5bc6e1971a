//! What holds for the process: logs, state folder, form of output.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use outflow_config::{LogFormat, ProcessSettings, RenderOptions, Severity, render_all};
use tracing_subscriber::EnvFilter;

use crate::arguments::{Global, LogFormatArg};
use crate::exit::Exit;

/// Settings of the process, with the command line over the environment.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) json: bool,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    /// Colours on stderr.
    pub(crate) colour: bool,
}

/// Reads the environment, starts the log.
pub(crate) fn settle(global: &Global) -> Result<Process, Exit> {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let (settings, diagnostics) = ProcessSettings::read(std::env::vars_os());
    if !diagnostics.is_empty() {
        eprint!("{}", render_all(&diagnostics, "", RenderOptions { colour }));
    }
    if diagnostics.iter().any(|d| d.severity == Severity::Error) {
        return Err(Exit::Configuration);
    }
    let format = match global.log_format {
        Some(LogFormatArg::Json) => LogFormat::Json,
        Some(LogFormatArg::Text) => LogFormat::Text,
        None => settings.log_format.unwrap_or_default(),
    };
    start_log(format, colour);
    Ok(Process {
        json: global.json,
        state_dir: global.state_dir.clone().or(settings.state_dir),
        listen: settings.listen,
        colour,
    })
}

fn start_log(format: LogFormat, colour: bool) {
    let filter = EnvFilter::try_from_env("OUTFLOW_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    // A second start in one process keeps the first log.
    let _ = match format {
        LogFormat::Json => builder.json().try_init(),
        _ => builder.with_target(false).compact().try_init(),
    };
}
