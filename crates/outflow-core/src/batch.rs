//! The unit of flow: a batch of events over arenas that are written once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::cell::{Arena, Cell, Kind, Range, Span};
use crate::checkpoint::StateDelta;
use crate::error::Error;
use crate::event::{Event, EventRef, NONE};
use crate::position::{PartitionId, Position};
use crate::schema::TableSchema;
use crate::temporal::{Date, DateTime, Interval, Time, TimeTz, Timestamp};
use crate::value::{BitsRef, ListRef, MapRef, ValueRef};

/// One transaction of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transaction {
    pub(crate) commit: Span,
    pub(crate) time: Option<Timestamp>,
}

/// Arenas, cells and lists. Nothing in it has an allocation or a reference count of its own but the schemas.
#[derive(Clone, Debug, Default)]
pub(crate) struct BatchData {
    pub(crate) text: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) cells: Vec<Cell>,
    pub(crate) schemas: Vec<Arc<TableSchema>>,
    pub(crate) transactions: Vec<Transaction>,
    /// Destinations that transforms chose.
    pub(crate) routes: Vec<Span>,
    pub(crate) origin: Span,
}

impl BatchData {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.bytes.clear();
        self.cells.clear();
        self.schemas.clear();
        self.transactions.clear();
        self.routes.clear();
        self.origin = Span::default();
    }

    pub(crate) fn charge(&self) -> usize {
        self.text.capacity()
            + self.bytes.capacity()
            + self.cells.capacity() * size_of::<Cell>()
            + self.schemas.capacity() * size_of::<Arc<TableSchema>>()
            + self.transactions.capacity() * size_of::<Transaction>()
            + self.routes.capacity() * size_of::<Span>()
    }

    pub(crate) fn used(&self) -> usize {
        self.text.len() + self.bytes.len() + self.cells.len() * size_of::<Cell>()
    }

    pub(crate) fn push_text(&mut self, text: &str) -> Span {
        let start = self.text.len() as u64;
        self.text.push_str(text);
        Span { start, len: text.len() as u32 }
    }

    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) -> u64 {
        let start = self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        start
    }

    fn text_at(&self, start: u64, len: u32) -> &str {
        &self.text[start as usize..start as usize + len as usize]
    }

    fn bytes_at(&self, start: u64, len: usize) -> &[u8] {
        &self.bytes[start as usize..start as usize + len]
    }

    /// Writes a value and what it holds, except its own place in a row.
    pub(crate) fn push_value(&mut self, value: ValueRef<'_>, arena: Arena) -> Cell {
        let scalar = |kind, b| Cell::scalar(kind, b);
        let text = |data: &mut Self, kind, s: &str| {
            let span = data.push_text(s);
            Cell::new(kind, span.len, span.start, arena)
        };
        match value {
            ValueRef::Null => Cell::NULL,
            ValueRef::Unavailable => Cell::UNAVAILABLE,
            ValueRef::Bool(v) => scalar(Kind::Bool, v.into()),
            ValueRef::I64(v) => scalar(Kind::I64, v as u64),
            ValueRef::U64(v) => scalar(Kind::U64, v),
            ValueRef::F32(v) => scalar(Kind::F32, v.to_bits().into()),
            ValueRef::F64(v) => scalar(Kind::F64, v.to_bits()),
            ValueRef::Decimal(s) => text(self, Kind::Decimal, s),
            ValueRef::Text(s) => text(self, Kind::Text, s),
            ValueRef::Json(s) => text(self, Kind::Json, s),
            ValueRef::Enum(s) => text(self, Kind::Enum, s),
            ValueRef::Set(s) => text(self, Kind::Set, s),
            ValueRef::Other(s) => text(self, Kind::Other, s),
            ValueRef::Bytes(b) => Cell::new(Kind::Bytes, b.len() as u32, self.push_bytes(b), arena),
            ValueRef::Bits(b) => Cell::new(Kind::Bits, b.len(), self.push_bytes(b.bytes()), arena),
            ValueRef::Uuid(u) => Cell::new(Kind::Uuid, 0, self.push_bytes(u), arena),
            ValueRef::Date(d) => scalar(Kind::Date, i64::from(d.days()) as u64),
            ValueRef::Time(t) => scalar(Kind::Time, t.nanos() as u64),
            ValueRef::TimeTz(t) => Cell::new(Kind::TimeTz, t.offset as u32, t.time.nanos() as u64, arena),
            ValueRef::DateTime(t) => Cell::new(Kind::DateTime, t.nanos(), t.seconds() as u64, arena),
            ValueRef::Timestamp(t) => Cell::new(Kind::Timestamp, t.nanos(), t.seconds() as u64, arena),
            ValueRef::Interval(i) => {
                let start = self.push_bytes(&i.days.to_le_bytes());
                self.push_bytes(&i.nanos.to_le_bytes());
                Cell::new(Kind::Interval, i.months as u32, start, arena)
            }
            ValueRef::List(list) => {
                let start = self.reserve_cells(list.len());
                for (i, value) in list.iter().enumerate() {
                    let cell = self.push_value(value, arena);
                    self.cells[start + i] = cell;
                }
                Cell::new(Kind::List, list.len() as u32, start as u64, arena)
            }
            ValueRef::Map(map) => {
                let start = self.reserve_cells(map.len() * 2);
                for (i, (key, value)) in map.iter().enumerate() {
                    let key = self.push_value(key, arena);
                    let value = self.push_value(value, arena);
                    self.cells[start + 2 * i] = key;
                    self.cells[start + 2 * i + 1] = value;
                }
                Cell::new(Kind::Map, map.len() as u32, start as u64, arena)
            }
        }
    }

    pub(crate) fn reserve_cells(&mut self, count: usize) -> usize {
        let start = self.cells.len();
        self.cells.resize(start + count, Cell::NULL);
        start
    }
}

