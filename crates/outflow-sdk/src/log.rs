//! The log family: servers whose commits can be read again, in order, and whose tables can be read at a moment.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use outflow_core::{BatchBuilder, Checkpoint, PartitionId, Position, Result};
use serde::{Deserialize, Serialize};

use crate::source::BatchLimits;

/// A server's log. The runtime's driver joins what is there to what follows, without gap or overlap, keeps order and
/// releases; the connector speaks to the server.
///
/// The driver compares the server's identity with the checkpoint's first. On a first start it calls
/// [`begin`](Self::begin), reads the chunks of the snapshot, and then the log from the beginning that it was given.
/// Later starts open the log at once and complete the chunks that were not done while it streams, between watermarks
/// (Andreakis and Papapanagiotou, *DBLog: A Watermark Based Change-Data-Capture Framework*, 2020): a page of rows is
/// read, the log is followed beyond that moment, and only then are the rows delivered whose keys no transaction has
/// changed which the page did not see.
///
/// All methods may be dropped at any await.
#[async_trait]
pub trait LogSource: Send + Sync {
    /// The partition of the log.
    fn partition(&self) -> PartitionId;

    /// What the driver is to do at the first start, and when a position is lost.
    fn policy(&self) -> LogPolicy;

    /// Who the server is, as a text that never changes as long as positions keep their meaning. Called before anything
    /// else is.
    async fn identify(&self) -> Result<String>;

    /// Has the log kept from a point on, and gives that point. With `pin`, a snapshot of exactly that point as well,
    /// where the server can give one. `again` means that an earlier beginning was lost and is to be replaced.
    async fn begin(&self, pin: bool, again: bool) -> Result<Beginning>;

    /// Reads tables while the log is followed. Chunks that are read by it were planned at the beginning. All
    /// transactions that come out of the log after this call are noted by the driver; a page that cannot tell which
    /// earlier ones it sees is `NotNow`.
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>>;

    /// Opens the log after `from`. `checkpoint` holds the state that the reader has written into its batches.
    ///
    /// # Errors
    /// Of kind `Position` where the log no longer reaches back, or belongs to another history; never a jump.
    async fn open(&self, from: &Position, checkpoint: &Checkpoint) -> Result<Box<dyn LogReader>>;

    /// This moment: everything committed before it lies before it in the log.
    async fn now(&self) -> Result<Box<dyn Moment>>;

    /// Something that holds up delivery and that the operator should know.
    fn obstacle(&self) -> Option<String> {
        None
    }

    /// Says farewell to the server: what was released is told before the connection goes.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// A log that the server keeps until it is released (a replication slot).
pub trait WalSource: LogSource {
    /// Everything up to here is delivered and stored, and may be forgotten. Called in order; returns at once, and only
    /// the newest counts. The server is told by a task of its own, also while nobody calls `next`.
    fn release(&self, durable: &Position);
}

/// What a log's driver does at its first start and when a position is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogPolicy {
    /// The rows that are there.
    pub snapshot: SnapshotMode,
    /// Whether a lost position begins anew instead of stopping the pipeline.
    pub resnapshot: bool,
    /// How many chunks are read at once.
    pub workers: usize,
}

impl LogPolicy {
    /// With another snapshot.
    #[must_use]
    pub const fn snapshot(mut self, mode: SnapshotMode) -> Self {
        self.snapshot = mode;
        self
    }

    /// A lost position begins anew.
    #[must_use]
    pub const fn resnapshot(mut self) -> Self {
        self.resnapshot = true;
        self
    }

    /// With so many readers.
    #[must_use]
    pub const fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// `initial`, by two workers; a lost position stops the pipeline.
    pub const fn new() -> Self {
        Self { snapshot: SnapshotMode::Initial, resnapshot: false, workers: 2 }
    }
}

impl Default for LogPolicy {
    fn default() -> Self {
        Self::new()
    }
}

/// What a first start delivers of what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotMode {
    /// Every row, then changes.
    #[default]
    Initial,
    /// Every row, and the run ends.
    InitialOnly,
    /// Changes alone.
    Never,
}

/// Where a log begins.
#[non_exhaustive]
pub struct Beginning {
    /// The position to open the log at.
    pub position: Position,
    /// A snapshot of what was committed before `position`, and nothing that comes after it.
    pub pinned: Option<Arc<dyn Snapshot>>,
}

