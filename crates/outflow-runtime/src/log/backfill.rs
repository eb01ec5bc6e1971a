//! Completes a snapshot while the log streams, between watermarks.
//!
//! A page of rows is read together with what it has seen. When the log has passed that moment, the page's rows are
//! handed over, except those whose keys a transaction has changed that the page did not see: the log has told of them
//! already. So no key steps back (invariant 3), and nothing is written on the source.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use outflow_sdk::{
    BatchBuilder, BatchLimits, ChangeBatch, Chunk, ChunkPage, ChunkReader, Error, Moment, PartitionId,
    Position, Result, Snapshot, TransactionTag, WalSource,
};

use super::changed::Changed;
use super::plan::{self, Plan};

/// Pages that were read and wait for the log; each is of another chunk.
const WINDOWS: usize = 4;
/// The bounds of a page.
const PAGE: BatchLimits = BatchLimits { bytes: 1 << 20, events: 8192 };
/// The pause after a page that could not be read now.
const PAUSE: Duration = Duration::from_millis(100);

/// The rest of a snapshot.
pub(super) struct Backfill {
    snapshot: Arc<dyn Snapshot>,
    /// What is neither being read nor waiting.
    work: VecDeque<Work>,
    reading: Option<Pin<Box<dyn Future<Output = Result<Done>> + Send>>>,
    windows: VecDeque<Window>,
    changed: Changed,
    spare: Vec<BatchBuilder>,
    obstacle: Option<String>,
}

/// What is to be read.
enum Work {
    Chunk(Chunk),
    /// The rows of a chunk without a key, further on.
    Rows(Chunk, Box<dyn ChunkReader>),
}

/// Rows that were read.
struct Window {
    chunk: Chunk,
    rows: BatchBuilder,
    left: Left,
    /// What they have seen; `None` for rows without a key, which are handed over as they come.
    moment: Option<Box<dyn Moment>>,
}

/// What is left of a window's chunk.
enum Left {
    Nothing,
    Chunk(Chunk),
    Rows(Box<dyn ChunkReader>),
}

/// How a reading ended.
enum Done {
    Window(Window),
    NotNow { chunk: Chunk, rows: BatchBuilder, obstacle: String },
}

impl Backfill {
    pub(super) fn new(snapshot: Arc<dyn Snapshot>, mut plan: Plan) -> Self {
        Self {
            snapshot,
            work: plan.take().into_iter().map(Work::Chunk).collect(),
            reading: None,
            windows: VecDeque::new(),
            changed: Changed::new(),
            spare: Vec::new(),
            obstacle: None,
        }
    }

    /// Notes what the log says.
    pub(super) fn note(
        &mut self,
        batch: &ChangeBatch,
        transactions: Vec<(String, TransactionTag)>,
    ) -> Result<()> {
        self.changed.note(batch, transactions)
    }

    pub(super) fn is_done(&self) -> bool {
        self.work.is_empty() && self.windows.is_empty() && self.reading.is_none()
    }

    /// What it waits for.
    pub(super) fn obstacle(&self) -> Option<&str> {
        self.obstacle.as_deref()
    }

    /// What it reads, to be closed at the end.
    pub(super) fn into_snapshot(self) -> Arc<dyn Snapshot> {
        self.snapshot
    }

    /// Reads a page; waits while enough of them wait. Cancel-safe.
    pub(super) async fn read(&mut self, source: &dyn WalSource) -> Result<()> {
        if self.reading.is_none() {
            if self.changed.is_overfull() {
                self.look_anew(source).await?;
            }
            if self.windows.len() >= WINDOWS {
                return std::future::pending().await;
            }
            let Some(work) = self.work.pop_front() else { return std::future::pending().await };
            let rows = self.spare.pop().unwrap_or_default();
            self.reading = Some(Box::pin(read(Arc::clone(&self.snapshot), work, rows)));
        }
        let Some(reading) = &mut self.reading else { return Ok(()) };
        let done = reading.await;
        self.reading = None;
        match done? {
            Done::Window(window) => {
                self.obstacle = None;
                // Nothing is being read now, and what is read later sees at least as much as this.
                let has_seen = window.moment.is_some();
                self.windows.push_back(window);
                if has_seen {
                    self.changed.forget(self.windows.iter().filter_map(|w| w.moment.as_deref()));
                }
            }
            Done::NotNow { chunk, rows, obstacle } => {
                self.obstacle = Some(obstacle);
                self.work.push_back(Work::Chunk(chunk));
                self.spare.push(rows);
            }
        }
        Ok(())
    }

