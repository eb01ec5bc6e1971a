//! Batches and records for the tests of all formats.

use std::sync::Arc;

use outflow_sdk::{
    BatchBuilder, BuildContext, ChangeBatch, Column, Error, Format, FormatFactory, LogicalType, MessageParts,
    Op, RecordBatch, RecordWriter, TableSchema, Timestamp, Value,
};
use serde_json::Value as Json;

/// `public.orders` of database `shop`, key `id`.
pub(crate) fn orders() -> Arc<TableSchema> {
    TableSchema::builder("orders")
        .database("shop")
        .schema("public")
        .column(Column::new("id", LogicalType::Int(64)).not_null())
        .column(Column::new("total", LogicalType::Decimal(Some((10, 2)))))
        .column(Column::new("note", LogicalType::Text))
        .key(["id"])
        .build()
}

/// A commit at 2023-11-14T22:13:20.123456Z.
pub(crate) const COMMITTED: Timestamp = Timestamp::new(1_700_000_000, 123_456_000);

/// A batch of one event about a row.
pub(crate) fn row(
    op: Op,
    schema: &Arc<TableSchema>,
    before: Option<&[Value]>,
    after: Option<&[Value]>,
) -> ChangeBatch {
    let mut builder = BatchBuilder::new();
    builder.origin("db");
    let schema = builder.schema(schema);
    let transaction = builder.transaction("0/1A", Some(COMMITTED));
    let mut event = builder.event(op).schema(schema).transaction(transaction).ordinal(2);
    if let Some(values) = before {
        let mut row = event.before();
        values.iter().for_each(|v| row.owned(v));
        row.end().unwrap();
    }
    if let Some(values) = after {
        let mut row = event.after();
        values.iter().for_each(|v| row.owned(v));
        row.end().unwrap();
    }
    event.end();
    builder.finish("p".into(), None)
}

/// A batch of one message.
pub(crate) fn message(parts: &MessageParts<'_>) -> ChangeBatch {
    let mut builder = BatchBuilder::new();
    builder.origin("db");
    let transaction = builder.transaction("0/1A", Some(COMMITTED));
    let mut event = builder.event(Op::Message).transaction(transaction);
    event.message(parts);
    event.end();
    builder.finish("p".into(), None)
}

/// A format with this configuration.
pub(crate) fn format<F: FormatFactory>(factory: F, config: Json) -> Box<dyn Format> {
    let config = serde_json::from_value(config).unwrap();
    factory.build(&config, &BuildContext::new("shop")).unwrap()
}

/// A record, copied out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    pub(crate) destination: String,
    pub(crate) id: String,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) headers: Vec<(String, Option<String>)>,
    pub(crate) time: Option<i64>,
}

impl Sent {
    /// The content as JSON.
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(self.value.as_deref().unwrap()).unwrap()
    }
}

/// The records of a batch; panics on a refused event.
pub(crate) fn sent(format: &mut dyn Format, batch: &ChangeBatch) -> Vec<Sent> {
    try_sent(format, batch).unwrap()
}

/// The records of a batch, or the first error, which must leave no record.
pub(crate) fn try_sent(format: &mut dyn Format, batch: &ChangeBatch) -> Result<Vec<Sent>, Error> {
    let mut out = RecordWriter::new();
    for event in batch.iter() {
        let before = out.len();
        if let Err(error) = format.encode(event, &mut out) {
            assert_eq!(out.len(), before, "a refused event leaves no record");
            return Err(error);
        }
    }
    Ok(copied(&out.finish_detached()))
}

fn copied(batch: &RecordBatch) -> Vec<Sent> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let copy = |r: outflow_sdk::RecordRef<'_>| Sent {
        destination: r.destination().to_owned(),
        id: r.id().to_owned(),
        key: r.key().map(text),
        value: r.value().map(text),
        headers: r.headers().map(|(n, v)| (n.to_owned(), v.map(text))).collect(),
        time: r.time(),
    };
    batch.iter().map(copy).collect()
}
