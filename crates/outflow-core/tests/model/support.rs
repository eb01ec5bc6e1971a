//! Generated events, and what it means that two are equal.

use std::sync::Arc;

use outflow_core::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// An event in owned form.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) op: Op,
    pub(crate) commit: String,
    pub(crate) time: Option<Timestamp>,
    pub(crate) ordinal: u64,
    pub(crate) sub: u32,
    pub(crate) route: Option<String>,
    pub(crate) schema: Option<Arc<TableSchema>>,
    pub(crate) before: Option<Vec<Value>>,
    pub(crate) after: Option<Vec<Value>>,
    pub(crate) message: Option<Message>,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) destination: Option<String>,
    pub(crate) key: Value,
    pub(crate) kind: Option<String>,
    pub(crate) id: Value,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Value,
    pub(crate) headers: Vec<(String, Value)>,
}

impl Spec {
    pub(crate) fn write(&self, builder: &mut BatchBuilder) {
        let schema = self.schema.as_ref().map(|s| builder.schema(s));
        let transaction = builder.transaction(&self.commit, self.time);
        let mut event = builder.event(self.op).transaction(transaction).ordinal(self.ordinal);
        if self.sub != 0 {
            event = event.sub(self.sub);
        }
        if let Some(schema) = schema {
            event = event.schema(schema);
        }
        if let Some(route) = &self.route {
            event = event.route(route);
        }
        if let Some(m) = &self.message {
            let headers: Vec<_> = m.headers.iter().map(|(k, v)| (k.as_str(), v.as_ref())).collect();
            event.message(&MessageParts {
                destination: m.destination.as_deref(),
                key: m.key.as_ref(),
                kind: m.kind.as_deref(),
                id: m.id.as_ref(),
                content_type: m.content_type.as_deref(),
                body: m.body.as_ref(),
                headers: &headers,
            });
        }
        if let Some(values) = &self.before {
            let mut row = event.before();
            values.iter().for_each(|v| row.owned(v));
            row.end().unwrap();
        }
        if let Some(values) = &self.after {
            let mut row = event.after();
            values.iter().for_each(|v| row.owned(v));
            row.end().unwrap();
        }
        event.end();
    }
}

pub(crate) fn batch(origin: &str, specs: &[Spec]) -> ChangeBatch {
    let mut builder = BatchBuilder::new();
    builder.origin(origin);
    specs.iter().for_each(|spec| spec.write(&mut builder));
    builder.finish("p".into(), Some(Position::token("1")))
}

/// Everything that can be read of an event, floats by their bits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Read {
    op: Op,
    id: String,
    parts: (String, String, u64, u32),
    time: Option<Timestamp>,
    route: Option<String>,
    schema: Option<SchemaFingerprint>,
    before: Option<Vec<String>>,
    after: Option<Vec<String>>,
    message: Option<Vec<String>>,
}

pub(crate) fn read(event: EventRef<'_>) -> Read {
    let row = |row: RowRef<'_>| row.values().map(exact).collect();
    let text = |s: Option<&str>| format!("{s:?}");
    let id = event.id();
    Read {
        op: event.op(),
        id: id.to_string(),
        parts: (id.origin.to_owned(), id.commit.to_owned(), id.ordinal, id.sub),
        time: event.commit_time(),
        route: event.route().map(str::to_owned),
        schema: event.schema().map(|s| s.fingerprint()),
        before: event.before().map(row),
        after: event.after().map(row),
        message: event.message().map(|m| {
            let headers = m.headers().map_or(vec![], |h| h.iter().collect());
            let headers = headers.into_iter().map(|(k, v)| exact(k) + &exact(v)).collect();
            vec![
                text(m.destination()),
                exact(m.key()),
                text(m.kind()),
                exact(m.id()),
                text(m.content_type()),
                exact(m.body_value()),
                headers,
            ]
        }),
    }
}

pub(crate) fn read_all(batch: &ChangeBatch) -> Vec<Read> {
    batch.iter().map(read).collect()
}

