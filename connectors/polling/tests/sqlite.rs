//! SQLite: rows, positions, marks, types and refusals, on real files.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(feature = "sqlite")]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use outflow_connector_polling::{Delivered, OnLostPosition, Polling, Snapshot};
use outflow_sdk::{BatchLimits, ConfiguredSource, Findings, Level, PositionCodec, SourceFactory, Value};
use rusqlite::Connection;
use support::{Driver, ids, refused};

const OUTBOX: &str = "CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, payload TEXT)";

struct Shop {
    _folder: tempfile::TempDir,
    path: PathBuf,
    db: Connection,
}

fn shop(tables: &str) -> Shop {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.execute_batch(tables).unwrap();
    Shop { _folder: folder, path, db }
}

impl Shop {
    fn source(&self) -> Polling {
        Polling::sqlite(&self.path).table("outbox")
    }

    fn insert(&self, count: usize) {
        for _ in 0..count {
            self.db.execute("INSERT INTO outbox (key, payload) VALUES ('k', 'p')", []).unwrap();
        }
    }

    fn count(&self, condition: &str) -> i64 {
        self.db
            .query_row(&format!("SELECT count(*) FROM outbox WHERE {condition}"), [], |r| r.get(0))
            .unwrap()
    }
}

fn pages_of(rows: usize) -> BatchLimits {
    BatchLimits { events: rows, ..BatchLimits::default() }
}

#[tokio::test]
async fn keep_delivers_each_row_once_over_a_restart() {
    let shop = shop(OUTBOX);
    shop.insert(25);
    let mut driver = Driver::open(&shop.source()).await.unwrap();
    driver.limits = pages_of(10);
    assert_eq!(ids(&driver.exactly(25).await), (1..=25).collect::<Vec<_>>());
    assert_eq!(driver.position("outbox"), "25");
    shop.insert(3);
    let mut driver = driver.restart(&shop.source()).await.unwrap();
    let rows = driver.exactly(3).await;
    assert_eq!(ids(&rows), [26, 27, 28]);
    assert_eq!(rows[0].event_id, "shop.db/outbox:26");
    assert_eq!(rows[0].get("key"), &Value::Text("k".into()));
}

#[tokio::test]
async fn what_is_rolled_back_never_shows_and_its_id_is_taken_by_the_next() {
    let mut shop = shop(OUTBOX);
    let mut driver = Driver::open(&shop.source()).await.unwrap();
    shop.insert(1);
    let tx = shop.db.transaction().unwrap();
    tx.execute("INSERT INTO outbox (key) VALUES ('gone')", []).unwrap();
    tx.rollback().unwrap();
    shop.insert(1);
    let rows = driver.exactly(2).await;
    assert_eq!(ids(&rows), [1, 2]);
    assert!(rows.iter().all(|r| r.get("key") == &Value::Text("k".into())));
}

#[tokio::test]
async fn nothing_is_seen_before_its_commit() {
    let mut shop = shop(OUTBOX);
    let mut driver = Driver::open(&shop.source()).await.unwrap();
    let tx = shop.db.transaction().unwrap();
    tx.execute("INSERT INTO outbox (key) VALUES ('later')", []).unwrap();
    assert!(driver.poll().await.unwrap().0.is_empty());
    tx.commit().unwrap();
    driver.exactly(1).await;
}

#[tokio::test]
async fn a_commit_ends_the_wait() {
    let shop = shop(OUTBOX);
    let mut driver = Driver::open(&shop.source()).await.unwrap();
    driver.poll().await.unwrap();
    let hour = Duration::from_secs(3600);
    let wait = driver.source.wait(hour);
    let insert = async { shop.insert(1) };
    tokio::join!(async { tokio::time::timeout(support::DEADLINE, wait).await.unwrap().unwrap() }, insert);
    assert_eq!(driver.poll().await.unwrap().0.len(), 1);
    // A commit between the poll and the wait ends it too.
    shop.insert(1);
    tokio::time::timeout(support::DEADLINE, driver.source.wait(hour)).await.unwrap().unwrap();
    assert_eq!(driver.poll().await.unwrap().0.len(), 1);
    // Without a commit the time runs out.
    driver.poll().await.unwrap();
    driver.source.wait(Duration::from_millis(20)).await.unwrap();
}

