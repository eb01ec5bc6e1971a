//! Files that are right: what comes out of them.

mod common;

use common::{GOOD, load, load_files, shown};
use outflow_config::{OnError, PipelineFile};
use outflow_sdk::{ByteSize, Timespan};
use serde_json::json;
use std::time::Duration;

fn one(text: &str, flags: &[&str]) -> PipelineFile {
    let mut loaded = load(text, flags);
    assert_eq!(shown(&loaded), "");
    loaded.pipelines.remove(0)
}

#[test]
fn the_example_of_the_readme() {
    let file = one(GOOD, &[]);
    assert_eq!(file.name, "orders");
    assert_eq!(file.source.kind, "postgres");
    assert_eq!(
        file.source.config,
        json!({
            "url": "postgres://outflow@db.internal/shop",
            "password": "canary-file",
            "tables": ["public.orders", "public.order_lines"],
            "snapshot": "initial",
        })
    );
    assert_eq!(file.transforms.len(), 1);
    assert_eq!(file.transforms[0].config, json!({"tables": ["public.orders"], "columns": ["card"]}));
    // The runtime's keys are no concern of the connector.
    assert_eq!(
        file.sink.config,
        json!({"bootstrap_servers": ["kafka-1:9092", "kafka-2:9092"], "topic": "shop.{schema}.{table}"})
    );
    let format = file.format.unwrap();
    assert_eq!((format.kind.as_str(), format.config), ("debezium-json", json!({})));
    assert_eq!(file.settings.memory_budget, ByteSize::mib(24));
    assert!(
        file.state.is_none() && file.dead_letter.is_none() && file.key.is_none() && file.headers.is_empty()
    );
}

#[test]
fn every_key_of_a_pipeline() {
    let file = one(
        r#"
source: {type: file, path: in.jsonl}
sink:
  type: stdout
  format: {type: debezium-json, tombstones: true}
  key: "{tenant}:{id}"
  headers: {x-table: "{table}", x-number: 12}
state: {type: memory}
on_error: dead-letter
dead_letter: {type: file, path: dead.jsonl}
memory_budget: 1GB
max_row_bytes: 1048576
max_replay: 8 MiB
shutdown_timeout: 500ms
startup_timeout: 0
x-anything: {of: [mine]}
"#,
        &[],
    );
    assert_eq!(file.name, "orders", "the file's name");
    let format = file.format.unwrap();
    assert_eq!((format.kind.as_str(), format.config), ("debezium-json", json!({"tombstones": true})));
    assert_eq!(file.key.unwrap().as_str(), "{tenant}:{id}");
    let headers: Vec<_> = file.headers.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(headers, [("x-table", "{table}"), ("x-number", "12")]);
    let state = file.state.unwrap();
    assert_eq!((state.kind.as_str(), state.config), ("memory", json!({})));
    let dead_letter = file.dead_letter.unwrap();
    assert_eq!((dead_letter.kind.as_str(), dead_letter.config), ("file", json!({"path": "dead.jsonl"})));
    let settings = file.settings;
    assert_eq!(settings.on_error, OnError::DeadLetter);
    assert_eq!(settings.memory_budget, ByteSize(1_000_000_000));
    assert_eq!(settings.max_row_bytes, ByteSize::mib(1));
    assert_eq!(settings.max_replay, ByteSize::mib(8));
    assert_eq!(settings.shutdown_timeout, Timespan(Duration::from_millis(500)));
    assert_eq!(settings.startup_timeout, Timespan(Duration::ZERO));
}

#[test]
fn a_path_alone_is_a_state() {
    let text = "source: {type: file, path: a}\nsink: {type: stdout}\nstate: /var/lib/outflow\n";
    let file = one(text, &[]);
    let state = file.state.unwrap();
    assert_eq!((state.kind.as_str(), state.config), ("file", json!({"path": "/var/lib/outflow"})));
}

