//! The connectors keep the contract.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use outflow_connector_stdio::{FileSink, FileSource, FileSourceFactory, Generator, GeneratorFactory};
use outflow_sdk::json::write_event;
use outflow_sdk::{
    BatchBuilder, Column, ConfiguredSink, ConfiguredSource, EventRef, LogicalType, Op, Position,
    PositionCodec, SourceFactory as _, TableSchema, ValueRef, async_trait,
};
use outflow_testkit::conformance::{Change, SinkFixture, SourceFixture};
use tempfile::TempDir;

const KEYS: u64 = 3;

/// The change with this number, of keys that take turns.
fn numbered(n: u64) -> Change {
    Change::new((n % KEYS).to_string(), n.to_string())
}

fn integer(event: &EventRef<'_>, column: &str) -> Option<i64> {
    match event.after()?.by_name(column)? {
        ValueRef::I64(n) => Some(n),
        _ => None,
    }
}

mod generator {
    use super::*;

    #[derive(Default)]
    struct Fixture {
        rows: u64,
    }

    #[async_trait]
    impl SourceFixture for Fixture {
        fn source(&self) -> Arc<dyn ConfiguredSource> {
            Arc::new(Generator::new().keys(KEYS).rows(self.rows))
        }

        async fn produce(&mut self, changes: usize) -> Vec<Change> {
            let first = self.rows;
            self.rows += changes as u64;
            (first..self.rows).map(numbered).collect()
        }

        fn change(&self, event: &EventRef<'_>) -> Option<Change> {
            // Rows are random; their number is what their id says: a hundred to a transaction.
            let n = event.id().commit.parse::<u64>().ok()? * 100 + event.id().ordinal;
            Some(Change::new(integer(event, "id")?.to_string(), n.to_string()))
        }

        fn codec(&self) -> Option<Box<dyn PositionCodec>> {
            GeneratorFactory.positions()
        }
    }

    outflow_testkit::source_conformance!(Fixture::default());
}

/// A file that lines of outflow-json are appended to.
struct Journal {
    folder: TempDir,
    follow: bool,
    events: u64,
}

impl Journal {
    fn new(follow: bool) -> Self {
        let journal = Self { folder: tempfile::tempdir().unwrap(), follow, events: 0 };
        journal.append(b"");
        journal
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("events.jsonl")
    }

    fn append(&self, lines: &[u8]) {
        let file = OpenOptions::new().create(true).append(true).open(self.path());
        file.unwrap().write_all(lines).unwrap();
    }
}

/// Events as lines.
fn lines(events: Range<u64>) -> Vec<u8> {
    static TABLE: LazyLock<Arc<TableSchema>> = LazyLock::new(|| {
        let table = TableSchema::builder("changes").key(["key"]);
        let columns = ["key", "n"].map(|name| Column::new(name, LogicalType::Int(64)).not_null());
        columns.into_iter().fold(table, |table, column| table.column(column)).build()
    });
    let mut builder = BatchBuilder::new();
    builder.origin("journal");
    let schema = builder.schema(&TABLE);
    for n in events {
        let transaction = builder.transaction(&n.to_string(), None);
        let mut event = builder.event(Op::Insert).schema(schema).transaction(transaction);
        let mut row = event.after();
        row.i64((n % KEYS).cast_signed());
        row.i64(n.cast_signed());
        row.end().unwrap();
        event.end();
    }
    let mut out = Vec::new();
    for event in builder.finish("journal".into(), Some(Position::token("0"))).iter() {
        write_event(event, &mut out);
        out.push(b'\n');
    }
    out
}

#[async_trait]
impl SourceFixture for Journal {
    fn source(&self) -> Arc<dyn ConfiguredSource> {
        let source = FileSource::new(self.path());
        Arc::new(if self.follow { source.follow() } else { source })
    }

    async fn produce(&mut self, changes: usize) -> Vec<Change> {
        let first = self.events;
        self.events += changes as u64;
        self.append(&lines(first..self.events));
        (first..self.events).map(numbered).collect()
    }

    fn change(&self, event: &EventRef<'_>) -> Option<Change> {
        Some(Change::new(integer(event, "key")?.to_string(), integer(event, "n")?.to_string()))
    }

    fn codec(&self) -> Option<Box<dyn PositionCodec>> {
        FileSourceFactory.positions()
    }
}

mod file_source {
    outflow_testkit::source_conformance!(super::Journal::new(false));
}

mod file_source_that_follows {
    outflow_testkit::source_conformance!(super::Journal::new(true));
}

mod file_sink {
    use super::*;

    struct Fixture(TempDir);

    impl Fixture {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("records.jsonl")
        }
    }

    #[async_trait]
    impl SinkFixture for Fixture {
        fn sink(&self) -> Arc<dyn ConfiguredSink> {
            Arc::new(FileSink::new(self.path()))
        }

        async fn delivered(&mut self) -> Vec<Change> {
            let text = match std::fs::read_to_string(self.path()) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
                text => text.unwrap(),
            };
            // A line without its end does not count: the next start cuts it off.
            let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let change = |line: &str| {
                let record: serde_json::Value = serde_json::from_str(line).unwrap();
                let text = |column: &str| record["after"][column].as_str().unwrap().to_owned();
                Change::new(text("key"), text("content"))
            };
            lines.map(change).collect()
        }
    }

    outflow_testkit::sink_conformance!(Fixture::new());
}
