//! Changes to a batch: what transforms do.
//!
//! The source's arenas are never written again; new values go to an overlay, and rows that change are copied
//! there cell by cell (16 bytes a column), not value by value.

use std::sync::Arc;

use crate::arena::{BatchData, Parts, index};
use crate::batch::{ChangeBatch, Rejected};
use crate::builder::{MessageParts, write_headers};
use crate::cell::{Arena, Cell, Kind, Range, Unfit};
use crate::error::{Error, Result, Scope};
use crate::event::{Event, EventRef, Image, NONE, Op, field};
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
        Some(EventMut { parts: &mut self.batch.parts, event, index, refused: &mut self.pending })
    }

    /// Visits every event, open for changes, in order. An event whose visit fails is rejected with that error
    /// when its scope is [`Scope::Events`]; any other error ends the visit. Events that were rejected before
    /// are not visited.
    ///
    /// # Errors
    /// The first error of a wider scope.
    pub fn try_for_each(&mut self, mut visit: impl FnMut(EventMut<'_>) -> Result<()>) -> Result<()> {
        self.settle();
        for index in 0..self.len() {
            let Some(event) = self.get_mut(index) else { break };
            match visit(event) {
                Ok(()) => {}
                Err(error) if error.scope_of() == Scope::Events => self.reject(index, error),
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

    /// Refuses one event: the pipeline's `on_error` decides what becomes of it. The first reason counts.
    /// Indexes stay as they are until the next [`retain`](Self::retain) or
    /// [`try_for_each`](Self::try_for_each), or the end of the edit.
    pub fn reject(&mut self, index: usize, error: Error) {
        self.pending.push((index, error));
    }

    /// Puts `parts` copies in the place of one event; they differ by the last part of their id, which is the
    /// same on every replay, also when copies are split again. With 0 the event is dropped.
    ///
    /// The events after it move by `parts` − 1. A rejected event stays as it is; an event that has been split
    /// so often that its parts cannot be told apart by 32 bits is rejected with `batch.too_many_parts`.
    pub fn split(&mut self, index: usize, parts: u32) {
        let Some(event) = self.batch.events.get(index).copied() else { return };
        if self.pending.iter().any(|(at, _)| *at == index) {
            return;
        }
        if parts > 0 && event.part(parts - 1, parts).is_none() {
            let error = Error::data("batch.too_many_parts")
                .message("an event was split into more parts than its id can tell apart")
                .with("parts", parts);
            return self.reject(index, error);
        }
        match split(&event, parts, &mut self.batch.parts) {
            Ok(copies) => self.batch.events.splice(index..=index, copies),
            Err(unfit) => return self.reject(index, unfit.error()),
        };
        for (at, _) in self.pending.iter_mut().filter(|(at, _)| *at > index) {
            *at = *at - 1 + parts as usize;
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

/// The parts of an event. Rows in the overlay are changed in place, so each part needs its own.
fn split(event: &Event, parts: u32, of: &mut Parts) -> Result<Vec<Event>, Unfit> {
    let mut copies: Vec<_> = (0..parts).filter_map(|k| event.part(k, parts)).collect();
    for copy in copies.iter_mut().skip(1) {
        for image in [Image::Before, Image::After] {
            let row = copy.row_mut(image);
            if !row.is_absent() && row.arena() == Arena::Overlay {
                *row = copy_row(*row, of)?;
            }
        }
    }
    Ok(copies)
}

/// Copies the cells of a row to the overlay; what they refer to is shared.
fn copy_row(row: Range, parts: &mut Parts) -> Result<Range, Unfit> {
    let Parts { data, overlay } = parts;
    let overlay = Arc::make_mut(overlay);
    let copy = Range::new(overlay.cells.len(), row.len(), Arena::Overlay)?;
    let from = row.start()..row.start() + row.len();
    match row.arena() {
        Arena::Data => overlay.cells.extend_from_slice(&data.cells[from]),
        Arena::Overlay => overlay.cells.extend_from_within(from),
    }
    Ok(copy)
}

impl Drop for BatchEdit<'_> {
    fn drop(&mut self) {
        self.settle();
    }
}

/// One event, open for changes.
///
/// A change that a batch cannot hold (a value of 4 GiB or more, lists nested more than 128 deep) rejects the
/// event with `batch.value_too_large` or `batch.value_too_deep` and leaves it as it was.
#[derive(Debug)]
pub struct EventMut<'a> {
    parts: &'a mut Parts,
    event: &'a mut Event,
    index: usize,
    refused: &'a mut Vec<(usize, Error)>,
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
        let Self { parts, event, index, refused } = self;
        RowMut { parts, schema: event.schema, row: event.row_mut(image), index: *index, refused }
    }

    /// Gives the rows another schema: column `i` of `schema` takes the value of the old column `columns[i]`;
    /// a column without one is unavailable. The old columns that are not named are gone from the event.
    pub fn project(&mut self, schema: &Arc<TableSchema>, columns: &[usize]) {
        let project = |row: Range, parts: &mut Parts| {
            if row.is_absent() {
                return Ok(row);
            }
            let Parts { data, overlay } = parts;
            let overlay = Arc::make_mut(overlay);
            let width = schema.columns().len();
            let start = overlay.reserve_cells(width)?;
            for (i, column) in columns.iter().take(width).enumerate() {
                overlay.cells[start + i] = cell_at(row, *column, data, overlay).unwrap_or(Cell::UNAVAILABLE);
            }
            overlay.cells[start + columns.len().min(width)..].fill(Cell::UNAVAILABLE);
            Range::new(start, width, Arena::Overlay)
        };
        match (project(self.event.before, self.parts), project(self.event.after, self.parts)) {
            (Ok(before), Ok(after)) => {
                let schema = overlay_schema(self.parts, schema);
                *self.event = Event { before, after, schema, ..*self.event };
            }
            (Err(unfit), _) | (_, Err(unfit)) => self.refuse(unfit),
        }
    }

    /// Sends the event to another destination than its sink would choose.
    pub fn route(&mut self, destination: &str) {
        self.event.route = Arc::make_mut(&mut self.parts.overlay).push_route(destination);
    }

    /// Turns a row into a message. Fields that name a column share its bytes; nothing is copied. A column that
    /// the source did not send stays [`ValueRef::Unavailable`]: a caller that needs it looks first.
    /// The rows and the schema are gone from the event; its id stays.
    pub fn into_message(mut self, message: &MessageFields<'_>) {
        let row = if self.event.after.is_absent() { self.event.before } else { self.event.after };
        match message.write(row, self.parts) {
            Ok(message) => {
                let (before, after) = (Range::ABSENT, Range::ABSENT);
                *self.event = Event { message, before, after, schema: NONE, op: Op::Message, ..*self.event };
            }
            Err(unfit) => self.refuse(unfit),
        }
    }

    /// Replaces the message with another.
    pub fn set_message(&mut self, message: &MessageParts<'_>) {
        match message.write(Arc::make_mut(&mut self.parts.overlay), Arena::Overlay) {
            Ok(range) => *self.event = Event { message: range, op: Op::Message, ..*self.event },
            Err(unfit) => self.refuse(unfit),
        }
    }

    fn refuse(&mut self, unfit: Unfit) {
        self.refused.push((self.index, unfit.error()));
    }
}

fn cell_at(row: Range, column: usize, data: &BatchData, overlay: &BatchData) -> Option<Cell> {
    let at = row.at(column).filter(|_| !row.is_absent())?;
    match row.arena() {
        Arena::Data => data.cells.get(at).copied(),
        Arena::Overlay => overlay.cells.get(at).copied(),
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

impl MessageFields<'_> {
    fn write(&self, row: Range, parts: &mut Parts) -> Result<Range, Unfit> {
        let Parts { data, overlay } = parts;
        let overlay = Arc::make_mut(overlay);
        let start = overlay.reserve_cells(field::COUNT)?;
        let fields = [self.destination, self.key, self.kind, self.id, self.content_type, self.body];
        for (i, source) in fields.into_iter().enumerate() {
            let cell = match source {
                Field::Absent => Cell::NULL,
                Field::Value(value) => overlay.push_value(value, Arena::Overlay, 0)?,
                Field::Column(column) => cell_at(row, column, data, overlay).unwrap_or(Cell::NULL),
            };
            overlay.cells[start + i] = cell;
        }
        write_headers(overlay, start, self.headers, Arena::Overlay)?;
        Range::new(start, field::COUNT, Arena::Overlay)
    }
}

fn overlay_schema(parts: &mut Parts, schema: &Arc<TableSchema>) -> u32 {
    let own = parts.data.schemas.len();
    if let Some(found) = parts.data.schemas.iter().position(|s| s == schema) {
        return index(found);
    }
    let schemas = &mut Arc::make_mut(&mut parts.overlay).schemas;
    let found = schemas.iter().rposition(|s| s == schema);
    let at = found.unwrap_or_else(|| {
        schemas.push(Arc::clone(schema));
        schemas.len() - 1
    });
    index(own + at)
}

/// One image of a row, open for changes.
#[derive(Debug)]
pub struct RowMut<'a> {
    parts: &'a mut Parts,
    schema: u32,
    row: &'a mut Range,
    index: usize,
    refused: &'a mut Vec<(usize, Error)>,
}

impl RowMut<'_> {
    /// Replaces the value in column `index`. Does nothing when there is no such row or column.
    pub fn set(&mut self, index: usize, value: ValueRef<'_>) {
        if let Err(unfit) = self.try_set(index, value) {
            self.refused.push((self.index, unfit.error()));
        }
    }

    fn try_set(&mut self, index: usize, value: ValueRef<'_>) -> Result<(), Unfit> {
        if self.row.is_absent() || index >= self.row.len() {
            return Ok(());
        }
        let cell = Arc::make_mut(&mut self.parts.overlay).push_value(value, Arena::Overlay, 0)?;
        if self.row.arena() == Arena::Data {
            *self.row = copy_row(*self.row, self.parts)?;
        }
        Arc::make_mut(&mut self.parts.overlay).cells[self.row.start() + index] = cell;
        Ok(())
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
