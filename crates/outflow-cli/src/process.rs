//! What holds for the process: logs, state folder, form of output.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use outflow_config::{Diagnostic, LogFormat, ProcessSettings, RenderOptions, Severity, render_all};
use outflow_sdk::serde_json::json;
use tracing_subscriber::EnvFilter;

use crate::arguments::{Global, LogFormatArg};
use crate::exit::Exit;
use crate::say::{mistake, tell_raw};

/// What is logged unless `OUTFLOW_LOG` says otherwise: not what the status lines say as well.
const LOG: &str = "warn,outflow_runtime::pipeline=off";

/// Settings of the process, with the command line over the environment.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Documents instead of text.
    pub(crate) json: bool,
    /// Standard output is for records: everything else goes to stderr.
    pub(crate) records: bool,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    /// Colours on stderr.
    pub(crate) colour: bool,
}

impl Process {
    /// Reads the environment, starts the log.
    pub(crate) fn settle(global: &Global, records: bool) -> Result<Self, Exit> {
        let colour =
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let (settings, diagnostics) = ProcessSettings::read(std::env::vars_os());
        let mut process = Self {
            json: global.json,
            records,
            state_dir: global.state_dir.clone().or(settings.state_dir),
            listen: settings.listen,
            colour,
        };
        process.report(&diagnostics, "");
        if diagnostics.iter().any(|d| d.severity == Severity::Error) {
            return Err(Exit::Configuration);
        }
        let format = match global.log_format {
            Some(LogFormatArg::Json) => LogFormat::Json,
            Some(LogFormatArg::Text) => LogFormat::Text,
            None if global.json => LogFormat::Json,
            None => settings.log_format.unwrap_or_default(),
        };
        // Where logs are read by programs, the status lines among them are too.
        process.json |= records && format == LogFormat::Json;
        process.start_log(format)?;
        Ok(process)
    }

    /// Prints diagnostics, and after them what came of it.
    pub(crate) fn report(&self, diagnostics: &[Diagnostic], outcome: &str) {
        if diagnostics.is_empty() {
        } else if self.json {
            let list: Vec<_> = diagnostics.iter().map(Diagnostic::to_json).collect();
            self.document(&json!({ "diagnostics": list }));
        } else {
            tell_raw(&render_all(diagnostics, outcome, RenderOptions { colour: self.colour }));
        }
    }

    fn start_log(&self, format: LogFormat) -> Result<(), Exit> {
        let filter = match std::env::var("OUTFLOW_LOG") {
            Ok(text) if !text.is_empty() => EnvFilter::try_new(text).map_err(|_| {
                let hint = "such as   info   or   warn,outflow_runtime=debug";
                self.refuse(&mistake("config.variable", "OUTFLOW_LOG is no filter of log lines", hint))
            })?,
            _ => EnvFilter::new(LOG),
        };
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(self.colour);
        // A second start in one process keeps the first log.
        let _ = match format {
            LogFormat::Json => builder.json().try_init(),
            _ => builder.with_target(false).compact().try_init(),
        };
        Ok(())
    }
}
