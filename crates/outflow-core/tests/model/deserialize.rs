//! Rows and message bodies as an application's own types.

use std::collections::{BTreeMap, HashMap};

use outflow_core::*;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A batch of one row with columns `c0`, `c1`, … of any type.
fn row(values: Vec<Value>) -> ChangeBatch {
    let mut schema = TableSchema::builder("t").schema("public");
    for i in 0..values.len() {
        schema = schema.column(Column::new(format!("c{i}"), LogicalType::Any));
    }
    write(Op::Insert, &schema.build(), &values)
}

fn write(op: Op, schema: &std::sync::Arc<TableSchema>, values: &[Value]) -> ChangeBatch {
    let mut builder = BatchBuilder::new();
    let schema = builder.schema(schema);
    let mut event = builder.event(op).schema(schema);
    let mut row = if op == Op::Delete { event.before() } else { event.after() };
    values.iter().for_each(|value| row.owned(value));
    row.end().unwrap();
    event.end();
    builder.finish("p".into(), None)
}

fn first(batch: &ChangeBatch) -> RowRef<'_> {
    batch.get(0).unwrap().row_any().unwrap()
}

/// One value as `T`.
fn one<T: for<'a> Deserialize<'a>>(value: Value) -> Result<T> {
    #[derive(Deserialize)]
    struct One<T> {
        c0: T,
    }
    first(&row(vec![value])).deserialize::<One<T>>().map(|one| one.c0)
}

fn message_of<T>(result: Result<T>) -> String {
    let error = result.err().unwrap();
    assert_eq!(error.code(), "row.deserialize");
    error.to_string()
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Status {
    Open,
    PaidUp,
}

#[test]
fn a_struct_takes_columns_by_name_and_borrows_text_and_bytes() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Order<'a> {
        c3: &'a [u8],
        c0: i32,
        #[serde(rename = "c1")]
        total: &'a str,
        c2: Status,
        c4: Option<String>,
        #[serde(default)]
        absent: u8,
    }
    let values = vec![
        Value::I64(7),
        Value::Decimal("42.10".into()),
        Value::Enum("paid-up".into()),
        Value::Bytes(vec![1, 2]),
        Value::Null,
        Value::I64(1),
    ];
    let batch = row(values);
    let order: Order<'_> = first(&batch).deserialize().unwrap();
    let expected = Order { c3: &[1, 2], c0: 7, total: "42.10", c2: Status::PaidUp, c4: None, absent: 0 };
    assert_eq!(order, expected);
    let all = first(&batch).deserialize::<HashMap<&str, serde_json::Value>>().err().unwrap();
    assert!(all.to_string().contains("column=c3"), "bytes are no JSON: {all}");
}

#[test]
fn tuples_take_columns_in_order() {
    let batch = row(vec![1_i64.into(), "a".into()]);
    assert_eq!(first(&batch).deserialize::<(u8, &str)>().unwrap(), (1, "a"));
    assert!(message_of(first(&batch).deserialize::<(u8,)>()).contains("2 columns, not 1"));
    assert_eq!(first(&row(vec![1_i64.into(), 2_i64.into()])).deserialize::<Vec<i64>>().unwrap(), [1, 2]);
}

