//! Events as they are read: one change of one source row, or a message.

use serde::{Deserialize, Serialize};

use crate::arena::Parts;
use crate::cell::{Cell, Range};
use crate::event_id::EventId;
use crate::schema::{Column, TableSchema};
use crate::temporal::Timestamp;
use crate::value::{MapRef, ValueRef};
use std::sync::Arc;

/// What an event says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Op {
    /// A row was inserted.
    Insert,
    /// A row was changed.
    Update,
    /// A row was deleted.
    Delete,
    /// A row was inserted or changed; the source cannot tell which.
    Upsert,
    /// A row was read by a snapshot.
    Read,
    /// A table was emptied.
    Truncate,
    /// An application's message: an outbox row or a logical message.
    Message,
    /// Input that could not be decoded; the message holds the raw bytes. Handled by the pipeline's `on_error`.
    Undecodable,
    /// The schema of a table changed.
    SchemaChange,
    /// A transaction begins.
    Begin,
    /// A transaction is complete.
    Commit,
    /// Proof that the stream is alive.
    Heartbeat,
    /// Changes were lost and the pipeline's policy accepted that.
    Gap,
}

impl Op {
    /// True for changes of rows: insert, update, delete, upsert.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Insert | Self::Update | Self::Delete | Self::Upsert)
    }

    /// The kebab-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Upsert => "upsert",
            Self::Read => "read",
            Self::Truncate => "truncate",
            Self::Message => "message",
            Self::Undecodable => "undecodable",
            Self::SchemaChange => "schema-change",
            Self::Begin => "begin",
            Self::Commit => "commit",
            Self::Heartbeat => "heartbeat",
            Self::Gap => "gap",
        }
    }
}

/// No schema, transaction or route.
pub(crate) const NONE: u32 = u32::MAX;

/// An event inside its batch: small and without pointers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) ordinal: u64,
    pub(crate) before: Range,
    pub(crate) after: Range,
    pub(crate) message: Range,
    pub(crate) schema: u32,
    pub(crate) transaction: u32,
    pub(crate) route: u32,
    pub(crate) sub: u32,
    /// How far apart the ids of its parts will be; see [`Event::part`].
    pub(crate) step: u32,
    pub(crate) op: Op,
}

impl Event {
    /// The step of an event whose part the source numbered itself: it numbers them below this, or they cannot
    /// be split.
    pub(crate) fn source_step(sub: u32) -> u32 {
        const STEP: u32 = 1 << 16;
        if sub < STEP { STEP } else { 0 }
    }

    pub(crate) fn new(op: Op) -> Self {
        Self {
            ordinal: 0,
            before: Range::ABSENT,
            after: Range::ABSENT,
            message: Range::ABSENT,
            schema: NONE,
            transaction: NONE,
            route: NONE,
            sub: 0,
            step: 1,
            op,
        }
    }

    /// Part `k` of the `parts` that this event is split into; `None` when the numbers run out.
    ///
    /// Its number is `sub + k × step`, and its own parts will be `step × parts` apart. So the numbers of all
    /// that comes of part `k` leave the rest `sub + k × step` when divided by `step × parts`: no two parts have
    /// one id, however often either is split again, and no number depends on anything but the event itself, so
    /// they are the same on every replay (invariant 8).
    pub(crate) fn part(&self, k: u32, parts: u32) -> Option<Self> {
        if parts == 1 {
            return Some(*self);
        }
        let sub = self.step.checked_mul(k)?.checked_add(self.sub)?;
        // A step of 0 has no parts: the numbers end here.
        let step = self.step.checked_mul(parts).unwrap_or(0);
        (self.step != 0).then_some(Self { sub, step, ..*self })
    }

    pub(crate) fn row_mut(&mut self, image: Image) -> &mut Range {
        match image {
            Image::Before => &mut self.before,
            Image::After => &mut self.after,
        }
    }
}

/// Which image of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// As it was before the change.
    Before,
    /// As it is after the change.
    After,
}

