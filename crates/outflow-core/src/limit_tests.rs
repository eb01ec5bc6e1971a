//! What a batch cannot address is refused everywhere and cut nowhere. In these tests the limits are small.

use crate::cell::limit;
use crate::*;

fn text() -> (String, String) {
    ("x".repeat(limit::VALUE), "x".repeat(limit::VALUE + 1))
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::I64(1), |inner, i| {
        if i % 2 == 0 { Value::List(vec![inner]) } else { Value::Map(vec![("k".into(), inner)]) }
    })
}

/// Writes a row of one column, and says how that ended and what is left of it.
fn write(row: impl FnOnce(&mut RowWriter<'_>)) -> (Result<()>, ChangeBatch) {
    let table = TableSchema::builder("t").column(Column::new("c", LogicalType::Any)).build();
    let mut builder = BatchBuilder::new();
    let schema = builder.schema(&table);
    let mut event = builder.event(Op::Insert).schema(schema);
    let mut writer = event.after();
    row(&mut writer);
    let ended = writer.end();
    event.end();
    (ended, builder.finish("p".into(), None))
}

fn code(row: impl FnOnce(&mut RowWriter<'_>)) -> String {
    let (ended, batch) = write(row);
    assert!(batch.get(0).unwrap().after().is_none(), "a refused row exists");
    ended.unwrap_err().code().to_owned()
}

#[test]
fn a_value_may_have_so_many_bytes_and_no_more() {
    let (fits, too_large) = text();
    let (ended, batch) = write(|row| row.text(&fits));
    ended.unwrap();
    assert_eq!(batch.get(0).unwrap().after().unwrap().get(0), Some(ValueRef::Text(&fits)));
    let refused = "batch.value_too_large";
    assert_eq!(code(|row| row.text(&too_large)), refused);
    assert_eq!(code(|row| row.decimal(&too_large)), refused);
    assert_eq!(code(|row| row.json(&too_large)), refused);
    assert_eq!(code(|row| row.bytes(too_large.as_bytes())), refused);
    assert_eq!(code(|row| row.value(ValueRef::Other(&too_large))), refused);
    assert_eq!(code(|row| row.owned(&Value::Bytes(too_large.clone().into()))), refused);
    assert_eq!(code(|row| row.owned(&Value::Bits(too_large.clone().into(), 0))), refused);
    assert_eq!(code(|row| row.owned(&Value::List(vec![too_large.as_str().into()]))), refused);
    let in_a_list = |row: &mut RowWriter<'_>| {
        row.begin_list();
        row.text(&too_large);
        row.end_list();
    };
    assert_eq!(code(in_a_list), refused);
}

#[test]
fn a_list_or_map_may_have_so_many_elements_and_no_more() {
    let list = |len: usize| Value::List(vec![Value::Null; len]);
    let map = |len: usize| Value::Map(vec![(Value::Null, Value::Null); len]);
    for fits in [list(limit::RUN), map(limit::RUN / 2)] {
        let (ended, batch) = write(|row| row.owned(&fits));
        ended.unwrap();
        assert_eq!(batch.get(0).unwrap().after().unwrap().get(0), Some(fits.as_ref()));
    }
    let refused = "batch.value_too_large";
    assert_eq!(code(|row| row.owned(&list(limit::RUN + 1))), refused);
    assert_eq!(code(|row| row.owned(&map(limit::RUN / 2 + 1))), refused);
    let written = |row: &mut RowWriter<'_>| {
        row.begin_list();
        (0..=limit::RUN).for_each(|_| row.null());
        row.end_list();
    };
    assert_eq!(code(written), refused);
}

