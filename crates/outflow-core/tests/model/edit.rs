//! What transforms do to a batch.

use std::sync::Arc;

use outflow_core::*;

use crate::support::read_all;

fn orders() -> Arc<TableSchema> {
    TableSchema::builder("orders")
        .schema("public")
        .column(Column::new("id", LogicalType::Int(64)))
        .column(Column::new("card", LogicalType::Text))
        .column(Column::new("total", LogicalType::Decimal(None)))
        .key(["id"])
        .build()
}

/// `count` updates of orders; order `i` has the ordinal `i`.
fn batch(count: u64) -> ChangeBatch {
    let mut builder = BatchBuilder::new();
    builder.origin("o");
    let schema = builder.schema(&orders());
    let commit = builder.transaction("7", Some(Timestamp::new(1, 0)));
    for i in 0..count {
        let mut event = builder.event(Op::Update).schema(schema).transaction(commit).ordinal(i);
        let mut row = event.before();
        row.i64(i as i64);
        row.unavailable();
        row.null();
        row.end().unwrap();
        let mut row = event.after();
        row.i64(i as i64);
        row.text("4111");
        row.decimal("42.10");
        row.end().unwrap();
        event.end();
    }
    builder.finish("p".into(), Some(Position::token("7")))
}

fn edit<T>(batch: &mut ChangeBatch, change: impl FnOnce(&mut BatchEdit<'_>) -> T) -> T {
    change(&mut BatchEdit::new(batch))
}

fn ordinals(batch: &ChangeBatch) -> Vec<u64> {
    batch.iter().map(|e| e.id().ordinal).collect()
}

fn rejected(batch: &ChangeBatch) -> Vec<(u64, String)> {
    batch.rejected().map(|(event, error)| (event.id().ordinal, error.code().to_owned())).collect()
}

fn after(batch: &ChangeBatch, index: usize) -> Vec<Value> {
    batch.get(index).unwrap().after().unwrap().values().map(ValueRef::to_value).collect()
}

#[test]
fn retain_keeps_order_and_what_is_left_keeps_its_id() {
    let mut batch = batch(5);
    edit(&mut batch, |edit| {
        let mut seen = Vec::new();
        edit.retain(|e| {
            seen.push(e.index());
            e.id().ordinal % 2 == 0
        });
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert_eq!((edit.len(), edit.get(1).unwrap().index()), (3, 1));
    });
    assert_eq!(ordinals(&batch), [0, 2, 4]);
    assert_eq!(batch.get(2).unwrap().id().to_string(), "o:7:4");
    assert_eq!((batch.built_len(), batch.rejected().len()), (5, 0));
    assert!(batch.end().is_some(), "a filtered batch still carries its position");
}

#[test]
fn rejected_events_leave_at_the_next_retain_and_indexes_hold_until_then() {
    let mut batch = batch(5);
    edit(&mut batch, |edit| {
        edit.reject(3, Error::data("x.three"));
        edit.reject(1, Error::data("x.one"));
        edit.reject(1, Error::data("x.again"));
        edit.reject(99, Error::data("x.nowhere"));
        assert_eq!(edit.get(4).unwrap().id().ordinal, 4);
        edit.retain(|e| {
            assert!(![1, 3].contains(&e.id().ordinal), "a rejected event is filtered");
            e.id().ordinal != 0
        });
        assert_eq!(edit.len(), 2);
        edit.reject(1, Error::data("x.four"));
    });
    assert_eq!(ordinals(&batch), [2]);
    let expected = [(1, "x.one"), (3, "x.three"), (4, "x.four")];
    assert_eq!(rejected(&batch), expected.map(|(i, code)| (i, code.to_owned())));
    // A clone is for reading: the original alone hands the rejected events on.
    assert_eq!(batch.clone().rejected().len(), 0);
}

#[test]
fn a_visit_that_fails_rejects_its_event_unless_more_is_wrong() {
    let mut batch = batch(4);
    edit(&mut batch, |edit| {
        edit.reject(0, Error::data("x.before"));
        let visit = |e: EventMut<'_>| match e.as_ref().id().ordinal {
            0 => panic!("a rejected event is visited"),
            2 => Err(Error::data("x.two")),
            _ => Ok(()),
        };
        edit.try_for_each(visit).unwrap();
        let error = edit.try_for_each(|_| Err(Error::permanent("x.all"))).unwrap_err();
        assert_eq!(error.code(), "x.all");
    });
    assert_eq!(ordinals(&batch), [1, 3]);
    assert_eq!(rejected(&batch), [(0, "x.before".to_owned()), (2, "x.two".to_owned())]);
}

