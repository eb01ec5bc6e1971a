//! Writes batches: one copy, from the read buffer into the arena.

use std::sync::Arc;
use std::time::Instant;

use crate::arena::{BatchData, Parts, Transaction, index};
use crate::batch::{ChangeBatch, Rejected};
use crate::cell::{Arena, Range, Unfit};
use crate::checkpoint::StateDelta;
use crate::error::Result;
use crate::event::{Event, Image, Op, field};
use crate::pool::{BatchPool, Buffers};
use crate::position::{PartitionId, Position};
use crate::row_writer::{RowWriter, Scratch};
use crate::schema::TableSchema;
use crate::temporal::Timestamp;
use crate::value::ValueRef;

/// A schema as one batch knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaIndex(u32);

/// A transaction as one batch knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionIndex(u32);

/// Builds [`ChangeBatch`]es one after another, over buffers that come back from finished ones.
///
/// An event that is not ended leaves no trace, so an error in the middle of a row costs only that row.
///
/// ```
/// use outflow_core::{BatchBuilder, Column, LogicalType, Op, Position, TableSchema};
/// let orders = TableSchema::builder("orders").column(Column::new("id", LogicalType::Int(64))).key(["id"]).build();
/// let mut builder = BatchBuilder::new();
/// let schema = builder.schema(&orders);
/// let mut event = builder.event(Op::Insert).schema(schema).ordinal(7);
/// let mut row = event.after();
/// row.i64(1);
/// row.end()?;
/// event.end();
/// let batch = builder.finish("orders".into(), Some(Position::token("7")));
/// assert_eq!(batch.get(0).and_then(|e| e.after()?.get(0)?.as_i64()), Some(1));
/// # Ok::<(), outflow_core::Error>(())
/// ```
#[derive(Debug)]
pub struct BatchBuilder {
    pool: BatchPool,
    /// By value while it is written; `shells` are what shares it afterwards.
    pub(crate) data: BatchData,
    overlay: BatchData,
    shells: Parts,
    events: Vec<Event>,
    rejected: Vec<Rejected>,
    state: StateDelta,
    pub(crate) scratch: Scratch,
    received: Option<Instant>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::with_pool(BatchPool::new())
    }
}

impl BatchBuilder {
    /// A builder with a pool of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// A builder over a shared pool.
    pub fn with_pool(pool: BatchPool) -> Self {
        let mut builder = Self {
            pool,
            data: BatchData::default(),
            overlay: BatchData::default(),
            shells: Parts::default(),
            events: Vec::new(),
            rejected: Vec::new(),
            state: StateDelta::default(),
            scratch: Scratch::default(),
            received: None,
        };
        builder.turn_over();
        builder
    }

    /// Takes buffers for the next batch and gives out those of the last.
    fn turn_over(&mut self) -> (Parts, Vec<Event>) {
        let Buffers { mut data, mut overlay, events } = self.pool.take();
        let next = (unshell(&mut data), unshell(&mut overlay));
        let last = (std::mem::replace(&mut self.data, next.0), std::mem::replace(&mut self.overlay, next.1));
        let mut parts = std::mem::replace(&mut self.shells, Parts { data, overlay });
        shell(&mut parts.data, last.0);
        shell(&mut parts.overlay, last.1);
        (parts, std::mem::replace(&mut self.events, events))
    }

    /// The number of events so far.
    pub fn len(&self) -> usize {
        self.events.len() + self.rejected.len()
    }

