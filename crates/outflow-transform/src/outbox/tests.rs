use outflow_sdk::{BatchBuilder, ChangeBatch, Column, LogicalType, Value};

use super::*;

fn schema(table: &str, columns: &[(&str, LogicalType)]) -> std::sync::Arc<TableSchema> {
    let start = TableSchema::builder(table).schema("public");
    columns.iter().fold(start, |s, (name, logical)| s.column(Column::new(*name, logical.clone()))).build()
}

fn debezium() -> std::sync::Arc<TableSchema> {
    schema(
        "outbox",
        &[
            ("id", LogicalType::Uuid),
            ("aggregatetype", LogicalType::Text),
            ("aggregateid", LogicalType::Text),
            ("type", LogicalType::Text),
            ("payload", LogicalType::Json),
            ("trace", LogicalType::Text),
        ],
    )
}

fn eventuate() -> std::sync::Arc<TableSchema> {
    schema(
        "message",
        &[
            ("id", LogicalType::Text),
            ("dbid", LogicalType::Int(64)),
            ("destination", LogicalType::Text),
            ("headers", LogicalType::Text),
            ("payload", LogicalType::Text),
            ("published", LogicalType::Int(16)),
        ],
    )
}

fn rows(schema: &std::sync::Arc<TableSchema>, rows: &[(Op, Vec<Value>)]) -> ChangeBatch {
    let mut builder = BatchBuilder::new();
    let index = builder.schema(schema);
    for (n, (op, values)) in rows.iter().enumerate() {
        let mut event = builder.event(*op).schema(index).ordinal(n as u64);
        let mut row = if *op == Op::Delete { event.before() } else { event.after() };
        values.iter().for_each(|v| row.owned(v));
        row.end().unwrap();
        event.end();
    }
    builder.finish("p".into(), None)
}

fn apply(config: &OutboxConfig, batch: &mut ChangeBatch) -> Result<()> {
    let mut outbox = Outbox.build(config, &BuildContext::new("p"))?;
    outbox.apply(&mut BatchEdit::new(batch), &mut TransformContext::new("p"))
}

fn order(id: u8, key: &str, payload: &str) -> Vec<Value> {
    vec![
        Value::Uuid([id; 16]),
        "orders".into(),
        key.into(),
        "OrderPlaced".into(),
        Value::json(payload),
        "00-abc".into(),
    ]
}

