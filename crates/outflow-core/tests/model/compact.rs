//! Compaction: the same events in less memory.

use std::sync::Arc;

use outflow_core::*;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{batch, events, read, read_all, value};

/// Something a transform may do to one event.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, Value),
    Route(String),
    Project(Index),
    Split(u32),
    Message,
    Reject,
    Drop,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), value()).prop_map(|(i, v)| Change::Set(i, v)),
        "[ab]".prop_map(Change::Route),
        any::<Index>().prop_map(Change::Project),
        (2..4_u32).prop_map(Change::Split),
        Just(Change::Message),
        Just(Change::Reject),
        Just(Change::Drop),
    ]
}

fn apply(edit: &mut BatchEdit<'_>, at: Index, change: &Change) {
    if edit.is_empty() {
        return;
    }
    let at = at.index(edit.len());
    let columns = edit.get(at).and_then(|e| Some(e.schema()?.columns().len())).unwrap_or(0);
    let mut event = edit.get_mut(at).unwrap();
    match change {
        Change::Set(i, value) if columns > 0 => event.after_mut().set(i.index(columns), value.as_ref()),
        Change::Route(route) => event.route(route),
        Change::Project(keep) if columns > 0 => {
            let keep = keep.index(columns);
            let mut i = 0;
            let schema = event.as_ref().schema().unwrap().project(|_| {
                i += 1;
                i - 1 == keep
            });
            event.project(&schema, &[keep]);
        }
        Change::Message => {
            event.into_message(&MessageFields { body: Field::Column(0), ..MessageFields::default() });
        }
        Change::Split(parts) => edit.split(at, *parts),
        Change::Reject => edit.reject(at, Error::data("x.y")),
        Change::Drop => edit.split(at, 0),
        _ => {}
    }
}

proptest! {
    #[test]
    fn nothing_that_can_be_read_changes(
        specs in events(5),
        changes in proptest::collection::vec((any::<Index>(), change()), 0..10),
    ) {
        let mut batch = batch("origin", &specs);
        {
            let mut edit = BatchEdit::new(&mut batch);
            changes.iter().for_each(|(at, change)| apply(&mut edit, *at, change));
        }
        let rejected = |batch: &ChangeBatch| -> Vec<_> {
            batch.rejected().map(|(event, error)| (read(event), error.to_string())).collect()
        };
        let used = |batch: &ChangeBatch| -> Vec<_> {
            let all = batch.iter().chain(batch.rejected().map(|(event, _)| event));
            let mut used: Vec<_> = all.filter_map(|e| Some(e.schema()?.fingerprint())).collect();
            used.sort();
            used.dedup();
            used
        };
        let before = (read_all(&batch), rejected(&batch), used(&batch));
        let sums = (batch.built_len(), batch.content_bytes(), batch.referenced());
        batch.compact();
        prop_assert_eq!((read_all(&batch), rejected(&batch), used(&batch)), before.clone());
        prop_assert_eq!((batch.built_len(), batch.content_bytes(), batch.referenced()), sums);
        // The schemas that are left are those in use, each once.
        let mut listed: Vec<_> = batch.schemas().map(|s| s.fingerprint()).collect();
        listed.sort();
        prop_assert_eq!(listed, used(&batch));
        // Compact is compact.
        let charge = batch.charge();
        batch.compact();
        prop_assert_eq!(read_all(&batch), before.0);
        prop_assert!(batch.charge() <= charge);
    }
}

fn rows(count: i64, text: &str) -> ChangeBatch {
    let table: Arc<_> = TableSchema::builder("t")
        .column(Column::new("id", LogicalType::Int(64)))
        .column(Column::new("text", LogicalType::Text))
        .build();
    let mut builder = BatchBuilder::new();
    let schema = builder.schema(&table);
    for i in 0..count {
        let mut event = builder.event(Op::Insert).schema(schema);
        let mut row = event.after();
        row.i64(i);
        row.text(text);
        row.end().unwrap();
        event.end();
    }
    builder.finish("p".into(), Some(Position::token("1")))
}

#[test]
fn one_row_of_a_thousand_does_not_pin_the_rest() {
    let mut batch = rows(1000, &"x".repeat(1000));
    let full = batch.charge();
    BatchEdit::new(&mut batch).retain(|e| e.index() == 500);
    assert_eq!(batch.charge(), full, "a filter alone frees nothing");
    assert!(batch.referenced() < 2000);
    batch.compact();
    assert!(batch.charge() < 4000, "{} of {full}", batch.charge());
    assert_eq!(batch.get(0).unwrap().after().unwrap().get(0), Some(ValueRef::I64(500)));
    assert_eq!(batch.end(), Some(&Position::token("1")));
}

#[test]
fn a_batch_filtered_to_nothing_keeps_its_position_and_no_buffers() {
    let mut batch = rows(1000, "text");
    BatchEdit::new(&mut batch).retain(|_| false);
    batch.compact();
    assert!(batch.is_empty() && batch.charge() < 1000, "{}", batch.charge());
    assert_eq!(batch.end(), Some(&Position::token("1")));
}

#[test]
fn parts_of_an_event_go_on_sharing_its_row() {
    let mut batch = rows(1, &"x".repeat(100_000));
    BatchEdit::new(&mut batch).split(0, 100);
    batch.compact();
    assert!(batch.charge() < 200_000, "{}", batch.charge());
    // And a change of one still leaves the others.
    BatchEdit::new(&mut batch).get_mut(1).unwrap().after_mut().set(0, ValueRef::I64(7));
    let ids: Vec<_> = batch.iter().take(3).map(|e| e.after().unwrap().get(0).unwrap().as_i64()).collect();
    assert_eq!(ids, [Some(0), Some(7), Some(0)]);
}
