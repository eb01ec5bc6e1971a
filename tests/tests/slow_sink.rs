//! Twenty pipelines in one process whose sinks are blocked: memory stays within the budgets, and then everything
//! arrives.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use outflow_sdk::StateScope;
use outflow_state::FileStore;
use outflow_testkit::verifier::database::Database;
use outflow_tests::database::Shop;
use outflow_tests::pipeline::PipelineFile;
use outflow_tests::process::Outflow;
use outflow_tests::stream::Pipe;
use outflow_tests::{programs, settings, wait_until, wait_within};
use serde_json::Value;

const PIPELINES: usize = 20;
/// The default of `memory_budget`.
const BUDGET: u64 = 24 << 20;
const SMALL: u64 = 1_000;
const LARGE: u64 = 8_000_000;
const DRAIN: Duration = Duration::from_secs(600);

/// What a filter leaves of the traffic.
#[derive(Clone, Copy)]
struct Traffic {
    name: &'static str,
    /// The filter, if there is one.
    keep: Option<&'static str>,
    /// Rows of 1 KB that are there when the sinks are blocked, and how many come in every second then.
    rows: (u64, u64),
    /// The words that the rows' kinds go round in, with how many rows come between the last of them.
    kept: fn(u64) -> bool,
}

/// Writes the rows. Number 0 is the one that every sink takes.
struct Writer {
    database: Box<dyn Database>,
    next: u64,
    kept: fn(u64) -> bool,
}

impl Writer {
    fn new(shop: &Shop, kept: fn(u64) -> bool) -> Self {
        let mut database = shop.session();
        database
            .execute("CREATE TABLE log (n INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, pad TEXT NOT NULL)")
            .unwrap();
        let mut writer = Self { database, next: 0, kept };
        writer.insert("first", SMALL);
        writer
    }

    fn insert(&mut self, kind: &str, bytes: u64) {
        let n = self.next;
        self.next += 1;
        // Random, so that nothing on the way can make it small; its ends say whose it is.
        let row = format!(
            "INSERT INTO log VALUES ({n}, '{kind}', '<{n}' || hex(randomblob({})) || '{n}>')",
            bytes / 2
        );
        self.database.execute(&row).unwrap();
    }

    /// Commits so many rows of 1 KB with `large` rows of 8 MB spread among them.
    fn write(&mut self, rows: u64, large: u64) {
        self.database.begin().unwrap();
        let every = (rows / large.max(1)).max(1);
        for row in 0..rows {
            let kind = if (self.kept)(self.next) { "keep" } else { "drop" };
            let bytes = if large > 0 && row % every == every / 2 { LARGE } else { SMALL };
            self.insert(kind, bytes);
        }
        self.database.commit().unwrap();
    }
}

/// What arrived at one sink: the numbers of the rows, in order.
fn read(lines: &mut dyn Iterator<Item = Vec<u8>>) -> Vec<u64> {
    lines
        .map(|line| {
            let row: Value = serde_json::from_slice(&line).unwrap();
            let n = find(&row, "n").and_then(Value::as_u64).unwrap();
            let pad = find(&row, "pad").and_then(Value::as_str).unwrap();
            let whole = pad.starts_with(&format!("<{n}")) && pad.ends_with(&format!("{n}>"));
            assert!(whole && pad.len() as u64 >= SMALL, "row {n} is not whole");
            n
        })
        .collect()
}

/// A column, wherever the format has put the row.
fn find<'v>(value: &'v Value, column: &str) -> Option<&'v Value> {
    let fields = value.as_object()?;
    fields.get(column).or_else(|| fields.values().find_map(|inner| find(inner, column)))
}

