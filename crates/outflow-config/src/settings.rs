//! The pipeline's own keys: limits and policies.

use outflow_sdk::{ByteSize, JsonSchema, Timespan};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What becomes of an event that cannot be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(crate = "outflow_sdk::schemars")]
#[non_exhaustive]
pub enum OnError {
    /// Stop the pipeline; nothing is skipped.
    #[default]
    Stop,
    /// Write the event to the dead letters, durably, and go on.
    DeadLetter,
}

/// Limits and policies of a pipeline. The defaults here are the lowest layer of every configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(crate = "outflow_sdk::schemars")]
#[non_exhaustive]
pub struct Settings {
    /// What becomes of an event that cannot be taken.
    pub on_error: OnError,
    /// Bytes that the pipeline may retain in batches and records.
    pub memory_budget: ByteSize,
    /// A row above this size is an error of its event.
    pub max_row_bytes: ByteSize,
    /// Bytes emitted since the last stored checkpoint: the bound of what comes again after a crash.
    pub max_replay: ByteSize,
    /// How long a graceful stop may take.
    pub shutdown_timeout: Timespan,
    /// How long transient failures are retried before the pipeline has ever run; 0 is for ever.
    pub startup_timeout: Timespan,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            on_error: OnError::Stop,
            memory_budget: ByteSize::mib(24),
            max_row_bytes: ByteSize::mib(128),
            max_replay: ByteSize::mib(64),
            shutdown_timeout: Timespan(Duration::from_secs(30)),
            startup_timeout: Timespan(Duration::from_secs(60)),
        }
    }
}
