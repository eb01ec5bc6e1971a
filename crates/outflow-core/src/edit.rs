//! Changes to a batch: what transforms do.
//!
//! The source's arenas are never written again; new values go to an overlay, and rows that change are copied
//! there cell by cell (16 bytes a column), not value by value.

use std::sync::Arc;

use crate::batch::{ChangeBatch, Parts, Rejected};
use crate::builder::{MessageParts, headers_cell};
use crate::cell::{Arena, Cell, Kind, Range, Span};
use crate::error::{Error, Result};
use crate::event::{Event, EventRef, Image, Op, field};
use crate::schema::TableSchema;
use crate::value::{Value, ValueRef};

/// A batch open for changes. Positions, ids and state are out of reach, so no transform can corrupt them.
#[derive(Debug)]
pub struct BatchEdit<'a> {
    batch: &'a mut ChangeBatch,
    /// Rejections that have not been taken out of the list yet, so that indexes stay valid.
    pending: Vec<(usize, Error)>,
}

impl<'a> BatchEdit<'a> {
    /// Opens a batch. Changes are in effect when the edit is dropped.
    pub fn new(batch: &'a mut ChangeBatch) -> Self {
        Self { batch, pending: Vec::new() }
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.batch.events.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.batch.events.is_empty()
    }

    /// The event at `index`.
    pub fn get(&self, index: usize) -> Option<EventRef<'_>> {
        self.batch.get(index)
    }

    /// All events, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = EventRef<'_>> {
        self.batch.iter()
    }

    /// The event at `index`, open for changes.
    pub fn get_mut(&mut self, index: usize) -> Option<EventMut<'_>> {
        let event = self.batch.events.get_mut(index)?;
        Some(EventMut { parts: &mut self.batch.parts, event, index })
    }

    /// Visits every event, open for changes, in order. An event whose visit fails is rejected with that error
    /// when its scope is [`Scope::Events`](crate::Scope); any other error ends the visit.
    ///
    /// # Errors
    /// The first error of a wider scope.
    pub fn try_for_each(&mut self, mut visit: impl FnMut(EventMut<'_>) -> Result<()>) -> Result<()> {
        for index in 0..self.len() {
            let Some(event) = self.get_mut(index) else { break };
            match visit(event) {
                Ok(()) => {}
                Err(error) if error.scope_of() == crate::error::Scope::Events => self.reject(index, error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Keeps the events that `keep` accepts, in order. A filtered event counts as done (invariant 2).
    pub fn retain(&mut self, mut keep: impl FnMut(EventRef<'_>) -> bool) {
        self.settle();
        let ChangeBatch { parts, events, .. } = &mut *self.batch;
        let mut index = 0;
        events.retain(|event| {
            let keep = keep(EventRef { parts, event, index });
            index += 1;
            keep
        });
    }

    /// Refuses one event: the pipeline's `on_error` decides what becomes of it. Indexes stay as they are until
    /// the next call of [`retain`](Self::retain) or the end of the edit.
    pub fn reject(&mut self, index: usize, error: Error) {
        self.pending.push((index, error));
    }

    /// Puts `parts` copies in the place of one event; they differ by the last part of their id.
    /// With 0 the event is dropped.
    pub fn split(&mut self, index: usize, parts: u32) {
        self.settle();
        if let Some(event) = self.batch.events.get(index).copied() {
            let copies = (0..parts).map(|sub| Event { sub: event.sub * parts + sub, ..event });
            self.batch.events.splice(index..=index, copies);
        }
    }

    fn settle(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        self.pending.sort_by_key(|(index, _)| *index);
        self.pending.dedup_by_key(|(index, _)| *index);
        let mut refused = self.pending.drain(..).peekable();
        let mut index = 0;
        let ChangeBatch { events, rejected, .. } = &mut *self.batch;
        events.retain(|event| {
            let error = refused.next_if(|(at, _)| *at == index).map(|(_, error)| error);
            index += 1;
            match error {
                Some(error) => {
                    rejected.push(Rejected { event: *event, error });
                    false
                }
                None => true,
            }
        });
    }
}

impl Drop for BatchEdit<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}

/// One event, open for changes.
#[derive(Debug)]
pub struct EventMut<'a> {
    parts: &'a mut Parts,
    event: &'a mut Event,
    index: usize,
}

impl EventMut<'_> {
    /// The event, to read.
    pub fn as_ref(&self) -> EventRef<'_> {
        EventRef { parts: self.parts, event: self.event, index: self.index }
    }

    /// What happened.
    pub fn op(&self) -> Op {
        self.event.op
    }

    /// Its place in the batch.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The row after the change, open for changes. Changes to a row that does not exist do nothing.
    pub fn after_mut(&mut self) -> RowMut<'_> {
        self.row_mut(Image::After)
    }

    /// The row before the change, open for changes. Changes to a row that does not exist do nothing.
    pub fn before_mut(&mut self) -> RowMut<'_> {
        self.row_mut(Image::Before)
    }

    /// One image of the row, open for changes.
    pub fn row_mut(&mut self, image: Image) -> RowMut<'_> {
        RowMut { parts: self.parts, schema: self.event.schema, row: row_range(self.event, image) }
    }

    /// Gives the rows another schema: column `i` of `schema` takes the value of the old column `columns[i]`.
    /// The old columns that are not named are gone from the event.
    pub fn project(&mut self, schema: &Arc<TableSchema>, columns: &[usize]) {
        for image in [Image::Before, Image::After] {
            let range = *row_range(self.event, image);
            if range.is_absent() {
                continue;
            }
            let overlay = Arc::make_mut(&mut self.parts.overlay);
            let start = overlay.reserve_cells(columns.len());
            for (i, column) in columns.iter().enumerate() {
                let source = match range.arena {
                    Arena::Data => self.parts.data.cells.get(range.start as usize + column),
                    Arena::Overlay => overlay.cells.get(range.start as usize + column),
                };
                overlay.cells[start + i] = source.copied().unwrap_or(Cell::UNAVAILABLE);
            }
            *row_range(self.event, image) =
                Range { start: start as u32, len: columns.len() as u32, arena: Arena::Overlay };
        }
        self.event.schema = overlay_schema(self.parts, schema);
    }

    /// Sends the event to another destination than its sink would choose.
    pub fn route(&mut self, destination: &str) {
        let overlay = Arc::make_mut(&mut self.parts.overlay);
        // Neighbours mostly go to the same place.
        let last = overlay.routes.last().copied();
        let same = last.is_some_and(|Span { start, len }| {
            overlay.text.get(start as usize..start as usize + len as usize) == Some(destination)
        });
        if !same {
            let span = overlay.push_text(destination);
            overlay.routes.push(span);
        }
        self.event.route = overlay.routes.len() as u32 - 1;
    }

    /// Turns a row into a message. Fields that name a column share its bytes; nothing is copied.
    /// The rows and the schema are gone from the event; its id stays.
    pub fn into_message(self, message: &MessageFields<'_>) {
        let Self { parts, event, .. } = self;
        let row = if event.after.is_absent() { event.before } else { event.after };
        let Parts { data, overlay } = parts;
        let overlay = Arc::make_mut(overlay);
        let start = overlay.reserve_cells(field::COUNT);
        let fields =
            [message.destination, message.key, message.kind, message.id, message.content_type, message.body];
        for (i, source) in fields.into_iter().enumerate() {
            let cell = match source {
                Field::Absent => Cell::NULL,
                Field::Value(value) => overlay.push_value(value, Arena::Overlay),
                Field::Column(column) if row.is_absent() || column >= row.len() => Cell::NULL,
                Field::Column(column) => match row.arena {
                    Arena::Data => data.cells[row.start as usize + column],
                    Arena::Overlay => overlay.cells[row.start as usize + column],
                },
            };
            overlay.cells[start + i] = cell;
        }
        if let Some(headers) = headers_cell(overlay, message.headers, Arena::Overlay) {
            overlay.cells[start + field::HEADERS] = headers;
        }
        event.message = Range { start: start as u32, len: field::COUNT as u32, arena: Arena::Overlay };
        event.before = Range::ABSENT;
        event.after = Range::ABSENT;
        event.op = Op::Message;
    }

    /// Replaces the message with another.
    pub fn set_message(&mut self, message: &MessageParts<'_>) {
        let overlay = Arc::make_mut(&mut self.parts.overlay);
        let start = overlay.reserve_cells(field::COUNT);
        for (i, value) in message.fields().into_iter().enumerate() {
            let cell = overlay.push_value(value, Arena::Overlay);
            overlay.cells[start + i] = cell;
        }
        if let Some(headers) = headers_cell(overlay, message.headers, Arena::Overlay) {
            overlay.cells[start + field::HEADERS] = headers;
        }
        self.event.message = Range { start: start as u32, len: field::COUNT as u32, arena: Arena::Overlay };
        self.event.op = Op::Message;
    }
}