/// A text that differs for any two values that differ.
pub(crate) fn exact(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::F32(n) => format!("F32({:08x})", n.to_bits()),
        ValueRef::F64(n) => format!("F64({:016x})", n.to_bits()),
        ValueRef::List(list) => format!("List{:?}", list.iter().map(exact).collect::<Vec<_>>()),
        ValueRef::Map(map) => {
            let entries: Vec<_> = map.iter().map(|(k, v)| (exact(k), exact(v))).collect();
            format!("Map{entries:?}")
        }
        other => format!("{other:?}"),
    }
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{0,12}",
        vec(any::<char>(), 0..8).prop_map(|c| c.into_iter().collect()),
        select(vec!["", "\"", "\\", "\n", "null", "NaN", "{}", "\u{7f}\u{2028}\u{0}", "0x7ff8000000000000"])
            .prop_map(str::to_owned),
    ]
}

/// JSON that is valid, plain, tricky or none.
pub(crate) fn json_texts() -> Vec<&'static str> {
    vec![
        "null",
        "true",
        "12345678901234567890.5e-7",
        "\"text\"",
        "[1, {\"a\": null}]",
        "{\"a\":1,\"a\":2}",
        "{\"text\":\"x\"}",
        "{ \"json\" : 1, \"b\" : 2 }",
        "{\"te\\u0078t\":1}",
        "{\"unavailable\":true}",
        " 1",
        "1\n",
        "{\n}",
        "{\"\\ud800\":1}",
        "",
        "{",
        "{\"i64\"}",
    ]
}

fn json_text() -> impl Strategy<Value = String> {
    prop_oneof![3 => select(json_texts()).prop_map(str::to_owned), 1 => text()]
}

fn date() -> impl Strategy<Value = Date> {
    prop_oneof![any::<i32>(), -1_000_000..1_000_000].prop_map(Date::from_days)
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![any::<i64>(), 0..86_400_000_000_000_i64].prop_map(Time::from_nanos)
}

fn instant() -> impl Strategy<Value = (i64, u32)> {
    prop_oneof![
        (any::<i64>(), 0..1_000_000_000_u32),
        (-100_000_000_000_i64..100_000_000_000, select(vec![0, 1000, 123_000_000, 999_999_999])),
        select(vec![i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX]).prop_map(|s| (s, 0)),
    ]
    // The infinities have no nanoseconds.
    .prop_map(|(s, n)| (s, if s == i64::MIN || s == i64::MAX { 0 } else { n }))
}

pub(crate) fn timestamp() -> impl Strategy<Value = Timestamp> {
    instant().prop_map(|(s, n)| Timestamp::new(s, n))
}

fn f64s() -> impl Strategy<Value = f64> {
    let special =
        vec![0.0, -0.0, 1.0, 1e16, 5e-324, f64::MAX, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    prop_oneof![any::<u64>().prop_map(f64::from_bits), select(special), any::<i32>().prop_map(f64::from)]
}

fn f32s() -> impl Strategy<Value = f32> {
    let special = vec![0.0, -0.0, 0.1, 1e16, f32::MAX, f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let any_bits = any::<u32>().prop_map(|bits| {
        let n = f32::from_bits(bits);
        // A signalling NaN may turn quiet on its way through a register; that is not the model's doing.
        if n.is_nan() { f32::from_bits(bits | 0x0040_0000) } else { n }
    });
    prop_oneof![any_bits, select(special)]
}

pub(crate) fn scalar() -> impl Strategy<Value = Value> {
    let bits = (vec(any::<u8>(), 0..5), 0..8_u32).prop_map(|(bytes, cut)| {
        let len = (bytes.len() as u32 * 8).saturating_sub(cut);
        let mut bytes = bytes;
        if let (false, Some(last)) = (len.is_multiple_of(8), bytes.last_mut()) {
            *last &= !(0xff >> (len % 8));
        }
        Value::Bits(bytes, len)
    });
    let offset = prop_oneof![any::<i32>(), -50_400..50_400];
    prop_oneof![
        Just(Value::Null),
        Just(Value::Unavailable),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![any::<i64>(), -5_i64..5].prop_map(Value::I64),
        prop_oneof![any::<u64>(), 0_u64..5].prop_map(Value::U64),
        f32s().prop_map(Value::F32),
        f64s().prop_map(Value::F64),
        prop_oneof!["-?[0-9]{1,30}(\\.[0-9]{1,10})?", text()].prop_map(Value::Decimal),
        text().prop_map(Value::Text),
        vec(any::<u8>(), 0..10).prop_map(Value::Bytes),
        bits,
        json_text().prop_map(Value::Json),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        date().prop_map(Value::Date),
        time().prop_map(Value::Time),
        (time(), offset).prop_map(|(time, offset)| Value::TimeTz(TimeTz { time, offset })),
        instant().prop_map(|(s, n)| Value::DateTime(DateTime::new(s, n))),
        timestamp().prop_map(Value::Timestamp),
        (any::<i32>(), any::<i32>(), any::<i64>())
            .prop_map(|(months, days, nanos)| Value::Interval(Interval { months, days, nanos })),
        text().prop_map(Value::Enum),
        text().prop_map(Value::Set),
        text().prop_map(Value::Other),
    ]
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            vec((inner.clone(), inner), 0..4).prop_map(Value::Map),
        ]
    })
}

