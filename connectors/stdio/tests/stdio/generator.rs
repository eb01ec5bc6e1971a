//! The source `generator`.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use outflow_connector_stdio::{Generator, GeneratorFactory};
use outflow_sdk::{Checkpoint, ConfiguredSource, Op, Relation, SourceFactory};

use crate::support::{Intake, after, run_to_end, start, texts};

#[tokio::test]
async fn a_replay_gives_the_same_events_with_the_same_ids() {
    let generator = Generator::new().rows(2_500).seed(7);
    let first = run_to_end(&generator, Checkpoint::new()).await.unwrap();
    let again = run_to_end(&generator, Checkpoint::new()).await.unwrap();
    assert_eq!(texts(&first), texts(&again));
    let ids: HashSet<String> = first.iter().flat_map(|b| b.iter().map(|e| e.id().to_string())).collect();
    assert_eq!(ids.len(), 2_500);
    let rows: HashSet<String> = first
        .iter()
        .flat_map(|b| {
            b.iter().map(|e| format!("{:?}", e.after().unwrap().values().skip(1).collect::<Vec<_>>()))
        })
        .collect();
    assert_eq!(rows.len(), 2_500, "rows differ in more than their id");
}

#[tokio::test]
async fn any_resume_goes_on_where_it_was() {
    let generator = Generator::new().rows(2_500);
    let whole = run_to_end(&generator, Checkpoint::new()).await.unwrap();
    let all = texts(&whole);
    let mut done = 0;
    for batch in &whole {
        done += batch.len();
        let rest = run_to_end(&generator, after(batch)).await.unwrap();
        assert_eq!(texts(&rest), all[done..]);
    }
    assert_eq!(done, 2_500);
}

#[tokio::test]
async fn rows_are_of_the_size_that_was_asked_for_and_valid() {
    for bytes in [128, 200, 1_000, 100_000] {
        let batches =
            run_to_end(&Generator::new().rows(20).row_bytes(bytes), Checkpoint::new()).await.unwrap();
        for event in batches.iter().flat_map(|b| b.iter()) {
            assert_eq!(event.op(), Op::Insert);
            let row = event.after().unwrap();
            assert_eq!(row.len(), 12);
            let size: usize = row.values().map(|v| v.as_bytes().map_or(8, <[u8]>::len)).sum();
            assert!(size.abs_diff(bytes as usize) < 40, "{size} for {bytes}");
            let json = row.by_name("tags").unwrap().as_str().unwrap();
            serde_json::from_str::<serde_json::Value>(json).unwrap();
        }
    }
}

#[tokio::test]
async fn keys_come_round_as_updates() {
    let batches = run_to_end(&Generator::new().rows(30).keys(10), Checkpoint::new()).await.unwrap();
    let seen: Vec<(Op, i64)> = batches
        .iter()
        .flat_map(|b| b.iter().map(|e| (e.op(), e.after().unwrap().get(0).unwrap().as_i64().unwrap())))
        .collect();
    for (i, (op, key)) in seen.iter().enumerate() {
        assert_eq!(*op, if i < 10 { Op::Insert } else { Op::Update });
        assert_eq!(*key, i as i64 % 10);
    }
}

#[tokio::test]
async fn batches_grow_while_the_pipeline_is_busy_and_stay_within_their_limits() {
    let intake = Intake::new(1);
    let run = tokio::spawn(start(&Generator::new(), intake.context(Checkpoint::new(), false)).await.unwrap());
    let first = intake.next().await;
    assert_eq!(first.len(), 128, "an idle pipeline gets what is there");
    let mut rows = first.len();
    for _ in 0..20 {
        let batch = intake.next().await;
        assert!(batch.len() <= 1000 && batch.content_bytes() < (64 << 10) + 1000);
        assert_eq!(batch.get(0).unwrap().after().unwrap().get(0).unwrap().as_i64(), Some(rows as i64));
        rows += batch.len();
        assert_eq!(batch.end().unwrap().as_str(), rows.to_string());
    }
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_by_the_clock() {
    let intake = Intake::new(usize::MAX);
    let started = tokio::time::Instant::now();
    start(&Generator::new().rows(500).rate(100), intake.context(Checkpoint::new(), false))
        .await
        .unwrap()
        .await
        .unwrap();
    let took = started.elapsed();
    // The clock of the test moves only when everything waits.
    assert!(took >= Duration::from_secs(5) && took < Duration::from_millis(5_100), "{took:?}");
    let batches = intake.drain();
    assert!(batches.iter().all(|b| b.len() <= 2), "light traffic does not wait for company");
}

#[tokio::test]
async fn nothing_is_current_of_rows_without_end() {
    let intake = Intake::new(usize::MAX);
    let before = Instant::now();
    start(&Generator::new(), intake.context(Checkpoint::new(), true)).await.unwrap().await.unwrap();
    assert!(intake.drain().is_empty());
    assert!(before.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn positions_are_counts_of_rows() {
    let codec = GeneratorFactory.positions().unwrap();
    let at = |text: &str| codec.parse(text).unwrap();
    assert_eq!(codec.relate(&at("9"), &at("10")).unwrap(), Relation::Before);
    assert_eq!(codec.parse("ten").unwrap_err().code(), "generator.position");
    let batches = run_to_end(&Generator::new().rows(250), Checkpoint::new()).await.unwrap();
    for (i, event) in batches.iter().flat_map(|b| b.iter()).enumerate() {
        assert!(!codec.covers(&at(&i.to_string()), &event.id()).unwrap());
        assert!(codec.covers(&at(&(i + 1).to_string()), &event.id()).unwrap());
    }
}

#[tokio::test]
async fn configurations_that_give_other_rows_have_other_fingerprints_and_ids() {
    let of = |generator: &Generator| ConfiguredSource::fingerprint(generator).unwrap();
    let base = Generator::new();
    assert_eq!(of(&base), of(&Generator::new().rows(5).rate(5)));
    for other in [Generator::new().seed(1), Generator::new().keys(3), Generator::new().row_bytes(300)] {
        assert_ne!(of(&base), of(&other));
        let id = async |g: Generator| {
            run_to_end(&g.rows(1), Checkpoint::new()).await.unwrap()[0].get(0).unwrap().id().to_string()
        };
        assert_ne!(id(base.clone()).await, id(other).await);
    }
    assert!(serde_json::from_str::<Generator>("{\"keys\": 0}").is_err());
    assert!(serde_json::from_str::<Generator>("{\"row\": 1}").is_err());
}