/// Everything of a batch but its event list, so that events can be edited while values are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) data: Arc<BatchData>,
    pub(crate) overlay: Arc<BatchData>,
}

impl Parts {
    pub(crate) fn arena(&self, arena: Arena) -> &BatchData {
        match arena {
            Arena::Data => &self.data,
            Arena::Overlay => &self.overlay,
        }
    }

    pub(crate) fn cells(&self, range: Range) -> &[Cell] {
        &self.arena(range.arena).cells[range.start as usize..range.start as usize + range.len()]
    }

    pub(crate) fn value(&self, cell: &Cell) -> ValueRef<'_> {
        let arena = self.arena(cell.arena);
        let text = || arena.text_at(cell.b, cell.a);
        match cell.kind {
            Kind::Null => ValueRef::Null,
            Kind::Unavailable => ValueRef::Unavailable,
            Kind::Bool => ValueRef::Bool(cell.b != 0),
            Kind::I64 => ValueRef::I64(cell.b as i64),
            Kind::U64 => ValueRef::U64(cell.b),
            Kind::F32 => ValueRef::F32(f32::from_bits(cell.b as u32)),
            Kind::F64 => ValueRef::F64(f64::from_bits(cell.b)),
            Kind::Decimal => ValueRef::Decimal(text()),
            Kind::Text => ValueRef::Text(text()),
            Kind::Json => ValueRef::Json(text()),
            Kind::Enum => ValueRef::Enum(text()),
            Kind::Set => ValueRef::Set(text()),
            Kind::Other => ValueRef::Other(text()),
            Kind::Bytes => ValueRef::Bytes(arena.bytes_at(cell.b, cell.a as usize)),
            Kind::Bits => BitsRef::new(arena.bytes_at(cell.b, cell.a.div_ceil(8) as usize), cell.a)
                .map_or(ValueRef::Null, ValueRef::Bits),
            Kind::Uuid => arena.bytes_at(cell.b, 16).try_into().ok().map_or(ValueRef::Null, ValueRef::Uuid),
            Kind::Date => ValueRef::Date(Date::from_days(cell.b as i64 as i32)),
            Kind::Time => ValueRef::Time(Time::from_nanos(cell.b as i64)),
            Kind::TimeTz => {
                ValueRef::TimeTz(TimeTz { time: Time::from_nanos(cell.b as i64), offset: cell.a as i32 })
            }
            Kind::DateTime => ValueRef::DateTime(DateTime::new(cell.b as i64, cell.a)),
            Kind::Timestamp => ValueRef::Timestamp(Timestamp::new(cell.b as i64, cell.a)),
            Kind::Interval => {
                let mut days = [0; 4];
                days.copy_from_slice(arena.bytes_at(cell.b, 4));
                let mut nanos = [0; 8];
                nanos.copy_from_slice(arena.bytes_at(cell.b + 4, 8));
                ValueRef::Interval(Interval {
                    months: cell.a as i32,
                    days: i32::from_le_bytes(days),
                    nanos: i64::from_le_bytes(nanos),
                })
            }
            Kind::List => ValueRef::List(ListRef::cells(self, cell.children())),
            Kind::Map => ValueRef::Map(MapRef::cells(self, cell.children())),
        }
    }

    /// Schemas that transforms made stand after those of the source.
    pub(crate) fn schema(&self, index: u32) -> Option<&Arc<TableSchema>> {
        let index = index as usize;
        let own = self.data.schemas.len();
        self.data.schemas.get(index).or_else(|| self.overlay.schemas.get(index.checked_sub(own)?))
    }

    pub(crate) fn origin(&self) -> &str {
        self.data.text_at(self.data.origin.start, self.data.origin.len)
    }

    pub(crate) fn commit(&self, transaction: u32) -> &str {
        match self.data.transactions.get(transaction as usize) {
            Some(t) => self.data.text_at(t.commit.start, t.commit.len),
            None => "",
        }
    }

    pub(crate) fn commit_time(&self, transaction: u32) -> Option<Timestamp> {
        self.data.transactions.get(transaction as usize)?.time
    }

    pub(crate) fn route(&self, route: u32) -> Option<&str> {
        let span = self.overlay.routes.get(route as usize)?;
        Some(self.overlay.text_at(span.start, span.len))
    }

    /// Bytes that a value holds in arenas and nested cells, without its own cell.
    fn referenced(&self, cell: &Cell) -> usize {
        match cell.kind {
            Kind::Decimal | Kind::Text | Kind::Json | Kind::Enum | Kind::Set | Kind::Other | Kind::Bytes => {
                cell.a as usize
            }
            Kind::Bits => cell.a.div_ceil(8) as usize,
            Kind::Uuid => 16,
            Kind::Interval => 12,
            Kind::List | Kind::Map => {
                let children = self.cells(cell.children());
                children.iter().map(|c| size_of::<Cell>() + self.referenced(c)).sum()
            }
            _ => 0,
        }
    }

    pub(crate) fn referenced_by(&self, range: Range) -> usize {
        if range.is_absent() {
            return 0;
        }
        self.cells(range).iter().map(|c| size_of::<Cell>() + self.referenced(c)).sum()
    }

    /// Writes a row and what it holds into `out`.
    fn copy_row(&self, range: Range, out: &mut BatchData) -> Range {
        if range.is_absent() {
            return range;
        }
        let start = out.reserve_cells(range.len());
        for (i, cell) in self.cells(range).iter().enumerate() {
            let copy = out.push_value(self.value(cell), Arena::Data);
            out.cells[start + i] = copy;
        }
        Range { start: start as u32, len: range.len, arena: Arena::Data }
    }
}

