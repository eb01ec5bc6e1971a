//! Writes batches: one copy, from the read buffer into the arena.

use std::sync::Arc;
use std::time::Instant;

use crate::batch::{BatchData, BatchPool, ChangeBatch, Parts, Transaction};
use crate::cell::{Arena, Cell, Kind, Range};
use crate::checkpoint::StateDelta;
use crate::error::{Error, Result};
use crate::event::{Event, Image, NONE, Op, field};
use crate::position::{PartitionId, Position};
use crate::schema::TableSchema;
use crate::temporal::Timestamp;
use crate::value::{Value, ValueRef};

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
    data: Arc<BatchData>,
    overlay: Arc<BatchData>,
    events: Vec<Event>,
    state: StateDelta,
    /// Cells of the row or list that is being written.
    scratch: Vec<Cell>,
    /// Where the lists and maps that are open began in `scratch`.
    open: Vec<usize>,
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
        let buffers = pool.take();
        Self {
            pool,
            data: buffers.data,
            overlay: buffers.overlay,
            events: buffers.events,
            state: StateDelta::default(),
            scratch: Vec::new(),
            open: Vec::new(),
            received: None,
        }
    }

    /// The number of events so far.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// True when there is neither an event nor a state change.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.state.is_empty()
    }

    /// Bytes of content so far, to be compared with a limit.
    pub fn bytes(&self) -> usize {
        self.data.used() + self.events.len() * size_of::<Event>()
    }

    fn data(&mut self) -> &mut BatchData {
        // The builder holds the only reference until `finish`, so this never copies.
        Arc::make_mut(&mut self.data)
    }

    /// States when the first bytes of this batch were received; else the time of the first event counts.
    pub fn received(&mut self, at: Instant) {
        self.received.get_or_insert(at);
    }

    /// Lists a schema, once a batch.
    pub fn schema(&mut self, schema: &Arc<TableSchema>) -> SchemaIndex {
        let schemas = &mut self.data().schemas;
        // Batches have few schemas, and the last one used is the likeliest.
        let found = schemas.iter().rposition(|s| Arc::ptr_eq(s, schema) || s == schema);
        let index = found.unwrap_or_else(|| {
            schemas.push(Arc::clone(schema));
            schemas.len() - 1
        });
        SchemaIndex(index as u32)
    }

    /// Names the history that the events' ids belong to. The last call before `finish` counts for the whole
    /// batch, so a source whose origin changes finishes its batch first.
    pub fn origin(&mut self, origin: &str) {
        let data = self.data();
        let at = data.origin;
        if data.text.get(at.start as usize..at.start as usize + at.len as usize) != Some(origin) {
            data.origin = data.push_text(origin);
        }
    }

    /// Lists a transaction: its commit in the source's terms and when it was committed.
    pub fn transaction(&mut self, commit: &str, time: Option<Timestamp>) -> TransactionIndex {
        let data = self.data();
        let commit = data.push_text(commit);
        data.transactions.push(Transaction { commit, time });
        TransactionIndex(data.transactions.len() as u32 - 1)
    }

    /// State that becomes durable together with the batch's end.
    pub fn state(&mut self) -> &mut StateDelta {
        &mut self.state
    }

    /// Starts an event. It counts from [`EventBuilder::end`] on.
    pub fn event(&mut self, op: Op) -> EventBuilder<'_> {
        let mark =
            Mark { text: self.data.text.len(), bytes: self.data.bytes.len(), cells: self.data.cells.len() };
        self.received.get_or_insert_with(Instant::now);
        let event = Event {
            ordinal: 0,
            before: Range::ABSENT,
            after: Range::ABSENT,
            message: Range::ABSENT,
            schema: NONE,
            transaction: NONE,
            route: NONE,
            sub: 0,
            op,
        };
        EventBuilder { builder: self, event, mark, ended: false }
    }

    /// Hands out the batch and starts the next. `end` is what is done when all of its events are.
    pub fn finish(&mut self, partition: PartitionId, end: Option<Position>) -> ChangeBatch {
        let next = self.pool.take();
        let events = std::mem::replace(&mut self.events, next.events);
        ChangeBatch {
            parts: Parts {
                data: std::mem::replace(&mut self.data, next.data),
                overlay: std::mem::replace(&mut self.overlay, next.overlay),
            },
            rejected: Vec::new(),
            partition,
            end,
            state: std::mem::take(&mut self.state),
            received: self.received.take().unwrap_or_else(Instant::now),
            built: events.len(),
            pool: Some(self.pool.clone()),
            events,
        }
    }

    /// Forgets everything since the last `finish`.
    pub fn discard(&mut self) {
        self.data().clear();
        self.events.clear();
        self.state = StateDelta::default();
        self.received = None;
    }
}

