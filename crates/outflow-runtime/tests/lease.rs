//! One writer: the lease decides who reads and writes (invariant 12).

mod support;

use std::time::Duration;

use outflow_runtime::{Pipeline, State};
use outflow_testkit::memory::{MemoryCheckpoints, MemoryLog, MemorySink, Row};
use support::{spec, state_until, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_touches_nothing_and_names_the_owner() {
    let (log, sink, store) = (MemoryLog::new(5), MemorySink::new(), MemoryCheckpoints::default());
    let first = Pipeline::start(spec(log.clone(), sink.clone(), &store)).await.unwrap();
    let (other_sink, other_log) = (MemorySink::new(), log.clone());
    let mut second = spec(other_log, other_sink.clone(), &store);
    second.options.startup_timeout = Duration::from_millis(100);
    let error = within("the refusal", Pipeline::start(second)).await.unwrap_err();
    assert_eq!(error.code(), "state.held");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    assert_eq!((other_sink.opened_and_closed(), log.opened()), ((0, 0), 1));
    first.stop();
    first.wait().await.unwrap();
    // Given up in order, the lease is free at once.
    let third = Pipeline::start(spec(log, sink, &store)).await.unwrap();
    third.stop();
    third.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn past_its_deadline_a_pipeline_writes_nothing_until_it_has_renewed() {
    let store = MemoryCheckpoints::new(Duration::from_millis(60));
    let (log, sink) = (MemoryLog::new(1), MemorySink::new());
    let pipeline = Pipeline::start(spec(log.clone(), sink.clone(), &store)).await.unwrap();
    store.fail_renewals(true);
    // Let the deadline pass: no renewal works from now on.
    tokio::time::sleep(Duration::from_millis(200)).await;
    for n in 0..5 {
        log.commit([Row::new("k", n)]);
    }
    support::status_until(&pipeline.observer(), "in flight", |s| s.counts.in_flight > 0).await;
    let seen = sink.delivered().len();
    assert_eq!(seen, 0);
    store.fail_renewals(false);
    within("all", sink.until(|d| d.len() == 5)).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_pipeline_stops_for_good() {
    let store = MemoryCheckpoints::new(Duration::from_millis(60));
    let (log, sink) = (MemoryLog::new(1), MemorySink::new());
    let pipeline = Pipeline::start(spec(log.clone(), sink.clone(), &store)).await.unwrap();
    let observer = pipeline.observer();
    store.take_over();
    let error = within("the end", pipeline.wait()).await.unwrap_err();
    assert_eq!((error.code(), error.is_fenced()), ("state.fenced", true));
    state_until(&observer, State::Failed).await;
    let commits = store.commits().len();
    log.commit([Row::new("k", 1)]);
    assert_eq!((log.opened(), store.commits().len()), (1, commits));
}
