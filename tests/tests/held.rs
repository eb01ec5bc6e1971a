//! A transaction that is held open for long keeps nothing waiting but its own rows, where progress is kept by marks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use outflow_tests::database::Shop;
use outflow_tests::pipeline::PipelineFile;
use outflow_tests::process::Outflow;
use outflow_tests::{programs, wait_within};

/// The transaction is held for as long as anything takes to arrive, so only what does not wait for it can come.
const SOON: Duration = Duration::from_secs(10);

const TABLE: &str = "CREATE TABLE outbox (seq INTEGER PRIMARY KEY, id text NOT NULL, aggregatetype text NOT NULL, \
    aggregateid text NOT NULL, type text NOT NULL, payload text NOT NULL, published integer NOT NULL DEFAULT 0)";

fn insert(seq: u32, key: &str) -> String {
    format!(
        "INSERT INTO outbox (seq, id, aggregatetype, aggregateid, type, payload) \
         VALUES ({seq}, 'row-{seq}', 'order', '{key}', 'Placed', '{{}}')"
    )
}

/// The keys of the records, in order.
fn keys(output: &Path) -> Vec<String> {
    let text = fs::read_to_string(output).unwrap_or_default();
    let key = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(record["key"].as_str()?.to_owned())
    };
    text.lines().filter_map(key).collect()
}

fn settled(shop: &Shop, delivered: &str) -> String {
    let open = match delivered {
        "mark" => "SELECT CAST(count(*) AS text), '' FROM outbox WHERE published = 0",
        _ => "SELECT CAST(count(*) AS text), '' FROM outbox",
    };
    shop.session().pairs(open).unwrap()[0].0.clone()
}

/// An id below all others is taken and not committed for as long as the test likes.
fn an_open_id_holds_up_nobody_else(delivered: &'static str) {
    let shop = Shop::postgres(&format!("held_{delivered}"));
    let (mut holder, mut writer) = (shop.session(), shop.session());
    writer.execute(TABLE).unwrap();
    let file =
        PipelineFile::new("held", shop.url(), shop.folder()).delivered(delivered).transform("type: outbox");
    let output = file.path_of_output().to_owned();
    let _outflow = Outflow::start(&programs!(), &[file.write(shop.folder())], shop.folder());

    holder.begin().unwrap();
    holder.execute(&insert(1, "held")).unwrap();
    for seq in 2..=50 {
        writer.execute(&insert(seq, "other")).unwrap();
        let arrived = seq as usize - 1;
        wait_within(SOON, "other aggregates arrive", || keys(&output).len() >= arrived);
    }
    wait_within(SOON, "their rows are settled", || settled(&shop, delivered) == "0");
    assert!(keys(&output).iter().all(|key| key == "other"));

    holder.commit().unwrap();
    wait_within(SOON, "the held row arrives", || keys(&output).len() == 50);
    wait_within(SOON, "it is settled", || settled(&shop, delivered) == "0");
    assert_eq!(keys(&output).last().map(String::as_str), Some("held"));
}

#[test]
fn an_open_id_holds_up_nobody_else_with_mark_postgres() {
    an_open_id_holds_up_nobody_else("mark");
}

#[test]
fn an_open_id_holds_up_nobody_else_with_delete_postgres() {
    an_open_id_holds_up_nobody_else("delete");
}

/// SQLite has one writer at a time: while another holds its transaction open, rows cannot be settled, but they can
/// be read, and must not be read twice.
fn an_open_transaction_holds_up_no_delivery(delivered: &'static str) {
    let shop = Shop::sqlite();
    let mut holder = shop.session();
    holder.execute(TABLE).unwrap();
    let file =
        PipelineFile::new("held", shop.url(), shop.folder()).delivered(delivered).transform("type: outbox");
    let output = file.path_of_output().to_owned();
    (2..=50).for_each(|seq| holder.execute(&insert(seq, "other")).unwrap());
    holder.begin().unwrap();
    holder.execute(&insert(1, "held")).unwrap();

    let _outflow = Outflow::start(&programs!(), &[file.write(shop.folder())], shop.folder());
    wait_within(SOON, "other aggregates arrive", || keys(&output).len() == 49);
    holder.commit().unwrap();
    wait_within(SOON, "the held row arrives", || keys(&output).len() >= 50);
    wait_within(SOON, "all rows are settled", || settled(&shop, delivered) == "0");
    let keys = keys(&output);
    assert_eq!((keys.len(), keys.last().map(String::as_str)), (50, Some("held")));
}

#[test]
fn an_open_transaction_holds_up_no_delivery_with_mark_sqlite() {
    an_open_transaction_holds_up_no_delivery("mark");
}

#[test]
fn an_open_transaction_holds_up_no_delivery_with_delete_sqlite() {
    an_open_transaction_holds_up_no_delivery("delete");
}
