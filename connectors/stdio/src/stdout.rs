//! The sink `stdout`.

use std::io::{ErrorKind, Write};
use std::sync::Arc;

use async_trait::async_trait;
use outflow_sdk::{
    Ack, BuildContext, Checkpoint, Description, Error, JsonSchema, RecordBatch, Result, Sink,
    SinkCapabilities, SinkContext, SinkFactory, SinkKind,
};
use serde::{Deserialize, Serialize};

use crate::configured::configured_sink;
use crate::lines::{Destination, LineWriter};

/// Records on standard output, one a line. Tombstones have no line.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StdoutSink {}

impl StdoutSink {
    /// The sink.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Makes the sink `stdout`.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdoutFactory;

impl SinkFactory for StdoutFactory {
    type Config = StdoutSink;

    fn type_name(&self) -> &'static str {
        "stdout"
    }

    fn description(&self) -> Description {
        Description {
            summary: "Records on standard output, one a line; logs go to standard error.",
            guarantees: "At least once: a batch counts as delivered once it has been written and flushed. What \
                         the reader does with it is the reader's: a crash of the reader loses what it had not read.",
            example: "sink:\n  type: stdout\n",
        }
    }

    fn capabilities(&self, _: &StdoutSink) -> SinkCapabilities {
        SinkCapabilities::new().ordered()
    }

    fn default_format(&self) -> Option<&'static str> {
        Some("json")
    }

    async fn build(&self, _: &StdoutSink, _: &BuildContext) -> Result<SinkKind> {
        Ok(SinkKind::Records(Box::new(Lines { writer: None })))
    }
}

configured_sink!(StdoutSink, StdoutFactory);

struct Lines {
    writer: Option<LineWriter>,
}

#[async_trait]
impl Sink<RecordBatch> for Lines {
    async fn open(&mut self, _: SinkContext) -> Result<Option<Checkpoint>> {
        self.writer = Some(LineWriter::start("outflow-stdout", Stream(std::io::stdout()))?);
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

/// A call out of order.
pub(crate) fn not_open() -> Error {
    Error::internal("sink.not_open").message("the sink was written to before it was opened")
}

/// A stream that cannot take back what it has taken.
struct Stream<W>(W);

impl<W: Write + Send + 'static> Destination for Stream<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes).map_err(failed)
    }

    fn sync(&mut self) -> Result<()> {
        self.0.flush().map_err(failed)
    }
}

fn failed(error: std::io::Error) -> Error {
    if error.kind() == ErrorKind::BrokenPipe {
        return Error::permanent("stdout.closed")
            .message("whoever read the output has gone")
            .hint("nothing was acknowledged that was not written; start again, and it goes on from there");
    }
    Error::transient("stdout.write_failed")
        .message("cannot write to standard output")
        .hint("see where standard output goes: a full disk, a terminal that is gone")
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_a_clean_error() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let error = Stream(writer).write(b"line\n").unwrap_err();
        assert_eq!(error.code(), "stdout.closed");
        assert!(!error.is_transient());
        assert!(error.hint_text().is_some());
    }

    #[test]
    fn a_reader_that_is_there_reads() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut stream = Stream(writer);
        stream.write(b"line\n").unwrap();
        stream.sync().unwrap();
        drop(stream);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "line\n");
    }
}
