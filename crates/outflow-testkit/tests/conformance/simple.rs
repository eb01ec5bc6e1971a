//! Connectors of the simple level under the suites, as a third party writes them.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use outflow_sdk::prelude::*;
use outflow_sdk::{Column, ConfiguredSink, ConfiguredSource, LogicalType, ValueRef, serde_json::json};
use outflow_testkit::conformance::{Change, SinkFixture, SourceFixture, configured_sink, configured_source};
use tempfile::TempDir;

/// Reads a file of `key content` lines once.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(crate = "outflow_sdk::serde")]
#[schemars(crate = "outflow_sdk::schemars")]
struct LinesSource {
    path: PathBuf,
}

fn table() -> &'static Arc<TableSchema> {
    static TABLE: LazyLock<Arc<TableSchema>> = LazyLock::new(|| {
        TableSchema::builder("lines")
            .column(Column::new("key", LogicalType::Text).not_null())
            .column(Column::new("content", LogicalType::Text).not_null())
            .key(["key"])
            .build()
    });
    &TABLE
}

#[async_trait]
impl SourceConnector for LinesSource {
    const TYPE: &'static str = "lines";
    const CAPABILITIES: SourceCapabilities = SourceCapabilities::new().resume().stop_at_current();

    async fn run(self, cx: &mut SourceContext) -> Result<()> {
        let text = std::fs::read_to_string(&self.path).transient("lines.read")?;
        let done = cx.resume().map_or(Ok(0), |at| at.as_str().parse()).permanent("lines.position")?;
        for (line, n) in text.lines().zip(1_usize..).skip(done) {
            let (key, content) = line.split_once(' ').unwrap_or_default();
            let at = Position::token(n.to_string());
            cx.change(Op::Insert, table(), &[key.into(), content.into()], &at);
            cx.emit_through(at).await?;
        }
        Ok(())
    }
}

struct Lines {
    folder: TempDir,
    written: Vec<Change>,
}

impl Lines {
    fn new() -> Self {
        let lines = Self { folder: tempfile::tempdir().unwrap(), written: Vec::new() };
        std::fs::write(lines.path(), "").unwrap();
        lines
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("lines")
    }
}

#[async_trait]
impl SourceFixture for Lines {
    fn source(&self) -> Arc<dyn ConfiguredSource> {
        configured_source::<LinesSource>(json!({ "path": self.path() }))
    }

    async fn produce(&mut self, changes: usize) -> Vec<Change> {
        let first = self.written.len();
        let new: Vec<_> =
            (first..first + changes).map(|n| Change::new((n % 4).to_string(), n.to_string())).collect();
        self.written.extend(new.clone());
        let text = self.written.iter().map(|c| format!("{} {}\n", c.key, c.content));
        std::fs::write(self.path(), text.collect::<String>()).unwrap();
        new
    }

    fn change(&self, event: &EventRef<'_>) -> Option<Change> {
        let row = event.after()?;
        match (row.by_name("key")?, row.by_name("content")?) {
            (ValueRef::Text(key), ValueRef::Text(content)) => Some(Change::new(key, content)),
            _ => None,
        }
    }
}

/// Writes the key and content of each record to a file.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(crate = "outflow_sdk::serde")]
#[schemars(crate = "outflow_sdk::schemars")]
struct LinesSink {
    path: PathBuf,
}

#[async_trait]
impl SinkConnector for LinesSink {
    const TYPE: &'static str = "lines";
    type Item = Record;
    const CAPABILITIES: SinkCapabilities = SinkCapabilities::new().ordered().rejects();

    async fn write(&mut self, batch: &Batch<Record>) -> Result<Written> {
        let refused = |value: &[u8]| value.windows(6).any(|bytes| bytes == b"poison");
        let mut file =
            std::fs::OpenOptions::new().create(true).append(true).open(&self.path).transient("lines.open")?;
        let mut bad = Vec::new();
        let mut out = Vec::new();
        for (i, record) in batch.iter().enumerate() {
            let value = record.value().unwrap_or_default();
            if refused(value) {
                bad.push((i, Error::data("lines.poison")));
            } else {
                out.extend_from_slice(value);
                out.push(b'\n');
            }
        }
        std::io::Write::write_all(&mut file, &out).transient("lines.write")?;
        Ok(Written::rejected(bad))
    }
}

#[async_trait]
impl SinkFixture for Lines {
    fn sink(&self) -> Arc<dyn ConfiguredSink> {
        configured_sink::<LinesSink>(json!({ "path": self.path() }))
    }

    async fn delivered(&mut self) -> Vec<Change> {
        let text = std::fs::read_to_string(self.path()).unwrap();
        let change = |line: &str| {
            let record: outflow_sdk::serde_json::Value = outflow_sdk::serde_json::from_str(line).unwrap();
            let text = |column: &str| record["after"][column].as_str().unwrap().to_owned();
            Change::new(text("key"), text("content"))
        };
        text.lines().map(change).collect()
    }

    fn poison(&self) -> Option<Change> {
        Some(Change::new("key-0", "poison"))
    }
}

mod source {
    outflow_testkit::source_conformance!(super::Lines::new());
}

mod sink {
    outflow_testkit::sink_conformance!(super::Lines::new());
}