#[test]
fn every_kind_of_value_becomes_what_the_type_asks_for() {
    assert!(one::<bool>(true.into()).unwrap());
    assert_eq!(one::<u64>(Value::U64(u64::MAX)).unwrap(), u64::MAX);
    assert_eq!(one::<f64>(Value::I64(3)).unwrap().to_bits(), 3.0_f64.to_bits());
    assert_eq!(one::<f32>(Value::F32(0.1)).unwrap().to_bits(), 0.1_f32.to_bits());
    assert_eq!(one::<String>("x".into()).unwrap(), "x");
    assert_eq!(one::<char>("x".into()).unwrap(), 'x');
    assert_eq!(one::<Status>("open".into()).unwrap(), Status::Open);
    assert_eq!(one::<Option<i64>>(Value::Null).unwrap(), None);
    assert_eq!(one::<Option<i64>>(1_i64.into()).unwrap(), Some(1));
    assert_eq!(one::<Vec<u8>>(Value::Bytes(vec![1, 2])).unwrap(), [1, 2]);
    assert_eq!(one::<String>(Value::Bits(vec![0b1010_0000], 3)).unwrap(), "101");
    assert_eq!(one::<Vec<bool>>(Value::Bits(vec![0b1010_0000], 3)).unwrap(), [true, false, true]);
    assert_eq!(one::<String>(Value::Uuid([0x11; 16])).unwrap(), "11111111-1111-1111-1111-111111111111");
    assert_eq!(one::<[u8; 16]>(Value::Uuid([0x11; 16])).unwrap(), [0x11; 16]);
    assert!(one::<[u8; 3]>(Value::Bytes(vec![1, 2, 3, 4])).is_err(), "cut to fit");
    assert_eq!(one::<String>(Value::Date(Date::from_days(0))).unwrap(), "1970-01-01");
    assert_eq!(one::<String>(Value::Timestamp(Timestamp::new(0, 0))).unwrap(), "1970-01-01T00:00:00Z");
    assert_eq!(one::<String>(Value::Other("(1,2)".into())).unwrap(), "(1,2)");
    assert_eq!(one::<Vec<String>>(Value::Set("a,b".into())).unwrap(), ["a", "b"]);
    assert_eq!(one::<Vec<String>>(Value::Set("".into())).unwrap(), [""; 0]);
    let list = Value::List(vec![1_i64.into(), Value::Null]);
    assert_eq!(one::<Vec<Option<i64>>>(list).unwrap(), [Some(1), None]);
    let map = Value::Map(vec![("a".into(), 1_i64.into())]);
    assert_eq!(one::<BTreeMap<String, i64>>(map.clone()).unwrap(), BTreeMap::from([("a".into(), 1)]));
    #[derive(Deserialize)]
    struct A {
        a: i64,
    }
    assert_eq!(one::<A>(map).unwrap().a, 1);
    assert_eq!(one::<A>(Value::List(vec![2_i64.into()])).unwrap().a, 2, "a composite");
}

#[test]
fn decimals_are_never_rounded_unless_a_float_is_asked_for() {
    let decimal = |text: &str| Value::Decimal(text.into());
    assert_eq!(one::<String>(decimal("0.10000000000000000001")).unwrap(), "0.10000000000000000001");
    assert_eq!(one::<i64>(decimal("-42")).unwrap(), -42);
    assert_eq!(one::<u64>(decimal("18446744073709551615")).unwrap(), u64::MAX);
    assert_eq!(one::<i128>(decimal("-170141183460469231731687303715884105728")).unwrap(), i128::MIN);
    assert_eq!(one::<u8>(decimal("42.00")).unwrap(), 42);
    for (text, part) in [("42.5", "no integer"), ("1e3", "no integer"), ("NaN", "no integer")] {
        assert!(message_of(one::<i64>(decimal(text))).contains(part), "{text}");
    }
    assert!(one::<u8>(decimal("256")).is_err());
    assert_eq!(one::<f64>(decimal("0.1")).unwrap().to_bits(), 0.1_f64.to_bits());
    assert!(one::<f64>(decimal("NaN")).unwrap().is_nan());
    assert_eq!(one::<f32>(decimal("-Infinity")).unwrap().to_bits(), f32::NEG_INFINITY.to_bits());
    // A type that takes anything gets the text.
    assert_eq!(one::<serde_json::Value>(decimal("0.1")).unwrap(), serde_json::json!("0.1"));
}

