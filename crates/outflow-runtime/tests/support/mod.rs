//! What the tests of the pipeline share.
#![allow(dead_code, clippy::panic, reason = "not every test file uses all of it; a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use outflow_runtime::{Observer, PipelineOptions, PipelineSpec, State, Status};
use outflow_sdk::{ConfiguredSink, ConfiguredSource, ConfiguredTransform};
use outflow_testkit::memory::{Delivered, MemoryCheckpoints, Row};

pub(crate) fn options() -> PipelineOptions {
    let mut options = PipelineOptions::default();
    options.checkpoint_interval = Duration::from_millis(5);
    options.max_backoff = Duration::from_millis(20);
    options.shutdown_timeout = Duration::from_secs(10);
    options
}

pub(crate) fn spec(
    source: impl ConfiguredSource + 'static,
    sink: impl ConfiguredSink + 'static,
    store: &MemoryCheckpoints,
) -> PipelineSpec {
    PipelineSpec {
        name: "test".into(),
        source: Arc::new(source),
        transforms: Vec::new(),
        format: None,
        sink: Arc::new(sink),
        dead_letter: None,
        store: Arc::new(store.clone()),
        options: options(),
    }
}

pub(crate) fn with_transform(
    mut spec: PipelineSpec,
    transform: impl ConfiguredTransform + 'static,
) -> PipelineSpec {
    spec.transforms.push(Arc::new(transform));
    spec
}

/// The wait of every test for something that must come: long enough for any machine, an error when it is over.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), future).await {
        Ok(value) => value,
        Err(_) => panic!("did not come within 30 s: {what}"),
    }
}

/// Waits until the status meets a condition.
pub(crate) async fn status_until(
    observer: &Observer,
    what: &str,
    condition: impl Fn(&Status) -> bool,
) -> Status {
    within(what, async {
        loop {
            let status = observer.status();
            if condition(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
}

pub(crate) async fn state_until(observer: &Observer, state: State) -> Status {
    status_until(observer, state.as_str(), |s| s.state == state).await
}

/// Arrived rows without repeats of an id, in order of first arrival.
pub(crate) fn deduplicated(delivered: &[Delivered]) -> Vec<Row> {
    let mut seen = std::collections::HashSet::new();
    delivered.iter().filter(|d| seen.insert(d.id.clone())).map(|d| d.row.clone()).collect()
}