/// An event that a transform refused, with the reason.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) event: Event,
    pub(crate) error: Error,
}

/// A batch of events of one partition.
///
/// `Clone` copies the event list, never the data. Reading allocates nothing. Dropping the last clone returns
/// the buffers to the pool of the [`BatchBuilder`](crate::BatchBuilder) that made it.
#[derive(Debug)]
pub struct ChangeBatch {
    pub(crate) parts: Parts,
    pub(crate) events: Vec<Event>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) partition: PartitionId,
    pub(crate) end: Option<Position>,
    pub(crate) state: StateDelta,
    pub(crate) received: Instant,
    pub(crate) built: usize,
    pub(crate) pool: Option<BatchPool>,
}

impl Clone for ChangeBatch {
    /// Rejected events stay with the original, which alone hands them to the dead letters.
    fn clone(&self) -> Self {
        Self {
            parts: self.parts.clone(),
            events: self.events.clone(),
            rejected: Vec::new(),
            partition: self.partition.clone(),
            end: self.end.clone(),
            state: self.state.clone(),
            received: self.received,
            built: self.built,
            pool: self.pool.clone(),
        }
    }
}

impl ChangeBatch {
    /// A batch without events that only moves its partition to `end`.
    pub fn empty(partition: PartitionId, end: Position) -> Self {
        Self {
            parts: Parts::default(),
            events: Vec::new(),
            rejected: Vec::new(),
            partition,
            end: Some(end),
            state: StateDelta::default(),
            received: Instant::now(),
            built: 0,
            pool: None,
        }
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// True when there are no events; the batch still carries its position.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The event at `index`.
    pub fn get(&self, index: usize) -> Option<EventRef<'_>> {
        self.events.get(index).map(|event| EventRef { parts: &self.parts, event, index })
    }

