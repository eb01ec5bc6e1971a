//! What it costs to make JSON of a row: 12 columns, about 200 bytes, every row another.
//!
//! `cargo bench -p outflow-format --bench json_envelope` prints, for each format, nanoseconds a row (the best and
//! the median of several rounds), bytes and allocations a row after warm-up. In the end every record is parsed
//! and compared with the row that it was made of: a benchmark that does not look at what came out is not one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark ends where it fails")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outflow_format::{DebeziumJsonFormat, JsonFormat};
use outflow_sdk::{
    BatchBuilder, BuildContext, ChangeBatch, Column, Format, FormatFactory, LogicalType, Op, RecordBatch,
    RecordPool, TableSchema, Timestamp, Value, ValueRef,
};
use serde_json::{Value as Json, json};

const ROWS: usize = 1_000;
const BATCHES: usize = 16;
const ROUNDS: usize = 40;

fn schema() -> Arc<TableSchema> {
    let columns = [
        ("id", LogicalType::Int(64), "bigint"),
        ("customer", LogicalType::Int(64), "bigint"),
        ("reference", LogicalType::Uuid, "uuid"),
        ("status", LogicalType::Text, "text"),
        ("name", LogicalType::Text, "text"),
        ("email", LogicalType::Text, "text"),
        ("amount", LogicalType::Decimal(Some((12, 2))), "numeric(12,2)"),
        ("paid", LogicalType::Bool, "boolean"),
        ("created", LogicalType::DateTime, "timestamp without time zone"),
        ("updated", LogicalType::Timestamp, "timestamp with time zone"),
        ("attributes", LogicalType::Json, "jsonb"),
        ("note", LogicalType::Text, "text"),
    ];
    let table = TableSchema::builder("orders").database("shop").schema("public");
    let add = |table: outflow_sdk::TableSchemaBuilder, (name, logical, source_type)| {
        table.column(Column::new(name, logical).source_type(source_type))
    };
    columns.into_iter().fold(table, add).key(["id"]).build()
}

/// Numbers that differ from row to row and are the same on every machine (splitmix64).
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn values(row: u64) -> [Value; 12] {
    let n = mix(row);
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&n.to_le_bytes());
    uuid[8..].copy_from_slice(&mix(n).to_le_bytes());
    let at = Timestamp::new(1_700_000_000 + (n % 50_000_000).cast_signed(), (n % 1_000_000) as u32 * 1000);
    [
        Value::I64(1_000_000_000 + row.cast_signed()),
        Value::I64((n % 10_000_000).cast_signed()),
        Value::Uuid(uuid),
        Value::Text(["placed", "paid", "shipped", "returned"][(n % 4) as usize].to_owned()),
        Value::Text(format!("name {n:016x}")),
        Value::Text(format!("{:012x}@mail.example", n >> 16)),
        Value::Decimal(format!("{}.{:02}", n % 1_000_000, n % 100)),
        Value::Bool(n.is_multiple_of(2)),
        Value::DateTime(outflow_sdk::DateTime::new(at.seconds(), at.nanos())),
        Value::Timestamp(at),
        Value::Json(format!("{{\"n\":{},\"tag\":\"{:04x}\"}}", n % 1000, n % 65_536)),
        // One in eight needs escaping.
        Value::Text(if n.is_multiple_of(8) {
            format!("said \"{:056x}\"\n", n)
        } else {
            format!("note {:059x}", n)
        }),
    ]
}

fn batch(from: u64, schema: &Arc<TableSchema>) -> ChangeBatch {
    let mut builder = BatchBuilder::new();
    builder.origin("7316250987654321098/1");
    let schema = builder.schema(schema);
    for row in from..from + ROWS as u64 {
        let time = Timestamp::from_micros(1_700_000_000_000_000 + row.cast_signed());
        let transaction = builder.transaction(&format!("0/{row:X}"), Some(time));
        let mut event = builder.event(Op::Insert).schema(schema).transaction(transaction);
        let mut writer = event.after();
        values(row).iter().for_each(|v| writer.owned(v));
        writer.end().expect("a value a column");
        event.end();
    }
    builder.finish("bench".into(), None)
}

fn encode(format: &mut dyn Format, batch: &Arc<ChangeBatch>, pool: &RecordPool) -> RecordBatch {
    let mut out = pool.writer();
    for event in batch.iter() {
        format.encode(event, &mut out).expect("these rows can be encoded");
    }
    out.finish(Arc::clone(batch))
}

