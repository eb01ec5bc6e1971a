//! Whatever the values are: the output is JSON, and the JSON says what the values were.

use crate::support::{format, row, sent};
use outflow_format::{DebeziumJsonFormat, JsonFormat};
use outflow_sdk::{
    Column, Date, DateTime, Interval, LogicalType, Op, TableSchema, Time, TimeTz, Timestamp, Value,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value as Json;
use serde_json::value::RawValue;
use std::collections::HashMap;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\\x00-\\x7f]{0,20}", "[a-z]{0,40}"]
}

fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        text().prop_map(|t| Json::String(t).to_string()),
        Just("1234567890123456789012345678901234567890.0001e-7".to_owned()),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[ {}\n]", items.join(",\r\n"))),
            vec((text(), inner), 0..4).prop_map(|items| {
                let members = items.iter().map(|(k, v)| format!("{} :{v}", Json::String(k.clone())));
                format!("{{{}}}", members.collect::<Vec<_>>().join("\n,"))
            }),
        ]
    })
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(Value::U64),
        any::<u32>().prop_map(|bits| Value::F32(f32::from_bits(bits))),
        any::<u64>().prop_map(|bits| Value::F64(f64::from_bits(bits))),
        Just(Value::F64(-0.0)),
        Just(Value::F64(f64::NAN)),
        Just(Value::F32(f32::NEG_INFINITY)),
        "-?(0|[1-9][0-9]{0,60})(\\.[0-9]{1,30})?|NaN|-?Infinity".prop_map(Value::Decimal),
        text().prop_map(Value::Text),
        text().prop_map(Value::Enum),
        text().prop_map(Value::Set),
        text().prop_map(Value::Other),
        vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        vec(any::<u8>(), 0..5).prop_map(|b| {
            let len = b.len() as u32 * 8;
            Value::Bits(b, len)
        }),
        prop_oneof![json_text(), text()].prop_map(Value::Json),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        any::<i32>().prop_map(|d| Value::Date(Date::from_days(d))),
        any::<i64>().prop_map(|n| Value::Time(Time::from_nanos(n))),
        (any::<i64>(), -86_399..86_400_i32)
            .prop_map(|(n, offset)| Value::TimeTz(TimeTz { time: Time::from_nanos(n), offset })),
        (-1_i64 << 40..1_i64 << 40, 0..1_000_000_000_u32)
            .prop_map(|(s, n)| Value::DateTime(DateTime::new(s, n))),
        (-1_i64 << 40..1_i64 << 40, 0..1_000_000_000_u32)
            .prop_map(|(s, n)| Value::Timestamp(Timestamp::new(s, n))),
        Just(Value::Timestamp(Timestamp::INFINITY)),
        Just(Value::DateTime(DateTime::NEG_INFINITY)),
        (any::<i32>(), any::<i32>(), any::<i64>())
            .prop_map(|(months, days, nanos)| Value::Interval(Interval { months, days, nanos })),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            vec((scalar(), inner), 0..4).prop_map(Value::Map),
        ]
    })
}

