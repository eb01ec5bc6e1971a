//! `debezium-json`: what consumers of Debezium read.

use crate::support::{COMMITTED, Sent, format, message, orders, row, sent, try_sent};
use outflow_format::DebeziumJsonFormat;
use outflow_sdk::{ChangeBatch, Column, LogicalType, MessageParts, Op, TableSchema, Value, ValueRef};
use serde_json::{Value as Json, json};

fn records(config: Json, batch: &ChangeBatch) -> Vec<Sent> {
    sent(&mut *format(DebeziumJsonFormat, config), batch)
}

fn order(id: i64, total: &str) -> [Value; 3] {
    [Value::I64(id), Value::Decimal(total.into()), "n".into()]
}

#[test]
fn the_envelope() {
    let batch = row(Op::Update, &orders(), Some(&order(17, "42.10")), Some(&order(17, "43.00")));
    let config = json!({"name": "shop-pg", "connector": "postgresql"});
    let record = records(config, &batch).remove(0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        record.value.as_deref().unwrap(),
        format!(
            r#"{{"before":{{"id":17,"total":"42.10","note":"n"}},"after":{{"id":17,"total":"43.00","note":"n"}},"source":{{"version":"{version}","connector":"postgresql","name":"shop-pg","ts_ms":1700000000123,"snapshot":"false","db":"shop","schema":"public","table":"orders"}},"op":"u","ts_ms":1700000000123}}"#
        )
    );
    assert_eq!(record.key.as_deref(), Some(r#"{"id":17}"#));
    assert_eq!(record.id, "db:0/1A:2");
    assert_eq!(record.destination, "public.orders");
    assert_eq!(record.time, Some(COMMITTED.millis()));
    assert_eq!(record.headers, []);
}

#[test]
fn operations_have_debeziums_letters() {
    for (op, letter, snapshot) in [
        (Op::Insert, "c", "false"),
        (Op::Update, "u", "false"),
        (Op::Upsert, "u", "false"),
        (Op::Read, "r", "true"),
        (Op::Truncate, "t", "false"),
    ] {
        let values = order(1, "1");
        let after = (op != Op::Truncate).then_some(&values[..]);
        let record = records(json!({}), &row(op, &orders(), None, after)).remove(0);
        let value = record.json();
        assert_eq!((&value["op"], &value["source"]["snapshot"]), (&json!(letter), &json!(snapshot)));
        assert_eq!(value["before"], Json::Null);
        assert_eq!(value["after"].is_null(), op == Op::Truncate);
        assert_eq!(record.key.is_some(), op != Op::Truncate);
        assert_eq!(value["source"]["name"], "shop", "the pipeline's name unless set");
    }
    for op in [Op::SchemaChange, Op::Gap, Op::Begin, Op::Commit, Op::Heartbeat] {
        assert!(records(json!({}), &row(op, &orders(), None, None)).is_empty());
    }
}

#[test]
fn a_delete_has_a_tombstone_behind_it() {
    let before = [Value::I64(17), Value::Unavailable, Value::Unavailable];
    let batch = row(Op::Delete, &orders(), Some(&before), None);
    let both = records(json!({}), &batch);
    assert_eq!(both.len(), 2);
    assert_eq!(both[0].json()["op"], "d");
    assert_eq!(both[0].json()["before"], json!({"id": 17}), "what was not sent is left out");
    assert_eq!(both[0].json()["after"], Json::Null);
    assert_eq!((&both[1].key, &both[1].value), (&both[0].key, &None));
    assert_eq!([&both[0].id, &both[1].id], ["db:0/1A:2", "db:0/1A:2/tombstone"]);
    assert_eq!(records(json!({"tombstones": false}), &batch).len(), 1);
    // Nothing to forget without a key.
    let keyless = TableSchema::builder("log").column(Column::new("line", LogicalType::Text)).build();
    let batch = row(Op::Delete, &keyless, Some(&["x".into()]), None);
    let alone = records(json!({}), &batch);
    assert_eq!((alone.len(), &alone[0].key), (1, &None));
}

#[test]
fn a_change_of_key_is_a_delete_and_a_create_that_name_each_other() {
    let batch = row(Op::Update, &orders(), Some(&order(17, "1")), Some(&order(18, "2")));
    let three = records(json!({}), &batch);
    let ops: Vec<_> = three.iter().map(|r| r.value.as_ref().map(|_| r.json()["op"].clone())).collect();
    assert_eq!(ops, [Some(json!("d")), None, Some(json!("c"))]);
    let keys: Vec<_> = three.iter().map(|r| r.key.as_deref().unwrap()).collect();
    assert_eq!(keys, [r#"{"id":17}"#, r#"{"id":17}"#, r#"{"id":18}"#]);
    let header = |name: &str, value: &str| vec![(name.to_owned(), Some(value.to_owned()))];
    assert_eq!(three[0].headers, header("__debezium.newkey", r#"{"id":18}"#));
    assert_eq!(three[2].headers, header("__debezium.oldkey", r#"{"id":17}"#));
    assert_eq!(three[0].json()["before"]["total"], "1");
    assert_eq!((&three[0].json()["after"], &three[2].json()["before"]), (&Json::Null, &Json::Null));
    assert_eq!(three[2].json()["after"]["total"], "2");
    // Each record has an id of its own, or consumers that drop repeats would drop the create.
    let ids: Vec<_> = three.iter().map(|r| r.id.as_str()).collect();
    assert_eq!(ids, ["db:0/1A:2/delete", "db:0/1A:2/tombstone", "db:0/1A:2"]);
    assert_eq!(records(json!({"tombstones": false}), &batch).len(), 2);
}

#[test]
fn an_unknown_old_key_is_no_change_of_key() {
    let before = [Value::Unavailable, Value::Unavailable, "old".into()];
    let batch = row(Op::Update, &orders(), Some(&before), Some(&order(17, "1")));
    assert_eq!(records(json!({}), &batch).len(), 1);
    // A minimal image: the key is in `before`, `after` holds what changed.
    let after = [Value::Unavailable, Value::Unavailable, "new".into()];
    let batch = row(Op::Update, &orders(), Some(&order(17, "1")), Some(&after));
    let record = records(json!({}), &batch).remove(0);
    assert_eq!(record.key.as_deref(), Some(r#"{"id":17}"#));
    let nothing = [Value::Unavailable, Value::Unavailable, Value::Null];
    let batch = row(Op::Update, &orders(), None, Some(&nothing));
    let error = try_sent(&mut *format(DebeziumJsonFormat, json!({})), &batch).unwrap_err();
    assert_eq!(error.code(), "format.key_unavailable");
    assert!(error.hint_text().is_some());
}

#[test]
fn what_was_not_sent_has_a_placeholder_of_its_type() {
    let schema = TableSchema::builder("t")
        .column(Column::new("id", LogicalType::Int(32)))
        .column(Column::new("text", LogicalType::Text))
        .column(Column::new("bytes", LogicalType::Bytes))
        .column(Column::new("list", LogicalType::List(Box::new(LogicalType::Text))))
        .key(["id"])
        .build();
    let after = [Value::I64(1), Value::Unavailable, Value::Unavailable, Value::Unavailable];
    let batch = row(Op::Update, &schema, None, Some(&after));
    let after = records(json!({}), &batch)[0].json()["after"].clone();
    let text = "__debezium_unavailable_value";
    let base64 = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
    assert_eq!(after, json!({"id": 1, "text": text, "bytes": base64, "list": [text]}));
    let own = records(json!({"unavailable_value_placeholder": "?"}), &batch)[0].json()["after"].clone();
    assert_eq!(own, json!({"id": 1, "text": "?", "bytes": "Pw==", "list": ["?"]}));
}

#[test]
fn documents_are_strings_of_json() {
    let schema = TableSchema::document("shop", "_id");
    let after = ["k1".into(), Value::json("{\"n\":1}")];
    let record = records(json!({}), &row(Op::Upsert, &schema, None, Some(&after))).remove(0);
    assert_eq!(record.json()["after"], json!("{\"n\":1}"));
    assert_eq!(record.key.as_deref(), Some(r#"{"_id":"k1"}"#));
}

#[test]
fn a_message_is_one_of_logical_decoding() {
    let parts =
        MessageParts { destination: Some("audit"), body: ValueRef::Bytes(b"hi"), ..MessageParts::default() };
    let record = records(json!({}), &message(&parts)).remove(0);
    let value = record.json();
    assert_eq!(value["op"], "m");
    assert_eq!(value["message"], json!({"prefix": "audit", "content": "aGk="}));
    assert_eq!(value["source"]["name"], "shop");
    assert_eq!(value["ts_ms"], COMMITTED.millis());
    assert_eq!(record.key.as_deref(), Some(r#"{"prefix":"audit"}"#));
    assert_eq!(record.destination, "audit");
    let keyed = MessageParts { key: ValueRef::I64(7), ..parts };
    assert_eq!(records(json!({}), &message(&keyed))[0].key.as_deref(), Some("7"));
}

#[test]
fn a_source_without_commit_times_gives_null_and_never_the_clock() {
    let mut builder = outflow_sdk::BatchBuilder::new();
    let schema = builder.schema(&orders());
    let mut event = builder.event(Op::Insert).schema(schema);
    let mut row = event.after();
    order(1, "1").iter().for_each(|v| row.owned(v));
    row.end().unwrap();
    event.end();
    let record = records(json!({}), &builder.finish("p".into(), None)).remove(0);
    assert_eq!((&record.json()["ts_ms"], &record.json()["source"]["ts_ms"]), (&Json::Null, &Json::Null));
    assert_eq!(record.time, None);
}