/// Where the arenas stood, so that an abandoned event can be taken back.
#[derive(Clone, Copy, Debug)]
struct Mark {
    text: usize,
    bytes: usize,
    cells: usize,
}

/// One event being written. Dropped without [`end`](Self::end), it leaves no trace.
#[derive(Debug)]
pub struct EventBuilder<'b> {
    builder: &'b mut BatchBuilder,
    event: Event,
    mark: Mark,
    ended: bool,
}

impl EventBuilder<'_> {
    /// The schema of its rows.
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

    /// Its part, when one change gave several events.
    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "the part of an id, as EventId names it")]
    pub fn sub(mut self, sub: u32) -> Self {
        self.event.sub = sub;
        self
    }

    /// Starts the row before the change.
    pub fn before(&mut self) -> RowWriter<'_> {
        RowWriter::new(self, Some(Image::Before))
    }

    /// Starts the row after the change.
    pub fn after(&mut self) -> RowWriter<'_> {
        RowWriter::new(self, Some(Image::After))
    }

    /// Makes it a message with a raw body.
    pub fn message(&mut self, message: &MessageParts<'_>) {
        let data = self.builder.data();
        let start = data.reserve_cells(field::COUNT);
        for (i, value) in message.fields().into_iter().enumerate() {
            let cell = data.push_value(value, Arena::Data);
            data.cells[start + i] = cell;
        }
        if let Some(headers) = headers_cell(data, message.headers, Arena::Data) {
            data.cells[start + field::HEADERS] = headers;
        }
        self.event.message = Range { start: start as u32, len: field::COUNT as u32, arena: Arena::Data };
    }

    /// Completes the event.
    pub fn end(mut self) {
        self.ended = true;
        self.builder.events.push(self.event);
    }
}

impl Drop for EventBuilder<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let mark = self.mark;
            let data = self.builder.data();
            data.text.truncate(mark.text);
            data.bytes.truncate(mark.bytes);
            data.cells.truncate(mark.cells);
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
}