#[test]
fn parts_of_an_event_have_their_own_ids_and_their_own_rows() {
    let mut batch = batch(3);
    edit(&mut batch, |edit| {
        // In the overlay already: the parts must not share what is changed in place.
        edit.get_mut(1).unwrap().after_mut().set_by_name("card", "hidden");
        edit.split(1, 3);
        edit.split(2, 2);
        edit.get_mut(1).unwrap().after_mut().set_by_name("card", "one");
        edit.get_mut(2).unwrap().after_mut().set_by_name("card", "two");
        edit.get_mut(4).unwrap().before_mut().set(0, ValueRef::I64(9));
    });
    let ids: Vec<_> = batch.iter().map(|e| e.id().to_string()).collect();
    assert_eq!(ids, ["o:7:0", "o:7:1", "o:7:1.1", "o:7:1.4", "o:7:1.2", "o:7:2"]);
    let cards: Vec<_> = (0..6).map(|i| after(&batch, i).remove(1)).collect();
    let expected = ["4111", "one", "two", "hidden", "hidden", "4111"].map(Value::from);
    assert_eq!(cards, expected);
    let before: Vec<_> =
        batch.iter().map(|e| e.before().unwrap().get(0).unwrap().as_i64().unwrap()).collect();
    assert_eq!(before, [0, 1, 1, 1, 9, 2]);
}

#[test]
fn split_moves_what_was_rejected_behind_it_and_leaves_rejected_events_alone() {
    let mut batch = batch(4);
    edit(&mut batch, |edit| {
        edit.reject(0, Error::data("x.zero"));
        edit.reject(3, Error::data("x.three"));
        edit.split(0, 5);
        edit.split(1, 3);
        assert_eq!(edit.get(4).unwrap().id().ordinal, 2);
        edit.split(4, 0);
        edit.split(99, 2);
    });
    assert_eq!(rejected(&batch), [(0, "x.zero".to_owned()), (3, "x.three".to_owned())]);
    assert_eq!(ordinals(&batch), [1, 1, 1]);
}

#[test]
fn parts_without_a_number_left_are_rejected() {
    let mut batch = batch(2);
    edit(&mut batch, |edit| {
        for _ in 0..5 {
            edit.split(0, 100);
        }
    });
    assert_eq!(rejected(&batch), [(0, "batch.too_many_parts".to_owned())]);
    // A source that numbers parts itself leaves room for parts of theirs.
    let mut builder = BatchBuilder::new();
    for sub in [0, 1, 70_000] {
        builder.event(Op::Begin).sub(sub).end();
    }
    let mut batch = builder.finish("p".into(), None);
    edit(&mut batch, |edit| {
        edit.split(2, 2);
        edit.split(1, 2);
        edit.split(0, 2);
    });
    let subs: Vec<_> = batch.iter().map(|e| e.id().sub).collect();
    assert_eq!(subs, [0, 65_536, 1, 65_537]);
    assert_eq!(batch.rejected().next().unwrap().0.id().sub, 70_000);
}

#[test]
fn values_change_in_the_copy_and_not_in_the_original() {
    let original = batch(2);
    let mut batch = original.clone();
    edit(&mut batch, |edit| {
        let mut event = edit.get_mut(1).unwrap();
        let mut row = event.after_mut();
        row.set(0, Value::List(vec!["a".into()]).as_ref());
        row.set_by_name("total", None::<i64>);
        row.set_by_name("nobody", 1_i64);
        row.set(17, ValueRef::I64(1));
        row.redact("card");
        let mut row = event.before_mut();
        row.redact("card");
        row.redact("id");
    });
    assert_eq!(after(&batch, 1), [Value::List(vec!["a".into()]), "****".into(), Value::Null]);
    let before: Vec<_> = batch.get(1).unwrap().before().unwrap().values().map(ValueRef::to_value).collect();
    // Invariant 6: what was not sent stays so.
    assert_eq!(before, [Value::Null, Value::Unavailable, Value::Null]);
    assert_eq!(after(&batch, 0), after(&original, 0));
    assert_eq!(after(&original, 1), [1_i64.into(), "4111".into(), Value::Decimal("42.10".into())]);

    // And a change of the clone of an edited batch stays with the clone.
    let mut second = batch.clone();
    edit(&mut second, |edit| edit.get_mut(1).unwrap().after_mut().set_by_name("card", "second"));
    assert_eq!(after(&batch, 1).remove(1), "****".into());
    assert_eq!(after(&second, 1).remove(1), "second".into());
}