/// Where a field of a message comes from.
#[derive(Clone, Copy, Debug, Default)]
pub enum Field<'a> {
    /// It has none.
    #[default]
    Absent,
    /// The column at this index of the event's row (after, else before), shared without a copy.
    Column(usize),
    /// A new value.
    Value(ValueRef<'a>),
}

/// The fields that [`EventMut::into_message`] makes a message of.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessageFields<'a> {
    /// Where it should go.
    pub destination: Field<'a>,
    /// What orders it among others.
    pub key: Field<'a>,
    /// The event type.
    pub kind: Field<'a>,
    /// The application's own id.
    pub id: Field<'a>,
    /// The media type of the body.
    pub content_type: Field<'a>,
    /// The body.
    pub body: Field<'a>,
    /// Headers, in order.
    pub headers: &'a [(&'a str, ValueRef<'a>)],
}

fn row_range(event: &mut Event, image: Image) -> &mut Range {
    match image {
        Image::Before => &mut event.before,
        Image::After => &mut event.after,
    }
}

fn overlay_schema(parts: &mut Parts, schema: &Arc<TableSchema>) -> u32 {
    let own = parts.data.schemas.len();
    if let Some(found) = parts.data.schemas.iter().position(|s| s == schema) {
        return found as u32;
    }
    let schemas = &mut Arc::make_mut(&mut parts.overlay).schemas;
    let found = schemas.iter().rposition(|s| s == schema);
    let index = found.unwrap_or_else(|| {
        schemas.push(Arc::clone(schema));
        schemas.len() - 1
    });
    (own + index) as u32
}

