//! outflow-json: what is read is what was written, and nothing that is read can panic.

use outflow_core::json::{self, EventReader, EventWriter, Outcome};
use outflow_core::*;
use proptest::prelude::*;

use crate::support::{self, Spec, batch, read, read_all, text};

fn lines(batch: &ChangeBatch) -> Vec<Vec<u8>> {
    let mut writer = EventWriter::new();
    let write = |event| {
        let mut line = Vec::new();
        writer.write(event, &mut line);
        line
    };
    batch.iter().map(write).collect()
}

fn unread(lines: &[Vec<u8>]) -> ChangeBatch {
    let (mut reader, mut builder) = (EventReader::new(), BatchBuilder::new());
    for line in lines {
        let outcome = reader.read(line, &mut builder);
        assert_eq!(outcome.unwrap(), Outcome::Read, "{}", String::from_utf8_lossy(line));
    }
    builder.finish("file".into(), None)
}

proptest! {
    #[test]
    fn every_event_reads_back(origin in text(), specs in support::events(4)) {
        let written = batch(&origin, &specs);
        let text = lines(&written);
        for line in &text {
            prop_assert!(!line.contains(&b'\n'));
            prop_assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok());
        }
        let unread = unread(&text);
        prop_assert_eq!(read_all(&unread), read_all(&written));
        prop_assert_eq!(lines(&unread), text);
    }

    #[test]
    fn bytes_at_random_are_refused(line in proptest::collection::vec(any::<u8>(), 0..100)) {
        let error = json::read_event(&line, &mut BatchBuilder::new()).unwrap_err();
        prop_assert_eq!(error.code(), "json.malformed");
    }

    /// Whatever a damaged line still says, it is an error or an event that can be written and read again.
    #[test]
    fn damaged_lines_never_panic(
        spec in support::event(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..4),
    ) {
        let mut line = lines(&batch("o", &[spec])).remove(0);
        for (at, byte, what) in damage {
            let at = at.index(line.len().max(1));
            match what {
                0 => line.truncate(at),
                1 => line.insert(at, *b"{}[],:\"-0e.tn\\".get(byte as usize % 14).unwrap()),
                2 if at < line.len() => drop(line.remove(at)),
                _ => line.iter_mut().skip(at).take(1).for_each(|b| *b = byte),
            }
        }
        let mut builder = BatchBuilder::new();
        match json::read_event(&line, &mut builder) {
            Err(error) => {
                prop_assert!(["json.malformed", "json.version"].contains(&error.code()), "{}", error);
                prop_assert_eq!((builder.len(), builder.bytes()), (0, 0));
            }
            Ok(outcome) => {
                prop_assert_eq!(outcome, Outcome::Read);
                let first = builder.finish("p".into(), None);
                prop_assert_eq!(read_all(&unread(&lines(&first))), read_all(&first));
            }
        }
    }
}

/// An insert of one value into a column of this type.
fn insert(logical: LogicalType, value: Value) -> Spec {
    Spec {
        op: Op::Insert,
        commit: String::new(),
        time: None,
        ordinal: 0,
        sub: 0,
        route: None,
        schema: Some(TableSchema::builder("t").column(Column::new("c", logical)).build()),
        before: None,
        after: Some(vec![value]),
        message: None,
    }
}