impl Beginning {
    /// A beginning without a snapshot of its point.
    pub fn new(position: Position) -> Self {
        Self { position, pinned: None }
    }

    /// With a snapshot of its point.
    #[must_use]
    pub fn pinned(mut self, snapshot: Arc<dyn Snapshot>) -> Self {
        self.pinned = Some(snapshot);
        self
    }
}

impl fmt::Debug for Beginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beginning")
            .field("position", &self.position)
            .field("pinned", &self.pinned.is_some())
            .finish()
    }
}

/// Tables, read in chunks.
#[async_trait]
pub trait Snapshot: Send + Sync {
    /// All chunks, in the order in which they are best read. Together they cover each row once.
    async fn plan(&self) -> Result<Vec<Chunk>>;

    /// Reads a chunk as a stream: of a pinned snapshot, or of a table without a key.
    async fn open(&self, chunk: &Chunk) -> Result<Box<dyn ChunkReader>>;

    /// Reads the first rows of a chunk of a table with a key, within the limits, and tells what they have seen. The key
    /// of the rows' schema is that of the log's.
    async fn page(&self, chunk: &Chunk, limits: BatchLimits, out: &mut BatchBuilder) -> Result<ChunkPage>;

    /// Ends the snapshot.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// A part of a table: a range of keys, or all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The chunk's name among those of its snapshot; it stays when only a rest is left.
    pub name: String,
    /// The table, as the schema of its rows names it (`qualified_name`).
    pub table: String,
    /// Whether its rows have a key. Without one a chunk is read from its beginning again after a crash.
    pub keyed: bool,
    /// What it covers, in the source's own words.
    pub range: String,
}

/// The rows of a chunk.
#[async_trait]
pub trait ChunkReader: Send {
    /// Writes rows into `out` up to the limits, or to the end. False after the last row.
    async fn next(&mut self, limits: BatchLimits, out: &mut BatchBuilder) -> Result<bool>;
}

/// What reading the first rows of a chunk came to.
#[non_exhaustive]
pub enum ChunkPage {
    /// Rows were written.
    Read {
        /// What they have seen. The moment is not before their reading ended.
        moment: Box<dyn Moment>,
        /// What is left of the chunk.
        rest: Option<Chunk>,
    },
    /// Nothing was written, since it cannot be told which changes the rows would have seen. To be tried again.
    NotNow {
        /// What is waited for.
        obstacle: String,
    },
}

impl fmt::Debug for ChunkPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { rest, .. } => f.debug_struct("Read").field("rest", rest).finish_non_exhaustive(),
            Self::NotNow { obstacle } => f.debug_struct("NotNow").field("obstacle", obstacle).finish(),
        }
    }
}

/// A moment of a server, as its log and those who read at it see it.
pub trait Moment: Send + Sync {
    /// Whether the log up to and including `position` holds everything that was committed before this moment.
    fn is_passed_by(&self, position: &Position) -> bool;

    /// Whether what was read at this moment has the changes of the transaction with this tag.
    fn saw(&self, tag: TransactionTag) -> bool;
}

/// How a log names a transaction to those who read tables: PostgreSQL's xid, a number given to a GTID.
pub type TransactionTag = u64;

/// Reads a log forward.
#[async_trait]
pub trait LogReader: Send {
    /// Writes all changes that are there into `out`, within the limits. Waits while there is neither a change nor
    /// progress. May stop in the middle of a transaction; the position says how many of its rows are done.
    ///
    /// Cancel-safe: what was written stays written, and the position tells of it.
    async fn next(&mut self, limits: BatchLimits, out: &mut BatchBuilder) -> Result<()>;

    /// Where the reader stands: everything up to here has been written. Always forward.
    fn position(&self) -> Position;

    /// Has the reader note transactions from now on, or no longer. While it does, it also sees to it that the position
    /// follows the server without delay, where nothing is written too.
    fn note_transactions(&mut self, yes: bool);

    /// The transactions of which rows were written since the last call, as they were listed with the builder, and their
    /// tags. One that goes on is told again.
    fn transactions(&mut self) -> Vec<(String, TransactionTag)>;
}
