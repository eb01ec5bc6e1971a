//! What the log family promises: what is there and what follows, without gap, overlap or step back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outflow_runtime::{Pipeline, PipelineSpec, State};
use outflow_sdk::{LogPolicy, Op, SnapshotMode};
use outflow_testkit::memory::{
    Change, Delivered, LogPosition, MemoryCheckpoints, MemorySink, MemoryWal, Row,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use support::{spec, state_until, status_until, within};

fn insert(key: &str, n: i64) -> Change {
    Change::Insert(Row::new(key, n))
}

fn update(key: &str, n: i64) -> Change {
    Change::Update(Row::new(key, n), None)
}

/// Deliveries without repeats, in order of first arrival.
fn distinct(delivered: &[Delivered]) -> Vec<Delivered> {
    let mut seen = HashSet::new();
    delivered.iter().filter(|d| seen.insert(d.id.clone())).cloned().collect()
}

/// What a reader of the destination ends with. Panics where a key steps back.
fn applied(delivered: &[Delivered]) -> Vec<Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut last: HashMap<String, (i64, bool)> = HashMap::new();
    for one in distinct(delivered) {
        if let Some(old) = one.was.filter(|old| *old != one.row.key || one.op == Op::Delete) {
            rows.remove(&old);
            last.entry(old).or_insert((0, true)).1 = true;
        }
        match one.op {
            Op::Delete => {}
            Op::Truncate => {
                rows.clear();
                last.values_mut().for_each(|(_, deleted)| *deleted = true);
            }
            _ => {
                let (n, deleted) = last.get(&one.row.key).copied().unwrap_or((0, false));
                let follows = if deleted { one.row.n > n } else { one.row.n >= n };
                assert!(follows, "{} steps back from {n} (deleted: {deleted}) to {}", one.row.key, one.row.n);
                last.insert(one.row.key.clone(), (one.row.n, false));
                rows.insert(one.row.key.clone(), one.row);
            }
        }
    }
    rows.into_values().collect()
}

fn twenty(wal: &MemoryWal) {
    wal.commit(('a'..='t').map(|key| insert(&key.to_string(), 1)));
}

fn small(mut spec: PipelineSpec) -> PipelineSpec {
    // A checkpoint after each batch or two.
    spec.options.max_replay = outflow_sdk::ByteSize(1);
    spec
}

/// Runs until everything that is committed has been delivered.
async fn complete(spec: PipelineSpec) {
    let mut spec = spec;
    spec.options.stop_at_current = true;
    let pipeline = Pipeline::start(spec).await.unwrap();
    within("the end", pipeline.wait()).await.unwrap();
}

/// A start that dies after the first chunk was stored, so that the next one has the other to complete.
async fn crashed_in_the_snapshot(wal: &MemoryWal, sink: &MemorySink, store: &MemoryCheckpoints) {
    let pipeline =
        Pipeline::start(small(spec(wal.clone().policy(LogPolicy::new().workers(1)), sink.clone(), store)))
            .await
            .unwrap();
    within("one chunk of two", async {
        let pending = || store.checkpoint().states().filter(|(key, _)| key.starts_with("log.chunk.")).count();
        while store.commits().is_empty() || pending() == 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pending(), 1);
    })
    .await;
    pipeline.abort();
    let _ = pipeline.wait().await;
    sink.thaw();
}

