//! Building a batch.

use std::sync::Arc;

use outflow_core::*;
use proptest::prelude::*;

use crate::support::{batch, events, exact, read_all};

fn table(columns: usize) -> Arc<TableSchema> {
    let column = |i| Column::new(format!("c{i}"), LogicalType::Any);
    (0..columns).fold(TableSchema::builder("t"), |t, i| t.column(column(i))).build()
}

fn insert(builder: &mut BatchBuilder, table: &Arc<TableSchema>, values: &[Value]) {
    let schema = builder.schema(table);
    let mut event = builder.event(Op::Insert).schema(schema);
    let mut row = event.after();
    values.iter().for_each(|value| row.owned(value));
    row.end().unwrap();
    event.end();
}

proptest! {
    #[test]
    fn what_was_written_is_read(specs in events(4)) {
        let batch = batch("o", &specs);
        prop_assert_eq!(batch.len(), specs.len());
        for (event, spec) in batch.iter().zip(&specs) {
            let rows = [(event.before(), &spec.before), (event.after(), &spec.after)];
            for (row, values) in rows {
                let read: Option<Vec<_>> = row.map(|row| row.values().map(exact).collect());
                let written: Option<Vec<_>> =
                    values.as_ref().map(|v| v.iter().map(|v| exact(v.as_ref())).collect());
                prop_assert_eq!(read, written);
            }
            let message = event.message().map(|m| (exact(m.key()), exact(m.body_value()), m.kind()));
            let written =
                spec.message.as_ref().map(|m| (exact(m.key.as_ref()), exact(m.body.as_ref()), m.kind.as_deref()));
            prop_assert_eq!(message, written);
            prop_assert_eq!(event.route(), spec.route.as_deref());
            prop_assert_eq!(event.schema(), spec.schema.as_ref());
            prop_assert_eq!(event.commit_time(), spec.time);
            prop_assert_eq!(event.id().commit, &spec.commit);
            let owned: Vec<_> =
                event.row_any().map_or(vec![], |row| row.values().map(ValueRef::to_value).collect());
            let row = event.row_any().map_or(vec![], |row| row.values().map(exact).collect());
            prop_assert_eq!(owned.iter().map(|v| exact(v.as_ref())).collect::<Vec<_>>(), row);
        }
    }

    #[test]
    fn an_abandoned_event_leaves_no_trace(specs in events(3), abandoned in crate::support::event()) {
        let mut builder = BatchBuilder::new();
        builder.origin("o");
        specs.iter().for_each(|spec| spec.write(&mut builder));
        let bytes = builder.bytes();
        {
            let table = abandoned.schema.clone().unwrap_or_else(|| table(0));
            // The builder lists schemas and transactions on their own; the event is what is taken back.
            let schema = builder.schema(&table);
            let mut event = builder.event(abandoned.op).schema(schema).route("nowhere");
            event.message(&MessageParts { body: ValueRef::Text("gone"), ..MessageParts::default() });
            let mut row = event.after();
            abandoned.after.iter().flatten().for_each(|value| row.owned(value));
            drop(row.end());
        }
        prop_assert_eq!((builder.len(), builder.bytes()), (specs.len(), bytes));
        let built = builder.finish("p".into(), None);
        prop_assert_eq!(read_all(&built), read_all(&batch("o", &specs)));
    }
}

#[test]
fn a_row_has_one_value_a_column() {
    let mut builder = BatchBuilder::new();
    let schema = builder.schema(&table(2));
    for values in [1, 3] {
        let mut event = builder.event(Op::Insert).schema(schema);
        let mut row = event.after();
        (0..values).for_each(|i| row.i64(i));
        let error = row.end().unwrap_err();
        assert_eq!(error.code(), "batch.row_width");
        assert!(error.to_string().contains(&format!("columns=2, values={values}")), "{error}");
        event.end();
    }
    let batch = builder.finish("p".into(), None);
    assert!(batch.iter().all(|event| event.after().is_none()), "a refused row exists");
}

#[test]
fn a_row_without_a_schema_is_refused() {
    let mut builder = BatchBuilder::new();
    let mut event = builder.event(Op::Insert);
    let mut row = event.after();
    row.i64(1);
    assert_eq!(row.end().unwrap_err().code(), "batch.no_schema");
}

