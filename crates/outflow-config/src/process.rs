//! Settings of the process, from `OUTFLOW_*` variables. A pipeline's own values come from its file.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::diagnostic::{Diagnostic, Place};
use crate::suggest::nearest;

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be text or json".to_owned()),
        }
    }
}

/// What the environment says of the process; a flag of the command line goes before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessSettings {
    /// `OUTFLOW_LOG_FORMAT`.
    pub log_format: Option<LogFormat>,
    /// `OUTFLOW_LISTEN`: where health and metrics are served.
    pub listen: Option<SocketAddr>,
    /// `OUTFLOW_STATE_DIR`: the folder that holds the state of all pipelines.
    pub state_dir: Option<PathBuf>,
}

const LOG_FORMAT: &str = "OUTFLOW_LOG_FORMAT";
const LISTEN: &str = "OUTFLOW_LISTEN";
const STATE_DIR: &str = "OUTFLOW_STATE_DIR";

impl ProcessSettings {
    /// Reads the settings from variables, such as those of [`std::env::vars_os`]. A value that cannot be read is an
    /// error; a variable that is probably a misspelt one of ours is a warning. An empty value counts as none, and
    /// variables of others, `OUTFLOW_TEST_*` among them, are left alone.
    pub fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> (Self, Vec<Diagnostic>) {
        let mut settings = Self::default();
        let mut diagnostics = Vec::new();
        let mut variables: Vec<(String, OsString)> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect();
        variables.sort();
        for (name, value) in variables {
            if value.is_empty() {
                continue;
            }
            let text = value.to_str();
            let refused = match name.as_str() {
                LOG_FORMAT => set(&mut settings.log_format, text.map(str::parse), "must be text or json"),
                LISTEN => {
                    let form = "must be an address with a port, such as 127.0.0.1:9090";
                    set(&mut settings.listen, text.map(str::parse), form)
                }
                STATE_DIR => {
                    settings.state_dir = Some(PathBuf::from(&value));
                    None
                }
                other => {
                    diagnostics.extend(misspelt(other));
                    None
                }
            };
            if let Some(must) = refused {
                let message = format!("{name} {must}");
                diagnostics.push(Diagnostic::new("config.variable", Place::Variable { name }, message));
            }
        }
        (settings, diagnostics)
    }
}

/// Sets a value or gives what it must be.
fn set<T, E>(into: &mut Option<T>, parsed: Option<Result<T, E>>, must: &'static str) -> Option<&'static str> {
    match parsed {
        Some(Ok(value)) => {
            *into = Some(value);
            None
        }
        _ => Some(must),
    }
}

fn misspelt(name: &str) -> Option<Diagnostic> {
    let rest = name.strip_prefix("OUTFLOW_").filter(|rest| !rest.starts_with("TEST_"))?;
    let known = [LOG_FORMAT, LISTEN, STATE_DIR].map(|k| k.strip_prefix("OUTFLOW_").unwrap_or(k));
    let near = nearest(rest, known)?;
    let message = format!("the environment variable {name} means nothing to Outflow");
    let diagnostic = Diagnostic::new("config.variable", Place::Variable { name: name.to_owned() }, message);
    Some(diagnostic.label(format!("did you mean OUTFLOW_{near}?")).warning())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (ProcessSettings, Vec<(String, Option<String>)>) {
        let (settings, found) =
            ProcessSettings::read(variables.iter().map(|(n, v)| (OsString::from(n), OsString::from(v))));
        (settings, found.into_iter().map(|d| (d.message, d.label)).collect())
    }

    #[test]
    fn reads_what_is_ours() {
        let (settings, found) = read(&[
            ("OUTFLOW_LOG_FORMAT", "json"),
            ("OUTFLOW_LISTEN", "127.0.0.1:9090"),
            ("OUTFLOW_STATE_DIR", "/var/lib/outflow"),
            ("OUTFLOW_TEST_LISTEN", "x"),
            ("OUTFLOW_PG_PASSWORD", "x"),
            ("PATH", "x"),
        ]);
        assert_eq!(found, []);
        assert_eq!(settings.log_format, Some(LogFormat::Json));
        assert_eq!(settings.listen, Some(([127, 0, 0, 1], 9090).into()));
        assert_eq!(settings.state_dir, Some("/var/lib/outflow".into()));
        assert_eq!(read(&[("OUTFLOW_LISTEN", "")]), (ProcessSettings::default(), Vec::new()));
    }

    #[test]
    fn says_what_is_wrong_without_the_value() {
        let (_, found) = read(&[("OUTFLOW_LISTEN", "canary"), ("OUTFLOW_LOG_FROMAT", "canary")]);
        let expected = [
            ("OUTFLOW_LISTEN must be an address with a port, such as 127.0.0.1:9090".to_owned(), None),
            (
                "the environment variable OUTFLOW_LOG_FROMAT means nothing to Outflow".to_owned(),
                Some("did you mean OUTFLOW_LOG_FORMAT?".to_owned()),
            ),
        ];
        assert_eq!(found, expected);
    }
}
