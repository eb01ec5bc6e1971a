//! A log of transactions that keeps its entries until they are released, as a replication slot does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outflow_sdk::{
    BatchBuilder, Control, Error, EventId, Position, PositionCodec, Relation, Release, Result, Source,
    SourceCapabilities, SourceContext, SourceKind, async_trait,
};
use tokio::sync::Notify;

use super::own_source;
use super::row::Row;

/// A log that tests append to and a pipeline reads. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    shared: Arc<Shared>,
    batch: usize,
}

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    appended: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    transactions: Vec<Vec<Row>>,
    released: Vec<Release>,
    /// The next reads fail with these, first come first.
    failures: Vec<Error>,
    opened: usize,
}

/// A place in the log: so many transactions are done, and of the next one so many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Whole transactions.
    pub transactions: usize,
    /// Rows of the next one, counted before any filter.
    pub rows: usize,
}

impl LogPosition {
    /// `12+3`: twelve transactions and three rows of the thirteenth.
    pub fn position(self) -> Position {
        Position::new(1, format!("{}+{}", self.transactions, self.rows))
    }

    /// Reads the human form.
    pub fn parse(text: &str) -> Result<Self> {
        let numbers = text.split_once('+').and_then(|(t, r)| Some((t.parse().ok()?, r.parse().ok()?)));
        let (transactions, rows) = numbers.ok_or_else(|| {
            Error::configuration("memory.position")
                .message(format!("not a position: {text:?}"))
                .hint("write 12+3")
        })?;
        Ok(Self { transactions, rows })
    }
}

/// The log's positions, without the log.
#[derive(Clone, Copy, Debug)]
pub struct LogCodec;

impl PositionCodec for LogCodec {
    fn parse(&self, text: &str) -> Result<Position> {
        LogPosition::parse(text).map(LogPosition::position)
    }

    fn relate(&self, a: &Position, b: &Position) -> Result<Relation> {
        Ok(match LogPosition::parse(a.as_str())?.cmp(&LogPosition::parse(b.as_str())?) {
            std::cmp::Ordering::Less => Relation::Before,
            std::cmp::Ordering::Equal => Relation::Equal,
            std::cmp::Ordering::Greater => Relation::After,
        })
    }

    fn covers(&self, position: &Position, event: &EventId<'_>) -> Result<bool> {
        let transaction = event.commit.parse::<usize>().unwrap_or(usize::MAX);
        let row = usize::try_from(event.ordinal).unwrap_or(usize::MAX);
        Ok(LogPosition { transactions: transaction, rows: row } < LogPosition::parse(position.as_str())?)
    }
}

impl MemoryLog {
    /// An empty log whose reader closes a batch at so many rows, also in the middle of a transaction.
    pub fn new(batch: usize) -> Self {
        Self { shared: Arc::default(), batch: batch.max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits a transaction.
    pub fn commit(&self, rows: impl IntoIterator<Item = Row>) {
        self.lock().transactions.push(rows.into_iter().collect());
        self.shared.appended.notify_waiters();
    }

    /// Every committed row, in commit order.
    pub fn rows(&self) -> Vec<Row> {
        self.lock().transactions.concat()
    }

    /// What the pipeline has released, in order.
    pub fn released(&self) -> Vec<Release> {
        self.lock().released.clone()
    }

    /// How often a reader was opened.
    pub fn opened(&self) -> usize {
        self.lock().opened
    }

    /// Makes the next read fail.
    pub fn fail_next(&self, error: Error) {
        self.lock().failures.push(error);
        self.shared.appended.notify_waiters();
    }

    /// Up to a batch of rows after `at`, and where that leads.
    fn read(&self, at: &mut LogPosition, builder: &mut BatchBuilder) -> Result<usize> {
        let mut inner = self.lock();
        if !inner.failures.is_empty() {
            return Err(inner.failures.remove(0));
        }
        let mut count = 0;
        while let Some(rows) = inner.transactions.get(at.transactions) {
            let commit = builder.transaction(&at.transactions.to_string(), None);
            for row in rows.iter().skip(at.rows) {
                row.write(builder, Some(commit), at.rows as u64)?;
                at.rows += 1;
                count += 1;
                if count == self.batch {
                    break;
                }
            }
            if at.rows >= rows.len() {
                *at = LogPosition { transactions: at.transactions + 1, rows: 0 };
            }
            if count == self.batch {
                break;
            }
        }
        Ok(count)
    }
}

own_source!(
    MemoryLog,
    "memory-log",
    SourceCapabilities::new().resume().updates().stop_at_current(),
    |self| SourceKind::Custom(Box::new(self.clone()))
);

#[async_trait]
impl Source for MemoryLog {
    async fn run(self: Box<Self>, cx: SourceContext) -> Result<()> {
        let start = cx.resume().map(|p| LogPosition::parse(p.as_str())).transpose()?;
        let mut at = start.unwrap_or(LogPosition { transactions: 0, rows: 0 });
        self.lock().opened += 1;
        let mut emitter = cx.emitter(SourceContext::DEFAULT_PARTITION);
        let mut released = cx.released();
        let control = cx.control();
        let emit = async {
            let mut builder = BatchBuilder::new();
            loop {
                let appended = self.shared.appended.notified();
                let mut appended = std::pin::pin!(appended);
                appended.as_mut().enable();
                builder.origin("memory-log");
                let rows = self.read(&mut at, &mut builder)?;
                // A first read that fails is a failure to connect.
                cx.connected();
                if rows == 0 {
                    if cx.stop_at_current() {
                        cx.finished();
                        std::future::pending::<()>().await;
                    }
                    appended.await;
                    continue;
                }
                let permit = emitter.ready().await?;
                permit.send(builder.finish(SourceContext::DEFAULT_PARTITION.into(), Some(at.position())));
            }
        };
        let listen = async {
            loop {
                let release = released.next().await;
                self.lock().released.push(release);
            }
        };
        tokio::select! {
            biased;
            () = listen => Ok(()),
            result = emit => result,
            Control::Stop = control => Ok(()),
        }
    }
}
