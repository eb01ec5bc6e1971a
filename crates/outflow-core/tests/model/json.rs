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