/// One event, borrowed from its batch.
#[derive(Clone, Copy)]
pub struct EventRef<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) event: &'a Event,
    pub(crate) index: usize,
}

impl<'a> EventRef<'a> {
    /// What happened.
    pub fn op(&self) -> Op {
        self.event.op
    }

    /// The event's place in its batch, as sinks name it in `rejected`.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The schema under which the rows were written; `None` for messages without a table.
    pub fn schema(&self) -> Option<&'a Arc<TableSchema>> {
        self.parts.schema(self.event.schema)
    }

    /// The row before the change, if the source told it.
    pub fn before(&self) -> Option<RowRef<'a>> {
        self.row(Image::Before)
    }

    /// The row after the change, if there is one.
    pub fn after(&self) -> Option<RowRef<'a>> {
        self.row(Image::After)
    }

    /// One image of the row.
    pub fn row(&self, image: Image) -> Option<RowRef<'a>> {
        let range = match image {
            Image::Before => self.event.before,
            Image::After => self.event.after,
        };
        if range.is_absent() {
            return None;
        }
        Some(RowRef { parts: self.parts, cells: self.parts.cells(range), schema: self.schema()? })
    }

    /// The row that identifies what changed: after, else before.
    pub fn row_any(&self) -> Option<RowRef<'a>> {
        self.after().or_else(|| self.before())
    }

    /// The message, for outbox and logical messages.
    pub fn message(&self) -> Option<MessageRef<'a>> {
        if self.event.message.is_absent() {
            return None;
        }
        Some(MessageRef { parts: self.parts, cells: self.parts.cells(self.event.message) })
    }

    /// The identity, the same on every replay.
    pub fn id(&self) -> EventId<'a> {
        EventId {
            origin: self.parts.origin(),
            commit: self.parts.commit(self.event.transaction),
            ordinal: self.event.ordinal,
            sub: self.event.sub,
        }
    }

    /// When the change was committed, where the source tells.
    pub fn commit_time(&self) -> Option<Timestamp> {
        self.parts.commit_time(self.event.transaction)
    }

    /// The transaction, where the source tells.
    pub fn transaction(&self) -> Option<&'a str> {
        let commit = self.parts.commit(self.event.transaction);
        (!commit.is_empty()).then_some(commit)
    }

    /// Bytes of the event's values: what a limit on the size of a row compares.
    pub fn size(&self) -> usize {
        [self.event.before, self.event.after, self.event.message]
            .into_iter()
            .map(|range| self.parts.referenced_by(range))
            .sum()
    }

    /// The destination that a transform chose.
    pub fn route(&self) -> Option<&'a str> {
        self.parts.route(self.event.route)
    }
}

/// A row, borrowed from its batch: as many values as its schema has columns.
#[derive(Clone, Copy)]
pub struct RowRef<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) cells: &'a [Cell],
    pub(crate) schema: &'a Arc<TableSchema>,
}

impl<'a> RowRef<'a> {
    /// The schema of the row.
    pub fn schema(&self) -> &'a Arc<TableSchema> {
        self.schema
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// True for a row without columns.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The value in column `index`.
    pub fn get(&self, index: usize) -> Option<ValueRef<'a>> {
        self.cells.get(index).map(|cell| self.parts.value(cell))
    }

    /// The value of the column of this name. Looks the name up: encoders use indexes.
    pub fn by_name(&self, name: &str) -> Option<ValueRef<'a>> {
        self.get(self.schema.column_index(name)?)
    }

    /// All values, in column order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = ValueRef<'a>> + use<'a> {
        let parts = self.parts;
        self.cells.iter().map(move |cell| parts.value(cell))
    }

    /// All columns with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'a Column, ValueRef<'a>)> + use<'a> {
        self.schema.columns().iter().zip(self.values())
    }

    /// The values of the key columns, in key order.
    pub fn key(&self) -> impl Iterator<Item = (&'a Column, ValueRef<'a>)> + use<'a> {
        let row = *self;
        self.schema.key().iter().filter_map(move |k| {
            let index = *k as usize;
            Some((row.schema.columns().get(index)?, row.get(index)?))
        })
    }
}

