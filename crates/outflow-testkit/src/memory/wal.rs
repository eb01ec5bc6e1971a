//! A database with a log that it keeps until it is released, and whose table can be read at a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outflow_sdk::{
    BatchBuilder, BatchLimits, Beginning, Checkpoint, Chunk, ChunkPage, ChunkReader, Error, ErrorKind,
    EventId, LogPolicy, LogReader, LogSource, Moment, Op, PartitionId, Position, PositionCodec, Relation,
    Result, Snapshot, SourceCapabilities, SourceKind, TransactionTag, WalSource, async_trait,
};
use tokio::sync::Notify;

use super::log::{LogCodec, LogPosition};
use super::own_source;
use super::row::{Row, rows_schema};

/// One change of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A row that was not there.
    Insert(Row),
    /// A row of the same key, or, with the old key, of another.
    Update(Row, Option<String>),
    /// A row that was there, by its key.
    Delete(String),
    /// All rows.
    Truncate,
}

/// The positions of the log. Of a row that was read, they do not tell whether it is done: its chunk does.
#[derive(Clone, Copy, Debug)]
pub struct WalCodec;

impl PositionCodec for WalCodec {
    fn parse(&self, text: &str) -> Result<Position> {
        LogCodec.parse(text)
    }

    fn relate(&self, a: &Position, b: &Position) -> Result<Relation> {
        LogCodec.relate(a, b)
    }

    fn covers(&self, position: &Position, event: &EventId<'_>) -> Result<bool> {
        if event.commit.starts_with(READ) {
            return Err(Error::configuration("memory.read")
                .message(format!("{event} is a row that was read"))
                .hint("see the chunks that are pending"));
        }
        LogCodec.covers(position, event)
    }
}

/// What the commit of a row that was read begins with.
const READ: &str = "read ";

/// A database of one table that tests change and a pipeline follows. Clones share it.
///
/// It shows what a real server can do to a reader: a transaction that is in the log, and delivered, before anybody can
/// see it ([`commit_unseen`](Self::commit_unseen)), changes between the reading of a page and its answer
/// ([`before_each_page_ends`](Self::before_each_page_ends)), a log that no longer reaches back.
#[derive(Clone, Debug)]
pub struct MemoryWal {
    shared: Arc<Shared>,
    policy: LogPolicy,
    page: usize,
    pins: bool,
}

type Hook = Box<dyn FnMut(&MemoryWal) + Send>;

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    appended: Notify,
    hook: Mutex<Option<Hook>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Inner {
    server: String,
    /// The log, in commit order. A transaction's place in it is its tag.
    transactions: Vec<Vec<Change>>,
    /// Those in the log that nobody can see yet.
    unseen: BTreeSet<usize>,
    /// The log before this is gone.
    lost_before: usize,
    begun: usize,
    pages: usize,
    refuse_pages: usize,
    released: Vec<Position>,
    closed: usize,
    /// From here on transactions are noted by whoever asked last.
    noted_from: usize,
}

impl Inner {
    /// The rows as the transactions leave them that meet the condition.
    fn rows(&self, sees: impl Fn(usize) -> bool) -> BTreeMap<String, Row> {
        let mut rows = BTreeMap::new();
        for (_, changes) in self.transactions.iter().enumerate().filter(|(tag, _)| sees(*tag)) {
            for change in changes {
                match change {
                    Change::Insert(row) => drop(rows.insert(row.key.clone(), row.clone())),
                    Change::Update(row, old) => {
                        old.as_ref().map(|key| rows.remove(key));
                        rows.insert(row.key.clone(), row.clone());
                    }
                    Change::Delete(key) => drop(rows.remove(key)),
                    Change::Truncate => rows.clear(),
                }
            }
        }
        rows
    }

    fn visible(&self) -> BTreeMap<String, Row> {
        self.rows(|tag| !self.unseen.contains(&tag))
    }
}