#[tokio::test]
async fn delete_removes_what_was_settled_and_reads_nothing_twice() {
    let shop = shop("CREATE TABLE outbox (id INTEGER PRIMARY KEY, key TEXT, payload TEXT)");
    shop.insert(2500);
    let source = shop.source().delivered(Delivered::Delete);
    let mut driver = Driver::open(&source).await.unwrap();
    driver.limits = pages_of(400);
    assert_eq!(ids(&driver.exactly(2500).await), (1..=2500).collect::<Vec<_>>());
    // In flight and still in the table: not read again, also when others come.
    shop.insert(2);
    assert_eq!(ids(&driver.exactly(2).await), [2501, 2502]);
    assert_eq!(shop.count("true"), 2502);
    driver.settle().await.unwrap();
    assert_eq!(shop.count("true"), 0);
    // The ids begin again: such rows are new ones.
    shop.insert(2);
    assert_eq!(ids(&driver.exactly(2).await), [1, 2]);
    driver.settle().await.unwrap();
    // Settling is idempotent, and what was not settled comes again after a crash.
    shop.insert(1);
    driver.exactly(1).await;
    let mut driver = driver.restart(&source).await.unwrap();
    driver.exactly(1).await;
    let unsettled = driver.unsettled.clone();
    driver.settle().await.unwrap();
    driver.unsettled = unsettled;
    driver.settle().await.unwrap();
    assert_eq!(shop.count("true"), 0);
}

#[tokio::test]
async fn mark_sets_the_column_and_finds_late_lower_keys() {
    for (column, mark, settled) in [
        ("published INTEGER NOT NULL DEFAULT 0", None, "published = 1"),
        ("published BOOLEAN DEFAULT FALSE", None, "published"),
        ("delivered_at TEXT", None, "julianday(delivered_at) > julianday('now') - 1"),
        ("sent_at DATETIME", Some("sent_at"), "sent_at IS NOT NULL"),
    ] {
        let shop = shop(&format!("CREATE TABLE outbox (id TEXT PRIMARY KEY, {column})"));
        let mut source = shop.source().delivered(Delivered::Mark);
        if let Some(mark) = mark {
            source = source.mark_column(mark);
        }
        let insert = |id: &str| shop.db.execute("INSERT INTO outbox (id) VALUES (?1)", [id]).unwrap();
        insert("m");
        let mut driver = Driver::open(&source).await.unwrap();
        assert_eq!(driver.exactly(1).await[0].event_id, "shop.db/outbox:m:0");
        insert("a");
        insert("z");
        let texts: Vec<Value> = driver.exactly(2).await.iter().map(|r| r.get("id").clone()).collect();
        assert_eq!(texts, [Value::Text("a".into()), Value::Text("z".into())]);
        assert_eq!(shop.count(settled), 0, "{column}");
        driver.settle().await.unwrap();
        assert_eq!(shop.count(settled), 3, "{column}");
        let mut driver = driver.restart(&source).await.unwrap();
        assert!(driver.poll().await.unwrap().0.is_empty());
    }
}

