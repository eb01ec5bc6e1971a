//! `raw`, and the pipeline's own keys and headers.

use crate::support::{format, message, orders, row, sent, try_sent};
use outflow_format::{DebeziumJsonFormat, JsonFormat, RawFormat, with_overrides};
use outflow_sdk::{Column, LogicalType, MessageParts, Op, TableSchema, Template, Value, ValueRef};
use serde_json::json;

fn header(name: &str, value: Option<&str>) -> (String, Option<String>) {
    (name.to_owned(), value.map(str::to_owned))
}

#[test]
fn a_body_goes_as_it_is_with_key_headers_and_content_type() {
    let batch = message(&MessageParts {
        destination: Some("orders"),
        key: ValueRef::Text("order-17"),
        id: ValueRef::Text("01JD"),
        content_type: Some("text/plain"),
        body: ValueRef::Bytes(b"a\n\"b\""),
        headers: &[("trace", ValueRef::Text("t1"))],
        ..MessageParts::default()
    });
    let record = sent(&mut *format(RawFormat, json!({})), &batch).remove(0);
    assert_eq!(record.value.as_deref(), Some("a\n\"b\""));
    assert_eq!(record.key.as_deref(), Some("order-17"));
    assert_eq!((record.destination.as_str(), record.id.as_str()), ("orders", "01JD"));
    assert_eq!(record.headers, [header("trace", Some("t1")), header("content-type", Some("text/plain"))]);
    let empty = message(&MessageParts { key: ValueRef::I64(1), ..MessageParts::default() });
    let record = sent(&mut *format(RawFormat, json!({})), &empty).remove(0);
    assert_eq!((record.value, record.key.as_deref()), (None, Some("1")), "no body is a tombstone");
}

#[test]
fn a_row_needs_the_name_of_its_column() {
    let values = [Value::I64(17), Value::Decimal("42.10".into()), "hello".into()];
    let batch = row(Op::Insert, &orders(), None, Some(&values));
    for config in [json!({}), json!({"column": "nope"})] {
        let error = try_sent(&mut *format(RawFormat, config), &batch).unwrap_err();
        assert_eq!(error.code(), "format.raw_needs_message");
        assert!(error.hint_text().is_some());
    }
    for (column, expected) in [("note", "hello"), ("total", "42.10"), ("id", "17")] {
        let record = sent(&mut *format(RawFormat, json!({"column": column})), &batch).remove(0);
        assert_eq!((record.value.as_deref(), record.key.as_deref()), (Some(expected), Some("17")));
        assert_eq!(record.destination, "public.orders");
    }
    let mut raw = format(RawFormat, json!({"column": "note"}));
    let delete = row(Op::Delete, &orders(), Some(&values), None);
    let record = sent(&mut *raw, &delete).remove(0);
    assert_eq!((record.value, record.key.as_deref()), (None, Some("17")));
    let toast = [Value::I64(17), Value::Null, Value::Unavailable];
    let error = try_sent(&mut *raw, &row(Op::Update, &orders(), None, Some(&toast))).unwrap_err();
    assert_eq!(error.code(), "format.raw_unavailable");
    let truncate = row(Op::Truncate, &orders(), None, None);
    assert_eq!(try_sent(&mut *raw, &truncate).unwrap_err().code(), "format.raw_needs_message");
}

#[test]
fn a_key_of_several_columns_is_joined() {
    let schema = TableSchema::builder("t")
        .column(Column::new("a", LogicalType::Int(64)))
        .column(Column::new("b", LogicalType::Text))
        .key(["b", "a"])
        .build();
    let batch = row(Op::Insert, &schema, None, Some(&[Value::I64(1), "x".into()]));
    let record = sent(&mut *format(RawFormat, json!({"column": "b"})), &batch).remove(0);
    assert_eq!(record.key.as_deref(), Some("x:1"));
}

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

#[test]
fn the_pipelines_key_and_headers_go_over_any_format() {
    let values = [Value::I64(17), Value::Null, "n".into()];
    let batch = row(Op::Insert, &orders(), None, Some(&values));
    let headers =
        vec![("table".to_owned(), template("{schema}.{table}")), ("total".to_owned(), template("{total}"))];
    let mut format = with_overrides(format(JsonFormat, json!({})), Some(template("o-{id}")), headers);
    let record = sent(&mut *format, &batch).remove(0);
    assert_eq!(record.key.as_deref(), Some("o-17"));
    assert_eq!(record.headers, [header("table", Some("public.orders")), header("total", None)]);
    assert_eq!(record.json()["key"], json!({"id": 17}), "the content is the format's");
}

#[test]
fn a_template_of_one_field_hands_null_through_and_others_refuse_the_event() {
    let batch = row(Op::Insert, &orders(), None, Some(&[Value::I64(17), Value::Null, "n".into()]));
    let mut nullable = with_overrides(format(JsonFormat, json!({})), Some(template("{total}")), Vec::new());
    assert_eq!(sent(&mut *nullable, &batch)[0].key, None);
    let mut strict = with_overrides(format(JsonFormat, json!({})), Some(template("t-{total}")), Vec::new());
    assert_eq!(try_sent(&mut *strict, &batch).unwrap_err().code(), "template.missing_field");
}

#[test]
fn each_record_of_a_key_change_is_about_its_own_image() {
    let (old, new) = ([Value::I64(17), Value::Null, "a".into()], [Value::I64(18), Value::Null, "b".into()]);
    let batch = row(Op::Update, &orders(), Some(&old), Some(&new));
    let headers = vec![("note".to_owned(), template("{note}"))];
    let mut format = with_overrides(format(DebeziumJsonFormat, json!({})), Some(template("o-{id}")), headers);
    let three = sent(&mut *format, &batch);
    let keys: Vec<_> = three.iter().map(|r| r.key.as_deref().unwrap()).collect();
    assert_eq!(keys, ["o-17", "o-17", "o-18"]);
    let headers: Vec<_> = three.iter().map(|r| r.headers.clone()).collect();
    assert_eq!(
        headers,
        [
            vec![header("__debezium.newkey", Some("{\"id\":18}")), header("note", Some("a"))],
            vec![header("note", Some("a"))],
            vec![header("__debezium.oldkey", Some("{\"id\":17}")), header("note", Some("b"))],
        ]
    );
}

#[test]
fn an_override_that_fails_takes_back_every_record_of_the_event() {
    // `note` is known after the change alone, so the delete's header cannot be written.
    let old = [Value::I64(17), Value::Null, Value::Unavailable];
    let new = [Value::I64(18), Value::Null, Value::Unavailable];
    let batch = row(Op::Update, &orders(), Some(&old), Some(&new));
    let headers = vec![("note".to_owned(), template("{note}"))];
    let mut format = with_overrides(format(DebeziumJsonFormat, json!({})), None, headers);
    assert_eq!(try_sent(&mut *format, &batch).unwrap_err().code(), "template.missing_field");
}
