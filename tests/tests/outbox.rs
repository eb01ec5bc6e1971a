//! Outbox pipelines from their YAML files to the records that arrive, on every database.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::fs;
use std::path::Path;

use outflow_testkit::verifier::{DESTINATION, EVENT_TYPE, Generator, Order, Shape, Table, Workload};
use outflow_tests::database::Shop;
use outflow_tests::pipeline::PipelineFile;
use outflow_tests::process::{Outflow, last_words};
use outflow_tests::{check, programs};
use serde_json::Value;

/// Writes a small workload, to its end.
fn write(shop: &Shop, shape: Shape) -> Workload {
    let table = if shape == Shape::Eventuate { "message" } else { "outbox" };
    let workload = shop.workload().table(Table::new(table, shape)).transactions(100);
    workload.create_tables().unwrap();
    Generator::start(workload.clone()).unwrap().wait().unwrap();
    workload
}

fn outbox(name: &str, shop: &Shop) -> PipelineFile {
    PipelineFile::new(name, shop.url(), shop.folder()).transform("type: outbox")
}

fn eventuate(name: &str, shop: &Shop) -> PipelineFile {
    let file = PipelineFile::new(name, shop.url(), shop.folder()).table("message").delivered("mark");
    file.transform("type: outbox, preset: eventuate")
}

fn records(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs a pipeline to the present, twice: everything arrives once, in the shape that consumers know.
fn arrives(shop: &Shop, shape: Shape, file: &PipelineFile) {
    let workload = write(shop, shape);
    let files = [file.write(shop.folder())];
    for _ in 0..2 {
        Outflow::run_to_current(&programs!(), &files, shop.folder());
        let report = check(&workload, &shop.journals(), file.path_of_output(), Order::Sequence, &[]);
        report.assert_clean(0);
    }
    for record in records(file.path_of_output()) {
        let mark = &record["payload"]["outflow_row"];
        assert_eq!(record["destination"], DESTINATION, "{record}");
        assert_eq!(record["type"], EVENT_TYPE, "{record}");
        assert_eq!(record["key"], mark["key"], "{record}");
        let digits = |id: &Value| id.as_str().unwrap().replace('-', "");
        assert_eq!(digits(&record["id"]), digits(&mark["id"]), "{record}");
    }
}

#[test]
fn debezium_rows_arrive_as_messages_sqlite() {
    let shop = Shop::sqlite();
    arrives(&shop, Shape::Outbox, &outbox("shop", &shop));
}

#[test]
fn debezium_rows_arrive_as_messages_postgres() {
    let shop = Shop::postgres("outbox_debezium");
    arrives(&shop, Shape::Outbox, &outbox("shop", &shop));
}

#[test]
fn eventuate_rows_arrive_as_messages_and_are_marked_sqlite() {
    let shop = Shop::sqlite();
    arrives(&shop, Shape::Eventuate, &eventuate("shop", &shop));
    all_are_marked(&shop);
}

#[test]
fn eventuate_rows_arrive_as_messages_and_are_marked_postgres() {
    let shop = Shop::postgres("outbox_eventuate");
    arrives(&shop, Shape::Eventuate, &eventuate("shop", &shop));
    all_are_marked(&shop);
}

fn all_are_marked(shop: &Shop) {
    let marked = shop.session().pairs("SELECT CAST(published AS text), '' FROM message").unwrap();
    assert!(!marked.is_empty() && marked.iter().all(|(published, _)| published == "1"), "{marked:?}");
}

#[test]
fn delivered_rows_are_deleted_sqlite() {
    let shop = Shop::sqlite();
    delivered_rows_are_deleted(&shop);
}

#[test]
fn delivered_rows_are_deleted_postgres() {
    delivered_rows_are_deleted(&Shop::postgres("outbox_delete"));
}

fn delivered_rows_are_deleted(shop: &Shop) {
    arrives(shop, Shape::Outbox, &outbox("shop", shop).delivered("delete"));
    assert_eq!(shop.session().pairs("SELECT CAST(seq AS text), '' FROM outbox").unwrap(), []);
}

const BAD: &str =
    "INSERT INTO message (id, destination, headers, payload) VALUES ('bad-1', 'generated', '{no', '{}')";

/// A row with malformed headers.
fn write_bad(shop: &Shop) -> Workload {
    let workload = write(shop, Shape::Eventuate);
    shop.session().execute(BAD).unwrap();
    workload
}

fn bad_rows_become_dead_letters(shop: &Shop) {
    let workload = write_bad(shop);
    let dead = shop.folder().join("dead.jsonl");
    let file = eventuate("shop", shop)
        .with("on_error: dead-letter")
        .with("dead_letter: {type: file, path: dead.jsonl}");
    let files = [file.write(shop.folder())];
    Outflow::run_to_current(&programs!(), &files, shop.folder());
    check(&workload, &shop.journals(), file.path_of_output(), Order::Sequence, &[]).assert_clean(0);
    let letters = records(&dead);
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].to_string().contains("bad-1"), "{letters:?}");
    all_are_marked(shop);
}

#[test]
fn bad_rows_become_dead_letters_sqlite() {
    bad_rows_become_dead_letters(&Shop::sqlite());
}

#[test]
fn bad_rows_become_dead_letters_postgres() {
    bad_rows_become_dead_letters(&Shop::postgres("outbox_dead"));
}

#[test]
fn a_bad_row_stops_the_pipeline_unless_told_otherwise_sqlite() {
    let shop = Shop::sqlite();
    write_bad(&shop);
    let files = [eventuate("shop", &shop).write(shop.folder())];
    let status = programs!().run(&files, shop.folder()).args(["--stop-at", "current"]).status().unwrap();
    assert_eq!(status.code(), Some(1), "{}", last_words(shop.folder()));
}

#[test]
fn two_pipelines_of_one_folder_both_deliver_sqlite_and_postgres() {
    let (small, large) = (Shop::sqlite(), Shop::postgres("outbox_two"));
    let written = [write(&small, Shape::Outbox), write(&large, Shape::Eventuate)];
    let pipelines = [outbox("small", &small), eventuate("large", &large)];
    let folder = tempfile::tempdir().unwrap();
    pipelines.iter().for_each(|file| drop(file.write(folder.path())));
    Outflow::run_to_current(&programs!(), &[folder.path().to_owned()], folder.path());
    for ((shop, workload), file) in [&small, &large].into_iter().zip(&written).zip(&pipelines) {
        check(workload, &shop.journals(), file.path_of_output(), Order::Sequence, &[]).assert_clean(0);
    }
}
