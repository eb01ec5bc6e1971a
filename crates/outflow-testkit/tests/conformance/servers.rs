//! The in-memory servers keep the contract.

use std::collections::HashMap;
use std::sync::Arc;

use outflow_sdk::{
    ConfiguredSink, ConfiguredSource, Error, EventRef, PositionCodec, TableSchema, Value, ValueRef,
    async_trait,
};
use outflow_testkit::conformance::{self, Change, SinkFixture, SourceCheck, SourceFixture};
use outflow_testkit::memory::{
    self, Delivered, GtidCodec, GtidLog, LogCodec, MarkedTable, MemoryLog, MemorySink, MemoryWal, Row,
    ShardTree, TransactionalSink, WalCodec, rows_schema,
};

/// Rows of three keys, numbered within each.
#[derive(Default)]
pub(crate) struct Rows(HashMap<String, i64>);

impl Rows {
    pub(crate) fn next(&mut self, count: usize) -> Vec<Row> {
        let row = |i: usize| {
            let key = format!("key-{}", i % 3);
            let n = self.0.entry(key.clone()).or_default();
            *n += 1;
            Row::new(key, *n)
        };
        (0..count).map(row).collect()
    }
}

pub(crate) fn change_of_row(row: &Row) -> Change {
    Change::new(&row.key, row.n.to_string())
}

pub(crate) fn change_of_event(event: &EventRef<'_>) -> Option<Change> {
    let row = event.after()?;
    match (row.by_name("key")?, row.by_name("n")?) {
        (ValueRef::Text(key), ValueRef::I64(n)) => Some(Change::new(key, n.to_string())),
        _ => None,
    }
}

pub(crate) struct LogFixture {
    pub(crate) log: MemoryLog,
    rows: Rows,
}

impl LogFixture {
    pub(crate) fn new() -> Self {
        Self { log: MemoryLog::new(4), rows: Rows::default() }
    }

    /// Commits transactions of five rows.
    pub(crate) fn commit(&mut self, changes: usize) -> Vec<Change> {
        let rows = self.rows.next(changes);
        rows.chunks(5).for_each(|rows| self.log.commit(rows.iter().cloned()));
        rows.iter().map(change_of_row).collect()
    }
}

#[async_trait]
impl SourceFixture for LogFixture {
    fn source(&self) -> Arc<dyn ConfiguredSource> {
        Arc::new(self.log.clone())
    }

    async fn produce(&mut self, changes: usize) -> Vec<Change> {
        self.commit(changes)
    }

    fn change(&self, event: &EventRef<'_>) -> Option<Change> {
        change_of_event(event)
    }

    fn codec(&self) -> Option<Box<dyn PositionCodec>> {
        Some(Box::new(LogCodec))
    }
}

#[derive(Default)]
struct MarkedFixture {
    table: MarkedTable,
    rows: Rows,
    last: i64,
}

#[async_trait]
impl SourceFixture for MarkedFixture {
    fn source(&self) -> Arc<dyn ConfiguredSource> {
        Arc::new(self.table.clone())
    }

    async fn produce(&mut self, changes: usize) -> Vec<Change> {
        let rows = self.rows.next(changes);
        for row in &rows {
            self.last += 1;
            self.table.insert(self.last, row.clone());
        }
        rows.iter().map(change_of_row).collect()
    }

    fn change(&self, event: &EventRef<'_>) -> Option<Change> {
        change_of_event(event)
    }
}

/// A table that rows are only added to, each with a key of its own: snapshot and log together have every change, and
/// which of two rows comes first depends on which of the two has it.
struct WalFixture {
    wal: MemoryWal,
    rows: Rows,
}

impl WalFixture {
    fn new() -> Self {
        Self { wal: MemoryWal::new(4), rows: Rows::default() }
    }
}

#[async_trait]
impl SourceFixture for WalFixture {
    fn source(&self) -> Arc<dyn ConfiguredSource> {
        Arc::new(self.wal.clone())
    }

    async fn produce(&mut self, changes: usize) -> Vec<Change> {
        let of_its_own = |row: Row| Row::new(format!("{} {:06}", row.key, row.n), row.n);
        let rows: Vec<Row> = self.rows.next(changes).into_iter().map(of_its_own).collect();
        for rows in rows.chunks(5) {
            self.wal.commit(rows.iter().cloned().map(memory::Change::Insert));
        }
        rows.iter().map(change_of_row).collect()
    }

    fn change(&self, event: &EventRef<'_>) -> Option<Change> {
        change_of_event(event)
    }

    async fn unrelated(&mut self) -> bool {
        self.wal.commit([]);
        true
    }

    fn codec(&self) -> Option<Box<dyn PositionCodec>> {
        Some(Box::new(WalCodec))
    }
}

/// Two servers commit in turn.
#[derive(Default)]
struct GtidFixture {
    log: GtidLog,
    rows: Rows,
    commits: u64,
}

#[async_trait]
impl SourceFixture for GtidFixture {
    fn source(&self) -> Arc<dyn ConfiguredSource> {
        Arc::new(self.log.clone())
    }