fn run(traffic: Traffic) {
    let blocked = Duration::from_secs(settings::number("OUTFLOW_SLOW_SINK_SECONDS", 60));
    let shop = Shop::sqlite();
    let mut writer = Writer::new(&shop, traffic.kept);
    let names: Vec<String> = (0..PIPELINES).map(|i| format!("slow-{i}")).collect();
    let pipes: Vec<_> =
        names.iter().map(|name| Pipe::new(shop.folder().join(format!("{name}.pipe")), read)).collect();
    let files: Vec<PathBuf> = names
        .iter()
        .zip(&pipes)
        .map(|(name, pipe)| {
            let file = PipelineFile::new(name, shop.url(), shop.folder()).table("log").output(pipe.path());
            let keep = |keep| format!("type: filter, keep: '{keep}'");
            traffic.keep.iter().fold(file, |file, k| file.transform(&keep(k))).write(shop.folder())
        })
        .collect();

    let mut outflow = Outflow::start(&programs!(), &files, shop.folder());
    for pipe in &pipes {
        outflow.wait_until("the first row arrives everywhere", || pipe.has_first());
    }
    let baseline = outflow.resident();

    let until = Instant::now() + blocked;
    writer.write(traffic.rows.0, 5);
    while Instant::now() < until {
        writer.write(traffic.rows.1, u64::from(writer.next.is_multiple_of(10)));
        outflow.assert_running();
        std::thread::sleep(Duration::from_secs(1));
    }
    let last = writer.next - 1;
    let state = FileStore::at(shop.folder().join("state"));
    let is_stored = |name: &String| {
        let checkpoint = state.peek(&StateScope::pipeline(name.as_str())).unwrap();
        checkpoint.positions().any(|(_, position)| position.to_string() == last.to_string())
    };
    let passes = (0..=last).any(|n| n > 0 && (traffic.keep.is_none() || (traffic.kept)(n)));
    if !passes {
        // Nothing waits for the sinks, so all of it is done with although they are blocked.
        wait_within(DRAIN, "filtered traffic passes blocked sinks", || names.iter().all(is_stored));
    }
    let peak_blocked = outflow.peak();

    pipes.iter().for_each(Pipe::release);
    wait_within(DRAIN, "everything arrives", || {
        outflow.assert_running();
        names.iter().all(is_stored)
    });
    let peak = outflow.peak();
    outflow.stop();

    let expected: Vec<u64> = (1..=last).filter(|n| traffic.keep.is_none() || (traffic.kept)(*n)).collect();
    let bytes = |b: u64| format!("{:.1} MiB", b as f64 / f64::from(1 << 20));
    let bound = baseline + PIPELINES as u64 * BUDGET * 3 / 2;
    println!(
        "{}: {} rows committed, {} of them pass; {} s blocked; baseline {}, peak {} while blocked, {} in all; \
         bound {}",
        traffic.name,
        last,
        expected.len(),
        blocked.as_secs(),
        bytes(baseline),
        bytes(peak_blocked),
        bytes(peak),
        bytes(bound),
    );
    for pipe in pipes {
        wait_until("the pipe ends", || pipe.is_done());
        assert_eq!(pipe.finish(), expected);
    }
    assert!(peak <= bound, "{} is more than {}", bytes(peak), bytes(bound));
}

#[test]
fn blocked_sinks_keep_memory_within_the_budgets_sqlite() {
    run(Traffic { name: "all pass", keep: None, rows: (24_000, 100), kept: |_| true });
}

#[test]
fn blocked_sinks_behind_a_filter_that_drops_everything_cost_nothing_sqlite() {
    run(Traffic {
        name: "none passes",
        keep: Some("after.kind == \"first\""),
        rows: (60_000, 1_000),
        kept: |_| false,
    });
}

#[test]
fn blocked_sinks_behind_a_filter_that_keeps_one_of_a_thousand_sqlite() {
    run(Traffic {
        name: "1 of 1,000 passes",
        keep: Some("after.kind in [\"first\", \"keep\"]"),
        rows: (60_000, 1_000),
        kept: |n| n % 1_000 == 0,
    });
}