#[test]
fn scalars_take_the_type_that_the_schema_wants() {
    let file = one(
        r#"
source:
  type: postgres
  url: "postgres://${HOST}:${PORT:-5432}/shop"
  password: 12345
  port: ${PORT}
  publish: "${YES}"
  ratio: 1
  slot: 1.10
  tables: [007, true, "${WORD}", ${NOT_A_LIST:-x}]
  poll_interval: ${NONE:-2m}
  tls: ~
sink:
  type: kafka
  bootstrap_servers: a:1,b:2
  topic: $${table} $HOME
  properties: {linger.ms: 5, acks: all, retries: "3", ssl: true, from: "${PORT}"}
  in_flight: 0x10
"#
        .replace(", ${NOT_A_LIST:-x}", "")
        .as_str(),
        &[],
    );
    assert_eq!(
        file.source.config,
        json!({
            "url": "postgres://db.internal:5433/shop",
            "password": "12345",
            "port": 5433,
            "publish": true,
            "ratio": 1,
            "slot": "1.10",
            "tables": ["007", "true", "canary-word"],
            "poll_interval": "2m",
            "tls": null,
        })
    );
    assert_eq!(
        file.sink.config,
        json!({
            "bootstrap_servers": "a:1,b:2",
            "topic": "${table} $HOME",
            "properties": {"linger.ms": 5, "acks": "all", "retries": "3", "ssl": true, "from": "5433"},
            "in_flight": 16,
        })
    );
}

#[test]
fn what_a_variable_holds_is_never_yaml() {
    let text = "source: {type: file, path: \"${YAML}\"}\nsink: {type: stdout}\n";
    assert_eq!(one(text, &[]).source.config, json!({"path": "canary: [1]"}));
}

#[test]
fn anchors_and_merge_keys() {
    let file = one(
        r#"
x-base: &base
  url: postgres://a/b
  tables: [one]
x-more: &more {tables: [two], slot: s}
source:
  <<: [*base, *more]
  type: postgres
  slot: own
transforms:
  - &mask {type: mask, tables: [t], columns: [c]}
  - *mask
sink: {type: file, path: &p out, format: json}
"#,
        &[],
    );
    assert_eq!(file.source.config, json!({"slot": "own", "url": "postgres://a/b", "tables": ["one"]}));
    assert_eq!(file.transforms[0], file.transforms[1]);
}

#[test]
fn unions_take_a_word_or_a_block() {
    for (exchange, value) in [
        ("events", json!("events")),
        ("{name: events, declare: true}", json!({"name": "events", "declare": true})),
    ] {
        let text = format!(
            "source: {{type: file, path: a}}\nsink: {{type: rabbitmq, url: amqp://h, exchange: {exchange}, routing_key: k}}\n"
        );
        assert_eq!(one(&text, &[]).sink.config["exchange"], value);
    }
}

#[test]
fn flattened_keys_are_known() {
    let text = "source: {type: file, path: a}\ntransforms: [{type: outbox, preset: eventuate, strict: true}]\nsink: {type: stdout}\n";
    assert_eq!(one(text, &[]).transforms[0].config, json!({"preset": "eventuate", "strict": true}));
}

#[test]
fn flags_lie_over_the_file() {
    let flags = [
        "orders.sink.topic={table}",
        "orders.source.port=5434",
        "orders.source.password=007",
        "orders.source.tables=[a, b]",
        "orders.sink.bootstrap_servers=[not, a list]",
        "orders.source.tls.mode=require",
        "orders.memory_budget=1MiB",
        "orders.source.tables=[c]",
    ];
    let file = one(GOOD, &flags);
    assert_eq!(file.sink.config["topic"], "{table}");
    assert_eq!(file.sink.config["bootstrap_servers"], "[not, a list]");
    assert_eq!(file.source.config["port"], 5434);
    assert_eq!(file.source.config["password"], "007");
    assert_eq!(file.source.config["tables"], json!(["c"]));
    assert_eq!(file.source.config["tls"], json!({"mode": "require"}));
    assert_eq!(file.source.config["snapshot"], "initial");
    assert_eq!(file.settings.memory_budget, ByteSize::mib(1));
}

#[test]
fn a_flag_may_give_what_the_file_lacks() {
    let text = "source: {type: file}\nsink: {type: stdout}\n";
    assert_eq!(one(text, &["orders.source.path=in"]).source.config, json!({"path": "in"}));
}

#[test]
fn many_files() {
    let text = "source: {type: file, path: a}\nsink: {type: stdout}\n";
    let loaded = load_files(&[("a.yaml", text), ("b.v2.yaml", text)], &["b.v2.source.path=x"]);
    let names: Vec<_> = loaded.pipelines.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["a", "b.v2"]);
    assert_eq!(loaded.pipelines[1].source.config, json!({"path": "x"}));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends() {
    let text = "\u{feff}source: {type: file, path: a}\r\nsink:\r\n  type: stdout\r\n";
    assert_eq!(one(text, &[]).source.config, json!({"path": "a"}));
}

#[test]
fn debug_shows_no_value() {
    let file = one(&GOOD.replace("outflow@", "outflow:canary-url@"), &[]);
    let debug = format!("{file:?}");
    assert!(debug.contains("postgres") && !debug.contains("canary"), "{debug}");
}
