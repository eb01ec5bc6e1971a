//! Whether pipelines are healthy, and if not why.

use outflow_runtime::{Observer, State};
use serde::Serialize;

/// The body of `/readyz`.
#[derive(Debug, Serialize)]
pub(crate) struct Readiness {
    ready: bool,
    pipelines: Vec<PipelineReadiness>,
}

#[derive(Debug, Serialize)]
struct PipelineReadiness {
    pipeline: String,
    ready: bool,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in_ms: Option<u64>,
}

impl Readiness {
    /// Of these pipelines. Without any there is nothing that could be healthy (invariant 9).
    pub(crate) fn of<'a>(pipelines: impl IntoIterator<Item = &'a Observer>) -> Self {
        let pipelines: Vec<_> = pipelines.into_iter().map(PipelineReadiness::of).collect();
        let ready = !pipelines.is_empty() && pipelines.iter().all(|p| p.ready);
        Self { ready, pipelines }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }
}

impl PipelineReadiness {
    fn of(pipeline: &Observer) -> Self {
        let status = pipeline.status();
        let trouble = status.trouble;
        Self {
            pipeline: pipeline.name().to_owned(),
            ready: status.state.is_healthy(),
            state: status.state,
            code: trouble.as_ref().map(|t| t.code.clone()),
            reason: trouble.as_ref().map(|t| t.message.clone()).or(status.obstacle),
            hint: trouble.as_ref().and_then(|t| t.hint.clone()),
            retry_in_ms: trouble.and_then(|t| t.retry_in_ms),
        }
    }
}
