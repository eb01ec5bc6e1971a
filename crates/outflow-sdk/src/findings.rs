//! What `check` finds: facts about a system, each with the remedy.

use std::borrow::Cow;
use std::fmt::Display;

use outflow_core::Error;
use serde::Serialize;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, but will hurt.
    Warn,
    /// Does not work.
    Error,
}

/// One fact about a system.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// How grave.
    pub level: Level,
    /// The stable code, such as `postgres.wal_level`.
    pub code: Cow<'static, str>,
    /// What was found.
    pub message: String,
    /// What to do, each line as it can be typed: SQL where SQL helps.
    pub remedy: Vec<String>,
}

/// Collects what `check` finds. A check reads and never writes (invariant 11).
#[derive(Clone, Debug, Default)]
pub struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn push(
        &mut self,
        level: Level,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> &mut Finding {
        self.list.push(Finding { level, code: code.into(), message: message.into(), remedy: Vec::new() });
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    /// Notes that something is as it should be.
    pub fn ok(&mut self, code: impl Into<Cow<'static, str>>, message: impl Into<String>) {
        self.push(Level::Ok, code, message);
    }

    /// Notes something that will hurt, with the remedy.
    pub fn warn(
        &mut self,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
        remedy: impl IntoIterator<Item = impl Into<String>>,
    ) {
        self.push(Level::Warn, code, message).remedy = remedy.into_iter().map(Into::into).collect();
    }

    /// Notes something that does not work, with the remedy.
    pub fn error(
        &mut self,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
        remedy: impl IntoIterator<Item = impl Into<String>>,
    ) {
        self.push(Level::Error, code, message).remedy = remedy.into_iter().map(Into::into).collect();
    }

    /// Notes an attempt: fine, or its error with a remedy. The value is handed through.
    pub fn probe<T, E: Display>(
        &mut self,
        code: impl Into<Cow<'static, str>>,
        result: Result<T, E>,
        remedy: &str,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                self.ok(code, "fine");
                Some(value)
            }
            Err(error) => {
                self.error(code, error.to_string(), [remedy]);
                None
            }
        }
    }

    /// Notes a condition: fine, or a message with a remedy.
    pub fn require(
        &mut self,
        condition: bool,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
        remedy: &str,
    ) -> bool {
        if condition {
            self.ok(code, "fine");
        } else {
            self.error(code, message, [remedy]);
        }
        condition
    }

    /// Notes an error under its own code, with its hint as the remedy.
    pub fn fail(&mut self, error: &Error) {
        let remedy = error.hint_text().map(|h| h.lines().map(str::to_owned).collect()).unwrap_or_default();
        let mut message = error.to_string();
        if let Some(rest) = message.strip_prefix(error.code()).and_then(|r| r.strip_prefix(": ")) {
            message = rest.to_owned();
        }
        self.push(Level::Error, error.code().to_owned(), message).remedy = remedy;
    }

    /// Everything found, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Finding> {
        self.list.iter()
    }

    /// The gravest level, if anything was found.
    pub fn worst(&self) -> Option<Level> {
        self.list.iter().map(|f| f.level).max()
    }
}
