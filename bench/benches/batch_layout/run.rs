//! One run: a producer task and a consumer task, each on a thread of its own, joined by a bounded channel.

use std::collections::VecDeque;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use outflow_bench::{Digest, Plan, Result, Row as Source, Usage, Wire, freed_by, measured, schema};
use outflow_core::ValueRef;
use tokio::sync::mpsc;
use xxhash_rust::xxh3::Xxh3;

use crate::layout::{Batch, Reader, Row};

/// Rows of a batch.
pub(crate) const BATCH: usize = 1_024;
/// How many batches the consumer holds: what a blocked sink would.
pub(crate) const HELD: usize = 256;
/// Batches in the channel.
const CHANNEL: usize = 4;
/// The column that the filter looks at.
const STATUS: usize = 3;

/// What the consumer does with each batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Work {
    /// Read every value and hold on to the last batches whole.
    Hold,
    /// Keep one row of a thousand and hold on to the last batches.
    Filter { compact: bool },
    /// Every row as a JSON line.
    Encode,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hold => "hold whole",
            Self::Filter { compact: false } => "filter",
            Self::Filter { compact: true } => "filter and compact",
            Self::Encode => "encode JSON",
        })
    }
}

/// What one run took, and what it saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) elapsed: Duration,
    pub(crate) producer: Usage,
    pub(crate) consumer: Usage,
    pub(crate) seen: Seen,
    /// Rows in the batches that were held at the end.
    pub(crate) held_rows: u64,
    /// Bytes that these batches alone kept alive.
    pub(crate) held_bytes: u64,
}

/// Proof of what the consumer got: equal for every layout.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) received: u64,
    pub(crate) kept: u64,
    pub(crate) checksum: u64,
}

pub(crate) fn run<R: Reader>(wire: &Wire, work: Work) -> Result<Outcome> {
    let (sender, receiver) = mpsc::channel(CHANNEL);
    let start = Instant::now();
    let (produced, consumed) = thread::scope(|scope| {
        let producer = scope.spawn(|| measured(|| block_on(produce::<R>(wire.clone(), sender))));
        let consumer = scope.spawn(|| measured(|| block_on(consume(work, receiver))));
        (producer.join(), consumer.join())
    });
    let elapsed = start.elapsed();
    let (produced, producer) = produced.map_err(|_| "the producer panicked")?;
    let (consumed, consumer) = consumed.map_err(|_| "the consumer panicked")?;
    produced??;
    let consumed = consumed?;
    let held_rows = consumed.held.iter().map(|batch| batch.len() as u64).sum();
    let held_bytes = freed_by(consumed.held);
    Ok(Outcome { elapsed, producer, consumer, seen: consumed.seen, held_rows, held_bytes })
}

fn block_on<F: Future>(task: F) -> Result<F::Output> {
    Ok(tokio::runtime::Builder::new_current_thread().build()?.block_on(task))
}

async fn produce<R: Reader>(wire: Wire, to: mpsc::Sender<R::Batch>) -> Result<()> {
    let mut reader = R::new(wire);
    while let Some(batch) = reader.next_batch(BATCH)? {
        to.send(batch).await.map_err(|_| "the consumer went away")?;
    }
    Ok(())
}

struct Consumed<B> {
    seen: Seen,
    held: VecDeque<B>,
}

async fn consume<B: Batch>(work: Work, mut from: mpsc::Receiver<B>) -> Consumed<B> {
    let mut seen = Seen::default();
    let mut held = VecDeque::new();
    let mut digest = Digest::default();
    let plan = Plan::new(&schema());
    let mut json = Vec::new();
    let mut lines = Xxh3::new();
    while let Some(mut batch) = from.recv().await {
        seen.received += batch.len() as u64;
        if work == Work::Encode {
            json.clear();
            batch.rows().for_each(|row| plan.encode(row.values(), &mut json));
            lines.update(&json);
            continue;
        }
        if let Work::Filter { compact } = work {
            batch.retain(|row| row.get(STATUS) == ValueRef::Text(Source::RARE_STATUS));
            if compact {
                batch.compact_if_sparse();
            }
        }
        seen.kept += batch.len() as u64;
        batch.rows().flat_map(Row::values).for_each(|value| digest.value(value));
        if batch.len() > 0 {
            held.push_back(batch);
        }
        if held.len() > HELD {
            held.pop_front();
        }
    }
    seen.checksum = if work == Work::Encode { lines.digest() } else { digest.finish() };
    Consumed { seen, held }
}
