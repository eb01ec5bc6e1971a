//! What a pipeline promises about order, acks, checkpoints and releases, over in-memory servers.

mod support;

use std::time::Duration;

use outflow_runtime::{Pipeline, State};
use outflow_sdk::Error;
use outflow_testkit::memory::{
    GtidLog, LogPosition, MarkedTable, MemoryCheckpoints, MemoryLog, MemorySink, Row, ShardTree,
    TransactionalSink,
};
use support::{deduplicated, spec, status_until, within};

fn fill(log: &MemoryLog, transactions: i64, rows: i64) {
    for t in 0..transactions {
        log.commit((0..rows).map(|r| Row::new(format!("k{}", r % 7), t * rows + r)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_in_order_and_is_released_only_after_it_is_stored() {
    let (log, sink, store) = (MemoryLog::new(10), MemorySink::new().holding(3), MemoryCheckpoints::default());
    fill(&log, 20, 13);
    let pipeline = Pipeline::start(spec(log.clone(), sink.clone(), &store)).await.unwrap();
    within("all rows", sink.until(|d| d.len() == 260)).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
    let arrived: Vec<Row> = sink.delivered().into_iter().map(|d| d.row).collect();
    assert_eq!(arrived, log.rows());
    let end = LogPosition { transactions: 20, rows: 0 }.position();
    assert_eq!(store.checkpoint().position(&"main".into()), Some(&end));
    assert_eq!(log.released().last().unwrap().position.as_ref(), Some(&end));
    // Invariant 1: never a release that was not stored before.
    let stored: Vec<_> =
        store.commits().iter().filter_map(|c| c.delta.positions().next()?.1.cloned()).collect();
    for release in log.released() {
        assert!(stored.contains(&release.position.unwrap()));
    }
    assert_eq!(sink.opened_and_closed(), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_in_the_middle_of_a_transaction() {
    let (log, sink, store) = (MemoryLog::new(4), MemorySink::new(), MemoryCheckpoints::default());
    log.commit((0..10).map(|n| Row::new("k", n)));
    let mut first = spec(log.clone(), sink.clone(), &store);
    first.options.max_replay = outflow_sdk::ByteSize(1);
    let pipeline = Pipeline::start(first).await.unwrap();
    within("a checkpoint inside the transaction", async {
        while store.commits().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    pipeline.abort();
    let _ = pipeline.wait().await;
    let stored = store.checkpoint();
    let resumed = LogPosition::parse(stored.position(&"main".into()).unwrap().as_str()).unwrap();
    let before = sink.delivered().len();
    let pipeline = Pipeline::start(spec(log.clone(), sink.clone(), &store)).await.unwrap();
    within("the rest", sink.until(|d| deduplicated(d).len() == 10)).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
    assert_eq!(deduplicated(&sink.delivered()), log.rows());
    // What came again begins right after what was stored.
    let again = &sink.delivered()[before..];
    let done = resumed.transactions * 10 + resumed.rows;
    assert_eq!(again.len(), 10 - done, "{resumed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_and_dropped_acks_rewind_without_loss_or_reordering() {
    let (log, sink, store) = (MemoryLog::new(5), MemorySink::new(), MemoryCheckpoints::default());
    sink.lose_next(Error::transient("x.lost"));
    fill(&log, 4, 5);
    let pipeline = Pipeline::start(spec(log.clone(), sink.clone(), &store)).await.unwrap();
    let observer = pipeline.observer();
    within("four", sink.until(|d| deduplicated(d).len() == 20)).await;
    sink.lose_next_answer();
    fill(&log, 4, 5);
    within("all", sink.until(|d| deduplicated(d).len() == 40)).await;
    status_until(&observer, "settled", |s| s.counts.in_flight == 0 && s.counts.rewinds == 2).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
    assert_eq!(deduplicated(&sink.delivered()), log.rows());
    assert_eq!(log.opened(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_not_taken_is_offered_again_without_a_rewind() {
    let (log, sink, store) = (MemoryLog::new(5), MemorySink::new(), MemoryCheckpoints::default());
    for _ in 0..3 {
        sink.refuse_next(Error::transient("x.busy"));
    }
    fill(&log, 2, 5);
    let pipeline = Pipeline::start(spec(log.clone(), sink.clone(), &store)).await.unwrap();
    within("all", sink.until(|d| d.len() == 10)).await;
    let counts = pipeline.observer().counts();
    assert_eq!((counts.rewinds, counts.retries), (0, 3));
    pipeline.stop();
    pipeline.wait().await.unwrap();
    assert_eq!((log.opened(), sink.delivered().len()), (1, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_source_is_built_again_and_goes_on_where_it_was() {
    let (log, sink, store) = (MemoryLog::new(5), MemorySink::new(), MemoryCheckpoints::default());
    fill(&log, 2, 5);
    let pipeline = Pipeline::start(spec(log.clone(), sink.clone(), &store)).await.unwrap();
    within("first", sink.until(|d| d.len() == 10)).await;
    log.fail_next(Error::transient("x.connection_lost"));
    fill(&log, 2, 5);
    within("all", sink.until(|d| deduplicated(d).len() == 20)).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
    assert_eq!(deduplicated(&sink.delivered()), log.rows());
    assert_eq!(log.opened(), 2);
    // What had been emitted before the break was confirmed and stored first: nothing came twice.
    assert_eq!(sink.delivered().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_error_parks_the_pipeline_with_its_code() {
    let (log, sink, store) = (MemoryLog::new(5), MemorySink::new(), MemoryCheckpoints::default());
    sink.refuse_next(Error::permanent("x.forbidden").hint("grant it"));
    fill(&log, 1, 5);
    let pipeline = Pipeline::spawn(spec(log, sink, &store));
    let observer = pipeline.observer();
    let error = within("the end", pipeline.wait()).await.unwrap_err();
    assert_eq!(error.code(), "x.forbidden");
    let status = observer.status();
    assert_eq!((status.state, status.trouble.unwrap().hint.as_deref()), (State::Failed, Some("grant it")));
    assert!(store.checkpoint().positions().next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_an_error_of_its_pipeline_and_no_other() {
    let (log, sink, store) = (MemoryLog::new(5), MemorySink::new(), MemoryCheckpoints::default());
    sink.panic_next();
    fill(&log, 1, 5);
    let broken = Pipeline::spawn(spec(log, sink, &store));
    let (other_log, other_sink, other_store) =
        (MemoryLog::new(5), MemorySink::new(), MemoryCheckpoints::default());
    let other = Pipeline::start(spec(other_log.clone(), other_sink.clone(), &other_store)).await.unwrap();
    let error = within("the end", broken.wait()).await.unwrap_err();
    assert_eq!(error.code(), "pipeline.panic");
    fill(&other_log, 1, 5);
    within("the neighbour's rows", other_sink.until(|d| d.len() == 5)).await;
    other.stop();
    other.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_at_current_delivers_what_was_there_and_ends() {
    let (log, sink, store) = (MemoryLog::new(7), MemorySink::new().holding(2), MemoryCheckpoints::default());
    fill(&log, 9, 9);
    let mut spec = spec(log.clone(), sink.clone(), &store);
    spec.options.stop_at_current = true;
    let pipeline = Pipeline::start(spec).await.unwrap();
    within("the end", pipeline.wait()).await.unwrap();
    assert_eq!(sink.delivered().len(), 81);
    assert_eq!(store.checkpoint().position(&"main".into()).unwrap().as_str(), "9+0");
    assert_eq!(log.released().last().unwrap().position.as_ref().unwrap().as_str(), "9+0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_sink_ends_within_the_shutdown_timeout_and_nothing_is_released() {
    let (log, sink, store) = (MemoryLog::new(5), MemorySink::new(), MemoryCheckpoints::default());
    sink.freeze();
    fill(&log, 2, 5);
    let mut spec = spec(log.clone(), sink.clone(), &store);
    spec.options.shutdown_timeout = Duration::from_millis(100);
    let pipeline = Pipeline::start(spec).await.unwrap();
    status_until(&pipeline.observer(), "in flight", |s| s.counts.in_flight > 0).await;
    pipeline.stop();
    let error = within("the end", pipeline.wait()).await.unwrap_err();
    assert_eq!(error.code(), "pipeline.shutdown_timeout");
    assert!(log.released().is_empty() && store.commits().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_ends_at_once() {
    let (log, sink, store) = (MemoryLog::new(5), MemorySink::new(), MemoryCheckpoints::default());
    sink.freeze();
    fill(&log, 2, 5);
    let pipeline = Pipeline::start(spec(log.clone(), sink.clone(), &store)).await.unwrap();
    status_until(&pipeline.observer(), "in flight", |s| s.counts.in_flight > 0).await;
    pipeline.stop();
    pipeline.abort();
    assert_eq!(within("the end", pipeline.wait()).await.unwrap_err().code(), "pipeline.aborted");
    assert!(log.released().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoint_failures_are_retried_and_nothing_is_released_before() {
    let (log, sink, store) = (MemoryLog::new(5), MemorySink::new(), MemoryCheckpoints::default());
    for _ in 0..3 {
        store.fail_next_commit(Error::transient("state.disk_full"));
    }
    fill(&log, 2, 5);
    let pipeline = Pipeline::start(spec(log.clone(), sink.clone(), &store)).await.unwrap();
    within("a release", async {
        while log.released().is_empty() {
            assert!(store.commits().len() <= 1 || !log.released().is_empty());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert!(!store.commits().is_empty());
    pipeline.stop();
    pipeline.wait().await.unwrap();
    assert_eq!(sink.delivered().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_without_an_order_resume_by_their_set() {
    let (log, sink, store) = (GtidLog::new(), MemorySink::new(), MemoryCheckpoints::default());
    // Numbers come out of order, and two servers interleave.
    for (server, n) in [("b", 9), ("a", 3), ("a", 1), ("b", 2), ("a", 2)] {
        log.commit(server, n, Row::new(server, n as i64));
    }
    let pipeline = Pipeline::start(spec(log.clone(), sink.clone(), &store)).await.unwrap();
    within("first", sink.until(|d| d.len() == 5)).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
    assert_eq!(store.checkpoint().position(&"main".into()).unwrap().as_str(), "a:1-3,b:2:9");
    log.commit("b", 1, Row::new("b", 1));
    log.commit("a", 4, Row::new("a", 4));
    let pipeline = Pipeline::start(spec(log.clone(), sink.clone(), &store)).await.unwrap();
    within("the rest", sink.until(|d| d.len() == 7)).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
    assert_eq!(sink.delivered().len(), 7, "nothing came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_shards_keep_their_own_progress_and_children_follow_parents() {
    let (shards, sink, store) = (ShardTree::new(), MemorySink::new(), MemoryCheckpoints::default());
    for shard in 0..1000 {
        shards.append(&format!("shard-{shard:03}"), Row::new(format!("{shard}"), 1));
    }
    shards.append("a-child", Row::new("0", 3));
    shards.split("shard-000", &["a-child"]);
    shards.append("shard-000", Row::new("0", 2));
    let pipeline = Pipeline::start(spec(shards, sink.clone(), &store)).await.unwrap();
    within("all", sink.until(|d| d.len() == 1002)).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
    let of_zero: Vec<i64> = sink.delivered().iter().filter(|d| d.row.key == "0").map(|d| d.row.n).collect();
    assert_eq!(of_zero, [1, 2, 3]);
    assert_eq!(store.checkpoint().positions().len(), 1001);
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_are_set_after_delivery_and_late_lower_ids_arrive() {
    let (table, sink, store) = (MarkedTable::new(), MemorySink::new(), MemoryCheckpoints::default());
    for id in 10..20 {
        table.insert(id, Row::new("k", id));
    }
    sink.freeze();
    let pipeline = Pipeline::start(spec(table.clone(), sink.clone(), &store)).await.unwrap();
    status_until(&pipeline.observer(), "in flight", |s| s.counts.in_flight > 0).await;
    assert!(table.marked().is_empty(), "no mark before delivery");
    sink.thaw();
    within("first", sink.until(|d| d.len() == 10)).await;
    table.insert(3, Row::new("k", 3));
    within("the late one", sink.until(|d| d.len() == 11)).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
    assert_eq!(table.marked().len(), 11, "an end in order marks everything that was delivered");
    assert!(store.commits().iter().all(|c| c.delta.positions().len() == 0), "the mark is the checkpoint");
    assert_eq!(sink.delivered().len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_end_at_current_too() {
    let (table, sink, store) = (MarkedTable::new(), MemorySink::new(), MemoryCheckpoints::default());
    for id in 0..50 {
        table.insert(id, Row::new("k", id));
    }
    let mut spec = spec(table.clone(), sink.clone(), &store);
    spec.options.stop_at_current = true;
    let pipeline = Pipeline::start(spec).await.unwrap();
    within("the end", pipeline.wait()).await.unwrap();
    assert_eq!((sink.delivered().len(), table.marked().len()), (50, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_holds_the_checkpoint_commits_both_in_one_step() {
    let (log, sink, store) = (MemoryLog::new(3), TransactionalSink::new(), MemoryCheckpoints::default());
    sink.fail_next_commit(Error::transient("x.aborted"));
    fill(&log, 5, 7);
    let pipeline = Pipeline::start(spec(log.clone(), sink.clone(), &store)).await.unwrap();
    within("all", async {
        while sink.committed().len() < 35 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
    let rows: Vec<Row> = sink.committed().into_iter().map(|d| d.row).collect();
    assert_eq!(rows, log.rows(), "exactly once: nothing is repeated");
    assert_eq!(sink.checkpoint().position(&"main".into()).unwrap().as_str(), "5+0");
    assert!(store.commits().is_empty(), "the store keeps only the lease");
    assert_eq!(log.released().last().unwrap().position.as_ref().unwrap().as_str(), "5+0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_another_source_is_never_taken() {
    let (log, sink, store) = (MemoryLog::new(3), MemorySink::new(), MemoryCheckpoints::default());
    fill(&log, 1, 3);
    let pipeline = Pipeline::start(spec(log, sink.clone(), &store)).await.unwrap();
    within("all", sink.until(|d| d.len() == 3)).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
    let error = Pipeline::start(spec(GtidLog::new(), sink, &store)).await.unwrap_err();
    assert_eq!(error.code(), "state.other_source");
    assert!(error.hint_text().unwrap().contains("outflow position reset test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_for_too_long_gives_its_last_error() {
    let (log, sink, store) = (MemoryLog::new(3), MemorySink::new(), MemoryCheckpoints::default());
    for _ in 0..1000 {
        log.fail_next(Error::transient("x.unreachable").message("no route"));
    }
    let mut spec = spec(log, sink, &store);
    spec.options.startup_timeout = Duration::from_millis(50);
    let error = within("the end", Pipeline::start(spec)).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("x.unreachable", false));
    assert!(error.context().any(|(key, _)| key == "tried_for"), "{error}");
}