/// One image of a row, open for changes.
#[derive(Debug)]
pub struct RowMut<'a> {
    parts: &'a mut Parts,
    schema: u32,
    row: &'a mut Range,
}

impl RowMut<'_> {
    /// Replaces the value in column `index`. Does nothing when there is no such row or column.
    pub fn set(&mut self, index: usize, value: ValueRef<'_>) {
        if self.row.is_absent() || index >= self.row.len() {
            return;
        }
        let overlay = Arc::make_mut(&mut self.parts.overlay);
        if self.row.arena == Arena::Data {
            let from = self.row.start as usize;
            let start = overlay.cells.len();
            overlay.cells.extend_from_slice(&self.parts.data.cells[from..from + self.row.len()]);
            *self.row = Range { start: start as u32, len: self.row.len, arena: Arena::Overlay };
        }
        let cell = overlay.push_value(value, Arena::Overlay);
        overlay.cells[self.row.start as usize + index] = cell;
    }

    /// Replaces the value of the column of this name. Does nothing when there is no such row or column.
    pub fn set_by_name(&mut self, name: &str, value: impl Into<Value>) {
        if let Some(index) = self.column(name) {
            self.set(index, value.into().as_ref());
        }
    }

    /// Hides a value: text becomes `****`, anything else NULL. NULL and unavailable stay what they are.
    pub fn redact(&mut self, name: &str) {
        let Some(index) = self.column(name) else { return };
        if self.row.is_absent() || index >= self.row.len() {
            return;
        }
        let cell = self.parts.cells(*self.row)[index];
        match cell.kind {
            Kind::Null | Kind::Unavailable => {}
            Kind::Text => self.set(index, ValueRef::Text("****")),
            _ => self.set(index, ValueRef::Null),
        }
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.parts.schema(self.schema)?.column_index(name)
    }
}