    /// True when there is neither an event nor a state change.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.state.is_empty()
    }

    /// Bytes of content so far, to be compared with a limit.
    pub fn bytes(&self) -> usize {
        self.data.used() + self.len() * size_of::<Event>()
    }

    /// States when the first bytes of this batch were received; else the time of the first event counts.
    pub fn received(&mut self, at: Instant) {
        self.received.get_or_insert(at);
    }

    /// Lists a schema, once a batch.
    pub fn schema(&mut self, schema: &Arc<TableSchema>) -> SchemaIndex {
        let schemas = &mut self.data.schemas;
        // Batches have few schemas, and the last one used is the likeliest.
        let found = schemas.iter().rposition(|s| Arc::ptr_eq(s, schema) || s == schema);
        let at = found.unwrap_or_else(|| {
            schemas.push(Arc::clone(schema));
            schemas.len() - 1
        });
        SchemaIndex(index(at))
    }

    /// Names the history that the events' ids belong to, for the batch that is being built. The last call
    /// before `finish` counts for the whole batch, so a source whose origin changes finishes its batch first.
    pub fn origin(&mut self, origin: &str) {
        if self.data.text_of(self.data.origin) != origin {
            self.data.origin = self.data.push_text(origin);
        }
    }

    /// The history that the events' ids belong to; empty until it is named.
    pub fn origin_name(&self) -> &str {
        self.data.text_of(self.data.origin)
    }

    /// Lists a transaction: its commit in the source's terms and when it was committed. The same as the last
    /// one listed gives the same index.
    pub fn transaction(&mut self, commit: &str, time: Option<Timestamp>) -> TransactionIndex {
        let data = &mut self.data;
        let same =
            data.transactions.last().is_some_and(|t| t.time == time && data.text_of(t.commit) == commit);
        if !same {
            let commit = data.push_text(commit);
            data.transactions.push(Transaction { commit, time });
        }
        TransactionIndex(index(data.transactions.len() - 1))
    }

    /// State that becomes durable together with the batch's end.
    pub fn state(&mut self) -> &mut StateDelta {
        &mut self.state
    }

    /// Starts an event. It counts from [`EventBuilder::end`] on.
    pub fn event(&mut self, op: Op) -> EventBuilder<'_> {
        let mark = self.mark();
        self.received.get_or_insert_with(Instant::now);
        EventBuilder { builder: self, event: Event::new(op), mark, unfit: None, ended: false }
    }

    /// Hands out the batch and starts the next. `end` is what is done when all of its events are.
    pub fn finish(&mut self, partition: PartitionId, end: Option<Position>) -> ChangeBatch {
        let (built, content) = (self.len(), self.bytes());
        let (parts, events) = self.turn_over();
        ChangeBatch {
            parts,
            events,
            rejected: std::mem::take(&mut self.rejected),
            partition,
            end,
            state: std::mem::take(&mut self.state),
            received: self.received.take().unwrap_or_else(Instant::now),
            built,
            content,
            pool: Some(self.pool.clone()),
        }
    }

    /// Forgets everything since the last `finish`.
    pub fn discard(&mut self) {
        self.data.clear();
        self.overlay.clear();
        self.events.clear();
        self.rejected.clear();
        self.state = StateDelta::default();
        self.received = None;
    }

    /// Whether an event of this origin can join those of the batch.
    pub(crate) fn takes_origin(&self, origin: &str) -> bool {
        (self.events.is_empty() && self.rejected.is_empty()) || self.origin_name() == origin
    }

    /// Writes what belongs to one event. What fails leaves no trace, in the lists neither.
    pub(crate) fn attempt<T>(&mut self, write: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let (mark, received, origin) = (self.mark(), self.received, self.data.origin);
        let (schemas, transactions) = (self.data.schemas.len(), self.data.transactions.len());
        let written = write(self);
        if written.is_err() {
            self.rewind(mark);
            self.received = received;
            self.data.origin = origin;
            self.data.schemas.truncate(schemas);
            self.data.transactions.truncate(transactions);
        }
        written
    }

    fn mark(&self) -> Mark {
        let Self { data, overlay, .. } = self;
        Mark {
            text: data.text.len(),
            bytes: data.bytes.len(),
            cells: data.cells.len(),
            routes: overlay.routes.len(),
        }
    }

    fn rewind(&mut self, mark: Mark) {
        let Self { data, overlay, .. } = self;
        data.text.truncate(mark.text);
        data.bytes.truncate(mark.bytes);
        data.cells.truncate(mark.cells);
        overlay.routes.truncate(mark.routes);
        overlay.text.truncate(overlay.routes.last().map_or(0, |last| last.start + last.len));
    }
}

/// Takes the data out of a shell that nobody else holds.
fn unshell(shell: &mut Arc<BatchData>) -> BatchData {
    Arc::get_mut(shell).map(std::mem::take).unwrap_or_default()
}

/// Puts data into a shell, or into a new one where the shell is shared.
fn shell(shell: &mut Arc<BatchData>, data: BatchData) {
    match Arc::get_mut(shell) {
        Some(place) => *place = data,
        None => *shell = Arc::new(data),
    }
}

/// Where the arenas stood, so that an abandoned event can be taken back.
#[derive(Clone, Copy, Debug)]
struct Mark {
    text: usize,
    bytes: usize,
    cells: usize,
    routes: usize,
}

/// One event being written. Dropped without [`end`](Self::end), it leaves no trace.
#[derive(Debug)]
pub struct EventBuilder<'b> {
    pub(crate) builder: &'b mut BatchBuilder,
    pub(crate) event: Event,
    mark: Mark,
    unfit: Option<Unfit>,
    ended: bool,
}