/// Freezes the sink once the second chunk is being read.
fn freeze_in_the_second_chunk(wal: &MemoryWal, sink: &MemorySink) {
    let (sink, mut pages) = (sink.clone(), 0);
    wal.before_each_page_ends(move |_| {
        pages += 1;
        // The first chunk, a to m, has seven pages of two rows, and each page waits until the one before is stored.
        if pages == 9 {
            sink.freeze();
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_comes_first_and_then_what_follows() {
    let (wal, sink, store) = (MemoryWal::new(3), MemorySink::new(), MemoryCheckpoints::default());
    twenty(&wal);
    let mut n = 1;
    // While it is read, rows change: those changes come from the log.
    wal.before_each_page_ends(move |wal| {
        n += 1;
        wal.commit([update("c", n), update("t", n)]);
    });
    let pipeline = Pipeline::start(spec(wal.clone(), sink.clone(), &store)).await.unwrap();
    let reads = |d: &[Delivered]| d.iter().filter(|d| d.op == Op::Read).count();
    within("all rows", sink.until(|d| reads(d) == 20 && applied(d) == wal.rows())).await;
    wal.commit([Change::Delete("a".into()), insert("u", 100)]);
    within("what follows", sink.until(|d| applied(d) == wal.rows())).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
    let delivered = sink.delivered();
    let last_read = delivered.iter().rposition(|d| d.op == Op::Read).unwrap();
    assert!(delivered[..last_read].iter().all(|d| d.op == Op::Read), "the snapshot comes first");
    assert_eq!(reads(&delivered), 20, "each row was read once");
    assert_eq!(wal.released().last(), store.checkpoint().position(&"wal".into()));
    assert_eq!((wal.begun(), wal.closed()), (1, 1));
    assert_eq!(store.checkpoint().state("log.server"), Some("memory-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_was_not_done_is_completed_while_the_log_streams() {
    let (wal, sink, store) = (MemoryWal::new(2), MemorySink::new(), MemoryCheckpoints::default());
    twenty(&wal);
    freeze_in_the_second_chunk(&wal, &sink);
    crashed_in_the_snapshot(&wal, &sink, &store).await;
    let before = sink.delivered().len();
    // A row of the rest changes, one is deleted, one gets another key.
    wal.commit([update("o", 2), Change::Delete("q".into())]);
    wal.commit([Change::Update(Row::new("zz", 3), Some("s".into()))]);
    wal.before_each_page_ends(|_| {});
    complete(spec(wal.clone(), sink.clone(), &store)).await;
    assert_eq!(applied(&sink.delivered()), wal.rows());
    let after = sink.delivered().split_off(before);
    let read: Vec<&str> = after.iter().filter(|d| d.op == Op::Read).map(|d| d.row.key.as_str()).collect();
    assert!(read.iter().all(|key| *key > "m"), "the chunk that was done is not read again: {read:?}");
    assert!(after.iter().any(|d| d.op == Op::Delete && d.row.key == "q"), "the delete is told");
    assert_eq!(wal.begun(), 1, "the log that was begun is kept");
    assert!(store.checkpoint().states().all(|(key, _)| !key.starts_with("log.chunk.")), "nothing is pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_changed_between_the_reading_of_its_page_and_its_delivery_does_not_step_back() {
    let wal = MemoryWal::new(4).without_pins();
    let (sink, store) = (MemorySink::new(), MemoryCheckpoints::default());
    twenty(&wal);
    let mut n = 1;
    wal.before_each_page_ends(move |wal| {
        n += 1;
        wal.commit(["a", "b", "n", "o"].map(|key| update(key, n)));
    });
    complete(spec(wal.clone(), sink.clone(), &store)).await;
    let delivered = sink.delivered();
    assert_eq!(applied(&delivered), wal.rows());
    let read: BTreeSet<&str> =
        delivered.iter().filter(|d| d.op == Op::Read).map(|d| d.row.key.as_str()).collect();
    assert!(!read.contains("a") && !read.contains("n"), "the log knew better: {read:?}");
    assert!(read.contains("c") && read.contains("p"), "{read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_was_delivered_before_anybody_could_see_it_is_not_undone() {
    let wal = MemoryWal::new(50).without_pins();
    let (sink, store) = (MemorySink::new(), MemoryCheckpoints::default());
    twenty(&wal);
    let (told, mut unseen) = (sink.clone(), None);
    let (asked, mut pages) = (Arc::new(Mutex::new(None)), 0);
    let tag = Arc::clone(&asked);
    wal.before_each_page_ends(move |wal| {
        pages += 1;
        match pages {
            // In the log from now on, and delivered; the next page does not see it.
            1 => unseen = Some(wal.commit_unseen([update("n", 7), Change::Delete("o".into())])),
            2 => *tag.lock().unwrap() = unseen,
            _ => {}
        }
        let _ = &told;
    });
    let pipeline = Pipeline::start(spec(wal.clone(), sink.clone(), &store)).await.unwrap();
    within("the rows", sink.until(|d| d.iter().any(|d| d.op == Op::Read && d.row.key == "t"))).await;
    let read: Vec<String> = sink
        .delivered()
        .into_iter()
        .filter(|d| d.op == Op::Read && d.row.key.as_str() > "m")
        .map(|d| d.row.key)
        .collect();
    assert_eq!(read, ["p", "q", "r", "s", "t"], "what the log has told is not told otherwise");
    wal.show(asked.lock().unwrap().unwrap());
    assert_eq!(applied(&sink.delivered()), wal.rows());
    pipeline.stop();
    pipeline.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_waits_for_those_that_were_delivered_before_the_restart_and_cannot_be_seen() {
    let wal = MemoryWal::new(2);
    let (sink, store) = (MemorySink::new(), MemoryCheckpoints::default());
    twenty(&wal);
    freeze_in_the_second_chunk(&wal, &sink);
    crashed_in_the_snapshot(&wal, &sink, &store).await;
    wal.before_each_page_ends(|_| {});
    let tag = wal.commit_unseen([update("o", 9)]);
    let pipeline = Pipeline::start(spec(wal.clone(), sink.clone(), &store)).await.unwrap();
    let status = status_until(&pipeline.observer(), "the reason", |s| {
        s.obstacle.as_deref().is_some_and(|r| r.contains("seen"))
    })
    .await;
    assert!(status.obstacle.unwrap().contains(&format!("transaction {tag}")));
    wal.show(tag);
    within("the rest", sink.until(|d| applied(d) == wal.rows())).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_table_is_read_again() {
    let wal = MemoryWal::new(3).without_pins();
    let (sink, store) = (MemorySink::new(), MemoryCheckpoints::default());
    twenty(&wal);
    let mut pages = 0;
    wal.before_each_page_ends(move |wal| {
        pages += 1;
        if pages == 2 {
            wal.commit([Change::Truncate, insert("b", 50), insert("y", 51)]);
        }
    });
    complete(spec(wal.clone(), sink.clone(), &store)).await;
    assert_eq!(applied(&sink.delivered()), wal.rows());
    assert_eq!(wal.rows().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_whose_changes_are_more_than_can_be_known_is_read_again() {
    let wal = MemoryWal::new(50).without_pins();
    let (sink, store) = (MemorySink::new(), MemoryCheckpoints::default());
    twenty(&wal);
    let mut pages = 0;
    wal.before_each_page_ends(move |wal| {
        pages += 1;
        if pages == 1 {
            // More keys than are remembered, and then more transactions.
            wal.commit((0..300_000).map(|n| update("b", 2 + n)));
            (0..60_000).for_each(|n| wal.commit([update("c", 2 + n)]));
        }
    });
    complete(spec(wal.clone(), sink.clone(), &store)).await;
    assert!(wal.pages() > 2, "{} pages", wal.pages());
    assert_eq!(applied(&sink.delivered()), wal.rows());
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_read_what_they_say() {
    for (mode, reads, writes) in
        [(SnapshotMode::Initial, 20, 1), (SnapshotMode::Never, 0, 1), (SnapshotMode::InitialOnly, 20, 0)]
    {
        for pins in [true, false] {
            let wal = MemoryWal::new(6).policy(LogPolicy::new().snapshot(mode));
            let wal = if pins { wal } else { wal.without_pins() };
            let (sink, store) = (MemorySink::new(), MemoryCheckpoints::default());
            twenty(&wal);
            let pipeline = Pipeline::start(spec(wal.clone(), sink.clone(), &store)).await.unwrap();
            let count = |d: &[Delivered], op| d.iter().filter(|d| d.op == op).count();
            if mode == SnapshotMode::InitialOnly {
                within("its end", pipeline.wait()).await.unwrap();
                // Nothing is left to be done by a second start.
                let again = Pipeline::start(spec(wal.clone(), sink.clone(), &store)).await.unwrap();
                within("its end", again.wait()).await.unwrap();
            } else {
                within("what is there", sink.until(|d| count(d, Op::Read) == reads)).await;
                wal.commit([insert("new", 1)]);
                within("what follows", sink.until(|d| count(d, Op::Insert) == writes)).await;
                pipeline.stop();
                pipeline.wait().await.unwrap();
            }
            let delivered = sink.delivered();
            assert_eq!(
                (count(&delivered, Op::Read), count(&delivered, Op::Insert)),
                (reads, writes),
                "{mode:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_and_a_lost_log_stop_the_pipeline_unless_told_otherwise() {
    let (wal, sink, store) = (MemoryWal::new(6), MemorySink::new(), MemoryCheckpoints::default());
    twenty(&wal);
    complete(spec(wal.clone(), sink.clone(), &store)).await;
    let restored = wal.clone().policy(LogPolicy::new().resnapshot());
    for (code, happen) in [
        ("log.other_server", (|wal| wal.become_server("memory-2")) as fn(&MemoryWal)),
        ("memory.lost", |wal| {
            wal.commit([update("a", 2)]);
            wal.lose();
        }),
    ] {
        happen(&wal);
        let error = Pipeline::start(spec(wal.clone(), sink.clone(), &store)).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.hint_text().is_some());
        let before = sink.delivered().len();
        complete(spec(restored.clone(), sink.clone(), &store)).await;
        assert_eq!(sink.delivered()[before..].iter().filter(|d| d.op == Op::Read).count(), 20, "{code}");
        complete(spec(wal.clone(), sink.clone(), &store)).await;
    }
    assert_eq!(wal.begun(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_log_is_released() {
    let (wal, sink, store) = (MemoryWal::new(6), MemorySink::new(), MemoryCheckpoints::default());
    let pipeline = Pipeline::start(spec(wal.clone(), sink.clone(), &store)).await.unwrap();
    // Transactions without rows for us.
    (0..5).for_each(|_| wal.commit([]));
    let end = LogPosition { transactions: 5, rows: 0 }.position();
    within("the release", async {
        while wal.released().last() != Some(&end) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    state_until(&pipeline.observer(), State::Idle).await;
    pipeline.stop();
    pipeline.wait().await.unwrap();
}

/// An application that does everything that can happen, by chance, and keeps the locks that a server would.
struct Application {
    wal: MemoryWal,
    random: StdRng,
    n: i64,
    rows: BTreeSet<String>,
    /// Transactions that nobody can see yet, and the keys that they have locked.
    unseen: Vec<(usize, BTreeSet<String>)>,
}

impl Application {
    fn step(&mut self) {
        if !self.unseen.is_empty() && self.random.random_bool(0.3) {
            let at = self.random.random_range(0..self.unseen.len());
            self.wal.show(self.unseen.swap_remove(at).0);
        }
        if self.unseen.is_empty() && self.random.random_bool(0.01) {
            self.wal.commit([Change::Truncate]);
            self.rows.clear();
            return;
        }
        let locked: BTreeSet<String> = self.unseen.iter().flat_map(|(_, keys)| keys.clone()).collect();
        let (mut changes, mut keys) = (Vec::new(), BTreeSet::new());
        for _ in 0..self.random.random_range(1..5) {
            let key = self.key();
            if locked.contains(&key) {
                continue;
            }
            self.n += 1;
            let row = Row::new(key.clone(), self.n);
            keys.insert(key.clone());
            if !self.rows.contains(&key) {
                self.rows.insert(key);
                changes.push(Change::Insert(row));
            } else if self.random.random_bool(0.2) {
                self.rows.remove(&key);
                changes.push(Change::Delete(key));
            } else if self.random.random_bool(0.2) {
                let other = self.key();
                if !self.rows.contains(&other) && !locked.contains(&other) {
                    self.rows.remove(&key);
                    self.rows.insert(other.clone());
                    keys.insert(other.clone());
                    changes.push(Change::Update(Row::new(other, self.n), Some(key)));
                }
            } else {
                changes.push(Change::Update(row, None));
            }
        }
        if self.random.random_bool(0.2) {
            let tag = self.wal.commit_unseen(changes);
            self.unseen.push((tag, keys));
        } else {
            self.wal.commit(changes);
        }
    }

    fn key(&mut self) -> String {
        char::from(self.random.random_range(b'a'..=b'z')).to_string()
    }

    fn show_all(&mut self) {
        self.unseen.drain(..).for_each(|(tag, _)| self.wal.show(tag));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_the_destination_ends_as_the_source_is_and_no_key_steps_back() {
    let seeds = std::env::var("OUTFLOW_LOG_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(40_u64);
    let first: u64 = rand::random();
    for seed in (0..seeds).map(|n| first.wrapping_add(n)) {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let wal = MemoryWal::new(random.random_range(1..6))
            .policy(LogPolicy::new().workers(random.random_range(1..3)));
        let wal = if random.random_bool(0.5) { wal } else { wal.without_pins() };
        let (sink, store) = (MemorySink::new(), MemoryCheckpoints::default());
        let rows: BTreeSet<String> = ('a'..='z').map(String::from).collect();
        wal.commit(rows.iter().map(|key| insert(key, 1)));
        let application = Application { wal: wal.clone(), random, n: 1, rows, unseen: Vec::new() };
        let application = Arc::new(Mutex::new(application));
        let writer = Arc::clone(&application);
        wal.before_each_page_ends(move |_| writer.lock().unwrap().step());
        for _ in 0..4 {
            let pipeline = Pipeline::start(small(spec(wal.clone(), sink.clone(), &store))).await.unwrap();
            let (steps, more) = {
                let random = &mut application.lock().unwrap().random;
                (random.random_range(0..20), random.random_range(0..15))
            };
            for _ in 0..steps {
                application.lock().unwrap().step();
                tokio::task::yield_now().await;
            }
            let wanted = sink.delivered().len() + more;
            let arrived = sink.until(|d| d.len() >= wanted);
            // Where there is nothing more to come, it is killed as it is.
            let _ = tokio::time::timeout(Duration::from_millis(20), arrived).await;
            pipeline.abort();
            let _ = pipeline.wait().await;
        }
        wal.before_each_page_ends(|_| {});
        application.lock().unwrap().show_all();
        complete(spec(wal.clone(), sink.clone(), &store)).await;
        assert_eq!(applied(&sink.delivered()), wal.rows(), "seed {seed}");
    }
}