impl MemoryWal {
    /// An empty table whose pages have so many rows.
    pub fn new(page: usize) -> Self {
        let wal = Self { shared: Arc::default(), policy: LogPolicy::new(), page: page.max(1), pins: true };
        wal.lock().server = "memory-1".into();
        wal
    }

    /// With another policy.
    #[must_use]
    pub fn policy(mut self, policy: LogPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// A server that cannot give a snapshot of its log's beginning: everything is read while the log streams.
    #[must_use]
    pub fn without_pins(mut self) -> Self {
        self.pins = false;
        self
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits a transaction.
    pub fn commit(&self, changes: impl IntoIterator<Item = Change>) {
        self.lock().transactions.push(changes.into_iter().collect());
        self.shared.appended.notify_waiters();
    }

    /// Commits a transaction that is in the log and that nobody can see until [`show`](Self::show). No other transaction
    /// changes its rows meanwhile: they are locked.
    pub fn commit_unseen(&self, changes: impl IntoIterator<Item = Change>) -> usize {
        let mut inner = self.lock();
        let tag = inner.transactions.len();
        inner.transactions.push(changes.into_iter().collect());
        inner.unseen.insert(tag);
        drop(inner);
        self.shared.appended.notify_waiters();
        tag
    }

    /// Lets a transaction be seen.
    pub fn show(&self, tag: usize) {
        self.lock().unseen.remove(&tag);
    }

    /// Called after a page has been read and before it is handed over.
    pub fn before_each_page_ends(&self, hook: impl FnMut(&Self) + Send + 'static) {
        *self.shared.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(hook));
    }

    /// The next pages cannot be read when they are asked for.
    pub fn refuse_pages(&self, count: usize) {
        self.lock().refuse_pages = count;
    }

    /// The log up to here is gone.
    pub fn lose(&self) {
        let mut inner = self.lock();
        inner.lost_before = inner.transactions.len();
    }

    /// Becomes another server.
    pub fn become_server(&self, name: &str) {
        self.lock().server = name.into();
    }

    /// The rows that everybody can see.
    pub fn rows(&self) -> Vec<Row> {
        self.lock().visible().into_values().collect()
    }

    /// How many pages were read.
    pub fn pages(&self) -> usize {
        self.lock().pages
    }

    /// How often the log was begun.
    pub fn begun(&self) -> usize {
        self.lock().begun
    }

    /// How often farewell was said.
    pub fn closed(&self) -> usize {
        self.lock().closed
    }

    /// What may be forgotten, in the order in which it was told.
    pub fn released(&self) -> Vec<Position> {
        self.lock().released.clone()
    }

    fn end(&self) -> LogPosition {
        LogPosition { transactions: self.lock().transactions.len(), rows: 0 }
    }

    /// The chunks: the keys up to `m`, and those after it.
    fn chunks() -> Vec<Chunk> {
        let chunk = |name: &str, range: &str| Chunk {
            name: name.into(),
            table: rows_schema().qualified_name(),
            keyed: true,
            range: range.into(),
        };
        vec![chunk("rows.1", "..m"), chunk("rows.2", "m..")]
    }
}

own_source!(
    MemoryWal,
    "memory-wal",
    SourceCapabilities::new().resume().updates().stop_at_current(),
    |self| SourceKind::Wal(Box::new(self.clone()))
);

#[async_trait]
impl LogSource for MemoryWal {
    fn partition(&self) -> PartitionId {
        "wal".into()
    }

    fn policy(&self) -> LogPolicy {
        self.policy
    }

    async fn identify(&self) -> Result<String> {
        Ok(self.lock().server.clone())
    }

    async fn begin(&self, pin: bool, _again: bool) -> Result<Beginning> {
        let position = self.end();
        let mut inner = self.lock();
        inner.begun += 1;
        // Whoever pins a snapshot waits for those who are on their way.
        inner.unseen.clear();
        let beginning = Beginning::new(position.position());
        Ok(if pin && self.pins {
            let rows = inner.visible();
            beginning.pinned(Arc::new(Reading { wal: self.clone(), pinned: Some(rows), noted_from: 0 }))
        } else {
            beginning
        })
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        let mut inner = self.lock();
        inner.noted_from = inner.transactions.len();
        Ok(Arc::new(Reading { wal: self.clone(), pinned: None, noted_from: inner.noted_from }))
    }