#[tokio::test]
async fn snapshot_never_starts_after_what_is_there_and_remembers_it() {
    let shop = shop(OUTBOX);
    let source = shop.source().snapshot(Snapshot::Never);
    shop.insert(5);
    let mut driver = Driver::open(&source).await.unwrap();
    assert!(driver.poll().await.unwrap().0.is_empty());
    assert_eq!(driver.position("outbox"), "5");
    shop.insert(2);
    let mut driver = driver.restart(&source).await.unwrap();
    assert_eq!(ids(&driver.exactly(2).await), [6, 7]);
    // An empty table has a place to start at as well.
    shop.db.execute_batch("CREATE TABLE other (id INTEGER PRIMARY KEY AUTOINCREMENT)").unwrap();
    let source = Polling::sqlite(&shop.path).table("other").snapshot(Snapshot::Never);
    let mut driver = Driver::open(&source).await.unwrap();
    driver.poll().await.unwrap();
    assert_eq!(driver.position("other"), "start");
    shop.db.execute("INSERT INTO other DEFAULT VALUES", []).unwrap();
    driver.restart(&source).await.unwrap().exactly(1).await;
}

#[tokio::test]
async fn stop_at_current_ends_at_what_was_there() {
    let shop = shop(OUTBOX);
    shop.insert(10);
    for delivered in [Delivered::Keep, Delivered::Delete] {
        let source = shop.source().delivered(delivered);
        let there = shop.count("true") as usize;
        let mut driver = Driver::start(&source, Default::default(), true).await.unwrap();
        driver.limits = pages_of(4);
        let mut rows = Vec::new();
        for table in driver.source.tables() {
            // Writers who never rest do not keep it from ending.
            while !driver.poll_table(&table, &mut rows).await.unwrap().reached_target {
                assert!(rows.len() < there);
                shop.insert(4);
            }
        }
        assert!((there..there + 4).contains(&rows.len()), "{rows:?}");
    }
    let empty = shop.db.execute_batch("DELETE FROM outbox").and(Ok(shop.source())).unwrap();
    let mut driver = Driver::start(&empty, Default::default(), true).await.unwrap();
    driver.poll().await.unwrap();
    assert!(driver.reached_target.values().all(|reached| *reached));
}

#[tokio::test]
async fn several_tables_by_pattern() {
    let shop = shop(
        "CREATE TABLE a_outbox (id INTEGER PRIMARY KEY AUTOINCREMENT);
         CREATE TABLE b_outbox (id INTEGER PRIMARY KEY AUTOINCREMENT);
         CREATE TABLE c_outbox (id INTEGER PRIMARY KEY AUTOINCREMENT);
         CREATE VIEW d_outbox AS SELECT * FROM a_outbox;
         INSERT INTO a_outbox DEFAULT VALUES; INSERT INTO b_outbox DEFAULT VALUES; INSERT INTO c_outbox DEFAULT VALUES;",
    );
    let source = Polling::sqlite(&shop.path).tables(["*_outbox"]).exclude_tables(["b_*"]);
    let mut driver = Driver::open(&source).await.unwrap();
    let tables: Vec<String> = driver.exactly(2).await.into_iter().map(|r| r.table).collect();
    assert_eq!(tables, ["a_outbox", "c_outbox"]);
}

#[tokio::test]
async fn every_kind_of_value_is_told_as_it_is_stored() {
    let shop = shop(
        "CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, i INT, r REAL, t TEXT, b BLOB, f BOOLEAN, j JSON,
                              d DATETIME, n NUMERIC, untyped, g TEXT AS (t || '!'))",
    );
    let insert = "INSERT INTO outbox (i, r, t, b, f, j, d, n, untyped)";
    shop.db
        .execute_batch(&format!(
            "{insert} VALUES (-9223372036854775808, 1.5, 'ü', x'00ff', true, '{{\"a\":1}}', '2024-01-02', 12.5, NULL);
             {insert} VALUES (9223372036854775807, 9e999, 'x', 'text', 7, '{{no', 17, 'x', 2.5);
             {insert} VALUES ('seven', 2, 3, 4, 'y', 5, NULL, 1, CAST(x'ff' AS TEXT));"
        ))
        .unwrap();
    let rows = Driver::open(&shop.source()).await.unwrap().exactly(3).await;
    let text = |t: &str| Value::Text(t.into());
    let expected = [
        [
            Value::I64(i64::MIN),
            Value::F64(1.5),
            text("ü"),
            Value::Bytes(vec![0, 255]),
            Value::Bool(true),
            Value::Json("{\"a\":1}".into()),
            text("2024-01-02"),
            Value::F64(12.5),
            Value::Null,
            text("ü!"),
        ],
        [
            Value::I64(i64::MAX),
            Value::F64(f64::INFINITY),
            text("x"),
            text("text"),
            Value::I64(7),
            text("{no"),
            Value::I64(17),
            text("x"),
            Value::F64(2.5),
            text("x!"),
        ],
        [
            text("seven"),
            Value::F64(2.0),
            text("3"),
            Value::I64(4),
            text("y"),
            Value::I64(5),
            Value::Null,
            Value::I64(1),
            Value::Bytes(vec![255]),
            text("3!"),
        ],
    ];
    for (row, expected) in rows.iter().zip(expected) {
        let values: Vec<Value> = row.values[1..].iter().map(|(_, v)| v.clone()).collect();
        assert_eq!(values, expected);
    }
}