    /// All events, in commit order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = EventRef<'_>> {
        let parts = &self.parts;
        self.events.iter().enumerate().map(move |(index, event)| EventRef { parts, event, index })
    }

    /// The partition that the batch belongs to.
    pub fn partition(&self) -> &PartitionId {
        &self.partition
    }

    /// The position that is done when every event of the batch is; `None` when progress is kept by marks in
    /// the source.
    pub fn end(&self) -> Option<&Position> {
        self.end.as_ref()
    }

    /// State that becomes durable together with `end`.
    pub fn state(&self) -> &StateDelta {
        &self.state
    }

    /// When the first event came out of the source's socket or query.
    pub fn received(&self) -> Instant {
        self.received
    }

    /// The schemas of the batch, each once.
    pub fn schemas(&self) -> impl Iterator<Item = &Arc<TableSchema>> {
        self.parts.data.schemas.iter().chain(&self.parts.overlay.schemas)
    }

    /// The events that transforms refused, with the reasons, in the order of refusal.
    pub fn rejected(&self) -> impl ExactSizeIterator<Item = (EventRef<'_>, &Error)> {
        self.rejected
            .iter()
            .enumerate()
            .map(|(index, r)| (EventRef { parts: &self.parts, event: &r.event, index }, &r.error))
    }

    /// The number of events that the source put in, before any filter.
    pub fn built_len(&self) -> usize {
        self.built
    }

    /// Takes the state out, for the runtime that stores it together with `end`.
    pub fn take_state(&mut self) -> StateDelta {
        std::mem::take(&mut self.state)
    }

    /// Bytes of content that the source wrote: what comes again when the batch is replayed.
    pub fn content_bytes(&self) -> usize {
        self.parts.data.used() + self.built * size_of::<Event>()
    }

    /// Bytes of capacity retained by this batch: what a memory budget counts (invariant 7).
    pub fn charge(&self) -> usize {
        size_of::<Self>()
            + self.parts.data.charge()
            + self.parts.overlay.charge()
            + (self.events.capacity() + self.rejected.capacity()) * size_of::<Event>()
            + self.state.charge()
    }

    /// Bytes that the remaining events refer to.
    pub fn referenced(&self) -> usize {
        let events = self.events.iter().chain(self.rejected.iter().map(|r| &r.event));
        events
            .map(|e| {
                size_of::<Event>()
                    + self.parts.referenced_by(e.before)
                    + self.parts.referenced_by(e.after)
                    + self.parts.referenced_by(e.message)
            })
            .sum()
    }

    /// Copies what the remaining events refer to into arenas of that size and lets go of the rest.
    ///
    /// Indexes, ids and values stay the same. One surviving small event must not pin a megabyte (invariant 7).
    pub fn compact(&mut self) {
        let mut data = BatchData::default();
        let events = self.events.iter_mut().chain(self.rejected.iter_mut().map(|r| &mut r.event));
        // Where each schema, transaction and route went.
        let mut moved = Moved::default();
        let mut routes = Vec::new();
        let old = &self.parts;
        data.origin = data.push_text(old.origin());
        for event in events {
            event.before = old.copy_row(event.before, &mut data);
            event.after = old.copy_row(event.after, &mut data);
            event.message = old.copy_row(event.message, &mut data);
            if let Some(schema) = old.schema(event.schema) {
                event.schema = moved.schemas.place(event.schema, || {
                    data.schemas.push(Arc::clone(schema));
                    data.schemas.len()
                });
            }
            if let Some(t) = old.data.transactions.get(event.transaction as usize) {
                event.transaction = moved.transactions.place(event.transaction, || {
                    let commit = data.push_text(old.data.text_at(t.commit.start, t.commit.len));
                    data.transactions.push(Transaction { commit, time: t.time });
                    data.transactions.len()
                });
            }
            if let Some(route) = old.route(event.route) {
                event.route = moved.routes.place(event.route, || {
                    routes.push(route.to_owned());
                    routes.len()
                });
            }
        }
        let mut overlay = BatchData::default();
        for route in routes {
            let span = overlay.push_text(&route);
            overlay.routes.push(span);
        }
        self.events.shrink_to_fit();
        self.rejected.shrink_to_fit();
        for data in [&mut data, &mut overlay] {
            data.text.shrink_to_fit();
            data.bytes.shrink_to_fit();
            data.cells.shrink_to_fit();
        }
        let old =
            std::mem::replace(&mut self.parts, Parts { data: Arc::new(data), overlay: Arc::new(overlay) });
        if let Some(pool) = &self.pool {
            pool.put(old, Vec::new());
        }
        // The buffers left now are of an odd size: not worth a place in the pool.
        self.pool = None;
    }
}

