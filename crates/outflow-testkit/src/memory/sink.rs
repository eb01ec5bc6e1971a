//! Sinks that keep what they were given and fail as they are told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outflow_sdk::{
    Ack, ChangeBatch, Checkpoint, CheckpointDelta, Error, Op, Result, RowRef, Sink, SinkCapabilities,
    SinkContext, ValueRef, async_trait,
};
use tokio::sync::watch;

use super::own_sink;
use super::row::Row;

/// One event that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// What happened to it.
    pub op: Op,
    /// The row after it; of a delete, only the key.
    pub row: Row,
    /// The key before it, where that was told.
    pub was: Option<String>,
    /// The event's id.
    pub id: String,
}

/// A destination in memory. Clones share it.
#[derive(Clone, Debug)]
pub struct MemorySink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Grows with each change, so that tests can wait for a condition.
    version: watch::Sender<u64>,
    frozen: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Inner {
    delivered: Vec<Delivered>,
    opened: usize,
    closed: usize,
    /// Acks that are held until so many are there, then resolved last first.
    hold: usize,
    held: Vec<Ack>,
    script: VecDeque<Action>,
    /// Lost a batch: takes nothing until it is opened again, or a later record would overtake the lost one.
    broken: bool,
    reject: Option<fn(&Row) -> bool>,
}

/// What a sink does with its next batch.
#[derive(Debug)]
enum Action {
    /// Takes nothing.
    Refuse(Error),
    /// Takes the batch, then loses it.
    Lose(Error),
    /// Takes the batch, makes it durable, and loses the answer.
    LoseAnswer,
    /// Breaks its contract.
    Panic,
}

impl Default for MemorySink {
    fn default() -> Self {
        Self::new()
    }
}

impl MemorySink {
    /// An empty destination that confirms at once.
    pub fn new() -> Self {
        let shared = Shared {
            inner: Mutex::default(),
            version: watch::Sender::new(0),
            frozen: watch::Sender::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Confirms only when `n` batches wait, the last first: acks out of order.
    #[must_use]
    pub fn holding(self, n: usize) -> Self {
        self.lock().hold = n;
        self
    }

    /// Refuses the events whose row meets the condition, and takes the others.
    #[must_use]
    pub fn rejecting(self, condition: fn(&Row) -> bool) -> Self {
        self.lock().reject = Some(condition);
        self
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.shared.version.send_modify(|v| *v += 1);
    }

    /// The next batch is not taken.
    pub fn refuse_next(&self, error: Error) {
        self.lock().script.push_back(Action::Refuse(error));
    }

    /// The next batch is taken and lost.
    pub fn lose_next(&self, error: Error) {
        self.lock().script.push_back(Action::Lose(error));
    }

    /// The next batch arrives, and its ack is dropped.
    pub fn lose_next_answer(&self) {
        self.lock().script.push_back(Action::LoseAnswer);
    }

    /// The next batch makes the sink panic.
    pub fn panic_next(&self) {
        self.lock().script.push_back(Action::Panic);
    }

    /// Takes nothing until [`thaw`](Self::thaw).
    pub fn freeze(&self) {
        self.shared.frozen.send_replace(true);
    }

    /// Takes batches again.
    pub fn thaw(&self) {
        self.shared.frozen.send_replace(false);
    }

    /// What has arrived, in order.
    pub fn delivered(&self) -> Vec<Delivered> {
        self.lock().delivered.clone()
    }

    /// How often it was opened and closed.
    pub fn opened_and_closed(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.opened, inner.closed)
    }

    /// Waits until the condition holds for what has arrived.
    pub async fn until(&self, mut condition: impl FnMut(&[Delivered]) -> bool) {
        let mut version = self.shared.version.subscribe();
        loop {
            version.borrow_and_update();
            if condition(&self.lock().delivered) {
                return;
            }
            // The sender lives as long as this sink.
            let _ = version.changed().await;
        }
    }
}

own_sink!(MemorySink, "memory", SinkCapabilities::new().ordered().rejects());

fn delivered(event: &outflow_sdk::EventRef<'_>) -> Option<Delivered> {
    let text = |row: RowRef<'_>, name: &str| match row.by_name(name) {
        Some(ValueRef::Text(s)) => s.to_owned(),
        _ => String::new(),
    };
    let was = event.before().map(|row| text(row, "key"));
    let row = match event.after() {
        Some(row) => {
            Row { key: text(row, "key"), n: row.by_name("n")?.as_i64()?, padding: text(row, "padding") }
        }
        None if matches!(event.op(), Op::Delete | Op::Truncate) => {
            Row::new(was.clone().unwrap_or_default(), 0)
        }
        None => return None,
    };
    Some(Delivered { op: event.op(), row, was, id: event.id().to_string() })
}