fn measure<F: FormatFactory>(name: &str, factory: F, verify: impl Fn(&Json, &[Value; 12])) {
    let config = serde_json::from_value(json!({})).expect("every option has a default");
    let mut format = factory.build(&config, &BuildContext::new("bench")).expect("a valid configuration");
    let schema = schema();
    let batches: Vec<_> = (0..BATCHES).map(|b| Arc::new(batch((b * ROWS) as u64, &schema))).collect();
    let content: usize = batches[0].iter().map(|e| value_bytes(&e)).sum::<usize>() / ROWS;
    let pool = RecordPool::new();
    let mut bytes = 0;
    let mut round = |format: &mut dyn Format| {
        bytes = 0;
        for batch in &batches {
            let records = black_box(encode(format, batch, &pool));
            bytes += records.iter().map(|r| r.value().map_or(0, <[u8]>::len)).sum::<usize>();
        }
    };
    round(&mut *format);
    let allocations = allocation_counter::measure(|| round(&mut *format)).count_total;
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round(&mut *format);
            start.elapsed()
        })
        .collect();
    times.sort();
    let total = (ROWS * BATCHES) as f64;
    let a_row = |time: Duration| time.as_nanos() as f64 / total;
    println!(
        "{name:<14} best {:>6.0} ns/row   median {:>6.0} ns/row   {content} B of values → {} B of JSON   {:.4} allocations/row",
        a_row(times[0]),
        a_row(times[ROUNDS / 2]),
        bytes / (ROWS * BATCHES),
        allocations as f64 / total,
    );
    for (b, batch) in batches.iter().enumerate() {
        for (i, record) in encode(&mut *format, batch, &pool).iter().enumerate() {
            let read: Json = serde_json::from_slice(record.value().expect("content")).expect("JSON");
            verify(&read, &values((b * ROWS + i) as u64));
        }
    }
}

fn value_bytes(event: &outflow_sdk::EventRef<'_>) -> usize {
    let size = |value: ValueRef<'_>| match value {
        ValueRef::Bool(_) => 1,
        ValueRef::Uuid(_) => 16,
        other => other.as_bytes().map_or(8, <[u8]>::len),
    };
    event.after().map_or(0, |row| row.values().map(size).sum())
}

/// The columns that both formats write alike.
fn verify_common(row: &Json, values: &[Value; 12]) {
    let text = |value: &Value| json!(value.as_ref().as_str().expect("kept as text"));
    for (name, value) in [("id", &values[0]), ("customer", &values[1])] {
        assert_eq!(row[name], json!(value.as_ref().as_i64()));
    }
    let strings = [("status", 3), ("name", 4), ("email", 5), ("amount", 6), ("note", 11)];
    for (name, index) in strings {
        assert_eq!(row[name], text(&values[index]), "{name}");
    }
    assert_eq!(row["paid"], json!(values[7] == Value::Bool(true)));
    let Value::Timestamp(updated) = values[9] else { panic!("a timestamp") };
    assert_eq!(row["updated"], json!(updated.to_string()));
    let Value::Uuid(uuid) = values[2] else { panic!("a UUID") };
    let hex: String = uuid.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(row["reference"].as_str().map(|s| s.replace('-', "")), Some(hex));
}

fn main() {
    println!("{ROWS} rows a batch, {BATCHES} batches a round, {ROUNDS} rounds, one thread");
    measure("debezium-json", DebeziumJsonFormat, |read, values| {
        assert_eq!((&read["op"], &read["before"]), (&json!("c"), &Json::Null));
        assert_eq!(read["source"]["table"], "orders");
        verify_common(&read["after"], values);
        assert_eq!(read["after"]["attributes"], json!(values[10].as_ref().as_str()));
        let Value::DateTime(created) = values[8] else { panic!("a date and time") };
        assert_eq!(read["after"]["created"], json!(created.micros()));
    });
    measure("json", JsonFormat, |read, values| {
        assert_eq!((&read["op"], &read["table"]), (&json!("insert"), &json!("public.orders")));
        verify_common(&read["after"], values);
        let attributes: Json =
            serde_json::from_str(values[10].as_ref().as_str().expect("JSON")).expect("JSON");
        assert_eq!(read["after"]["attributes"], attributes);
        let Value::DateTime(created) = values[8] else { panic!("a date and time") };
        assert_eq!(read["after"]["created"], json!(created.to_string()));
    });
}