#[test]
fn debezium_rows_become_messages() {
    let mut batch = rows(&debezium(), &[(Op::Insert, order(1, "order-17", r#"{"total":"42.10"}"#))]);
    let config = OutboxConfig { header_columns: vec!["trace".into()], ..OutboxConfig::default() };
    apply(&config, &mut batch).unwrap();
    let event = batch.get(0).unwrap();
    assert_eq!((event.op(), event.after().is_none(), event.id().ordinal), (Op::Message, true, 0));
    let message = event.message().unwrap();
    assert_eq!(message.destination(), Some("orders"));
    assert_eq!(message.key(), ValueRef::Text("order-17"));
    assert_eq!(message.kind(), Some("OrderPlaced"));
    assert_eq!(message.id(), ValueRef::Uuid(&[1; 16]));
    assert_eq!(message.body(), Some(&br#"{"total":"42.10"}"#[..]));
    assert_eq!(message.content_type(), Some("application/json"));
    assert_eq!(message.headers().unwrap().get("trace"), Some(ValueRef::Text("00-abc")));
}

#[test]
fn updates_and_deletes_of_outbox_rows_are_housekeeping_and_other_tables_pass() {
    let mut batch = rows(
        &debezium(),
        &[
            (Op::Insert, order(1, "a", "{}")),
            (Op::Update, order(1, "a", "{}")),
            (Op::Delete, order(1, "a", "{}")),
            (Op::Insert, order(2, "b", "{}")),
        ],
    );
    apply(&OutboxConfig::default(), &mut batch).unwrap();
    let keys: Vec<_> = batch.iter().map(|e| e.message().unwrap().key().to_value()).collect();
    assert_eq!(keys, ["a".into(), "b".into()]);

    let mut other = rows(&schema("orders", &[("id", LogicalType::Int(64))]), &[(Op::Delete, vec![1.into()])]);
    let config = OutboxConfig { tables: TablePatterns::new(["*.outbox"]), ..OutboxConfig::default() };
    apply(&config, &mut other).unwrap();
    assert_eq!(other.get(0).unwrap().op(), Op::Delete);
}

#[test]
fn eventuate_rows_become_messages_as_its_consumers_expect() {
    let headers =
        r#"{"ID":"0000-01","PARTITION_ID":"cust-9","event-type":"CustomerCreated","n":7,"gone":null}"#;
    let row = |id: Value, dbid: Value, headers: &str, published: i64| {
        vec![id, dbid, "customers".into(), headers.into(), r#"{"name":"x"}"#.into(), published.into()]
    };
    let mut batch = rows(
        &eventuate(),
        &[
            (Op::Insert, row("0000-01".into(), Value::Null, headers, 0)),
            (Op::Insert, row("seed".into(), Value::Null, "{}", 1)),
            (Op::Insert, row(Value::Null, 255.into(), "{}", 0)),
        ],
    );
    let config = OutboxConfig { preset: Preset::Eventuate, outbox_id: Some(16), ..OutboxConfig::default() };
    apply(&config, &mut batch).unwrap();
    assert_eq!(batch.len(), 2, "a row that was inserted as published is not sent");
    let first = batch.get(0).unwrap().message().unwrap();
    assert_eq!((first.destination(), first.kind()), (Some("customers"), Some("CustomerCreated")));
    assert_eq!(first.key(), ValueRef::Text("cust-9"));
    let sent = first.headers().unwrap();
    assert_eq!((sent.get("n"), sent.get("gone")), (Some(ValueRef::Text("7")), Some(ValueRef::Null)));
    assert_eq!(first.content_type(), Some("application/json"));
    let second = batch.get(1).unwrap().message().unwrap();
    let id = ValueRef::Text("00000000000000ff-0000000000000010");
    assert_eq!((second.id(), second.key(), second.headers().unwrap().get("ID")), (id, id, Some(id)));
}

#[test]
fn malformed_rows_are_refused_one_by_one() {
    let row = |destination: Value, headers: &str| {
        vec!["1".into(), Value::Null, destination, headers.into(), "x".into(), 0_i64.into()]
    };
    let mut batch = rows(
        &eventuate(),
        &[
            (Op::Insert, row("a".into(), "[1]")),
            (Op::Insert, row(Value::Null, "{}")),
            (Op::Insert, row("a".into(), "{")),
            (Op::Insert, row("good".into(), "")),
        ],
    );
    let config = OutboxConfig { preset: Preset::Eventuate, ..OutboxConfig::default() };
    apply(&config, &mut batch).unwrap();
    assert_eq!(
        batch.iter().map(|e| e.message().unwrap().destination().unwrap()).collect::<Vec<_>>(),
        ["good"]
    );
    let refused: Vec<_> =
        batch.rejected().map(|(e, error)| (e.id().ordinal, error.code().to_owned())).collect();
    let code = "outbox.malformed".to_owned();
    assert_eq!(refused, [(0, code.clone()), (1, code.clone()), (2, code)]);
}

#[test]
fn a_table_that_is_no_outbox_is_named_with_its_columns() {
    let mut batch = rows(&schema("orders", &[("id", LogicalType::Int(64))]), &[(Op::Insert, vec![1.into()])]);
    let error = apply(&OutboxConfig::default(), &mut batch).unwrap_err();
    assert_eq!(error.code(), "outbox.missing_column");
    assert!(error.hint_text().unwrap().contains("orders has id"), "{error:?}");
}

#[test]
fn columns_may_have_any_name_and_bytes_stay_bytes() {
    let schema = schema(
        "events",
        &[("no", LogicalType::Int(64)), ("topic", LogicalType::Text), ("body", LogicalType::Bytes)],
    );
    let mut batch = rows(&schema, &[(Op::Insert, vec![7.into(), "t".into(), vec![0_u8, 255].into()])]);
    let columns = OutboxColumns {
        id: Some("no".into()),
        destination: Some("topic".into()),
        key: Some("no".into()),
        payload: Some("body".into()),
        ..OutboxColumns::default()
    };
    apply(&OutboxConfig { columns, ..OutboxConfig::default() }, &mut batch).unwrap();
    let message = batch.get(0).unwrap().message().unwrap();
    assert_eq!((message.body(), message.key()), (Some(&[0_u8, 255][..]), ValueRef::I64(7)));
    assert_eq!(message.content_type(), Some("application/octet-stream"));
}