fn take(batch: &ChangeBatch, reject: Option<fn(&Row) -> bool>) -> (Vec<Delivered>, Vec<(u32, Error)>) {
    let mut all = Vec::new();
    let mut bad = Vec::new();
    for event in batch.iter() {
        let Some(one) = delivered(&event) else { continue };
        if reject.is_some_and(|reject| reject(&one.row)) {
            bad.push((
                event.index() as u32,
                Error::data("memory.rejected").message("told to refuse this row"),
            ));
        } else {
            all.push(one);
        }
    }
    (all, bad)
}

#[async_trait]
impl Sink for MemorySink {
    async fn open(&mut self, _: SinkContext) -> Result<Option<Checkpoint>> {
        let mut inner = self.lock();
        inner.opened += 1;
        inner.broken = false;
        inner.held.clear();
        Ok(None)
    }

    async fn write(&mut self, batch: &Arc<ChangeBatch>, ack: Ack) -> Result<()> {
        let mut frozen = self.shared.frozen.subscribe();
        let _ = frozen.wait_for(|frozen| !frozen).await;
        let mut inner = self.lock();
        if inner.broken {
            return Err(Error::transient("memory.broken").message("lost a batch and awaits the rewind"));
        }
        match inner.script.pop_front() {
            Some(Action::Refuse(error)) => return Err(error),
            Some(Action::Lose(error)) => {
                inner.broken = true;
                ack.failed(error);
                return Ok(());
            }
            #[expect(clippy::panic, reason = "what this double is for")]
            Some(Action::Panic) => panic!("the sink was told to panic"),
            Some(Action::LoseAnswer) => {
                let (delivered, _) = take(batch, inner.reject);
                inner.delivered.extend(delivered);
                drop(inner);
                drop(ack);
                self.changed();
                return Ok(());
            }
            None => {}
        }
        let (delivered, bad) = take(batch, inner.reject);
        inner.delivered.extend(delivered);
        if inner.hold > 0 && bad.is_empty() {
            inner.held.push(ack);
            if inner.held.len() >= inner.hold {
                inner.held.drain(..).rev().for_each(Ack::durable);
            }
        } else {
            ack.rejected(bad);
        }
        drop(inner);
        self.changed();
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.lock().held.drain(..).rev().for_each(Ack::durable);
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.lock().closed += 1;
        Ok(())
    }
}

/// A destination that commits data and checkpoint in one step, and forgets what was not committed. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct TransactionalSink {
    shared: Arc<Mutex<Ledger>>,
}

#[derive(Debug, Default)]
struct Ledger {
    committed: Vec<Delivered>,
    pending: Vec<Delivered>,
    checkpoint: Checkpoint,
    commits: usize,
    fail_commit: Option<Error>,
}

impl TransactionalSink {
    /// An empty destination.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What readers of committed data see.
    pub fn committed(&self) -> Vec<Delivered> {
        self.lock().committed.clone()
    }

    /// The checkpoint that was committed with the data.
    pub fn checkpoint(&self) -> Checkpoint {
        self.lock().checkpoint.clone()
    }

    /// Makes the next commit fail: nothing of it is seen.
    pub fn fail_next_commit(&self, error: Error) {
        self.lock().fail_commit = Some(error);
    }
}

own_sink!(TransactionalSink, "memory-transactional", SinkCapabilities::new().ordered().transactional());

#[async_trait]
impl Sink for TransactionalSink {
    async fn open(&mut self, _: SinkContext) -> Result<Option<Checkpoint>> {
        let mut ledger = self.lock();
        // Fences its predecessor: what that had open is gone.
        ledger.pending.clear();
        Ok(Some(ledger.checkpoint.clone()))
    }

    async fn write(&mut self, batch: &Arc<ChangeBatch>, ack: Ack) -> Result<()> {
        let (delivered, _) = take(batch, None);
        self.lock().pending.extend(delivered);
        ack.durable();
        Ok(())
    }

    async fn commit(&mut self, delta: &CheckpointDelta) -> Result<()> {
        let mut ledger = self.lock();
        if let Some(error) = ledger.fail_commit.take() {
            ledger.pending.clear();
            return Err(error);
        }
        let pending = std::mem::take(&mut ledger.pending);
        ledger.committed.extend(pending);
        ledger.checkpoint.apply(delta);
        ledger.commits += 1;
        Ok(())
    }
}