impl EventBuilder<'_> {
    /// The schema of its rows. Must be stated before they are written.
    #[must_use]
    pub fn schema(mut self, schema: SchemaIndex) -> Self {
        self.event.schema = schema.0;
        self
    }

    /// The transaction that it belongs to.
    #[must_use]
    pub fn transaction(mut self, transaction: TransactionIndex) -> Self {
        self.event.transaction = transaction.0;
        self
    }

    /// Its place within the commit: counted before any filter, so that the id is the same on every replay.
    #[must_use]
    pub fn ordinal(mut self, ordinal: u64) -> Self {
        self.event.ordinal = ordinal;
        self
    }

    /// Its part, when one change gave several events. Parts from 65,536 on cannot be split by transforms.
    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "the part of an id, as EventId names it")]
    pub fn sub(self, sub: u32) -> Self {
        self.part(sub, Event::source_step(sub))
    }

    /// Its part, with how far apart its own parts will be.
    pub(crate) fn part(mut self, sub: u32, step: u32) -> Self {
        self.event.sub = sub;
        self.event.step = step;
        self
    }

    /// The destination that a transform chose before the event was written down.
    #[must_use]
    pub fn route(mut self, destination: &str) -> Self {
        self.event.route = self.builder.overlay.push_route(destination);
        self
    }

    /// Starts the row before the change.
    pub fn before(&mut self) -> RowWriter<'_> {
        RowWriter::row(self, Image::Before)
    }

    /// Starts the row after the change.
    pub fn after(&mut self) -> RowWriter<'_> {
        RowWriter::row(self, Image::After)
    }

    /// Makes it a message with a raw body. A message with a value of 4 GiB or more is listed among
    /// [`ChangeBatch::rejected`].
    pub fn message(&mut self, message: &MessageParts<'_>) {
        match message.write(&mut self.builder.data, Arena::Data) {
            Ok(range) => self.event.message = range,
            Err(unfit) => self.unfit = Some(unfit),
        }
    }

    /// Completes the event.
    pub fn end(mut self) {
        self.ended = true;
        match self.unfit {
            None => self.builder.events.push(self.event),
            // Neither cut nor dropped in silence (invariant 4): `on_error` decides.
            Some(unfit) => {
                self.builder.rejected.push(Rejected { event: self.event, error: unfit.error() });
            }
        }
    }
}

impl Drop for EventBuilder<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.builder.rewind(self.mark);
        }
    }
}

/// The fields of a message; all but the body may be left out.
#[derive(Clone, Copy, Debug)]
pub struct MessageParts<'a> {
    /// Where it should go: an aggregate type, a channel, a prefix.
    pub destination: Option<&'a str>,
    /// What orders it among others.
    pub key: ValueRef<'a>,
    /// The event type.
    pub kind: Option<&'a str>,
    /// The application's own id.
    pub id: ValueRef<'a>,
    /// The media type of the body.
    pub content_type: Option<&'a str>,
    /// The body; `Null` for a tombstone.
    pub body: ValueRef<'a>,
    /// Headers, in order.
    pub headers: &'a [(&'a str, ValueRef<'a>)],
}

impl Default for MessageParts<'_> {
    fn default() -> Self {
        Self {
            destination: None,
            key: ValueRef::Null,
            kind: None,
            id: ValueRef::Null,
            content_type: None,
            body: ValueRef::Null,
            headers: &[],
        }
    }
}

impl<'a> MessageParts<'a> {
    /// All but the headers, in the order of [`field`].
    pub(crate) fn fields(&self) -> [ValueRef<'a>; field::HEADERS] {
        let text = |s: Option<&'a str>| s.map_or(ValueRef::Null, ValueRef::Text);
        [text(self.destination), self.key, text(self.kind), self.id, text(self.content_type), self.body]
    }

    /// Writes the cells of a message in the order of [`field`].
    pub(crate) fn write(&self, data: &mut BatchData, arena: Arena) -> Result<Range, Unfit> {
        let start = data.reserve_cells(field::COUNT)?;
        for (i, value) in self.fields().into_iter().enumerate() {
            let cell = data.push_value(value, arena, 0)?;
            data.cells[start + i] = cell;
        }
        write_headers(data, start, self.headers, arena)?;
        Range::new(start, field::COUNT, arena)
    }
}

/// Writes the headers of the message whose cells begin at `start`; none at all are `Null`.
pub(crate) fn write_headers(
    data: &mut BatchData,
    start: usize,
    headers: &[(&str, ValueRef<'_>)],
    arena: Arena,
) -> Result<(), Unfit> {
    if !headers.is_empty() {
        let entries = headers.iter().map(|(name, value)| (ValueRef::Text(name), *value));
        let cell = data.push_entries(headers.len(), entries, arena, 0)?;
        data.cells[start + field::HEADERS] = cell;
    }
    Ok(())
}
