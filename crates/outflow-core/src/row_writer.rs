//! Writes rows: values in column order, lists and maps within them.

use crate::arena::BatchData;
use crate::builder::{BatchBuilder, EventBuilder};
use crate::cell::{Arena, Cell, Kind, Range, Unfit, limit};
use crate::error::{Error, Result};
use crate::event::{Image, field};
use crate::temporal::Timestamp;
use crate::value::{Value, ValueRef};

/// Cells of the row that is being written; they move to the arena together when a list or the row ends.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    cells: Vec<Cell>,
    /// Where the lists and maps that are open began.
    open: Vec<(Kind, usize)>,
}

/// Writes the values of one row, in column order.
///
/// Dropped without [`end`](Self::end), the row does not exist.
#[derive(Debug)]
pub struct RowWriter<'e> {
    builder: &'e mut BatchBuilder,
    row: &'e mut Range,
    columns: Option<usize>,
    fault: Option<Fault>,
}

/// What keeps the row from being complete.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Value(Unfit),
    Unbalanced,
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
    pub(crate) fn row(event: &'e mut EventBuilder<'_>, image: Image) -> Self {
        let EventBuilder { builder, event, .. } = event;
        let columns = builder.data.schemas.get(event.schema as usize).map(|s| s.columns().len());
        Self::new(builder, event.row_mut(image), columns)
    }

    /// Writes a message as if it were a row of the columns in [`field`].
    pub(crate) fn message(event: &'e mut EventBuilder<'_>) -> Self {
        let EventBuilder { builder, event, .. } = event;
        Self::new(builder, &mut event.message, Some(field::COUNT))
    }

    fn new(builder: &'e mut BatchBuilder, row: &'e mut Range, columns: Option<usize>) -> Self {
        builder.scratch.cells.clear();
        builder.scratch.open.clear();
        Self { builder, row, columns, fault: None }
    }

    /// True when more lists and maps are open than a value may nest.
    pub(crate) fn is_too_deep(&self) -> bool {
        self.builder.scratch.open.len() > limit::DEPTH
    }

    fn push(&mut self, cell: Cell) {
        self.builder.scratch.cells.push(cell);
    }

    fn write(&mut self, write: impl FnOnce(&mut BatchData) -> Result<Cell, Unfit>) {
        let cell = write(&mut self.builder.data).unwrap_or_else(|unfit| {
            self.fault.get_or_insert(Fault::Value(unfit));
            Cell::NULL
        });
        self.push(cell);
    }

    fn text_cell(&mut self, kind: Kind, text: &str) {
        self.write(|data| data.push_text_cell(kind, text, Arena::Data));
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
        self.write(|data| data.push_bytes_cell(value, Arena::Data));
    }

    /// Any value, nested ones included.
    pub fn value(&mut self, value: ValueRef<'_>) {
        let depth = self.builder.scratch.open.len();
        self.write(|data| data.push_value(value, Arena::Data, depth));
    }

    /// Any owned value.
    pub fn owned(&mut self, value: &Value) {
        self.value(value.as_ref());
    }

    /// Opens a list; every value until [`end_list`](Self::end_list) is an element.
    pub fn begin_list(&mut self) {
        self.begin(Kind::List);
    }

    /// Closes the innermost list.
    pub fn end_list(&mut self) {
        self.close(Kind::List);
    }

    /// Opens a map; values until [`end_map`](Self::end_map) are keys and values in turn.
    pub fn begin_map(&mut self) {
        self.begin(Kind::Map);
    }

    /// Closes the innermost map. A key without a value gets NULL.
    pub fn end_map(&mut self) {
        self.close(Kind::Map);
    }

    fn begin(&mut self, kind: Kind) {
        let Scratch { cells, open } = &mut self.builder.scratch;
        open.push((kind, cells.len()));
        if self.is_too_deep() {
            self.fault.get_or_insert(Fault::Value(Unfit::Deep));
        }
    }

    fn close(&mut self, kind: Kind) {
        let open = self.builder.scratch.open.pop();
        let Some((_, from)) = open.filter(|(opened, _)| *opened == kind) else {
            self.fault.get_or_insert(Fault::Unbalanced);
            return;
        };
        if kind == Kind::Map && (self.builder.scratch.cells.len() - from) % 2 == 1 {
            self.null();
        }
        let BatchBuilder { data, scratch, .. } = &mut *self.builder;
        let (start, len) = (data.cells.len(), scratch.cells.len() - from);
        if let Err(unfit) = Range::new(start, len, Arena::Data) {
            self.fault.get_or_insert(Fault::Value(unfit));
        }
        data.cells.extend(scratch.cells.drain(from..));
        let entries = if kind == Kind::Map { len / 2 } else { len };
        // Where this cuts, the fault above refuses the row.
        self.push(Cell::new(kind, entries as u32, start as u64, Arena::Data));
    }

    /// Completes the row.
    ///
    /// # Errors
    /// `batch.row_width` when there are not as many values as the schema has columns or a list is not closed,
    /// `batch.no_schema` when the event has none, `batch.value_too_large` when a value has 4 GiB or more,
    /// `batch.value_too_deep` when lists and maps nest more than 128 deep. The row then does not exist.
    pub fn end(self) -> Result<()> {
        let Self { builder, row, columns, fault } = self;
        let BatchBuilder { data, scratch, .. } = builder;
        let Some(columns) = columns else {
            return Err(Error::internal("batch.no_schema").message("a row must have a schema"));
        };
        let len = scratch.cells.len();
        match fault {
            Some(Fault::Value(unfit)) => return Err(unfit.error()),
            None if columns == len && scratch.open.is_empty() => {}
            _ => {
                return Err(Error::internal("batch.row_width")
                    .message("a row must have one value a column, and its lists must be closed")
                    .with("columns", columns)
                    .with("values", len));
            }
        }
        let range = Range::new(data.cells.len(), len, Arena::Data).map_err(Unfit::error)?;
        data.cells.extend_from_slice(&scratch.cells);
        *row = range;
        Ok(())
    }
}