pub(crate) fn simple_types() -> Vec<LogicalType> {
    use LogicalType as L;
    vec![
        L::Any,
        L::Bool,
        L::Int(16),
        L::Int(64),
        L::UInt(64),
        L::Float(32),
        L::Float(64),
        L::Decimal(None),
        L::Decimal(Some((10, 2))),
        L::Text,
        L::Bytes,
        L::Bits,
        L::Json,
        L::Uuid,
        L::Date,
        L::Time,
        L::TimeTz,
        L::DateTime,
        L::Timestamp,
        L::Interval,
        L::Enum(vec!["a".into(), "b\"".into()]),
        L::Set(vec![]),
        L::Map,
        L::Other,
    ]
}

fn logical() -> impl Strategy<Value = LogicalType> {
    select(simple_types()).prop_recursive(2, 3, 1, |inner| inner.prop_map(|e| LogicalType::List(Box::new(e))))
}

pub(crate) fn schema() -> impl Strategy<Value = Arc<TableSchema>> {
    let column = (text(), logical(), text(), any::<bool>());
    (text(), text(), text(), vec(column, 0..6), vec(0..6_u32, 0..3), any::<bool>()).prop_map(
        |(database, schema, table, columns, key, open)| {
            let mut builder = TableSchema::builder(table).database(database).schema(schema);
            for (name, logical, source, not_null) in columns {
                let column = Column::new(name, logical).source_type(source);
                builder = builder.column(if not_null { column.not_null() } else { column });
            }
            builder = builder.key_indexes(key);
            if open { builder.open() } else { builder }.build()
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let headers = vec((text(), value()), 0..3);
    (option::of(text()), value(), option::of(text()), value(), option::of(text()), value(), headers).prop_map(
        |(destination, key, kind, id, content_type, body, headers)| Message {
            destination,
            key,
            kind,
            id,
            content_type,
            body,
            headers,
        },
    )
}

pub(crate) fn event() -> impl Strategy<Value = Spec> {
    let ops = select(vec![
        Op::Insert,
        Op::Update,
        Op::Delete,
        Op::Upsert,
        Op::Read,
        Op::Truncate,
        Op::Message,
        Op::Undecodable,
        Op::SchemaChange,
        Op::Begin,
        Op::Commit,
        Op::Heartbeat,
        Op::Gap,
    ]);
    let rows = option::of(schema()).prop_flat_map(|schema| {
        let row = match &schema {
            Some(schema) => option::of(vec(value(), schema.columns().len())).boxed(),
            None => Just(None).boxed(),
        };
        (Just(schema), row.clone(), row)
    });
    let id = (text(), option::of(timestamp()), any::<u64>(), prop_oneof![Just(0), any::<u32>()]);
    (ops, id, option::of(text()), rows, option::of(message())).prop_map(
        |(op, (commit, time, ordinal, sub), route, (schema, before, after), message)| Spec {
            op,
            commit,
            time,
            ordinal,
            sub,
            route,
            schema,
            before,
            after,
            message,
        },
    )
}

pub(crate) fn events(most: usize) -> impl Strategy<Value = Vec<Spec>> {
    vec(event(), 0..most)
}