#[tokio::test]
async fn a_changed_table_is_read_anew() {
    let shop = shop(OUTBOX);
    shop.insert(1);
    let mut driver = Driver::open(&shop.source()).await.unwrap();
    driver.exactly(1).await;
    shop.db
        .execute_batch(
            "ALTER TABLE outbox ADD COLUMN extra TEXT DEFAULT 'e'; ALTER TABLE outbox DROP COLUMN payload;
             INSERT INTO outbox (key, extra) VALUES ('k', 'new')",
        )
        .unwrap();
    let rows = driver.exactly(1).await;
    assert_eq!(rows[0].values.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(), ["id", "key", "extra"]);
    assert_eq!(rows[0].get("extra"), &Value::Text("new".into()));
    shop.db.execute_batch("DROP TABLE outbox").unwrap();
    assert_eq!(driver.poll().await.unwrap_err().code(), "polling.table_missing");
}

#[tokio::test]
async fn ids_that_begin_again_are_noticed() {
    let shop = shop(OUTBOX);
    shop.insert(10);
    let mut driver = Driver::open(&shop.source()).await.unwrap();
    driver.exactly(10).await;
    // Deleted rows alone do no harm: the counter stays.
    shop.db.execute_batch("DELETE FROM outbox").unwrap();
    shop.insert(1);
    assert_eq!(ids(&driver.exactly(1).await), [11]);
    shop.db.execute_batch("DELETE FROM outbox; DELETE FROM sqlite_sequence").unwrap();
    shop.insert(1);
    let error = driver.poll().await.unwrap_err();
    assert_eq!(error.code(), "polling.position_lost");
    assert!(!error.is_transient() && error.hint_text().unwrap().contains("resnapshot"));
    let again = shop.source().on_lost_position(OnLostPosition::Resnapshot);
    assert_eq!(ids(&driver.restart(&again).await.unwrap().exactly(1).await), [1]);
}