#[test]
fn a_json_column_becomes_what_its_text_says() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Address {
        city: String,
        zip: Option<u32>,
    }
    let address = Value::json(r#"{"city":"Bern","zip":null}"#);
    assert_eq!(one::<Address>(address.clone()).unwrap(), Address { city: "Bern".into(), zip: None });
    assert_eq!(one::<serde_json::Value>(address.clone()).unwrap()["city"], "Bern");
    assert_eq!(one::<Box<RawValue>>(address.clone()).unwrap().get(), r#"{"city":"Bern","zip":null}"#);
    assert_eq!(one::<Option<Address>>(Value::json("null")).unwrap(), None);
    assert_eq!(one::<String>(Value::json(r#""text""#)).unwrap(), "text");
    assert_eq!(one::<Vec<u64>>(Value::json("[18446744073709551615]")).unwrap(), [u64::MAX]);
    assert_eq!(one::<Status>(Value::json(r#""open""#)).unwrap(), Status::Open);
    assert!(message_of(one::<Address>(Value::json("{}"))).contains("column=c0"));
    assert!(one::<i64>(Value::json("1 2")).is_err());
}

#[test]
fn a_column_that_was_not_sent_is_missing_and_not_null() {
    #[derive(Debug, Deserialize)]
    struct Row<T> {
        #[serde(rename = "c0")]
        _c0: T,
    }
    let batch = row(vec![Value::Unavailable]);
    assert!(first(&batch).deserialize::<Row<Option<String>>>().unwrap()._c0.is_none());
    let error = first(&batch).deserialize::<Row<String>>().unwrap_err();
    assert!(error.to_string().contains("did not send the column"), "{error}");
    assert!(error.to_string().contains("(table=public.t, column=c0)"), "{error}");
    assert!(error.hint_text().unwrap().contains("Option"));
    // Of NULL it says something else.
    let null = row(vec![Value::Null]);
    let error = message_of(first(&null).deserialize::<Row<String>>());
    assert!(error.contains("column=c0") && !error.contains("did not send"), "{error}");
    // And of a column that the table does not have.
    let error = message_of(first(&row(vec![])).deserialize::<Row<String>>());
    assert!(error.contains(r#"no column "c0""#), "{error}");
    // By place nothing can be missing.
    assert!(first(&batch).deserialize::<(String,)>().is_err());
}

#[test]
fn a_document_is_read_in_place_of_its_columns() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Order {
        _id: String,
        total: Option<f64>,
    }
    let shop = TableSchema::document("shop", "_id");
    let document = Value::json(r#"{"_id":"a","total":1.5}"#);
    let batch = write(Op::Upsert, &shop, &["a".into(), document]);
    let orders: Vec<_> = batch.rows::<Order>().collect::<Result<_>>().unwrap();
    assert_eq!(orders, [Order { _id: "a".into(), total: Some(1.5) }]);
    // Without a document the key remains.
    let batch = write(Op::Delete, &shop, &["a".into(), Value::Unavailable]);
    assert_eq!(first(&batch).deserialize::<Order>().unwrap(), Order { _id: "a".into(), total: None });
    let batch = write(Op::Upsert, &shop, &["a".into(), Value::json("{")]);
    assert!(message_of(first(&batch).deserialize::<Order>()).contains("table=shop"));
}

#[test]
fn a_batch_gives_its_rows_and_passes_over_the_rest() {
    let orders = TableSchema::builder("orders").column(Column::new("id", LogicalType::Int(64))).build();
    let mut builder = BatchBuilder::new();
    let schema = builder.schema(&orders);
    let ops = [Op::Begin, Op::Read, Op::Insert, Op::Truncate, Op::Update, Op::Delete, Op::SchemaChange];
    for (id, op) in ops.into_iter().enumerate() {
        let mut event = builder.event(op).schema(schema);
        if matches!(op, Op::Update | Op::Delete) {
            let mut row = event.before();
            row.i64(id as i64 + 100);
            row.end().unwrap();
        }
        if matches!(op, Op::Read | Op::Insert | Op::Update) {
            let mut row = event.after();
            row.i64(id as i64);
            row.end().unwrap();
        }
        event.end();
    }
    let mut event = builder.event(Op::Insert).schema(schema);
    let mut row = event.after();
    row.null();
    row.end().unwrap();
    event.end();
    let batch = builder.finish("p".into(), None);
    let rows: Vec<_> = batch.rows::<(i64,)>().map(|row| row.map(|(id,)| id).ok()).collect();
    assert_eq!(rows, [Some(1), Some(2), Some(4), Some(105), None]);
}

#[test]
fn a_message_body_is_read_as_json() {
    let batch = |body: ValueRef<'_>| {
        let mut builder = BatchBuilder::new();
        let mut event = builder.event(Op::Message);
        event.message(&MessageParts { destination: Some("orders"), body, ..MessageParts::default() });
        event.end();
        builder.finish("p".into(), None)
    };
    let json = br#"{"by":"card"}"#;
    for body in
        [ValueRef::Bytes(json), ValueRef::Json(r#"{"by":"card"}"#), ValueRef::Text(r#"{"by":"card"}"#)]
    {
        let batch = batch(body);
        let paid: HashMap<&str, &str> = batch.get(0).unwrap().message().unwrap().json().unwrap();
        assert_eq!(paid, HashMap::from([("by", "card")]));
    }
    let tombstone = batch(ValueRef::Null);
    let message = tombstone.get(0).unwrap().message().unwrap();
    assert_eq!(message.json::<Option<u8>>().unwrap(), None);
    assert_eq!(message.json::<u8>().unwrap_err().code(), "message.deserialize");
    for body in [ValueRef::Unavailable, ValueRef::I64(1), ValueRef::Bytes(b"{")] {
        let batch = batch(body);
        let error = batch.get(0).unwrap().message().unwrap().json::<Option<u8>>().unwrap_err();
        assert_eq!(error.code(), "message.deserialize");
        assert!(error.to_string().contains("destination=orders"), "{error}");
    }
}
