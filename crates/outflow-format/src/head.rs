//! What every record carries besides its content: destination, id, key, time, headers.

use std::fmt::Display;

use outflow_sdk::{
    Error, EventId, EventRef, Image, MessageRef, Op, PlainText, RecordBuilder, RecordWriter, Result,
    TableSchema, ValueRef,
};

/// True for operations that are of use to the pipeline alone: they give no record in any format.
pub(crate) fn is_internal(op: Op) -> bool {
    matches!(op, Op::Begin | Op::Commit | Op::Heartbeat)
}

/// Begins a record of an event. `table` is the qualified name of its table, or empty. `part` tells records of one
/// event apart where there are several: equal ids mean equal bytes (invariant 8).
pub(crate) fn begin<'w>(
    out: &'w mut RecordWriter,
    event: EventRef<'_>,
    table: &str,
    part: &str,
) -> RecordBuilder<'w> {
    let message = event.message();
    let mut record = out.begin(event.index());
    let chosen = event.route().or_else(|| message?.destination());
    record.destination(chosen.unwrap_or(table));
    match message_id(event) {
        Some(id) => record.id(id),
        None if part.is_empty() => record.id(event.id()),
        None => record.id(PartId { id: event.id(), part }),
    }
    if let Some(time) = event.commit_time() {
        record.time(time);
    }
    if let Some(message) = message {
        headers(&mut record, message);
    }
    record
}

/// The id that the application gave a message.
pub(crate) fn message_id(event: EventRef<'_>) -> Option<PlainText<'_>> {
    PlainText::of(event.message()?.id())
}

struct PartId<'a> {
    id: EventId<'a>,
    part: &'a str,
}

impl Display for PartId<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.id, self.part)
    }
}

fn headers(record: &mut RecordBuilder<'_>, message: MessageRef<'_>) {
    let Some(headers) = message.headers() else { return };
    for (name, value) in headers.iter() {
        let Some(name) = name.as_str() else { continue };
        match (value.as_bytes(), PlainText::of(value)) {
            (Some(bytes), _) => record.header(name, Some(bytes)),
            // Headers that are not text are rare: they may cost an allocation.
            (None, Some(text)) => record.header(name, Some(text.to_string().as_bytes())),
            (None, None) => record.header(name, None),
        }
    }
}

/// Writes the key of a message: text and bytes as they are, anything else in its plain text.
pub(crate) fn message_key(record: &mut RecordBuilder<'_>, key: ValueRef<'_>) -> Result<()> {
    let Some(text) = PlainText::of(key) else { return Ok(()) };
    record.key(|out| {
        match key.as_bytes() {
            Some(bytes) => out.extend_from_slice(bytes),
            None => append(out, text),
        }
        Ok(())
    })
}

/// Appends what prints.
pub(crate) fn append(out: &mut Vec<u8>, value: impl Display) {
    use std::io::Write as _;
    // Writing to a `Vec` cannot fail.
    let _ = write!(out, "{value}");
}

/// The columns of a row with their names made ready, in row order or key order.
#[derive(Debug)]
pub(crate) struct Names {
    /// `,"name":` of each, one behind the other.
    text: Vec<u8>,
    ends: Vec<u32>,
}

impl Names {
    pub(crate) fn new<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut this = Self { text: Vec::new(), ends: Vec::new() };
        for name in names {
            this.text.push(b',');
            crate::text::write_string(&mut this.text, name);
            this.text.push(b':');
            this.ends.push(this.text.len() as u32);
        }
        this
    }

    /// Each `,"name":`, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let name = self.text.get(start..*end as usize).unwrap_or_default();
            start = *end as usize;
            name
        })
    }
}

/// The key columns of a table: where they stand in a row, and their names.
#[derive(Debug)]
pub(crate) struct KeyColumns {
    indexes: Vec<usize>,
    names: Names,
}

impl KeyColumns {
    pub(crate) fn new(schema: &TableSchema) -> Self {
        let columns = schema.columns();
        let indexes: Vec<usize> =
            schema.key().iter().map(|k| *k as usize).filter(|k| *k < columns.len()).collect();
        let names = Names::new(indexes.iter().map(|k| columns[*k].name()));
        Self { indexes, names }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.indexes.len()
    }

    /// The values of the key, each with the index of its column, in key order. They are taken from `image` first.
    ///
    /// # Errors
    /// `format.key_unavailable` when the source sent a key column in neither image: a record under half a key
    /// would not keep its order among the others of its row (invariant 3).
    pub(crate) fn values<'a>(
        &self,
        event: EventRef<'a>,
        image: Image,
    ) -> impl Iterator<Item = Result<(usize, ValueRef<'a>)>> {
        self.indexes.iter().map(move |index| {
            let value = value_of(event, image, *index);
            if value.is_unavailable() { Err(key_unavailable(event)) } else { Ok((*index, value)) }
        })
    }

    /// Writes the key as a JSON object; `write` writes the value of the column at an index.
    ///
    /// # Errors
    /// Those of [`values`](Self::values).
    pub(crate) fn write_object(
        &self,
        out: &mut Vec<u8>,
        event: EventRef<'_>,
        image: Image,
        mut write: impl FnMut(&mut Vec<u8>, usize, ValueRef<'_>),
    ) -> Result<()> {
        let start = out.len();
        for (name, found) in self.names.iter().zip(self.values(event, image)) {
            let (index, value) = found?;
            out.extend_from_slice(name);
            write(out, index, value);
        }
        open_object(out, start);
        Ok(())
    }

    /// True when both images tell the key and it is not the same.
    pub(crate) fn changes(&self, event: EventRef<'_>) -> bool {
        let (Some(before), Some(after)) = (event.before(), event.after()) else { return false };
        let known = |value: Option<ValueRef<'_>>| value.is_some_and(|value| !value.is_unavailable());
        self.indexes.iter().any(|index| {
            let (old, new) = (before.get(*index), after.get(*index));
            known(old) && known(new) && old != new
        })
    }
}

fn key_unavailable(event: EventRef<'_>) -> Error {
    Error::data("format.key_unavailable")
        .message("the source did not send the key of a row")
        .with("table", event.schema().map(|s| s.qualified_name()).unwrap_or_default())
        .with("op", event.op().as_str())
        .hint("have the source log the key columns of every change")
}

/// The value in the preferred image; in the other where there is no such row or the source did not send it: an
/// image that holds only what changed has no key.
fn value_of<'a>(event: EventRef<'a>, image: Image, column: usize) -> ValueRef<'a> {
    let other = match image {
        Image::After => Image::Before,
        Image::Before => Image::After,
    };
    let of = |image| event.row(image)?.get(column).filter(|value| !value.is_unavailable());
    of(image).or_else(|| of(other)).unwrap_or(ValueRef::Unavailable)
}

/// Turns the leading comma of the first of several members into the bracket that opens their object.
pub(crate) fn open_object(out: &mut Vec<u8>, start: usize) {
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}