#[test]
fn a_row_that_is_not_there_cannot_be_changed() {
    let mut builder = BatchBuilder::new();
    builder.event(Op::Begin).end();
    let mut batch = builder.finish("p".into(), None);
    edit(&mut batch, |edit| {
        let mut event = edit.get_mut(0).unwrap();
        event.after_mut().set(0, ValueRef::I64(1));
        event.after_mut().set_by_name("a", 1_i64);
        event.after_mut().redact("a");
        event.project(&orders(), &[0]);
    });
    assert!(batch.get(0).unwrap().after().is_none() && batch.rejected().len() == 0);
}

#[test]
fn project_gives_rows_another_schema() {
    let mut batch = batch(2);
    let narrow = TableSchema::builder("orders")
        .column(Column::new("sum", LogicalType::Decimal(None)))
        .column(Column::new("id", LogicalType::Int(64)))
        .column(Column::new("new", LogicalType::Text))
        .key(["id"])
        .build();
    edit(&mut batch, |edit| {
        edit.get_mut(0).unwrap().project(&narrow, &[2, 0]);
        let mut event = edit.get_mut(1).unwrap();
        event.after_mut().set_by_name("card", "x");
        // Columns that do not exist, of a row in the overlay: never those of a neighbour.
        event.project(&narrow, &[3, 17, 1, 0]);
    });
    let row = batch.get(0).unwrap().after().unwrap();
    assert_eq!(row.by_name("sum"), Some(ValueRef::Decimal("42.10")));
    assert_eq!(row.key().map(|(c, v)| (c.name(), v)).collect::<Vec<_>>(), [("id", ValueRef::I64(0))]);
    assert_eq!(row.get(2), Some(ValueRef::Unavailable));
    assert_eq!(after(&batch, 1), [Value::Unavailable, Value::Unavailable, "x".into()]);
    assert_eq!(batch.schemas().count(), 2);
}

#[test]
fn route_sends_an_event_elsewhere() {
    let mut batch = batch(3);
    edit(&mut batch, |edit| {
        edit.get_mut(0).unwrap().route("a");
        edit.get_mut(1).unwrap().route("a");
        edit.get_mut(1).unwrap().route("b");
    });
    let routes: Vec<_> = batch.iter().map(|e| e.route()).collect();
    assert_eq!(routes, [Some("a"), Some("b"), None]);
}

#[test]
fn a_row_becomes_a_message_that_shares_its_bytes() {
    let mut batch = batch(2);
    let card = |batch: &ChangeBatch| match batch.get(0).unwrap().after().unwrap().get(1) {
        Some(ValueRef::Text(s)) => s.as_ptr(),
        other => panic!("{other:?}"),
    };
    let address = card(&batch);
    edit(&mut batch, |edit| {
        let fields = MessageFields {
            destination: Field::Value(ValueRef::Text("orders")),
            key: Field::Column(0),
            kind: Field::Value(ValueRef::Text("OrderPaid")),
            id: Field::Column(17),
            body: Field::Column(1),
            headers: &[("n", ValueRef::I64(1)), ("m", ValueRef::Null)],
            ..MessageFields::default()
        };
        edit.get_mut(0).unwrap().into_message(&fields);
    });
    let event = batch.get(0).unwrap();
    assert_eq!((event.op(), event.id().to_string()), (Op::Message, "o:7:0".to_owned()));
    assert!(event.schema().is_none() && event.row_any().is_none());
    let message = event.message().unwrap();
    assert_eq!((message.destination(), message.kind()), (Some("orders"), Some("OrderPaid")));
    assert_eq!((message.key(), message.id()), (ValueRef::I64(0), ValueRef::Null));
    assert_eq!(message.content_type(), None);
    assert_eq!(message.body().map(<[u8]>::as_ptr), Some(address), "the body was copied");
    let headers: Vec<_> = message.headers().unwrap().iter().collect();
    assert_eq!(headers, [(ValueRef::Text("n"), ValueRef::I64(1)), (ValueRef::Text("m"), ValueRef::Null)]);
}

#[test]
fn a_message_can_be_replaced() {
    let mut batch = batch(1);
    edit(&mut batch, |edit| {
        let parts = MessageParts { body: ValueRef::Bytes(b"x"), ..MessageParts::default() };
        edit.get_mut(0).unwrap().set_message(&parts);
    });
    let message = batch.get(0).unwrap().message().unwrap();
    assert_eq!((message.body(), message.headers().is_none()), (Some(&b"x"[..]), true));
}

#[test]
fn an_edit_without_changes_changes_nothing() {
    let mut batch = batch(3);
    let (before, charge) = (read_all(&batch), batch.charge());
    edit(&mut batch, |edit| assert!(!edit.is_empty() && edit.iter().len() == 3));
    assert_eq!((read_all(&batch), batch.charge()), (before, charge));
}