#[tokio::test]
async fn retention_removes_old_delivered_rows_and_no_others() {
    let shop = shop(
        "CREATE TABLE outbox (id INTEGER PRIMARY KEY, published INTEGER NOT NULL DEFAULT 0, ms INTEGER, at TEXT);
         INSERT INTO outbox (published, ms, at) VALUES
            (1, 0, '2001-01-01'), (0, 0, '2001-01-01'), (1, 4102444800000, '2100-01-01'), (1, NULL, NULL)",
    );
    for column in ["ms", "at"] {
        let source = shop
            .source()
            .delivered(Delivered::Mark)
            .retention(Duration::from_secs(3600))
            .retention_column(column);
        let driver = Driver::open(&source).await.unwrap();
        driver.source.wait(Duration::ZERO).await.unwrap();
        let left: Vec<i64> = {
            let mut query = shop.db.prepare("SELECT id FROM outbox ORDER BY id").unwrap();
            query.query_map([], |r| r.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        assert_eq!(left, [2, 3, 4], "{column}");
        shop.db.execute_batch("INSERT INTO outbox VALUES (1, 1, 0, '2001-01-01')").unwrap();
    }
    let source = shop.source().delivered(Delivered::Mark).retention(Duration::from_secs(1));
    assert_eq!(refused(&source).await.code(), "polling.retention");
}

#[tokio::test]
async fn pages_use_the_index() {
    let shop = shop(
        "CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, seq INT NOT NULL UNIQUE, published INT NOT NULL);
         CREATE INDEX undelivered ON outbox (id) WHERE published = 0",
    );
    let plan = |query: &str| -> String {
        let mut statement = shop.db.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
        let rows = statement.query_map([], |r| r.get::<_, String>(3)).unwrap();
        rows.collect::<Result<Vec<_>, _>>().unwrap().join("; ")
    };
    for (query, expected) in [
        (
            "SELECT * FROM \"outbox\" WHERE \"id\" >= 7 ORDER BY \"id\"",
            "SEARCH outbox USING INTEGER PRIMARY KEY (rowid>?)",
        ),
        (
            "SELECT * FROM \"outbox\" WHERE \"seq\" >= 7 ORDER BY \"seq\"",
            "SEARCH outbox USING INDEX sqlite_autoindex_outbox_1 (seq>?)",
        ),
        (
            "SELECT * FROM \"outbox\" WHERE \"published\" = 0 ORDER BY \"id\"",
            "SCAN outbox USING INDEX undelivered",
        ),
        ("SELECT * FROM \"outbox\"  ORDER BY \"id\"", "SCAN outbox"),
    ] {
        assert_eq!(plan(query), expected);
    }
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_a_remedy() {
    let shop = shop(
        "CREATE TABLE outbox (id INTEGER PRIMARY KEY, published INT, word TEXT);
         CREATE TABLE texts (id TEXT PRIMARY KEY);
         CREATE TABLE pairs (a INT, b INT, PRIMARY KEY (a, b));
         CREATE TABLE bare (x INT);
         CREATE TABLE blobs (id BLOB PRIMARY KEY)",
    );
    let table = |name: &str| Polling::sqlite(&shop.path).table(name);
    let seconds = Duration::from_secs(9);
    for (source, code) in [
        (table("outbx"), "polling.table_missing"),
        (table("outbox").exclude_tables(["*"]), "polling.no_tables"),
        (Polling::sqlite(&shop.path), "polling.no_tables"),
        (table("outbox"), "polling.ids_reused"),
        (table("outbox").cursor("sqe"), "polling.column_missing"),
        (table("outbox").cursor("published"), "polling.cursor_not_indexed"),
        (table("texts"), "polling.text_key"),
        (table("pairs"), "polling.key_missing"),
        (table("bare"), "polling.key_missing"),
        (table("blobs").delivered(Delivered::Delete), "polling.key_type"),
        (table("texts").delivered(Delivered::Mark), "polling.mark_column_missing"),
        (table("outbox").delivered(Delivered::Mark), "polling.mark_nullable"),
        (table("outbox").delivered(Delivered::Mark).mark_column("x"), "polling.column_missing"),
        (table("outbox").mark_column("published"), "polling.mark_column"),
        (table("outbox").retention(seconds), "polling.retention"),
        (table("outbox").delivered(Delivered::Delete).retention(seconds), "polling.retention"),
        (table("outbox").delivered(Delivered::Mark).retention_column("word"), "polling.retention"),
        (table("outbox").delivered(Delivered::Delete).snapshot(Snapshot::Never), "polling.snapshot"),
        (Polling::sqlite("/nowhere/shop.db").table("outbox"), "polling.database_missing"),
        (Polling::sqlite("/").table("outbox"), "polling.database_missing"),
        (Polling::from_url("mysql://h/db").table("outbox"), "polling.url"),
    ] {
        let error = refused(&source).await;
        assert_eq!(error.code(), code, "{error:?}");
        assert!(!error.is_transient(), "{error:?}");
        assert!(error.hint_text().is_some() || code == "polling.no_tables", "{error:?}");
        let mut findings = Findings::new();
        source.check(&mut findings).await;
        assert!(findings.iter().any(|f| f.code == code && f.level == Level::Error), "{code}: {findings:?}");
    }
    let garbage = shop.path.with_file_name("garbage.db");
    std::fs::write(&garbage, "this is no database, and long enough not to be taken for an empty one")
        .unwrap();
    assert_eq!(refused(&Polling::sqlite(&garbage).table("t")).await.code(), "polling.not_a_database");
}

#[tokio::test]
async fn a_cursor_that_is_named_is_trusted() {
    let shop = shop("CREATE TABLE outbox (id INTEGER PRIMARY KEY, seq INT NOT NULL UNIQUE)");
    shop.db.execute_batch("INSERT INTO outbox VALUES (9, 1), (5, 2)").unwrap();
    let mut driver = Driver::open(&shop.source().cursor("id")).await.unwrap();
    assert_eq!(ids(&driver.exactly(2).await), [5, 9]);
    let mut driver = Driver::open(&shop.source().cursor("seq")).await.unwrap();
    let rows = driver.exactly(2).await;
    assert_eq!(ids(&rows), [9, 5]);
    assert_eq!(rows[1].event_id, "shop.db/outbox:2");
}

#[tokio::test]
async fn check_says_what_is_fine_and_what_will_hurt() {
    let shop = shop("CREATE TABLE outbox (id INTEGER PRIMARY KEY, published INT NOT NULL DEFAULT 0)");
    let source = shop.source().delivered(Delivered::Mark);
    let mut findings = Findings::new();
    source.check(&mut findings).await;
    let find = |findings: &Findings, code: &str| findings.iter().find(|f| f.code == code).cloned();
    assert_eq!(findings.worst(), Some(Level::Warn));
    assert_eq!(find(&findings, "polling.connect").unwrap().level, Level::Ok);
    assert_eq!(find(&findings, "polling.journal").unwrap().level, Level::Ok);
    let index = find(&findings, "polling.index").unwrap();
    // The remedy is SQL that works, and that helps.
    shop.db.execute_batch(&index.remedy.join("\n")).unwrap();
    shop.db.pragma_update(None, "journal_mode", "DELETE").unwrap();
    let mut findings = Findings::new();
    source.check(&mut findings).await;
    assert!(find(&findings, "polling.index").is_none());
    assert_eq!(find(&findings, "polling.journal").unwrap().level, Level::Warn);
}

#[tokio::test]
async fn a_null_key_stops_instead_of_being_skipped() {
    let shop = shop("CREATE TABLE outbox (id TEXT PRIMARY KEY, published INT NOT NULL DEFAULT 0)");
    shop.db.execute("INSERT INTO outbox (id) VALUES (NULL)", []).unwrap();
    let mut driver = Driver::open(&shop.source().delivered(Delivered::Mark)).await.unwrap();
    assert_eq!(driver.poll().await.unwrap_err().code(), "polling.value");
}

#[tokio::test]
async fn a_locked_database_is_waited_for_and_then_tried_again_by_the_runtime() {
    let shop = shop(OUTBOX);
    shop.insert(1);
    let source = shop.source().delivered(Delivered::Delete);
    let mut driver = Driver::open(&source).await.unwrap();
    driver.exactly(1).await;
    shop.db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = driver.settle().await.unwrap_err();
    assert_eq!(error.code(), "polling.locked");
    assert!(error.is_transient());
    shop.db.execute_batch("COMMIT").unwrap();
}

#[test]
fn positions_are_read_without_a_connection() {
    let codec = outflow_connector_polling::PollingFactory.positions().unwrap();
    let position = PositionCodec::parse(&*codec, " 1234 ").unwrap();
    assert_eq!(codec.print(&position), "1234");
    assert_eq!(codec.parse("x").unwrap_err().code(), "polling.position");
}
