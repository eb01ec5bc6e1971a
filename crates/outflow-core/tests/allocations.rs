//! A steady flow allocates nothing an event: building, reading, changing and writing down reuse what is there.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;

use allocation_counter::measure;
use outflow_core::json::EventWriter;
use outflow_core::*;

const ROWS: u64 = 1000;

fn table() -> Arc<TableSchema> {
    let types = [LogicalType::Int(64), LogicalType::Text, LogicalType::Decimal(None), LogicalType::Map];
    let column = |(i, logical)| Column::new(format!("c{i}"), logical);
    types
        .into_iter()
        .enumerate()
        .map(column)
        .fold(TableSchema::builder("t"), TableSchemaBuilder::column)
        .build()
}

fn fill(builder: &mut BatchBuilder, table: &Arc<TableSchema>, rows: u64) {
    builder.origin("origin");
    let schema = builder.schema(table);
    for ordinal in 0..rows {
        let commit = builder.transaction("0/16B3748", Some(Timestamp::new(1, 0)));
        let mut event = builder.event(Op::Insert).schema(schema).transaction(commit).ordinal(ordinal);
        let mut row = event.after();
        row.i64(ordinal as i64);
        row.text("some text that is long enough");
        row.decimal("42.10");
        row.begin_map();
        row.text("key");
        row.bytes(b"value");
        row.end_map();
        row.end().unwrap();
        event.end();
    }
}

fn allocations(work: impl FnOnce()) -> u64 {
    measure(work).count_total
}

#[test]
fn building_a_batch_over_returned_buffers_allocates_nothing() {
    let (table, mut builder) = (table(), BatchBuilder::new());
    let partition = PartitionId::from("p");
    for rows in [ROWS, 1] {
        for round in 0..5 {
            let count = allocations(|| {
                fill(&mut builder, &table, rows);
                drop(builder.finish(partition.clone(), None));
            });
            // Two sets of buffers take turns, and both have grown by the third round.
            assert!(round < 3 || count == 0, "{count} allocations in round {round} of {rows} rows");
        }
    }
}

#[test]
fn reading_allocates_nothing() {
    let mut builder = BatchBuilder::new();
    fill(&mut builder, &table(), ROWS);
    let batch = builder.finish("p".into(), None);
    let count = allocations(|| {
        for event in batch.iter() {
            let row = event.after().unwrap();
            let sizes = row.values().filter_map(|v| v.as_bytes()).map(<[u8]>::len);
            assert!(sizes.sum::<usize>() > 0 && event.id().ordinal < ROWS && event.size() > 0);
            if let Some(ValueRef::Map(map)) = row.get(3) {
                assert!(map.get("key").is_some());
            }
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn changing_events_allocates_nothing_once_the_overlay_has_grown() {
    let (table, mut builder) = (table(), BatchBuilder::new());
    for round in 0..5 {
        fill(&mut builder, &table, ROWS);
        let mut batch = builder.finish("p".into(), None);
        let count = allocations(|| {
            let mut edit = BatchEdit::new(&mut batch);
            edit.retain(|e| e.id().ordinal % 2 == 0);
            edit.try_for_each(|mut e| {
                e.after_mut().redact("c1");
                e.after_mut().set(2, ValueRef::Decimal("0"));
                e.route("elsewhere");
                e.into_message(&MessageFields {
                    body: Field::Column(1),
                    headers: &[("h", ValueRef::I64(1))],
                    ..MessageFields::default()
                });
                Ok(())
            })
            .unwrap();
        });
        assert!(round < 3 || count == 0, "{count} allocations in round {round}");
    }
}

#[test]
fn writing_lines_allocates_nothing_once_the_schema_is_known() {
    let mut builder = BatchBuilder::new();
    fill(&mut builder, &table(), ROWS);
    let batch = builder.finish("p".into(), None);
    let (mut writer, mut line) = (EventWriter::new(), Vec::with_capacity(4096));
    writer.write(batch.get(0).unwrap(), &mut line);
    let count = allocations(|| {
        for event in batch.iter() {
            line.clear();
            writer.write(event, &mut line);
        }
    });
    assert_eq!(count, 0);
}
