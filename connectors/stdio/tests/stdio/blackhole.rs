//! The sink `blackhole`.

use std::sync::Arc;

use outflow_connector_stdio::{BlackholeSink, Generator};
use outflow_format::{Json, JsonFormat};
use outflow_sdk::{
    BuildContext, ChangeBatch, Checkpoint, ConfiguredSink, FormatFactory, RecordWriter, SinkKind,
};

use crate::support::{Outcomes, after, open, run_to_end};

/// What the sink has seen after these batches: rows, bytes, checksum.
async fn seen(batches: Vec<ChangeBatch>) -> (u64, u64, u64) {
    let hole = BlackholeSink::new();
    let SinkKind::Changes(mut sink) = hole.build(&BuildContext::new("test")).await.unwrap() else {
        panic!("without a format it takes typed batches")
    };
    let outcomes = Outcomes::new();
    let count = batches.len();
    for batch in batches {
        sink.write(&Arc::new(batch), outcomes.ack()).await.unwrap();
    }
    assert_eq!(outcomes.so_far().len(), count);
    let totals = hole.totals();
    (totals.rows(), totals.bytes(), totals.checksum())
}

#[tokio::test]
async fn the_checksum_is_that_of_the_content_whatever_the_batches_and_their_order() {
    let generator = Generator::new().rows(5_000);
    let whole = run_to_end(&generator, Checkpoint::new()).await.unwrap();
    assert!(whole.len() > 1);
    let (rows, bytes, checksum) = seen(whole).await;
    assert_eq!(rows, 5_000);
    assert!(bytes > 5_000 * 150, "{bytes}");

    // Cut elsewhere: the first batch of one run, the rest from there on.
    let mut parts = run_to_end(&Generator::new().rows(1_234), Checkpoint::new()).await.unwrap();
    let rest = run_to_end(&generator, after(parts.last().unwrap())).await.unwrap();
    parts.extend(rest);
    parts.reverse();
    assert_eq!(seen(parts).await, (rows, bytes, checksum));

    // A loss, a repeat, another seed: another sum.
    let lost = run_to_end(&Generator::new().rows(4_999), Checkpoint::new()).await.unwrap();
    let mut repeated = run_to_end(&generator, Checkpoint::new()).await.unwrap();
    repeated.push(repeated[0].clone());
    let other = run_to_end(&Generator::new().rows(5_000).seed(1), Checkpoint::new()).await.unwrap();
    for batches in [lost, repeated, other] {
        assert_ne!(seen(batches).await.2, checksum);
    }
}

#[tokio::test]
async fn with_a_format_it_reads_records() {
    let hole = BlackholeSink::new();
    let mut sink = open(&hole).await.unwrap();
    let mut format = JsonFormat.build(&Json::default(), &BuildContext::new("test")).unwrap();
    let mut bytes = 0;
    for batch in run_to_end(&Generator::new().rows(300), Checkpoint::new()).await.unwrap() {
        let mut out = RecordWriter::new();
        batch.iter().for_each(|event| format.encode(event, &mut out).unwrap());
        let records = Arc::new(out.finish_detached());
        bytes += records.iter().map(|r| r.value().unwrap().len() as u64).sum::<u64>();
        sink.write(&records, Outcomes::new().ack()).await.unwrap();
    }
    assert_eq!(hole.totals().rows(), 300);
    assert!(hole.totals().bytes() > bytes);
    assert_ne!(hole.totals().checksum(), 0);
    sink.close().await.unwrap();
}
