//! `json`: what a person sees.

use crate::support::{COMMITTED, format, message, orders, row, sent, try_sent};
use outflow_format::JsonFormat;
use outflow_sdk::{BatchEdit, Column, LogicalType, MessageParts, Op, Position, TableSchema, Value, ValueRef};
use serde_json::json;

fn values(config: serde_json::Value, batch: &outflow_sdk::ChangeBatch) -> Vec<String> {
    sent(&mut *format(JsonFormat, config), batch).into_iter().map(|r| r.value.unwrap()).collect()
}

#[test]
fn a_message_reads_as_the_application_wrote_it() {
    let batch = message(&MessageParts {
        destination: Some("orders"),
        key: ValueRef::Text("order-17"),
        kind: Some("OrderPlaced"),
        id: ValueRef::Text("01JD8W"),
        content_type: Some("application/json; charset=utf-8"),
        body: ValueRef::Text("{\"total\":\n \"42.10\"}"),
        headers: &[("trace", ValueRef::Text("t1")), ("n", ValueRef::I64(7)), ("none", ValueRef::Null)],
    });
    let records = sent(&mut *format(JsonFormat, json!({})), &batch);
    assert_eq!(
        records[0].value.as_deref().unwrap(),
        r#"{"id":"01JD8W","destination":"orders","key":"order-17","type":"OrderPlaced","headers":{"trace":"t1","n":7,"none":null},"payload":{"total": "42.10"}}"#
    );
    assert_eq!(records[0].key.as_deref(), Some("order-17"));
    assert_eq!(records[0].id, "01JD8W");
    assert_eq!(records[0].destination, "orders");
    assert_eq!(records[0].time, Some(COMMITTED.millis()));
    let headers = [("trace", Some("t1")), ("n", Some("7")), ("none", None)]
        .map(|(n, v)| (n.to_owned(), v.map(str::to_owned)));
    assert_eq!(records[0].headers, headers);
}