#[test]
fn lists_and_maps_must_be_closed_as_they_were_opened() {
    let writes: [&dyn Fn(&mut RowWriter<'_>); 5] = [
        &|row| row.begin_list(),
        &|row| row.end_list(),
        &|row| {
            row.i64(1);
            row.end_list();
        },
        &|row| {
            row.begin_list();
            row.end_map();
        },
        &|row| {
            row.begin_map();
            row.begin_list();
            row.end_map();
            row.end_list();
        },
    ];
    for write in writes {
        let mut builder = BatchBuilder::new();
        let schema = builder.schema(&table(1));
        let mut event = builder.event(Op::Insert).schema(schema);
        let mut row = event.after();
        write(&mut row);
        assert_eq!(row.end().unwrap_err().code(), "batch.row_width");
        // The event is fine without it, and so is a row written anew.
        let mut row = event.after();
        row.i64(1);
        row.end().unwrap();
    }
}

#[test]
fn nested_values_can_be_written_piece_by_piece() {
    let mut builder = BatchBuilder::new();
    let schema = builder.schema(&table(3));
    let mut event = builder.event(Op::Insert).schema(schema);
    let mut row = event.after();
    row.text("first");
    row.begin_list();
    row.i64(1);
    row.begin_map();
    row.text("k");
    row.begin_list();
    row.end_list();
    row.text("no value");
    row.end_map();
    row.null();
    row.end_list();
    row.text("last");
    row.end().unwrap();
    event.end();
    let batch = builder.finish("p".into(), None);
    let inner = Value::Map(vec![("k".into(), Value::List(vec![])), ("no value".into(), Value::Null)]);
    let list = Value::List(vec![1_i64.into(), inner, Value::Null]);
    let row: Vec<_> = batch.get(0).unwrap().after().unwrap().values().map(ValueRef::to_value).collect();
    assert_eq!(row, ["first".into(), list, "last".into()]);
}

#[test]
fn a_batch_lists_each_schema_once() {
    let mut builder = BatchBuilder::new();
    for _ in 0..2 {
        insert(&mut builder, &table(1), &[1_i64.into()]);
        insert(&mut builder, &table(2), &[1_i64.into(), 2_i64.into()]);
    }
    let batch = builder.finish("p".into(), None);
    assert_eq!(batch.schemas().map(|s| s.columns().len()).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_batch_carries_end_state_and_origin_and_the_next_starts_anew() {
    let mut builder = BatchBuilder::new();
    assert!(builder.is_empty());
    builder.origin("a");
    builder.origin("b");
    builder.state().put("k", "v");
    assert!(!builder.is_empty(), "state alone is worth a batch");
    insert(&mut builder, &table(1), &["x".into()]);
    let batch = builder.finish("p".into(), Some(Position::token("7")));
    assert_eq!((batch.partition().as_str(), batch.end().unwrap().as_str()), ("p", "7"));
    assert_eq!(batch.state().iter().collect::<Vec<_>>(), [("k", Some("v"))]);
    assert_eq!(batch.get(0).unwrap().id().origin, "b");
    assert!(batch.content_bytes() > 1 && batch.charge() >= batch.content_bytes());

    assert!(builder.is_empty());
    insert(&mut builder, &table(1), &["x".into()]);
    let next = builder.finish("p".into(), None);
    assert_eq!((next.get(0).unwrap().id().origin, next.end(), next.state().is_empty()), ("", None, true));
}

#[test]
fn discard_forgets_everything() {
    let mut builder = BatchBuilder::new();
    builder.origin("o");
    builder.state().put("k", "v");
    insert(&mut builder, &table(1), &["x".into()]);
    builder.discard();
    assert!(builder.is_empty());
    assert_eq!((builder.bytes(), builder.origin_name()), (0, ""));
    assert_eq!(builder.finish("p".into(), None).len(), 0);
}

#[test]
fn the_first_bytes_received_date_the_batch() {
    let mut builder = BatchBuilder::new();
    let first = std::time::Instant::now();
    builder.received(first);
    builder.received(first + std::time::Duration::from_secs(1));
    insert(&mut builder, &table(1), &["x".into()]);
    assert_eq!(builder.finish("p".into(), None).received(), first);
}

#[test]
fn a_row_is_read_by_name_and_by_key() {
    let table = TableSchema::builder("t")
        .column(Column::new("a", LogicalType::Text))
        .column(Column::new("b", LogicalType::Int(64)))
        .key(["b", "a"])
        .build();
    let mut builder = BatchBuilder::new();
    insert(&mut builder, &table, &["x".into(), 7_i64.into()]);
    let batch = builder.finish("p".into(), None);
    let row = batch.get(0).unwrap().after().unwrap();
    assert_eq!((row.by_name("b"), row.by_name("c")), (Some(ValueRef::I64(7)), None));
    let key: Vec<_> = row.key().map(|(c, v)| (c.name(), v)).collect();
    assert_eq!(key, [("b", ValueRef::I64(7)), ("a", ValueRef::Text("x"))]);
    assert_eq!(batch.get(0).unwrap().size(), 2 * 16 + 1);
}
