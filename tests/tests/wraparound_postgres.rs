//! PostgreSQL's transaction ids wrap around while rows are followed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::fs;
use std::path::Path;

use outflow_tests::database::{Shop, session};
use outflow_tests::pipeline::PipelineFile;
use outflow_tests::process::{Outflow, last_words};
use outflow_tests::programs;
use outflow_tests::server::PostgresServer;

const TABLE: &str = "CREATE TABLE outbox (seq bigserial PRIMARY KEY, id text NOT NULL, aggregatetype text NOT NULL, \
    aggregateid text NOT NULL, type text NOT NULL, payload text NOT NULL)";

/// Transactions that are committed by one statement each, more than are left before the end of the range.
const TRANSACTIONS: u32 = 1000;

fn insert(id: &str) -> String {
    format!(
        "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload) \
         VALUES ('{id}', 'order', '1', 'Placed', '{{}}')"
    )
}

/// The ids of the records, in order.
fn ids(output: &Path) -> Vec<String> {
    let text = fs::read_to_string(output).unwrap_or_default();
    let id = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(record["id"].as_str()?.to_owned())
    };
    text.lines().filter_map(id).collect()
}

#[test]
fn rows_that_are_held_from_before_the_wraparound_are_waited_for_postgres() {
    let mut server = PostgresServer::start();
    // Shared tables are frozen too by whichever database comes first.
    for database in ["postgres", "template1"] {
        let url = server.url().replace("/postgres", &format!("/{database}"));
        session(&url).execute("VACUUM FREEZE").unwrap();
    }
    server.skip_to_wraparound();
    let shop = Shop::on_postgres(&server.url(), &server.url(), "wraparound");
    let (mut holder, mut writer) = (shop.session(), shop.session());
    writer.execute(TABLE).unwrap();
    let now = "SELECT pg_current_xact_id()::text, ''";
    let before = writer.pairs(now).unwrap();
    assert!(before[0].0.parse::<u64>().unwrap() < 1 << 32, "{before:?}");

    let file = PipelineFile::new("wraparound", shop.url(), shop.folder()).transform("type: outbox");
    let output = file.path_of_output().to_owned();
    let mut outflow = Outflow::start(&programs!(), &[file.write(shop.folder())], shop.folder());
    let mut expected = vec!["first".to_owned(), "held".to_owned()];
    writer.execute(&insert("first")).unwrap();
    outflow.wait_until("the first row arrives", || ids(&output) == ["first"]);
    // Takes its id and its transaction id now.
    holder.begin().unwrap();
    holder.execute(&insert("held")).unwrap();
    for n in 0..TRANSACTIONS {
        writer.execute(&insert(&format!("n{n}"))).unwrap();
        expected.push(format!("n{n}"));
    }
    let after = writer.pairs(now).unwrap();
    assert!(after[0].0.parse::<u64>().unwrap() > 1 << 32, "{after:?}");
    outflow.wait_until("it says what it waits for", || {
        last_words(shop.folder()).contains("waits for an open transaction that holds an id")
    });
    assert_eq!(ids(&output), ["first"], "nothing behind a held id may be delivered");
    holder.commit().unwrap();
    outflow.wait_until("everything arrives", || ids(&output).len() >= expected.len());
    assert_eq!(ids(&output), expected);
}