/// The value as it stands in the line.
fn written(logical: LogicalType, value: Value) -> String {
    let line = lines(&batch("", &[insert(logical, value)])).remove(0);
    let line = String::from_utf8(line).unwrap();
    let (_, row) = line.split_once(r#""after":{"c":"#).unwrap();
    row.split_once(r#"},"columns""#).unwrap().0.to_owned()
}

fn one_of_each_kind() -> Vec<Value> {
    let mut values = vec![
        Value::Null,
        Value::Unavailable,
        true.into(),
        Value::I64(-1),
        Value::I64(1),
        Value::I64(i64::MIN),
        Value::U64(1),
        Value::U64(u64::MAX),
        Value::F32(0.1),
        Value::F32(f32::NAN),
        Value::F32(f32::from_bits(0x7fc0_0001)),
        Value::F32(f32::INFINITY),
        Value::F64(1.0),
        Value::F64(-0.0),
        Value::F64(f64::NAN),
        Value::F64(f64::from_bits(0xfff8_0000_0000_0001)),
        Value::F64(f64::NEG_INFINITY),
        Value::Decimal("NaN".into()),
        "NaN".into(),
        "2026-01-02".into(),
        Value::Bytes(vec![]),
        Value::Bits(vec![0b1010_0000], 3),
        Value::Uuid([7; 16]),
        Value::Date(Date::from_days(0)),
        Value::Time(Time::from_nanos(-1)),
        Value::TimeTz(TimeTz { time: Time::from_nanos(0), offset: 3600 }),
        Value::DateTime(DateTime::new(0, 1)),
        Value::Timestamp(Timestamp::INFINITY),
        Value::Interval(Interval { months: 1, days: -2, nanos: 3 }),
        Value::Enum("a".into()),
        Value::Set("a,b".into()),
        Value::Other("(1,2)".into()),
    ];
    values.extend(support::json_texts().into_iter().map(Value::json));
    let nested: Vec<_> = values.clone();
    values.push(Value::List(nested.clone()));
    values.push(Value::Map(nested.into_iter().map(|v| (v.clone(), v)).collect()));
    values
}

#[test]
fn every_kind_of_value_reads_back_from_a_column_of_every_type() {
    for simple in support::simple_types() {
        for logical in [simple.clone(), LogicalType::List(Box::new(simple))] {
            let specs: Vec<_> =
                one_of_each_kind().into_iter().map(|value| insert(logical.clone(), value)).collect();
            let batch = batch("", &specs);
            for (before, after) in batch.iter().zip(unread(&lines(&batch)).iter()) {
                assert_eq!(read(after), read(before), "{logical}");
            }
        }
    }
}

#[test]
fn values_stand_plain_where_their_column_says_what_they_are() {
    use LogicalType as L;
    let text = |s: &str| format!("{s:?}");
    let plain = [
        (L::Bool, true.into(), "true".to_owned()),
        (L::Int(64), Value::I64(i64::MIN), "-9223372036854775808".to_owned()),
        (L::UInt(64), Value::U64(u64::MAX), "18446744073709551615".to_owned()),
        (L::UInt(8), Value::I64(-1), "-1".to_owned()),
        (L::Int(64), Value::U64(u64::MAX), "18446744073709551615".to_owned()),
        (L::Float(64), Value::F64(1.0), "1.0".to_owned()),
        (L::Float(64), Value::F64(f64::NAN), text("NaN")),
        (L::Float(32), Value::F32(0.1), "0.1".to_owned()),
        (L::Float(32), Value::F32(f32::from_bits(0x7fc0_0001)), text("0x7fc00001")),
        (L::Decimal(None), Value::Decimal("42.10".into()), text("42.10")),
        (L::Text, "x".into(), text("x")),
        (L::Any, "x".into(), text("x")),
        (L::Bytes, Value::Bytes(vec![0, 255]), text("AP8=")),
        (L::Bits, Value::Bits(vec![0b1010_0000], 3), text("101")),
        (L::Json, Value::json(r#"{"a": 1}"#), r#"{"a": 1}"#.to_owned()),
        (L::Json, Value::json("1"), "1".to_owned()),
        (L::Uuid, Value::Uuid([0x11; 16]), text("11111111-1111-1111-1111-111111111111")),
        (L::Date, Value::Date(Date::from_days(0)), text("1970-01-01")),
        (L::Time, Value::Time(Time::from_nanos(0)), text("00:00:00")),
        (L::TimeTz, Value::TimeTz(TimeTz { time: Time::from_nanos(0), offset: 0 }), text("00:00:00+00:00")),
        (L::DateTime, Value::DateTime(DateTime::new(0, 0)), text("1970-01-01T00:00:00")),
        (L::Timestamp, Value::Timestamp(Timestamp::new(0, 0)), text("1970-01-01T00:00:00Z")),
        (L::Interval, Value::Interval(Interval { months: 14, days: 3, nanos: 0 }), text("P14M3DT0S")),
        (L::Enum(vec![]), Value::Enum("a".into()), text("a")),
        (L::Set(vec![]), Value::Set("a,b".into()), text("a,b")),
        (L::Other, Value::Other("(1,2)".into()), text("(1,2)")),
        (L::Map, Value::Map(vec![("a".into(), Value::I64(1))]), r#"[["a",1]]"#.to_owned()),
        (
            L::List(Box::new(L::Decimal(None))),
            Value::List(vec![Value::Decimal("1".into())]),
            r#"["1"]"#.to_owned(),
        ),
    ];
    for (logical, value, json) in plain {
        assert_eq!(written(logical.clone(), value), json, "{logical}");
    }
    let tagged = [
        (L::Int(64), Value::U64(1), r#"{"u64":1}"#),
        (L::UInt(64), Value::I64(1), r#"{"i64":1}"#),
        (L::Float(64), Value::I64(1), r#"{"i64":1}"#),
        (L::Float(64), Value::F32(0.1), r#"{"f32":0.1}"#),
        (L::Any, Value::F64(f64::INFINITY), r#"{"f64":"Infinity"}"#),
        (L::Text, Value::Decimal("1".into()), r#"{"decimal":"1"}"#),
        (L::Decimal(None), "1".into(), r#"{"text":"1"}"#),
        (L::Text, Value::json("{}"), r#"{"json":"{}"}"#),
        (L::Json, Value::json("null"), r#"{"json":"null"}"#),
        (L::Json, Value::json(r#"{"i64":1}"#), r#"{"json":"{\"i64\":1}"}"#),
        (L::Json, true.into(), r#"{"bool":true}"#),
        (L::Json, Value::List(vec![]), r#"{"list":[]}"#),
        (L::Any, Value::Map(vec![]), r#"{"map":[]}"#),
        (L::Map, Value::List(vec![Value::Unavailable]), r#"{"list":[{"unavailable":true}]}"#),
    ];
    for (logical, value, json) in tagged {
        assert_eq!(written(logical.clone(), value), json, "{logical}");
    }
}

#[test]
fn a_line_that_fails_leaves_no_schema_behind() {
    let line =
        r#"{"op":"insert","table":"t","columns":[["a","date"]],"after":{"a":"x"},"id":{"origin":"o"}}"#;
    let mut builder = BatchBuilder::new();
    assert!(json::read_event(line.as_bytes(), &mut builder).is_err());
    assert_eq!(builder.origin_name(), "");
    assert_eq!(builder.finish("p".into(), None).schemas().count(), 0);
}

/// The form, as the reference shows it.
#[test]
fn a_line_is_for_people_too() {
    let orders = TableSchema::builder("orders")
        .schema("public")
        .column(Column::new("id", LogicalType::Int(64)).source_type("bigint").not_null())
        .column(Column::new("total", LogicalType::Decimal(Some((10, 2)))).source_type("numeric(10,2)"))
        .column(Column::new("paid", LogicalType::Bool))
        .column(Column::new("note", LogicalType::Text))
        .column(Column::new("doc", LogicalType::Json))
        .column(Column::new("tags", LogicalType::List(Box::new(LogicalType::Text))))
        .key(["id"])
        .build();
    let spec = Spec {
        op: Op::Update,
        commit: "0/16B3748".into(),
        time: Some(Timestamp::new(1_767_323_045, 123_000_000)),
        ordinal: 3,
        sub: 0,
        route: None,
        schema: Some(orders),
        before: Some(vec![
            Value::I64(1),
            Value::Unavailable,
            Value::Unavailable,
            Value::Unavailable,
            Value::Unavailable,
            Value::Unavailable,
        ]),
        after: Some(vec![
            Value::I64(1),
            Value::Decimal("42.10".into()),
            Value::Bool(true),
            Value::Null,
            Value::json(r#"{"a":[1,2]}"#),
            Value::List(vec!["x".into(), Value::I64(7), Value::Bytes(vec![0, 255])]),
        ]),
        message: None,
    };
    let line = lines(&batch("pg-7123/1", &[spec])).remove(0);
    assert_eq!(
        String::from_utf8(line).unwrap(),
        concat!(
            r#"{"v":1,"op":"update","schema":"public","table":"orders","#,
            r#""id":{"origin":"pg-7123/1","commit":"0/16B3748","ordinal":3},"time":"2026-01-02T03:04:05.123Z","#,
            r#""before":{"id":1},"#,
            r#""after":{"id":1,"total":"42.10","paid":true,"note":null,"doc":{"a":[1,2]},"tags":["x",7,{"bytes":"AP8="}]},"#,
            r#""columns":[["id","int64","bigint","not null"],["total","decimal(10,2)","numeric(10,2)"],["paid","bool"],"#,
            r#"["note","text"],["doc","json"],["tags",{"list":"text"}]],"key":["id"]}"#,
        )
    );
}

#[test]
fn the_examples_of_the_reference_read_and_write() {
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/outflow-json.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    let examples: Vec<_> =
        reference.split("```json\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert!(examples.len() >= 3);
    for example in examples {
        let mut builder = BatchBuilder::new();
        assert_eq!(json::read_event(example.as_bytes(), &mut builder).unwrap(), Outcome::Read, "{example}");
        let batch = builder.finish("p".into(), None);
        assert_eq!(read_all(&unread(&lines(&batch))), read_all(&batch), "{example}");
    }
}

#[test]
fn a_dead_letter_says_why_and_reads_back_as_the_event() {
    let line = br#"{"op":"message","message":{"destination":"orders","body":{"total":"42.10"},"headers":[["n",1]]}}"#;
    let mut builder = BatchBuilder::new();
    assert_eq!(json::read_event(line, &mut builder).unwrap(), Outcome::Read);
    let batch = builder.finish("p".into(), None);
    let event = batch.get(0).unwrap();
    let error = Error::data("kafka.too_large").message("1 MiB is the limit").hint("raise max.message.bytes");
    let mut letter = Vec::new();
    EventWriter::new().write_rejected(event, &error, &mut letter);
    let text = String::from_utf8(letter).unwrap();
    assert!(text.starts_with(
        r#"{"v":1,"op":"message","error":{"code":"kafka.too_large","message":"kafka.too_large: 1 MiB is the limit","hint":"raise max.message.bytes"},"id":{"ordinal":0}"#
    ));
    assert_eq!(json::read_event(text.as_bytes(), &mut builder).unwrap(), Outcome::Read);
    assert_eq!(read(builder.finish("p".into(), None).get(0).unwrap()), read(event));
}

#[test]
fn a_batch_has_one_origin() {
    let line = |origin: &str| format!(r#"{{"op":"begin","id":{{"origin":"{origin}"}}}}"#).into_bytes();
    let mut builder = BatchBuilder::new();
    let mut reader = EventReader::new();
    assert_eq!(reader.read(&line("a"), &mut builder).unwrap(), Outcome::Read);
    assert_eq!(reader.read(&line("a"), &mut builder).unwrap(), Outcome::Read);
    assert_eq!(reader.read(&line("b"), &mut builder).unwrap(), Outcome::OriginChanged);
    let first = builder.finish("p".into(), None);
    assert_eq!((first.len(), first.get(1).unwrap().id().origin), (2, "a"));
    assert_eq!(reader.read(&line("b"), &mut builder).unwrap(), Outcome::Read);
    assert_eq!(builder.finish("p".into(), None).get(0).unwrap().id().origin, "b");
}

#[test]
fn rows_of_one_table_share_a_schema_and_a_transaction() {
    let mut builder = BatchBuilder::new();
    let mut reader = EventReader::new();
    for id in 0..3 {
        let line = format!(
            r#"{{"op":"insert","table":"t","id":{{"commit":"7","ordinal":{id}}},"after":{{"id":{id}}},"columns":[["id","int64"]]}}"#
        );
        assert_eq!(reader.read(line.as_bytes(), &mut builder).unwrap(), Outcome::Read);
    }
    let batch = builder.finish("p".into(), None);
    assert_eq!(batch.schemas().count(), 1);
    assert_eq!(batch.get(2).unwrap().id().to_string(), ":7:2");
}

#[test]
fn hand_written_lines_may_be_in_any_order_and_leave_out_what_is_usual() {
    let line = r#" { "columns" : [["a","int64"],["b","float64"],["c","uint8"],["d","json"]], "after" : {"c": 3, "b": 1, "d": null},
        "table" : "t", "op" : "upsert" } "#;
    let mut builder = BatchBuilder::new();
    assert_eq!(json::read_event(line.as_bytes(), &mut builder).unwrap(), Outcome::Read);
    let batch = builder.finish("p".into(), None);
    let row: Vec<_> = batch.get(0).unwrap().after().unwrap().values().collect();
    assert_eq!(row, [ValueRef::Unavailable, ValueRef::F64(1.0), ValueRef::U64(3), ValueRef::Null]);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let cases = [
        ("", "EOF"),
        ("[]", "byte"),
        (r#"{"op":"insert","tabel":"t"}"#, "unknown field `tabel`"),
        (r#"{"op":"explode"}"#, "unknown variant `explode`"),
        (r#"{"op":"insert","op":"insert"}"#, "duplicate field"),
        (r#"{"op":"insert","after":{}}"#, "a row needs `table`"),
        (r#"{"op":"insert","table":"t","columns":[["a","integer"]]}"#, "`columns`"),
        (r#"{"op":"insert","table":"t","columns":[["a","int64"]],"after":{"b":1}}"#, r#""b" is no column"#),
        (r#"{"op":"insert","table":"t","columns":[["a","int64"]],"after":{"a":1,"a":1}}"#, "comes twice"),
        (r#"{"op":"insert","table":"t","columns":[["a","date"]],"after":{"a":"x"}}"#, r#""a": not a date"#),
        (
            r#"{"op":"insert","table":"t","columns":[["a","int64"]],"after":{"a":18446744073709551616}}"#,
            "out of range",
        ),
        (r#"{"op":"insert","table":"t","columns":[["a","any"]],"after":{"a":1e999}}"#, "out of range"),
        (r#"{"op":"insert","table":"t","columns":[["a","any"]],"after":{"a":{}}}"#, "needs a kind"),
        (
            r#"{"op":"insert","table":"t","columns":[["a","any"]],"after":{"a":{"int":1}}}"#,
            "no kind of value",
        ),
        (
            r#"{"op":"insert","table":"t","columns":[["a","any"]],"after":{"a":{"i64":1,"u64":1}}}"#,
            "one kind",
        ),
        (
            r#"{"op":"insert","table":"t","columns":[["a","any"]],"after":{"a":{"i64":"1"}}}"#,
            "not the content",
        ),
        (
            r#"{"op":"insert","table":"t","columns":[["a","any"]],"after":{"a":{"f64":"1"}}}"#,
            "not the content",
        ),
        (r#"{"op":"insert","table":"t","columns":[["a","any"]],"after":{"a":{"bytes":"!"}}}"#, "not a bytes"),
        (r#"{"op":"insert","table":"t","columns":[["a","map"]],"after":{"a":[[1]]}}"#, "[key, value]"),
        (r#"{"op":"message","message":{"headers":{}}}"#, r#""headers""#),
        (r#"{"op":"message","message":{"boby":1}}"#, "no field of a message"),
        (r#"{"op":"begin","time":"today"}"#, "`time`"),
        (r#"{"op":"begin","id":{"ordinal":-1}}"#, "invalid value"),
        (r#"{"op":"begin","id":{"sub":3,"step":2}}"#, "`step`"),
    ];
    for (line, part) in cases {
        let mut builder = BatchBuilder::new();
        let error = json::read_event(line.as_bytes(), &mut builder).unwrap_err();
        assert_eq!(error.code(), "json.malformed", "{line}");
        assert!(error.to_string().contains(part), "{line}: {error}");
        assert!(builder.is_empty() && builder.bytes() == 0, "{line}");
    }
    let error = json::read_event(b"{\"op\":\"\xff\"}", &mut BatchBuilder::new()).unwrap_err();
    assert!(error.to_string().contains("(byte=7)"), "{error}");
    let wrong = r#"{"op":"insert","table":"t","columns":[["a","list"]],"after":{"a":1}}"#;
    assert_eq!(
        json::read_event(wrong.as_bytes(), &mut BatchBuilder::new()).unwrap_err().code(),
        "json.malformed"
    );
    let place = r#"{"op":"insert","table":"t","columns":[["a","uuid"]],"after":{"a":"x"}}"#;
    let error = json::read_event(place.as_bytes(), &mut BatchBuilder::new()).unwrap_err();
    assert!(error.to_string().contains(&format!("byte={}", place.find(r#""x""#).unwrap())), "{error}");
}

#[test]
fn a_wrong_row_width_is_an_error_of_the_line() {
    for row in ["[]", "[1,2]"] {
        let line = format!(r#"{{"op":"insert","table":"t","columns":[["a","any"]],"after":{row}}}"#);
        let error = json::read_event(line.as_bytes(), &mut BatchBuilder::new()).unwrap_err();
        assert_eq!(error.code(), "json.malformed");
    }
}

#[test]
fn a_newer_form_is_told_from_damage() {
    for line in [r#"{"v":2,"op":"insert","new":1}"#, r#"{"v":2,"op":"begin"}"#] {
        let error = json::read_event(line.as_bytes(), &mut BatchBuilder::new()).unwrap_err();
        assert_eq!(error.code(), "json.version");
        assert!(error.hint_text().is_some());
    }
}

#[test]
fn nesting_without_end_is_refused() {
    for (open, close) in [("[", "]"), (r#"{"list":["#, "]}"), ("[[[1,", "]]]")] {
        let value = open.repeat(10_000) + "1" + &close.repeat(10_000);
        for logical in ["any", "map"] {
            let line = format!(
                r#"{{"op":"insert","table":"t","columns":[["a","{logical}"]],"after":{{"a":{value}}}}}"#
            );
            assert_eq!(
                json::read_event(line.as_bytes(), &mut BatchBuilder::new()).unwrap_err().code(),
                "json.malformed"
            );
        }
    }
}

/// Parts of one event keep ids apart also when they are written down between two splits.
#[test]
fn an_event_that_was_split_and_written_down_splits_on() {
    let mut builder = BatchBuilder::new();
    assert_eq!(json::read_event(br#"{"op":"begin"}"#, &mut builder).unwrap(), Outcome::Read);
    let mut batch = builder.finish("p".into(), None);
    BatchEdit::new(&mut batch).split(0, 3);
    let mut again = unread(&lines(&batch));
    for batch in [&mut batch, &mut again] {
        let mut edit = BatchEdit::new(batch);
        edit.split(2, 2);
        edit.split(0, 2);
    }
    assert_eq!(read_all(&again), read_all(&batch));
    let mut subs: Vec<_> = batch.iter().map(|e| e.id().sub).collect();
    assert_eq!(subs, [0, 3, 1, 2, 5]);
    subs.dedup();
    assert_eq!(subs.len(), 5);
}
