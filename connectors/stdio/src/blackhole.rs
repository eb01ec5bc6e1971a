//! The sink `blackhole`.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use outflow_sdk::{
    Ack, BuildContext, ChangeBatch, Description, JsonSchema, RecordBatch, Result, Sink, SinkCapabilities,
    SinkFactory, SinkKind,
};
use serde::{Deserialize, Serialize};

use crate::checksum::Sums;
use crate::configured::configured_sink;

/// Looks at everything and keeps nothing: for trials and benchmarks.
///
/// Without a `format` it visits every value of every event; with one it reads every byte of every record. When it
/// ends it prints rows, bytes and a checksum of the content to standard error. The checksum is a sum of hashes:
/// it depends neither on the order nor on how rows were cut into batches, and a repeat or a loss changes it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlackholeSink {
    #[serde(skip)]
    totals: Arc<BlackholeTotals>,
}

impl BlackholeSink {
    /// The sink.
    pub fn new() -> Self {
        Self::default()
    }

    /// What has been seen so far, for a program that embeds the pipeline. Repeats after a rewind count again.
    pub fn totals(&self) -> Arc<BlackholeTotals> {
        Arc::clone(&self.totals)
    }
}

/// What a [`BlackholeSink`] has seen. It may be read while the pipeline runs.
#[derive(Debug, Default)]
pub struct BlackholeTotals {
    rows: AtomicU64,
    bytes: AtomicU64,
    checksum: AtomicU64,
}

impl BlackholeTotals {
    /// Events or records.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Acquire)
    }

    /// Bytes of their content; numbers count eight.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// The wrapping sum of the hashes of all of them.
    pub fn checksum(&self) -> u64 {
        self.checksum.load(Ordering::Acquire)
    }

    fn add(&self, sums: Sums) {
        self.checksum.fetch_add(sums.checksum, Ordering::AcqRel);
        self.bytes.fetch_add(sums.bytes, Ordering::AcqRel);
        // Last, so that whoever waits for a number of rows sees what belongs to them.
        self.rows.fetch_add(sums.items, Ordering::AcqRel);
    }
}

impl std::fmt::Display for BlackholeTotals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rows, {} bytes, checksum {:016x}", self.rows(), self.bytes(), self.checksum())
    }
}

/// Makes the sink `blackhole`.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlackholeFactory;

impl SinkFactory for BlackholeFactory {
    type Config = BlackholeSink;

    fn type_name(&self) -> &'static str {
        "blackhole"
    }

    fn description(&self) -> Description {
        Description {
            summary: "Looks at everything and keeps nothing; prints rows, bytes and a checksum at the end.",
            guarantees: "None: what arrives is gone. With a format the records are made and read as well.",
            example: "sink:\n  type: blackhole\n  format: json\n",
        }
    }

    fn capabilities(&self, _: &BlackholeSink) -> SinkCapabilities {
        SinkCapabilities::new().ordered()
    }

    async fn build(&self, config: &BlackholeSink, cx: &BuildContext) -> Result<SinkKind> {
        let hole = Hole { totals: config.totals() };
        Ok(if cx.has_format { SinkKind::Records(Box::new(hole)) } else { SinkKind::Changes(Box::new(hole)) })
    }
}

configured_sink!(BlackholeSink, BlackholeFactory);

struct Hole {
    totals: Arc<BlackholeTotals>,
}

impl Hole {
    fn take(&self, visit: impl FnOnce(&mut Sums), ack: Ack) {
        let mut sums = Sums::default();
        visit(&mut sums);
        self.totals.add(sums);
        ack.durable();
    }

    fn report(&self) {
        // Standard error may be closed; that is no reason to fail.
        let _ = writeln!(std::io::stderr(), "blackhole   {}", self.totals);
    }
}

#[async_trait]
impl Sink for Hole {
    async fn write(&mut self, batch: &Arc<ChangeBatch>, ack: Ack) -> Result<()> {
        self.take(|sums| batch.iter().for_each(|event| sums.event(event)), ack);
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.report();
        Ok(())
    }
}

#[async_trait]
impl Sink<RecordBatch> for Hole {
    async fn write(&mut self, batch: &Arc<RecordBatch>, ack: Ack) -> Result<()> {
        self.take(|sums| batch.iter().for_each(|record| sums.record(record)), ack);
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.report();
        Ok(())
    }
}
