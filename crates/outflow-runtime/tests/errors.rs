//! Events that cannot be taken: the policy, dead letters, and what bounds memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::{Arc, Mutex};

use outflow_runtime::{OnError, Pipeline, PipelineSpec};
use outflow_sdk::{
    Ack, BuildContext, ByteSize, ConfiguredSink, ConfiguredTransform, Error, Findings, RecordBatch, Result,
    Sink, SinkCapabilities, SinkKind, Transform, TransformFn, async_trait, serde_json,
};
use outflow_testkit::memory::{MemoryCheckpoints, MemoryLog, MemorySink, Row};
use support::{spec, status_until, with_transform, within};

/// Dead letters in memory.
#[derive(Clone, Default)]
struct Letters(Arc<Mutex<Vec<serde_json::Value>>>);

#[async_trait]
impl ConfiguredSink for Letters {
    fn type_name(&self) -> &'static str {
        "letters"
    }

    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities::new()
    }

    fn default_format(&self) -> Option<&'static str> {
        None
    }

    fn address(&self) -> String {
        String::new()
    }

    async fn check(&self, _: &mut Findings) {}

    async fn build(&self, _: &BuildContext) -> Result<SinkKind> {
        Ok(SinkKind::Records(Box::new(self.clone())))
    }
}

#[async_trait]
impl Sink<RecordBatch> for Letters {
    async fn write(&mut self, batch: &Arc<RecordBatch>, ack: Ack) -> Result<()> {
        let letters = batch.iter().map(|r| serde_json::from_slice(r.value().unwrap()).unwrap());
        self.0.lock().unwrap().extend(letters);
        ack.durable();
        Ok(())
    }
}