    async fn open(&self, from: &Position, _: &Checkpoint) -> Result<Box<dyn LogReader>> {
        let at = LogPosition::parse(from.as_str())?;
        let lost_before = self.lock().lost_before;
        if at.transactions < lost_before {
            return Err(Error::permanent("memory.lost")
                .kind_of(ErrorKind::Position)
                .message(format!("the log begins at {lost_before}, after {from}"))
                .hint("on_lost_position: resnapshot"));
        }
        Ok(Box::new(Reader { wal: self.clone(), at, told: Vec::new(), notes: false }))
    }

    async fn now(&self) -> Result<Box<dyn Moment>> {
        let now = self.end().transactions;
        Ok(Box::new(At { passed: now, seen: now, unseen: BTreeSet::new() }))
    }

    async fn close(&self) -> Result<()> {
        self.lock().closed += 1;
        Ok(())
    }
}

impl WalSource for MemoryWal {
    fn release(&self, durable: &Position) {
        self.lock().released.push(durable.clone());
    }
}

/// A place in the log, and what could be seen before it.
struct At {
    passed: usize,
    seen: usize,
    unseen: BTreeSet<usize>,
}

impl Moment for At {
    fn is_passed_by(&self, position: &Position) -> bool {
        LogPosition::parse(position.as_str()).is_ok_and(|at| at.transactions >= self.passed)
    }

    fn saw(&self, tag: TransactionTag) -> bool {
        usize::try_from(tag).is_ok_and(|tag| tag < self.seen && !self.unseen.contains(&tag))
    }
}

struct Reader {
    wal: MemoryWal,
    at: LogPosition,
    told: Vec<(String, TransactionTag)>,
    notes: bool,
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self, limits: BatchLimits, out: &mut BatchBuilder) -> Result<()> {
        loop {
            let shared = Arc::clone(&self.wal.shared);
            let appended = shared.appended.notified();
            let mut appended = std::pin::pin!(appended);
            appended.as_mut().enable();
            let before = self.at;
            self.read(limits, out)?;
            if self.at != before {
                return Ok(());
            }
            appended.await;
        }
    }

    fn position(&self) -> Position {
        self.at.position()
    }

    fn note_transactions(&mut self, yes: bool) {
        self.notes = yes;
    }

    fn transactions(&mut self) -> Vec<(String, TransactionTag)> {
        std::mem::take(&mut self.told)
    }
}

impl Reader {
    fn read(&mut self, limits: BatchLimits, out: &mut BatchBuilder) -> Result<()> {
        let inner = self.wal.lock();
        while let Some(changes) = inner.transactions.get(self.at.transactions) {
            let commit = self.at.transactions.to_string();
            if self.notes {
                self.told.push((commit.clone(), self.at.transactions as u64));
            }
            while let Some(change) = changes.get(self.at.rows) {
                if limits.reached(out) {
                    return Ok(());
                }
                out.origin("memory-wal");
                let transaction = out.transaction(&commit, None);
                let schema = out.schema(rows_schema());
                let (op, before, after) = match change {
                    Change::Insert(row) => (Op::Insert, None, Some(row)),
                    Change::Update(row, old) => (Op::Update, old.as_deref(), Some(row)),
                    Change::Delete(key) => (Op::Delete, Some(key.as_str()), None),
                    Change::Truncate => (Op::Truncate, None, None),
                };
                let ordinal = self.at.rows as u64;
                let mut event = out.event(op).schema(schema).transaction(transaction).ordinal(ordinal);
                if let Some(key) = before {
                    let mut writer = event.before();
                    writer.text(key);
                    writer.unavailable();
                    writer.unavailable();
                    writer.end()?;
                }
                if let Some(row) = after {
                    row.values(event.after())?;
                }
                event.end();
                self.at.rows += 1;
            }
            self.at = LogPosition { transactions: self.at.transactions + 1, rows: 0 };
        }
        Ok(())
    }
}

