//! Exit codes.

use std::process::ExitCode;

use outflow_sdk::{Error, ErrorKind};

/// How the process ends; a worse one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// In order.
    Ok,
    /// A pipeline failed.
    Runtime,
    /// Something around is missing or not set up.
    Environment,
    /// A mistake in the configuration.
    Configuration,
}

impl Exit {
    /// What an error that ended a pipeline means, by whether the pipeline had ever connected.
    pub(crate) fn of(error: &Error, has_run: bool) -> Self {
        match error.kind() {
            ErrorKind::Configuration => Self::Configuration,
            // What never worked is not set up.
            ErrorKind::Environment
            | ErrorKind::Unavailable
            | ErrorKind::State
            | ErrorKind::Position
            | ErrorKind::Lease
                if !has_run =>
            {
                Self::Environment
            }
            _ => Self::Runtime,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Runtime => 1,
            Exit::Configuration => 2,
            Exit::Environment => 3,
        })
    }
}
