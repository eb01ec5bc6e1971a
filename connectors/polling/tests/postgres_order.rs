//! PostgreSQL: what is delivered in which order while transactions are open, fail and overlap.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(feature = "postgres")]

#[path = "support/postgres.rs"]
mod server;
mod support;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outflow_connector_polling::{Delivered, Polling, Snapshot};
use outflow_sdk::{BatchLimits, Value};
use server::{Database, value};
use support::{Driver, eventually, ids};

const OUTBOX: &str =
    "CREATE TABLE outbox (id bigserial PRIMARY KEY, key text NOT NULL DEFAULT 'k', seq bigint)";

/// Polls a few times; nothing may come.
async fn nothing(driver: &mut Driver) {
    for _ in 0..3 {
        let (rows, more) = driver.poll().await.unwrap();
        assert!(rows.is_empty() && !more, "{rows:?}");
        driver.source.wait(Duration::from_millis(1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_lower_id_that_commits_later_is_waited_for() {
    let db = Database::with(OUTBOX).await;
    let (holder, writer) = (db.client().await, db.client().await);
    let mut driver = Driver::open(&db.source()).await.unwrap();
    holder.batch_execute("BEGIN; INSERT INTO outbox DEFAULT VALUES").await.unwrap();
    writer.batch_execute("INSERT INTO outbox DEFAULT VALUES").await.unwrap();
    nothing(&mut driver).await;
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(ids(&driver.exactly(2).await), [1, 2]);
    // In the middle of the table, and rolled back.
    holder.batch_execute("BEGIN; INSERT INTO outbox DEFAULT VALUES").await.unwrap();
    writer
        .batch_execute("INSERT INTO outbox DEFAULT VALUES; INSERT INTO outbox DEFAULT VALUES")
        .await
        .unwrap();
    nothing(&mut driver).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(ids(&driver.exactly(2).await), [4, 5]);
}

#[tokio::test]
async fn an_id_that_is_taken_before_the_transaction_writes_anything_is_waited_for() {
    let db = Database::with(OUTBOX).await;
    let (holder, writer) = (db.client().await, db.client().await);
    let mut driver = Driver::open(&db.source()).await.unwrap();
    // The first value of a sequence is logged, and gives its transaction an id; the next ones do not.
    writer.batch_execute("INSERT INTO outbox DEFAULT VALUES").await.unwrap();
    driver.exactly(1).await;
    holder.batch_execute("BEGIN").await.unwrap();
    assert_eq!(value(&holder, "SELECT nextval('outbox_id_seq')").await.as_deref(), Some("2"));
    // No snapshot tells of it.
    assert_eq!(value(&holder, "SELECT pg_current_xact_id_if_assigned()").await, None);
    writer.batch_execute("INSERT INTO outbox DEFAULT VALUES").await.unwrap();
    nothing(&mut driver).await;
    assert_eq!(value(&holder, "SELECT pg_current_xact_id_if_assigned()").await, None);
    // Not even when it has written elsewhere since, in a part that is rolled back.
    holder.batch_execute("SAVEPOINT s; CREATE TEMP TABLE t (x int); ROLLBACK TO s").await.unwrap();
    nothing(&mut driver).await;
    holder.batch_execute("INSERT INTO outbox (id) VALUES (2); COMMIT").await.unwrap();
    assert_eq!(ids(&driver.exactly(2).await), [2, 3]);
}

#[tokio::test]
async fn transactions_that_hold_no_id_hold_up_nothing() {
    let db = Database::with(OUTBOX).await;
    db.run("CREATE TABLE other (x int)").await;
    let other = db.client().await;
    other
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO other VALUES (1); TABLE outbox")
        .await
        .unwrap();
    let mut driver = Driver::open(&db.source()).await.unwrap();
    db.run("BEGIN; INSERT INTO outbox DEFAULT VALUES; ROLLBACK").await;
    db.run("INSERT INTO outbox DEFAULT VALUES").await;
    // With a gap before it, and a transaction of the cluster still open.
    assert_eq!(ids(&driver.exactly(1).await), [2]);
    other.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn rows_of_savepoints_and_handled_exceptions_are_waited_for() {
    let db = Database::with(OUTBOX).await;
    let (holder, writer) = (db.client().await, db.client().await);
    let mut driver = Driver::open(&db.source()).await.unwrap();
    holder
        .batch_execute(
            "BEGIN; SAVEPOINT a; INSERT INTO outbox DEFAULT VALUES; RELEASE a;
             DO $$ BEGIN
                 BEGIN INSERT INTO outbox DEFAULT VALUES; RAISE 'no'; EXCEPTION WHEN OTHERS THEN NULL; END;
                 INSERT INTO outbox DEFAULT VALUES;
             END $$",
        )
        .await
        .unwrap();
    writer.batch_execute("INSERT INTO outbox DEFAULT VALUES").await.unwrap();
    nothing(&mut driver).await;
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(ids(&driver.exactly(3).await), [1, 3, 4]);
}

#[tokio::test]
async fn prepared_transactions_are_waited_for_also_when_they_are_prepared_meanwhile() {
    let db = Database::with(OUTBOX).await;
    let (first, second, writer) = (db.client().await, db.client().await, db.client().await);
    let mut driver = Driver::open(&db.source()).await.unwrap();
    let name = |n: u32| format!("{}_{n}", db.name);
    first
        .batch_execute(&format!(
            "BEGIN; INSERT INTO outbox DEFAULT VALUES; PREPARE TRANSACTION '{}'",
            name(1)
        ))
        .await
        .unwrap();
    second.batch_execute("BEGIN; INSERT INTO outbox DEFAULT VALUES").await.unwrap();
    writer.batch_execute("INSERT INTO outbox DEFAULT VALUES").await.unwrap();
    nothing(&mut driver).await;
    second.batch_execute(&format!("PREPARE TRANSACTION '{}'", name(2))).await.unwrap();
    nothing(&mut driver).await;
    first.batch_execute(&format!("ROLLBACK PREPARED '{}'", name(1))).await.unwrap();
    nothing(&mut driver).await;
    eventually("the text about the prepared transaction", async || {
        driver.poll().await.unwrap();
        driver.source.obstacle().is_some_and(|o| o.contains("1 prepared"))
    })
    .await;
    second.batch_execute(&format!("COMMIT PREPARED '{}'", name(2))).await.unwrap();
    assert_eq!(ids(&driver.exactly(2).await), [2, 3]);
}

#[tokio::test]
async fn what_lies_before_a_held_id_is_delivered_and_what_lies_behind_it_waits() {
    let db = Database::with(OUTBOX).await;
    let (holder, writer) = (db.client().await, db.client().await);
    let mut driver = Driver::open(&db.source()).await.unwrap();
    writer
        .batch_execute("INSERT INTO outbox DEFAULT VALUES; INSERT INTO outbox DEFAULT VALUES")
        .await
        .unwrap();
    holder.batch_execute("BEGIN; INSERT INTO outbox DEFAULT VALUES").await.unwrap();
    writer.batch_execute("INSERT INTO outbox DEFAULT VALUES").await.unwrap();
    // The first ids of a table may have holders too; once they are known not to, there is no more to wait for.
    eventually("the obstacle", async || {
        driver.poll().await.unwrap();
        driver.source.obstacle().is_some()
    })
    .await;
    let pid = value(&holder, "SELECT pg_backend_pid()").await.unwrap();
    let obstacle = driver.source.obstacle().unwrap();
    assert!(obstacle.starts_with("public.outbox waits for an open transaction"), "{obstacle}");
    assert!(
        obstacle.contains(&format!("pid {pid} (unnamed, user ")) && obstacle.contains("open for "),
        "{obstacle}"
    );
    holder.batch_execute("COMMIT").await.unwrap();
    eventually("delivery", async || {
        driver.poll().await.unwrap();
        driver.position("public.outbox") == "4"
    })
    .await;
    driver.poll().await.unwrap();
    assert_eq!(driver.source.obstacle(), None);
    // Known ids in front of the held one do not wait for it.
    writer.batch_execute("INSERT INTO outbox DEFAULT VALUES").await.unwrap();
    holder.batch_execute("BEGIN; INSERT INTO outbox DEFAULT VALUES").await.unwrap();
    writer.batch_execute("INSERT INTO outbox DEFAULT VALUES").await.unwrap();
    assert_eq!(ids(&driver.exactly(1).await), [5]);
    nothing(&mut driver).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(ids(&driver.exactly(1).await), [7]);
}

#[tokio::test]
async fn an_id_taken_in_another_transaction_than_its_row_comes_late_and_is_not_lost() {
    let db = Database::with(OUTBOX).await;
    let mut driver = Driver::open(&db.source()).await.unwrap();
    db.run("SELECT nextval('outbox_id_seq'), nextval('outbox_id_seq'), nextval('outbox_id_seq')").await;
    db.run("INSERT INTO outbox DEFAULT VALUES").await;
    db.run("INSERT INTO outbox DEFAULT VALUES").await;
    assert_eq!(ids(&driver.exactly(2).await), [4, 5]);
    assert_eq!(driver.position("public.outbox"), "5 except 1..3");
    db.run("INSERT INTO outbox (id) VALUES (2)").await;
    assert_eq!(ids(&driver.exactly(1).await), [2]);
    assert_eq!(driver.position("public.outbox"), "5 except 1,3");
    // Also while nobody looked.
    db.run("INSERT INTO outbox (id) VALUES (3)").await;
    let mut driver = driver.restart(&db.source()).await.unwrap();
    assert_eq!(ids(&driver.exactly(1).await), [3]);
    assert_eq!(driver.position("public.outbox"), "5 except 1");
}

#[tokio::test]
async fn never_begins_after_what_is_committed_and_takes_what_is_on_its_way() {
    let db = Database::with(OUTBOX).await;
    let source = db.source().snapshot(Snapshot::Never);
    db.run("INSERT INTO outbox SELECT FROM generate_series(1, 3)").await;
    let holder = db.client().await;
    holder.batch_execute("BEGIN; INSERT INTO outbox DEFAULT VALUES").await.unwrap();
    db.run("INSERT INTO outbox DEFAULT VALUES").await;
    let mut driver = Driver::open(&source).await.unwrap();
    assert!(driver.poll().await.unwrap().0.is_empty());
    assert_eq!(driver.position("public.outbox"), "5 except 4");
    holder.batch_execute("COMMIT").await.unwrap();
    db.run("INSERT INTO outbox DEFAULT VALUES").await;
    let mut driver = driver.restart(&source).await.unwrap();
    let mut found = ids(&driver.exactly(2).await);
    found.sort_unstable();
    assert_eq!(found, [4, 6]);
}

#[tokio::test]
async fn marks_and_deletes_do_not_wait_for_open_transactions() {
    for delivered in [Delivered::Mark, Delivered::Delete] {
        let db = Database::with(OUTBOX).await;
        db.run("ALTER TABLE outbox ADD published boolean NOT NULL DEFAULT false").await;
        let holder = db.client().await;
        let mut driver = Driver::open(&db.source().delivered(delivered)).await.unwrap();
        holder.batch_execute("BEGIN; INSERT INTO outbox DEFAULT VALUES").await.unwrap();
        db.run("INSERT INTO outbox DEFAULT VALUES").await;
        assert_eq!(ids(&driver.exactly(1).await), [2]);
        holder.batch_execute("COMMIT").await.unwrap();
        // The late one, while the other is in flight.
        assert_eq!(ids(&driver.exactly(1).await), [1]);
        driver.settle().await.unwrap();
        assert_eq!(driver.source.obstacle(), None);
        nothing(&mut driver).await;
    }
}

/// What writers committed: key → sequence numbers in the order of commit.
type Journal = BTreeMap<String, Vec<i64>>;

/// Writers that lock a key, then insert: some roll back, some hold what they have for a while, some have an xid long
/// before they get the lock, some use savepoints.
async fn write(db: Arc<Database>, writer: u64, transactions: u64) -> Journal {
    let client = db.client().await;
    let mut journal = Journal::new();
    // A small generator of numbers; the order of things differs from run to run anyway.
    let mut state = writer.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for _ in 0..transactions {
        let key = format!("key-{}", random(5));
        client.batch_execute("BEGIN").await.unwrap();
        if random(2) == 0 {
            client.batch_execute("INSERT INTO noise VALUES (1)").await.unwrap();
        }
        let lock = format!("UPDATE keys SET seq = seq + 1 WHERE key = '{key}' RETURNING seq");
        let seq: i64 = value(&client, &lock).await.unwrap().parse().unwrap();
        let insert = format!("INSERT INTO outbox (key, seq) VALUES ('{key}', {seq})");
        match random(4) {
            0 => client.batch_execute(&format!("SAVEPOINT a; {insert}; RELEASE a")).await.unwrap(),
            1 => {
                let undone = "SAVEPOINT b; INSERT INTO outbox (key, seq) VALUES ('gone', -1); ROLLBACK TO b";
                client.batch_execute(&format!("{undone}; {insert}")).await.unwrap();
            }
            _ => client.batch_execute(&insert).await.unwrap(),
        }
        tokio::time::sleep(Duration::from_millis(random(8))).await;
        if random(5) == 0 {
            client.batch_execute("ROLLBACK").await.unwrap();
        } else {
            client.batch_execute("COMMIT").await.unwrap();
            journal.entry(key).or_default().push(seq);
        }
    }
    journal
}

async fn busy(source: impl Fn(&Database) -> Polling, marks: bool) {
    let db = Database::with(OUTBOX).await;
    db.run(
        "ALTER TABLE outbox ADD published smallint NOT NULL DEFAULT 0; CREATE TABLE noise (x int);
         CREATE TABLE keys (key text PRIMARY KEY, seq bigint NOT NULL);
         INSERT INTO keys SELECT 'key-' || n, 0 FROM generate_series(0, 4) n",
    )
    .await;
    let db = Arc::new(db);
    let source = source(&db);
    let writing = Arc::new(AtomicBool::new(true));
    let writers = {
        let (db, writing) = (Arc::clone(&db), Arc::clone(&writing));
        tokio::spawn(async move {
            let tasks: Vec<_> = (1..=8).map(|w| tokio::spawn(write(Arc::clone(&db), w, 60))).collect();
            let mut committed = Journal::new();
            for task in tasks {
                for (key, seqs) in task.await.unwrap() {
                    committed.entry(key).or_default().extend(seqs);
                }
            }
            writing.store(false, Ordering::SeqCst);
            committed
        })
    };
    let mut driver = Driver::open(&source).await.unwrap();
    let limits = BatchLimits { events: 7, ..BatchLimits::default() };
    let (mut delivered, mut seen) = (Vec::new(), HashSet::new());
    let mut polls = 0;
    loop {
        driver.limits = limits;
        let over = !writing.load(Ordering::SeqCst);
        let (rows, more) = driver.poll().await.unwrap();
        polls += 1;
        let idle = rows.is_empty() && !more;
        for row in rows {
            assert!(seen.insert(row.id()), "{row:?} came twice");
            delivered.push(row);
        }
        if marks && polls % 3 == 0 {
            driver.settle().await.unwrap();
        }
        if polls % 10 == 0 {
            driver.settle().await.unwrap();
            driver = driver.restart(&source).await.unwrap();
        }
        if idle && over && driver.source.obstacle().is_none() {
            break;
        }
        if idle {
            driver.source.wait(Duration::from_millis(20)).await.unwrap();
        }
    }
    let committed = writers.await.unwrap();
    let mut by_key: HashMap<String, Vec<i64>> = HashMap::new();
    for row in &delivered {
        let (Value::Text(key), Value::I64(seq)) = (row.get("key"), row.get("seq")) else { panic!("{row:?}") };
        by_key.entry(key.clone()).or_default().push(*seq);
    }
    let count: usize = committed.values().map(Vec::len).sum();
    assert_eq!(delivered.len(), count, "delivered, committed");
    for (key, mut seqs) in committed {
        // Writers of a key wait for each other: its sequence is the order of commits.
        seqs.sort_unstable();
        assert_eq!(by_key.get(&key), Some(&seqs), "{key}");
    }
    if !marks {
        let order = ids(&delivered);
        assert!(order.is_sorted(), "{order:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_keep() {
    busy(|db| db.source(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_mark() {
    busy(|db| db.source().delivered(Delivered::Mark), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_delete() {
    busy(|db| db.source().delivered(Delivered::Delete), true).await;
}