#[test]
fn a_batch_may_have_so_many_cells_and_no_more() {
    let table = TableSchema::builder("t").column(Column::new("c", LogicalType::Any)).build();
    let mut builder = BatchBuilder::new();
    let schema = builder.schema(&table);
    let many = Value::List(vec![Value::I64(7); limit::RUN]);
    let mut rows = 0;
    let error = loop {
        let mut event = builder.event(Op::Insert).schema(schema);
        let mut row = event.after();
        row.owned(&many);
        if let Err(error) = row.end() {
            break error;
        }
        event.end();
        rows += 1;
    };
    assert_eq!(error.code(), "batch.value_too_large");
    assert_eq!((rows, builder.len()), (limit::CELLS / (limit::RUN + 1), rows));
    // What was there before is whole, and the next batch has room again.
    let batch = builder.finish("p".into(), None);
    for event in batch.iter() {
        assert_eq!(event.after().unwrap().get(0), Some(many.as_ref()));
    }
    let schema = builder.schema(&table);
    let mut event = builder.event(Op::Insert).schema(schema);
    let mut row = event.after();
    row.owned(&many);
    row.end().unwrap();
}

#[test]
fn lists_may_nest_so_deep_and_no_deeper() {
    let (ended, batch) = write(|row| row.owned(&nested(limit::DEPTH)));
    ended.unwrap();
    assert_eq!(batch.get(0).unwrap().after().unwrap().get(0), Some(nested(limit::DEPTH).as_ref()));
    let refused = "batch.value_too_deep";
    assert_eq!(code(|row| row.owned(&nested(limit::DEPTH + 1))), refused);
    let written = |deep: usize| {
        move |row: &mut RowWriter<'_>| {
            (0..deep).for_each(|_| row.begin_list());
            row.owned(&nested(limit::DEPTH / 2));
            (0..deep).for_each(|_| row.end_list());
        }
    };
    write(written(limit::DEPTH / 2)).0.unwrap();
    assert_eq!(code(written(limit::DEPTH / 2 + 1)), refused);
    assert_eq!(code(written(limit::DEPTH + 1)), refused);
}

#[test]
fn a_message_that_is_too_large_is_rejected_and_not_lost() {
    let (_, too_large) = text();
    let mut builder = BatchBuilder::new();
    for body in ["fits", &too_large] {
        let mut event = builder.event(Op::Message).ordinal(body.len() as u64);
        event.message(&MessageParts { body: ValueRef::Text(body), ..MessageParts::default() });
        event.end();
    }
    assert_eq!(builder.len(), 2);
    let batch = builder.finish("p".into(), None);
    assert_eq!((batch.len(), batch.built_len()), (1, 2));
    let (event, error) = batch.rejected().next().unwrap();
    assert_eq!((event.id().ordinal, error.code()), (too_large.len() as u64, "batch.value_too_large"));
    assert!(event.message().is_none());
}

#[test]
fn a_change_that_does_not_fit_rejects_its_event_and_leaves_it_as_it_was() {
    let (_, too_large) = text();
    let too_large = too_large.as_str();
    let deep = nested(limit::DEPTH + 1);
    type Change<'a> = &'a dyn Fn(EventMut<'_>);
    let changes: [(&str, Change<'_>); 5] = [
        ("batch.value_too_large", &|mut e| e.after_mut().set(0, ValueRef::Text(too_large))),
        ("batch.value_too_large", &|mut e| e.after_mut().set_by_name("c", too_large)),
        ("batch.value_too_deep", &|mut e| e.after_mut().set(0, deep.as_ref())),
        ("batch.value_too_large", &|e| {
            let body = Field::Value(ValueRef::Text(too_large));
            e.into_message(&MessageFields { body, ..MessageFields::default() });
        }),
        ("batch.value_too_large", &|mut e| {
            let headers = [("h", ValueRef::Text(too_large))];
            e.set_message(&MessageParts { headers: &headers, ..MessageParts::default() });
        }),
    ];
    for (code, change) in changes {
        let (_, mut batch) = write(|row| row.i64(7));
        let mut edit = BatchEdit::new(&mut batch);
        change(edit.get_mut(0).unwrap());
        drop(edit);
        assert!(batch.is_empty());
        let (event, error) = batch.rejected().next().unwrap();
        assert_eq!((event.op(), error.code()), (Op::Insert, code));
        assert_eq!(event.after().unwrap().get(0), Some(ValueRef::I64(7)));
    }
}