    async fn produce(&mut self, changes: usize) -> Vec<Change> {
        let rows = self.rows.next(changes);
        for row in &rows {
            self.commits += 1;
            let server = if self.commits.is_multiple_of(2) { "a" } else { "b" };
            self.log.commit(server, self.commits, row.clone());
        }
        rows.iter().map(change_of_row).collect()
    }

    fn change(&self, event: &EventRef<'_>) -> Option<Change> {
        change_of_event(event)
    }

    fn codec(&self) -> Option<Box<dyn PositionCodec>> {
        Some(Box::new(GtidCodec))
    }
}

/// A shard a key; each is split once.
#[derive(Default)]
struct ShardFixture {
    tree: ShardTree,
    rows: Rows,
}

#[async_trait]
impl SourceFixture for ShardFixture {
    fn source(&self) -> Arc<dyn ConfiguredSource> {
        Arc::new(self.tree.clone())
    }

    async fn produce(&mut self, changes: usize) -> Vec<Change> {
        const SPLIT_AT: i64 = 5;
        let rows = self.rows.next(changes);
        for row in &rows {
            let child = format!("{}/child", row.key);
            match row.n {
                ..SPLIT_AT => self.tree.append(&row.key, row.clone()),
                SPLIT_AT => {
                    self.tree.split(&row.key, &[child.as_str()]);
                    self.tree.append(&child, row.clone());
                }
                _ => self.tree.append(&child, row.clone()),
            }
        }
        rows.iter().map(change_of_row).collect()
    }

    fn change(&self, event: &EventRef<'_>) -> Option<Change> {
        change_of_event(event)
    }
}

/// The rows of the suite as the in-memory servers have them: the content is padding.
pub(crate) fn memory_row(change: &Change) -> Vec<Value> {
    vec![Value::from(change.key.as_str()), Value::I64(0), Value::from(change.content.as_str())]
}

pub(crate) fn changes_of(delivered: &[Delivered]) -> Vec<Change> {
    delivered.iter().map(|d| Change::new(&d.row.key, &d.row.padding)).collect()
}

struct MemoryFixture(MemorySink);

#[async_trait]
impl SinkFixture for MemoryFixture {
    fn sink(&self) -> Arc<dyn ConfiguredSink> {
        Arc::new(self.0.clone())
    }

    async fn delivered(&mut self) -> Vec<Change> {
        changes_of(&self.0.delivered())
    }

    fn poison(&self) -> Option<Change> {
        Some(Change::new("key-0", "poison"))
    }

    fn table(&self) -> Arc<TableSchema> {
        Arc::clone(rows_schema())
    }

    fn row(&self, change: &Change) -> Vec<Value> {
        memory_row(change)
    }
}

#[derive(Default)]
struct TransactionalFixture(TransactionalSink);

#[async_trait]
impl SinkFixture for TransactionalFixture {
    fn sink(&self) -> Arc<dyn ConfiguredSink> {
        Arc::new(self.0.clone())
    }

    async fn delivered(&mut self) -> Vec<Change> {
        changes_of(&self.0.committed())
    }

    fn table(&self) -> Arc<TableSchema> {
        Arc::clone(rows_schema())
    }

    fn row(&self, change: &Change) -> Vec<Value> {
        memory_row(change)
    }
}

#[test]
fn a_transient_error_is_tried_again_and_a_permanent_one_breaks_the_rule() {
    for (error, passes) in [(Error::transient("test.gone"), true), (Error::permanent("test.gone"), false)] {
        let mut fixture = LogFixture::new();
        fixture.log.fail_next(error);
        let result = conformance::block_on(SourceCheck::CleanRestart.run(&mut fixture));
        assert_eq!(result.is_ok(), passes, "{result:?}");
    }
}

mod gtid_log {
    outflow_testkit::source_conformance!(super::GtidFixture::default());
}

mod shard_tree {
    outflow_testkit::source_conformance!(super::ShardFixture::default());
}

mod transactional_sink {
    outflow_testkit::sink_conformance!(super::TransactionalFixture::default());
}

mod log {
    outflow_testkit::source_conformance!(super::LogFixture::new());
}

mod wal {
    outflow_testkit::source_conformance!(super::WalFixture::new());
}

mod wal_without_pins {
    use super::{MemoryWal, Rows, WalFixture};

    outflow_testkit::source_conformance!(WalFixture {
        wal: MemoryWal::new(4).without_pins(),
        rows: Rows::default()
    });
}

mod marked_table {
    outflow_testkit::source_conformance!(super::MarkedFixture::default());
}

mod sink {
    use super::{MemoryFixture, MemorySink};

    outflow_testkit::sink_conformance!(MemoryFixture(
        MemorySink::new().rejecting(|row| row.padding == "poison")
    ));
}

mod sink_that_confirms_late {
    use super::{MemoryFixture, MemorySink};

    outflow_testkit::sink_conformance!(MemoryFixture(
        MemorySink::new().rejecting(|row| row.padding == "poison").holding(3)
    ));
}