pub(crate) fn headers_cell(
    data: &mut BatchData,
    headers: &[(&str, ValueRef<'_>)],
    arena: Arena,
) -> Option<Cell> {
    if headers.is_empty() {
        return None;
    }
    let start = data.reserve_cells(headers.len() * 2);
    for (i, (name, value)) in headers.iter().enumerate() {
        let name = data.push_value(ValueRef::Text(name), arena);
        let value = data.push_value(*value, arena);
        data.cells[start + 2 * i] = name;
        data.cells[start + 2 * i + 1] = value;
    }
    Some(Cell::new(Kind::Map, headers.len() as u32, start as u64, arena))
}

/// Writes the values of one row, in column order.
///
/// Dropped without [`end`](Self::end), the row does not exist.
#[derive(Debug)]
pub struct RowWriter<'e> {
    builder: &'e mut BatchBuilder,
    row: &'e mut Range,
    columns: Option<usize>,
    overflow: bool,
}

macro_rules! text_columns {
    ($($(#[$doc:meta])* $name:ident => $kind:ident),* $(,)?) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, text: &str) {
            self.text_cell(Kind::$kind, text);
        }
    )*};
}

impl<'e> RowWriter<'e> {
    fn new<'b: 'e>(event: &'e mut EventBuilder<'b>, image: Option<Image>) -> Self {
        let EventBuilder { builder, event, .. } = event;
        builder.scratch.clear();
        builder.open.clear();
        let columns = builder.data.schemas.get(event.schema as usize).map(|s| s.columns().len());
        let row = if image == Some(Image::Before) { &mut event.before } else { &mut event.after };
        Self { builder, row, columns, overflow: false }
    }

    fn push(&mut self, cell: Cell) {
        self.builder.scratch.push(cell);
    }

    fn text_cell(&mut self, kind: Kind, text: &str) {
        self.overflow |= u32::try_from(text.len()).is_err();
        let span = self.builder.data().push_text(text);
        self.push(Cell::new(kind, span.len, span.start, Arena::Data));
    }

    text_columns! {
        /// Text.
        text => Text,
        /// A decimal in the server's exact text.
        decimal => Decimal,
        /// JSON as the server sent it; must be valid JSON.
        json => Json,
        /// The label of an enumeration.
        enumeration => Enum,
        /// The labels of a set, joined by commas.
        set => Set,
        /// A type without a form of its own, in the server's text.
        other => Other,
    }

    /// NULL.
    pub fn null(&mut self) {
        self.push(Cell::NULL);
    }

    /// A value that the source did not send (invariant 6).
    pub fn unavailable(&mut self) {
        self.push(Cell::UNAVAILABLE);
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.push(Cell::scalar(Kind::Bool, value.into()));
    }

    /// A signed integer.
    pub fn i64(&mut self, value: i64) {
        self.push(Cell::scalar(Kind::I64, value as u64));
    }

    /// An unsigned integer.
    pub fn u64(&mut self, value: u64) {
        self.push(Cell::scalar(Kind::U64, value));
    }

    /// A 64-bit float.
    pub fn f64(&mut self, value: f64) {
        self.push(Cell::scalar(Kind::F64, value.to_bits()));
    }

    /// A point in time.
    pub fn timestamp(&mut self, value: Timestamp) {
        self.push(Cell::new(Kind::Timestamp, value.nanos(), value.seconds() as u64, Arena::Data));
    }

    /// Bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.overflow |= u32::try_from(value.len()).is_err();
        let start = self.builder.data().push_bytes(value);
        self.push(Cell::new(Kind::Bytes, value.len() as u32, start, Arena::Data));
    }

    /// Any value, nested ones included.
    pub fn value(&mut self, value: ValueRef<'_>) {
        if let Some(bytes) = value.as_bytes() {
            self.overflow |= u32::try_from(bytes.len()).is_err();
        }
        let cell = self.builder.data().push_value(value, Arena::Data);
        self.push(cell);
    }

    /// Any owned value.
    pub fn owned(&mut self, value: &Value) {
        self.value(value.as_ref());
    }

    /// Opens a list; every value until [`end_list`](Self::end_list) is an element.
    pub fn begin_list(&mut self) {
        self.builder.open.push(self.builder.scratch.len());
    }

    /// Closes the innermost list.
    pub fn end_list(&mut self) {
        self.close(Kind::List, 1);
    }

    /// Opens a map; values until [`end_map`](Self::end_map) are keys and values in turn.
    pub fn begin_map(&mut self) {
        self.builder.open.push(self.builder.scratch.len());
    }

    /// Closes the innermost map. A key without a value gets NULL.
    pub fn end_map(&mut self) {
        let from = self.builder.open.last().copied().unwrap_or(0);
        if (self.builder.scratch.len() - from) % 2 == 1 {
            self.null();
        }
        self.close(Kind::Map, 2);
    }

    fn close(&mut self, kind: Kind, cells_per_entry: usize) {
        let from = self.builder.open.pop().unwrap_or(0);
        let BatchBuilder { data, scratch, .. } = &mut *self.builder;
        let cells = &mut Arc::make_mut(data).cells;
        let start = cells.len() as u64;
        let entries = (scratch.len() - from) / cells_per_entry;
        cells.extend(scratch.drain(from..));
        self.push(Cell::new(kind, entries as u32, start, Arena::Data));
    }

    /// Completes the row.
    ///
    /// # Errors
    /// `batch.row_width` when there are not as many values as the schema has columns,
    /// `batch.value_too_large` when a value has 4 GiB or more. The row then does not exist.
    pub fn end(self) -> Result<()> {
        let Self { builder, row, columns, overflow } = self;
        let len = builder.scratch.len();
        if columns.is_some_and(|columns| columns != len) || !builder.open.is_empty() {
            return Err(Error::internal("batch.row_width")
                .message("a row must have one value a column, and its lists must be closed")
                .with("columns", columns.unwrap_or(0))
                .with("values", len));
        }
        if overflow {
            return Err(Error::data("batch.value_too_large").message("a value has 4 GiB or more"));
        }
        let cells = &mut Arc::make_mut(&mut builder.data).cells;
        let start = u32::try_from(cells.len()).ok().filter(|s| *s != u32::MAX);
        let start = start.ok_or_else(|| Error::data("batch.too_large").message("a batch has 2^32 cells"))?;
        cells.extend_from_slice(&builder.scratch);
        *row = Range { start, len: len as u32, arena: Arena::Data };
        Ok(())
    }
}