/// A transform from a function.
struct Each(fn(&mut outflow_sdk::BatchEdit<'_>) -> Result<()>);

impl ConfiguredTransform for Each {
    fn type_name(&self) -> &'static str {
        "each"
    }

    fn build(&self, _: &BuildContext) -> Result<Box<dyn Transform>> {
        Ok(Box::new(TransformFn(self.0)))
    }
}

fn n_of(event: outflow_sdk::EventRef<'_>) -> i64 {
    event.after().and_then(|r| r.by_name("n")?.as_i64()).unwrap_or(-1)
}

fn refuse_fives(edit: &mut outflow_sdk::BatchEdit<'_>) -> Result<()> {
    for index in 0..edit.len() {
        if edit.get(index).is_some_and(|e| n_of(e) % 5 == 0) {
            edit.reject(index, Error::data("test.five").message("a multiple of five"));
        }
    }
    Ok(())
}

fn dead_lettering(
    log: &MemoryLog,
    sink: &MemorySink,
    store: &MemoryCheckpoints,
    letters: &Letters,
) -> PipelineSpec {
    let mut spec = spec(log.clone(), sink.clone(), store);
    spec.options.on_error = OnError::DEAD_LETTER;
    spec.dead_letter = Some(Arc::new(letters.clone()));
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_events_are_durable_as_dead_letters_before_the_position_moves() {
    let (log, store, letters) = (MemoryLog::new(4), MemoryCheckpoints::default(), Letters::default());
    // Both a transform and the sink refuse some.
    let sink = MemorySink::new().rejecting(|row| row.n % 7 == 0);
    log.commit((0..40).map(|n| Row::new("k", n)));
    let spec = with_transform(dead_lettering(&log, &sink, &store, &letters), Each(refuse_fives));
    let pipeline = Pipeline::start(spec).await.unwrap();
    within("the checkpoint", async {
        while store.checkpoint().position(&"main".into()).is_none_or(|p| p.as_str() != "1+0") {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    let counts = pipeline.observer().counts();
    pipeline.stop();
    pipeline.wait().await.unwrap();
    let letters = letters.0.lock().unwrap().clone();
    let of = |stage: &str| {
        let stage = format!("stage={stage}");
        letters.iter().filter(|l| l["error"]["message"].as_str().unwrap().contains(&stage)).count()
    };
    // 0, 5, …, 35 by the transform; 7, 14, 21, 28 by the sink (0 and 35 never reached it).
    assert_eq!((of("transform"), of("sink"), letters.len()), (8, 4, 12));
    assert_eq!((counts.dead_lettered, counts.delivered), (12, 28));
    assert_eq!(letters[0]["error"]["code"], "test.five");
    assert_eq!(letters[0]["after"]["n"], 0);
    assert_eq!(sink.delivered().len(), 28);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_error_stop_ends_with_the_event_named_and_what_came_before_it_delivered() {
    let (log, sink, store) = (MemoryLog::new(1), MemorySink::new(), MemoryCheckpoints::default());
    log.commit((1..9).map(|n| Row::new("k", n)));
    let pipeline = Pipeline::spawn(with_transform(spec(log, sink.clone(), &store), Each(refuse_fives)));
    let error = within("the end", pipeline.wait()).await.unwrap_err();
    assert_eq!(error.code(), "test.five");
    assert!(error.to_string().contains("event=memory-log:0:4"), "{error}");
    assert!(error.hint_text().unwrap().contains("on_error: dead-letter"));
    let arrived: Vec<i64> = sink.delivered().iter().map(|d| d.row.n).collect();
    assert_eq!(arrived, [1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_dead_letters_stop_the_pipeline() {
    let (log, sink, store, letters) =
        (MemoryLog::new(10), MemorySink::new(), MemoryCheckpoints::default(), Letters::default());
    log.commit((0..1000).map(|n| Row::new("k", n * 5)));
    let mut spec = with_transform(dead_lettering(&log, &sink, &store, &letters), Each(refuse_fives));
    spec.options.on_error = OnError::DeadLetter { bad: 25, window: 100 };
    let error = within("the end", Pipeline::spawn(spec).wait()).await.unwrap_err();
    assert_eq!(error.code(), "test.five");
    assert!(error.hint_text().unwrap().contains("more than 25"), "{error:?}");
    assert!(letters.0.lock().unwrap().len() <= 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_above_the_limit_is_refused_by_policy() {
    let (log, sink, store, letters) =
        (MemoryLog::new(10), MemorySink::new(), MemoryCheckpoints::default(), Letters::default());
    log.commit([Row::new("a", 1), Row::new("a", 2).padded(100_000), Row::new("a", 3)]);
    let mut spec = dead_lettering(&log, &sink, &store, &letters);
    spec.options.max_row_bytes = ByteSize(50_000);
    let pipeline = Pipeline::start(spec).await.unwrap();
    within("the others", sink.until(|d| d.len() == 2)).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
    assert_eq!(letters.0.lock().unwrap()[0]["error"]["code"], "pipeline.row_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_sink_bounds_what_is_retained_and_a_row_above_the_budget_passes_alone() {
    let (log, sink, store) = (MemoryLog::new(1), MemorySink::new(), MemoryCheckpoints::default());
    for n in 0..100 {
        log.commit([Row::new("k", n).padded(100_000)]);
    }
    log.commit([Row::new("huge", 0).padded(3_000_000)]);
    let mut spec = spec(log, sink.clone(), &store);
    spec.options.memory_budget = ByteSize(1_000_000);
    sink.freeze();
    let pipeline = Pipeline::start(spec).await.unwrap();
    let observer = pipeline.observer();
    let status = status_until(&observer, "a full queue", |s| s.counts.in_flight == 3).await;
    // Two wait, one is being offered; the budget would allow more bytes, never more than one batch beyond it.
    assert!(status.counts.in_flight_bytes < 1_400_000, "{status:?}");
    sink.thaw();
    within("all", sink.until(|d| d.len() == 101)).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_drops_is_not_retained_behind_a_frozen_sink() {
    let (log, sink, store) = (MemoryLog::new(1), MemorySink::new(), MemoryCheckpoints::default());
    log.commit([Row::new("kept", 1)]);
    let keep: fn(&mut outflow_sdk::BatchEdit<'_>) -> Result<()> = |edit| {
        edit.retain(|e| e.after().and_then(|r| r.by_name("key")?.as_str()) == Some("kept"));
        Ok(())
    };
    let mut spec = with_transform(spec(log.clone(), sink.clone().holding(usize::MAX), &store), Each(keep));
    spec.options.memory_budget = ByteSize(1_000_000);
    let pipeline = Pipeline::start(spec).await.unwrap();
    let observer = pipeline.observer();
    within("the first", sink.until(|d| d.len() == 1)).await;
    // Its ack is held: nothing can be checkpointed, and a hundred times the budget goes by.
    for _ in 0..1000 {
        log.commit([Row::new("dropped", 1).padded(100_000)]);
    }
    let status = status_until(&observer, "all filtered", |s| s.counts.filtered == 1000).await;
    assert_eq!(status.counts.in_flight, 1);
    assert!(store.commits().is_empty());
    pipeline.stop();
    pipeline.wait().await.unwrap();
    assert_eq!(store.checkpoint().position(&"main".into()).unwrap().as_str(), "1001+0");
}