/// The places of a message's fields among its cells.
pub(crate) mod field {
    pub(crate) const DESTINATION: usize = 0;
    pub(crate) const KEY: usize = 1;
    pub(crate) const KIND: usize = 2;
    pub(crate) const ID: usize = 3;
    pub(crate) const CONTENT_TYPE: usize = 4;
    pub(crate) const BODY: usize = 5;
    pub(crate) const HEADERS: usize = 6;
    pub(crate) const COUNT: usize = 7;
}

/// An application's message: a raw body with a content type, never forced through a row.
#[derive(Clone, Copy)]
pub struct MessageRef<'a> {
    parts: &'a Parts,
    cells: &'a [Cell],
}

impl<'a> MessageRef<'a> {
    /// The field as it is; `Null` when it was not given.
    pub(crate) fn field(&self, index: usize) -> ValueRef<'a> {
        self.cells.get(index).map_or(ValueRef::Null, |cell| self.parts.value(cell))
    }

    /// Where the message should go: an aggregate type, a channel, a prefix.
    pub fn destination(&self) -> Option<&'a str> {
        self.field(field::DESTINATION).as_str()
    }

    /// What orders the message among others: the aggregate's id.
    pub fn key(&self) -> ValueRef<'a> {
        self.field(field::KEY)
    }

    /// The event type, as the application names it.
    pub fn kind(&self) -> Option<&'a str> {
        self.field(field::KIND).as_str()
    }

    /// The id that the application gave the message.
    pub fn id(&self) -> ValueRef<'a> {
        self.field(field::ID)
    }

    /// The media type of the body.
    pub fn content_type(&self) -> Option<&'a str> {
        self.field(field::CONTENT_TYPE).as_str()
    }

    /// The body as its column or source held it; `Null` for a tombstone.
    pub fn body_value(&self) -> ValueRef<'a> {
        self.field(field::BODY)
    }

    /// The bytes of the body; `None` for a tombstone, and for a body without bytes of its own (a number, or a
    /// column that the source did not send): [`body_value`](Self::body_value) tells them apart.
    pub fn body(&self) -> Option<&'a [u8]> {
        self.body_value().as_bytes()
    }

    /// The headers, in order.
    pub fn headers(&self) -> Option<MapRef<'a>> {
        match self.field(field::HEADERS) {
            ValueRef::Map(map) => Some(map),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_small() {
        assert_eq!(size_of::<Event>(), 56);
    }

    #[test]
    fn parts_of_parts_have_numbers_of_their_own() {
        // Splits at random, with parts of earlier splits among them, and no two numbers alike.
        let mut events = vec![Event::new(Op::Insert)];
        let mut random = 7_usize;
        for _ in 0..200 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 33) % events.len();
            let parts = 2 + (random >> 20) as u32 % 3;
            let split: Option<Vec<_>> = (0..parts).map(|k| events[at].part(k, parts)).collect();
            if let Some(split) = split {
                events.splice(at..=at, split);
            }
        }
        let mut subs: Vec<_> = events.iter().map(|e| e.sub).collect();
        assert!(subs.len() > 100);
        subs.sort_unstable();
        subs.dedup();
        assert_eq!(subs.len(), events.len());
    }

    #[test]
    fn numbers_that_run_out_are_refused_and_never_wrap() {
        let event = Event { sub: 1, step: u32::MAX / 2, ..Event::new(Op::Insert) };
        assert_eq!(event.part(1, 2).unwrap().sub, u32::MAX / 2 + 1);
        assert!(event.part(3, 4).is_none());
        let last = event.part(0, 3).unwrap();
        assert_eq!((last.part(0, 1).unwrap().sub, last.part(0, 2).is_none()), (1, true));
    }
}