#[test]
fn a_payload_is_json_text_or_base64_and_says_which() {
    let payload = |content_type, body| {
        let parts = MessageParts { content_type, body, id: ValueRef::I64(1), ..MessageParts::default() };
        values(json!({}), &message(&parts)).remove(0)
    };
    let json_type = Some("application/vnd.shop+JSON");
    for (content_type, body, expected) in [
        (json_type, ValueRef::Bytes(b"[1]"), r#"{"id":"1","payload":[1]}"#),
        (json_type, ValueRef::Text("[1"), r#"{"id":"1","payload":"[1"}"#),
        (None, ValueRef::Json("{ }"), r#"{"id":"1","payload":{ }}"#),
        (None, ValueRef::Text("[1]"), r#"{"id":"1","payload":"[1]"}"#),
        (
            Some("text/plain"),
            ValueRef::Bytes(b"hi"),
            r#"{"id":"1","content_type":"text/plain","payload":"hi"}"#,
        ),
        (None, ValueRef::Bytes(b"\xff\x00"), r#"{"id":"1","payload_base64":"/wA="}"#),
        (None, ValueRef::Null, r#"{"id":"1","payload":null}"#),
    ] {
        assert_eq!(payload(content_type, body), expected);
    }
}

#[test]
fn a_row_reads_flat() {
    let before = [Value::I64(17), Value::Decimal("42.10".into()), "a \"b\"".into()];
    let after = [Value::I64(17), Value::Decimal("43.00".into()), Value::Null];
    let batch = row(Op::Update, &orders(), Some(&before), Some(&after));
    let records = sent(&mut *format(JsonFormat, json!({})), &batch);
    assert_eq!(
        records[0].value.as_deref().unwrap(),
        r#"{"id":"db:0/1A:2","database":"shop","table":"public.orders","op":"update","time":"2023-11-14T22:13:20.123456Z","key":{"id":17},"after":{"id":17,"total":"43.00","note":null},"before":{"id":17,"total":"42.10","note":"a \"b\""}}"#
    );
    assert_eq!(records[0].key.as_deref(), Some(r#"{"id":17}"#));
    assert_eq!(records[0].destination, "public.orders");
    assert_eq!(records[0].id, "db:0/1A:2");
}

#[test]
fn absent_is_not_null() {
    let before = [Value::I64(17), Value::Unavailable, Value::Unavailable];
    let after = [Value::Unavailable, Value::Unavailable, Value::Null];
    let update = row(Op::Update, &orders(), Some(&before), Some(&after));
    let record = sent(&mut *format(JsonFormat, json!({})), &update).remove(0);
    assert_eq!(record.json()["after"], json!({"note": null}));
    assert_eq!(record.json()["before"], json!({"id": 17}));
    // An image that holds only what changed has the key in the other.
    assert_eq!(record.json()["key"], json!({"id": 17}));
    let nothing = [Value::Unavailable, Value::Unavailable, Value::Unavailable];
    let batch = row(Op::Update, &orders(), None, Some(&nothing));
    let error = try_sent(&mut *format(JsonFormat, json!({})), &batch).unwrap_err();
    assert_eq!(error.code(), "format.key_unavailable");
}

#[test]
fn decimals_are_strings_or_numbers_with_all_digits() {
    let digits = "-12345678901234567890123456789.10";
    let schema = TableSchema::builder("t").column(Column::new("a", LogicalType::Decimal(None))).build();
    for (config, decimal, expected) in [
        (json!({}), digits, format!("\"{digits}\"")),
        (json!({"decimals": "number"}), digits, digits.to_owned()),
        (json!({"decimals": "number"}), "NaN", "\"NaN\"".to_owned()),
    ] {
        let batch = row(Op::Insert, &schema, None, Some(&[Value::Decimal(decimal.into())]));
        let line = values(config, &batch).remove(0);
        assert!(line.ends_with(&format!("\"after\":{{\"a\":{expected}}}}}")), "{line}");
    }
}

#[test]
fn a_document_reads_as_itself() {
    let schema = TableSchema::document("shop", "_id");
    let after = ["k1".into(), Value::json("{\"_id\":\"k1\",\"n\":1}")];
    let upsert = row(Op::Upsert, &schema, None, Some(&after));
    let record = sent(&mut *format(JsonFormat, json!({})), &upsert).remove(0);
    assert_eq!(record.json()["after"], json!({"_id": "k1", "n": 1}));
    assert_eq!(record.key.as_deref(), Some(r#"{"_id":"k1"}"#));
    let delete = row(Op::Delete, &schema, Some(&["k1".into(), Value::Unavailable]), None);
    let record = sent(&mut *format(JsonFormat, json!({})), &delete).remove(0);
    assert_eq!(record.json()["before"], json!({"_id": "k1"}));
    assert!(record.json().get("after").is_none());
}

#[test]
fn a_route_is_the_destination_and_shows() {
    let mut batch = row(Op::Insert, &orders(), None, Some(&[Value::I64(1), Value::Null, Value::Null]));
    BatchEdit::new(&mut batch).get_mut(0).unwrap().route("audit");
    let record = sent(&mut *format(JsonFormat, json!({})), &batch).remove(0);
    assert_eq!(record.destination, "audit");
    assert_eq!(record.json()["destination"], "audit");
}

#[test]
fn what_has_no_row_is_told_and_what_is_internal_is_not() {
    let of = |op| sent(&mut *format(JsonFormat, json!({})), &row(op, &orders(), None, None));
    for op in [Op::Truncate, Op::SchemaChange, Op::Gap] {
        let record = of(op).remove(0);
        assert_eq!(record.json()["op"], op.as_str());
        assert_eq!(record.json()["table"], "public.orders");
        assert_eq!(record.key, None);
    }
    for op in [Op::Begin, Op::Commit, Op::Heartbeat] {
        assert!(of(op).is_empty(), "{op:?}");
    }
    let undecodable = row(Op::Undecodable, &orders(), None, None);
    let error = try_sent(&mut *format(JsonFormat, json!({})), &undecodable).unwrap_err();
    assert_eq!(error.code(), "format.undecodable");
}

#[test]
fn unknown_options_are_refused() {
    let mut registry = outflow_sdk::Registry::new();
    outflow_format::register(&mut registry);
    let names: Vec<_> = registry.formats().map(|f| f.type_name()).collect();
    assert_eq!(names, ["debezium-json", "json", "raw"]);
    for format in registry.formats() {
        assert!(format.configure(serde_json::Value::Null).is_ok());
        let error = format.configure(json!({"decimal": "string"})).err().unwrap();
        assert_eq!(error.code(), "config.connector");
    }
    // Positions are no part of a record.
    let empty = outflow_sdk::ChangeBatch::empty("p".into(), Position::token("1"));
    assert!(sent(&mut *format(JsonFormat, json!({})), &empty).is_empty());
}