/// What flat JSON must read as; `None` where the value alone does not decide it.
fn expected(value: &Value, raw: &str) -> Option<bool> {
    let string = || serde_json::from_str::<String>(raw).unwrap();
    let float = |finite: bool, bits: bool, name: String| if finite { bits } else { string() == name };
    Some(match value {
        Value::Null => raw == "null",
        Value::Bool(v) => raw == v.to_string(),
        Value::I64(v) => raw == v.to_string(),
        Value::U64(v) => raw == v.to_string(),
        Value::F32(v) => float(
            v.is_finite(),
            raw.parse().is_ok_and(|r: f32| r.to_bits() == v.to_bits()),
            name(f64::from(*v)),
        ),
        Value::F64(v) => {
            float(v.is_finite(), raw.parse().is_ok_and(|r: f64| r.to_bits() == v.to_bits()), name(*v))
        }
        Value::Decimal(s) | Value::Text(s) | Value::Enum(s) | Value::Set(s) | Value::Other(s) => {
            string() == *s
        }
        Value::Json(s) => match serde_json::from_str::<&RawValue>(s) {
            Ok(_) if serde_json::from_str::<Json>(s).is_ok() => {
                raw == s.trim().replace(['\n', '\r'], "") || raw == s.replace(['\n', '\r'], "").trim()
            }
            Ok(_) => true,
            Err(_) => string() == *s,
        },
        Value::Date(v) => string() == v.to_string(),
        Value::Time(v) => string() == v.to_string(),
        Value::TimeTz(v) => string() == v.to_string(),
        Value::DateTime(v) => string() == v.to_string(),
        Value::Timestamp(v) => string() == v.to_string(),
        Value::Interval(v) => string() == v.to_string(),
        Value::List(items) => {
            let read: Vec<Box<RawValue>> = serde_json::from_str(raw).unwrap();
            read.len() == items.len()
                && items.iter().zip(&read).all(|(item, raw)| expected(item, raw.get()) != Some(false))
        }
        _ => return None,
    })
}

fn name(value: f64) -> String {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
    .to_owned()
}

proptest! {
    #[test]
    fn every_row_is_json_that_says_what_the_values_were(
        values in vec(value(), 1..8), names in vec(text(), 8), numbers in any::<bool>()
    ) {
        let mut builder = TableSchema::builder(names[7].clone()).database(names[6].clone());
        for (i, _) in values.iter().enumerate() {
            // Two columns never have one name.
            builder = builder.column(Column::new(format!("{}{i}", names[i]), LogicalType::Any));
        }
        let schema = builder.build();
        let config = serde_json::json!({"decimals": if numbers { "number" } else { "string" }});
        let batch = row(Op::Update, &schema, Some(&values), Some(&values));

        let flat = sent(&mut *format(JsonFormat, config.clone()), &batch).remove(0).value.unwrap();
        prop_assert!(!flat.contains(['\n', '\r']), "one line");
        let read: HashMap<String, &RawValue> = serde_json::from_str(&flat).unwrap();
        for image in ["after", "before"] {
            let row: HashMap<String, &RawValue> = serde_json::from_str(read[image].get()).unwrap();
            prop_assert_eq!(row.len(), values.len());
            for (column, value) in schema.columns().iter().zip(&values) {
                let raw = row[column.name()].get();
                let as_number = numbers && matches!(value, Value::Decimal(s) if !s.ends_with(['N', 'y']));
                if as_number {
                    prop_assert!(matches!(value, Value::Decimal(s) if s == raw));
                } else if !numbers || !matches!(value, Value::List(_)) {
                    prop_assert!(expected(value, raw) != Some(false), "{:?} as {}", value, raw);
                }
            }
        }

        let envelope = sent(&mut *format(DebeziumJsonFormat, config), &batch).remove(0).value.unwrap();
        prop_assert!(!envelope.contains(['\n', '\r']), "one line");
        let read: HashMap<String, &RawValue> = serde_json::from_str(&envelope).unwrap();
        let row: HashMap<String, &RawValue> = serde_json::from_str(read["after"].get()).unwrap();
        prop_assert_eq!(row.len(), values.len());
        prop_assert_eq!(read["before"].get(), read["after"].get());
        for (column, value) in schema.columns().iter().zip(&values) {
            let raw = row[column.name()].get();
            match value {
                Value::I64(_) | Value::U64(_) | Value::Bool(_) | Value::Null | Value::Text(_) | Value::Timestamp(_) => {
                    prop_assert!(expected(value, raw) != Some(false), "{:?} as {}", value, raw);
                }
                Value::Json(s) => prop_assert_eq!(&serde_json::from_str::<String>(raw).unwrap(), s),
                Value::Date(v) => prop_assert_eq!(raw, v.days().to_string()),
                Value::Map(_) => {
                    serde_json::from_str::<HashMap<String, &RawValue>>(&serde_json::from_str::<String>(raw).unwrap()).unwrap();
                }
                _ => {}
            }
        }
    }
}
