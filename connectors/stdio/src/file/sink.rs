//! The sink `file`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use outflow_sdk::{
    Ack, BuildContext, Checkpoint, Description, Error, Findings, JsonSchema, RecordBatch, Result, Sink,
    SinkCapabilities, SinkContext, SinkFactory, SinkKind,
};
use serde::{Deserialize, Serialize};

use super::append::Append;
use super::resolve;
use crate::configured::configured_sink;
use crate::lines::LineWriter;
use crate::stdout::not_open;

/// Records in a file, one a line. A batch counts as delivered once the file has been synced; batches that wait
/// are synced together. Tombstones have no line.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSink {
    /// The file, appended to; created if its folder exists. Relative to the pipeline file.
    path: PathBuf,
}

impl FileSink {
    /// A sink that appends to the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

/// Makes the sink `file`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSinkFactory;

impl SinkFactory for FileSinkFactory {
    type Config = FileSink;

    fn type_name(&self) -> &'static str {
        "file"
    }

    fn description(&self) -> Description {
        Description {
            summary: "Records in a file, one a line (JSON lines with the format json).",
            guarantees: "At least once: synced to the disk before a batch counts as delivered. A line that a \
                         killed process left unfinished is cut off at the next start. One writer a file.",
            example: "sink:\n  type: file\n  path: orders.jsonl\n",
        }
    }

    fn capabilities(&self, _: &FileSink) -> SinkCapabilities {
        SinkCapabilities::new().ordered()
    }

    fn default_format(&self) -> Option<&'static str> {
        Some("json")
    }

    fn address(&self, config: &FileSink) -> String {
        config.path.display().to_string()
    }

    async fn check(&self, config: &FileSink, findings: &mut Findings) {
        // Relative paths start from a folder that is not known here.
        if !config.path.is_absolute() {
            return;
        }
        let folder = config.path.parent().unwrap_or(Path::new("/"));
        let found = std::fs::metadata(folder).is_ok_and(|m| m.is_dir());
        let message = format!("{} is no folder", folder.display());
        findings.require(found, "file.folder", message, &format!("mkdir -p {}", folder.display()));
        let is_folder = std::fs::metadata(&config.path).is_ok_and(|m| m.is_dir());
        if is_folder {
            findings.error(
                "file.is_folder",
                format!("{} is a folder", config.path.display()),
                ["name a file"],
            );
        }
    }

    async fn build(&self, config: &FileSink, cx: &BuildContext) -> Result<SinkKind> {
        Ok(SinkKind::Records(Box::new(Lines { path: resolve(cx, &config.path), writer: None })))
    }
}

configured_sink!(FileSink, FileSinkFactory);

struct Lines {
    path: PathBuf,
    writer: Option<LineWriter>,
}

#[async_trait]
impl Sink<RecordBatch> for Lines {
    async fn open(&mut self, _: SinkContext) -> Result<Option<Checkpoint>> {
        let path = self.path.clone();
        let opened = tokio::task::spawn_blocking(move || Append::open(&path)).await;
        let file = opened.map_err(|e| Error::internal("file.open_panicked").caused_by(e))??;
        self.writer = Some(LineWriter::start("outflow-file", file)?);
        Ok(None)
    }

    async fn write(&mut self, batch: &Arc<RecordBatch>, ack: Ack) -> Result<()> {
        match &self.writer {
            Some(writer) => writer.write(batch, ack).await,
            None => Err(not_open()),
        }
    }

    async fn flush(&mut self) -> Result<()> {
        match &self.writer {
            Some(writer) => writer.flush().await,
            None => Ok(()),
        }
    }

    async fn close(self: Box<Self>) -> Result<()> {
        match self.writer {
            Some(writer) => writer.close().await,
            None => Ok(()),
        }
    }
}