/// Old index → new index, for lists that are walked in order and so mostly hit the last entry.
#[derive(Default)]
struct Moved {
    schemas: Map,
    transactions: Map,
    routes: Map,
}

#[derive(Default)]
struct Map(std::collections::BTreeMap<u32, u32>);

impl Map {
    fn place(&mut self, old: u32, push: impl FnOnce() -> usize) -> u32 {
        *self.0.entry(old).or_insert_with(|| u32::try_from(push()).map_or(NONE, |len| len - 1))
    }
}

impl Drop for ChangeBatch {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.put(std::mem::take(&mut self.parts), std::mem::take(&mut self.events));
        }
    }
}

/// Vectors that finished batches return to their builder, so that a steady flow allocates nothing an event.
#[derive(Clone, Debug, Default)]
pub struct BatchPool(Arc<Mutex<Vec<Buffers>>>);

#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) data: Arc<BatchData>,
    pub(crate) overlay: Arc<BatchData>,
    pub(crate) events: Vec<Event>,
}

impl BatchPool {
    /// Buffers above this size are let go: one huge row must not be kept for ever.
    const MAX_BYTES: usize = 4 << 20;
    /// More sets than a source task, a sink task and a hand-over between them can use help nobody.
    const MAX_SETS: usize = 6;

    /// A pool of its own.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn take(&self) -> Buffers {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, parts: Parts, mut events: Vec<Event>) {
        let Parts { mut data, mut overlay } = parts;
        // Only the last clone gives back.
        let (Some(d), Some(o)) = (Arc::get_mut(&mut data), Arc::get_mut(&mut overlay)) else { return };
        if d.charge() + o.charge() + events.capacity() * size_of::<Event>() > Self::MAX_BYTES {
            return;
        }
        d.clear();
        o.clear();
        events.clear();
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sets.len() < Self::MAX_SETS {
            sets.push(Buffers { data, overlay, events });
        }
    }
}