/// Reads the table: as it was at a beginning, or as it is.
struct Reading {
    wal: MemoryWal,
    pinned: Option<BTreeMap<String, Row>>,
    noted_from: usize,
}

impl Reading {
    /// Writes rows of the chunk, up to `count`; the last key where there are more.
    fn write(
        rows: &BTreeMap<String, Row>,
        chunk: &Chunk,
        count: usize,
        point: &str,
        out: &mut BatchBuilder,
    ) -> Result<Option<String>> {
        let (from, to) = chunk.range.split_once("..").unwrap_or_default();
        let mut rows = rows
            .values()
            .filter(|row| (from.is_empty() || *row.key > *from) && (to.is_empty() || *row.key <= *to))
            .peekable();
        let mut last = None;
        out.origin("memory-wal");
        for (ordinal, row) in rows.by_ref().take(count).enumerate() {
            let transaction = out.transaction(&format!("{READ}{point} {}", chunk.range), None);
            let schema = out.schema(rows_schema());
            let mut event =
                out.event(Op::Read).schema(schema).transaction(transaction).ordinal(ordinal as u64);
            row.values(event.after())?;
            event.end();
            last = Some(row.key.clone());
        }
        Ok(last.filter(|_| rows.peek().is_some()).map(|last| format!("{last}..{to}")))
    }
}

#[async_trait]
impl Snapshot for Reading {
    async fn plan(&self) -> Result<Vec<Chunk>> {
        Ok(MemoryWal::chunks())
    }

    async fn open(&self, chunk: &Chunk) -> Result<Box<dyn ChunkReader>> {
        let rows = self.pinned.clone().unwrap_or_default();
        Ok(Box::new(Pinned { rows, chunk: chunk.clone(), wal: self.wal.clone() }))
    }

    async fn page(&self, chunk: &Chunk, _: BatchLimits, out: &mut BatchBuilder) -> Result<ChunkPage> {
        let (rows, seen, unseen) = {
            let mut inner = self.wal.lock();
            if inner.refuse_pages > 0 {
                inner.refuse_pages -= 1;
                return Ok(ChunkPage::NotNow { obstacle: "pages are refused".into() });
            }
            if let Some(tag) = inner.unseen.first().filter(|tag| **tag < self.noted_from) {
                return Ok(ChunkPage::NotNow { obstacle: format!("transaction {tag} cannot be seen yet") });
            }
            inner.pages += 1;
            (inner.visible(), inner.transactions.len(), inner.unseen.clone())
        };
        // What happens from here on is not on the page.
        if let Some(hook) = &mut *self.wal.shared.hook.lock().unwrap_or_else(PoisonError::into_inner) {
            hook(&self.wal);
        }
        // The same point is the same rows.
        let point = format!("{seen}{unseen:?}");
        let rest = Self::write(&rows, chunk, self.wal.page, &point, out)?;
        let rest = rest.map(|range| Chunk { range, ..chunk.clone() });
        let passed = self.wal.end().transactions;
        Ok(ChunkPage::Read { moment: Box::new(At { passed, seen, unseen }), rest })
    }
}

/// The rows of a chunk, as they were.
struct Pinned {
    rows: BTreeMap<String, Row>,
    chunk: Chunk,
    wal: MemoryWal,
}

#[async_trait]
impl ChunkReader for Pinned {
    async fn next(&mut self, _: BatchLimits, out: &mut BatchBuilder) -> Result<bool> {
        let rest = Reading::write(&self.rows, &self.chunk, self.wal.page, "pinned", out)?;
        if let Some(hook) = &mut *self.wal.shared.hook.lock().unwrap_or_else(PoisonError::into_inner) {
            hook(&self.wal);
        }
        let more = rest.is_some();
        self.chunk.range = rest.unwrap_or_default();
        Ok(more)
    }
}