    /// Begins to note anew, when more transactions have gone by than can be known of.
    async fn look_anew(&mut self, source: &dyn WalSource) -> Result<()> {
        while let Some(index) = self.windows.iter().position(|window| window.moment.is_some()) {
            let Some(mut window) = self.windows.remove(index) else { break };
            window.rows.discard();
            self.spare.push(window.rows);
            self.work.push_front(Work::Chunk(window.chunk));
        }
        // What was noted until now is not needed by a snapshot that is asked for later.
        let snapshot = source.snapshot().await?;
        self.changed.clear();
        self.snapshot = snapshot;
        Ok(())
    }

    fn passed(&self, position: &Position) -> Option<usize> {
        let passed = |w: &Window| w.moment.as_ref().is_none_or(|moment| moment.is_passed_by(position));
        self.windows.iter().position(passed)
    }

    /// Whether a page waits that the log has passed.
    pub(super) fn is_passed(&self, position: &Position) -> bool {
        self.passed(position).is_some()
    }

    /// A page that the log has passed, without what the log knows better. `None` where the page is read again.
    pub(super) fn take(
        &mut self,
        partition: PartitionId,
        position: &Position,
    ) -> Result<Option<ChangeBatch>> {
        let window = self.passed(position).and_then(|index| self.windows.remove(index));
        let Some(Window { chunk, mut rows, left, moment }) = window else { return Ok(None) };
        match &left {
            Left::Nothing => plan::done(rows.state(), &chunk),
            Left::Chunk(rest) => plan::rest(rows.state(), rest)?,
            Left::Rows(_) => {}
        }
        let mut batch = rows.finish(partition, Some(position.clone()));
        self.spare.push(rows);
        let is_certain = match moment {
            Some(moment) => self.changed.unseen_by(&*moment).filter(&mut batch)?,
            None => true,
        };
        match left {
            _ if !is_certain => self.work.push_back(Work::Chunk(chunk)),
            Left::Nothing => {}
            Left::Chunk(rest) => self.work.push_front(Work::Chunk(rest)),
            Left::Rows(reader) => self.work.push_front(Work::Rows(chunk, reader)),
        }
        Ok(is_certain.then_some(batch))
    }
}

async fn read(snapshot: Arc<dyn Snapshot>, work: Work, mut rows: BatchBuilder) -> Result<Done> {
    let chunk = match work {
        Work::Chunk(chunk) if chunk.keyed => chunk,
        Work::Chunk(chunk) => {
            let reader = snapshot.open(&chunk).await?;
            return read_on(chunk, reader, rows).await;
        }
        Work::Rows(chunk, reader) => return read_on(chunk, reader, rows).await,
    };
    match snapshot.page(&chunk, PAGE, &mut rows).await? {
        ChunkPage::Read { moment, rest } => {
            let left = rest.map_or(Left::Nothing, Left::Chunk);
            Ok(Done::Window(Window { chunk, rows, left, moment: Some(moment) }))
        }
        ChunkPage::NotNow { obstacle } => {
            tokio::time::sleep(PAUSE).await;
            Ok(Done::NotNow { chunk, rows, obstacle })
        }
        other => Err(Error::internal("log.page").message(format!("{other:?}"))),
    }
}

async fn read_on(chunk: Chunk, mut reader: Box<dyn ChunkReader>, mut rows: BatchBuilder) -> Result<Done> {
    let more = reader.next(PAGE, &mut rows).await?;
    let left = if more { Left::Rows(reader) } else { Left::Nothing };
    Ok(Done::Window(Window { chunk, rows, left, moment: None }))
}
