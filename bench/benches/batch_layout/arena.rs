//! Arenas: values are copied once, from a read buffer that never leaves its reader, and found again by small cells.

use std::sync::Arc;

use outflow_bench::{Columns, FrameReader, Result, Wire};
use outflow_core::{Timestamp, ValueRef};

use crate::layout::{Batch, Change, Decode, Pool, Reader, Row, integer};

#[derive(Clone, Copy)]
enum Kind {
    Null,
    Bool,
    I64,
    Uuid,
    Timestamp,
    Decimal,
    Text,
    Json,
}

/// A value in 16 bytes: `a` is a length or a part of a second, `b` the place in an arena or the value itself.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    b: u64,
    a: u32,
    kind: Kind,
}

impl Cell {
    fn scalar(kind: Kind, b: u64) -> Self {
        Self { b, a: 0, kind }
    }
}

#[derive(Default)]
pub(crate) struct Arenas {
    text: String,
    bytes: Vec<u8>,
    cells: Vec<Cell>,
}

impl Arenas {
    /// Writes a value that is kept as text.
    fn text(&mut self, kind: Kind, text: &str) -> Cell {
        let b = self.text.len() as u64;
        self.text.push_str(text);
        Cell { b, a: text.len() as u32, kind }
    }

    fn uuid(&mut self, uuid: &[u8]) -> Cell {
        let b = self.bytes.len() as u64;
        self.bytes.extend_from_slice(uuid);
        Cell::scalar(Kind::Uuid, b)
    }

    fn text_of(&self, cell: &Cell) -> &str {
        &self.text[cell.b as usize..cell.b as usize + cell.a as usize]
    }

    fn uuid_of(&self, cell: &Cell) -> &[u8] {
        &self.bytes[cell.b as usize..cell.b as usize + 16]
    }

    fn value(&self, cell: &Cell) -> ValueRef<'_> {
        match cell.kind {
            Kind::Null => ValueRef::Null,
            Kind::Bool => ValueRef::Bool(cell.b != 0),
            Kind::I64 => ValueRef::I64(cell.b.cast_signed()),
            Kind::Uuid => self.uuid_of(cell).try_into().map_or(ValueRef::Null, ValueRef::Uuid),
            Kind::Timestamp => ValueRef::Timestamp(Timestamp::new(cell.b.cast_signed(), cell.a)),
            Kind::Decimal => ValueRef::Decimal(self.text_of(cell)),
            Kind::Text => ValueRef::Text(self.text_of(cell)),
            Kind::Json => ValueRef::Json(self.text_of(cell)),
        }
    }

    /// Copies a value of `from`.
    fn copy(&mut self, from: &Self, cell: &Cell) -> Cell {
        match cell.kind {
            Kind::Decimal | Kind::Text | Kind::Json => self.text(cell.kind, from.text_of(cell)),
            Kind::Uuid => self.uuid(from.uuid_of(cell)),
            Kind::Null | Kind::Bool | Kind::I64 | Kind::Timestamp => *cell,
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.bytes.clear();
        self.cells.clear();
    }
}

type Buffers = (Arc<Arenas>, Vec<Change>);

pub(crate) struct ArenaReader {
    frames: FrameReader,
    decode: Vec<Decode>,
    pool: Pool<Buffers>,
}

impl Reader for ArenaReader {
    const NAME: &'static str = "arenas";
    type Batch = ArenaBatch;

    fn new(wire: Wire) -> Self {
        Self { frames: FrameReader::new(wire), decode: Decode::plan(), pool: Pool::new() }
    }

    fn next_batch(&mut self, rows: usize) -> Result<Option<ArenaBatch>> {
        let (mut shared, mut changes) = self.pool.take();
        let arenas = Arc::get_mut(&mut shared).ok_or("buffers in the pool belong to nobody")?;
        for _ in 0..rows {
            let Some(frame) = self.frames.next_frame()? else { break };
            let mut columns = Columns::new(frame);
            let start = arenas.cells.len();
            for decode in &self.decode {
                let Some(at) = columns.next_value()? else {
                    arenas.cells.push(Cell::scalar(Kind::Null, 0));
                    continue;
                };
                let bytes = &frame[at];
                let cell = match decode {
                    Decode::Bool => Cell::scalar(Kind::Bool, (bytes == [1]).into()),
                    Decode::I64 => Cell::scalar(Kind::I64, integer(bytes)?.cast_unsigned()),
                    Decode::Uuid => arenas.uuid(bytes),
                    Decode::Timestamp => {
                        let time = Timestamp::from_micros(integer(bytes)?);
                        Cell { b: time.seconds().cast_unsigned(), a: time.nanos(), kind: Kind::Timestamp }
                    }
                    Decode::Decimal => arenas.text(Kind::Decimal, std::str::from_utf8(bytes)?),
                    Decode::Text => arenas.text(Kind::Text, std::str::from_utf8(bytes)?),
                    Decode::Json => arenas.text(Kind::Json, std::str::from_utf8(bytes)?),
                };
                arenas.cells.push(cell);
            }
            changes.push(Change { start, len: arenas.cells.len() - start });
        }
        if changes.is_empty() {
            return Ok(None);
        }
        Ok(Some(ArenaBatch { arenas: shared, changes, pool: Some(self.pool.clone()) }))
    }
}

pub(crate) struct ArenaBatch {
    arenas: Arc<Arenas>,
    changes: Vec<Change>,
    /// None for a compacted batch, whose buffers are small.
    pool: Option<Pool<Buffers>>,
}

impl Drop for ArenaBatch {
    fn drop(&mut self) {
        let Some(pool) = self.pool.take() else { return };
        let mut changes = std::mem::take(&mut self.changes);
        let mut arenas = std::mem::take(&mut self.arenas);
        // Only the last owner gives back.
        if let Some(own) = Arc::get_mut(&mut arenas) {
            own.clear();
            changes.clear();
            pool.put((arenas, changes));
        }
    }
}

impl Batch for ArenaBatch {
    type Row<'b> = ArenaRow<'b>;

    fn len(&self) -> usize {
        self.changes.len()
    }

    fn rows(&self) -> impl Iterator<Item = ArenaRow<'_>> {
        let arenas = &*self.arenas;
        self.changes.iter().map(|change| ArenaRow { arenas, cells: change.of(&arenas.cells) })
    }

    fn retain(&mut self, mut keep: impl FnMut(ArenaRow<'_>) -> bool) {
        let arenas = &*self.arenas;
        self.changes.retain(|change| keep(ArenaRow { arenas, cells: change.of(&arenas.cells) }));
    }

    fn compact_if_sparse(&mut self) {
        let referenced: usize = self.changes.iter().map(|change| change.len).sum();
        if referenced * 4 >= self.arenas.cells.len() {
            return;
        }
        let mut own = Arenas::default();
        let mut changes = Vec::with_capacity(self.changes.len());
        for change in &self.changes {
            changes.push(Change { start: own.cells.len(), len: change.len });
            for cell in change.of(&self.arenas.cells) {
                let copy = own.copy(&self.arenas, cell);
                own.cells.push(copy);
            }
        }
        own.text.shrink_to_fit();
        own.bytes.shrink_to_fit();
        own.cells.shrink_to_fit();
        // The large buffers go back to the pool.
        *self = Self { arenas: Arc::new(own), changes, pool: None };
    }
}

#[derive(Clone, Copy)]
pub(crate) struct ArenaRow<'b> {
    arenas: &'b Arenas,
    cells: &'b [Cell],
}

impl<'b> Row<'b> for ArenaRow<'b> {
    fn get(self, column: usize) -> ValueRef<'b> {
        self.cells.get(column).map_or(ValueRef::Null, |cell| self.arenas.value(cell))
    }

    fn values(self) -> impl Iterator<Item = ValueRef<'b>> {
        let arenas = self.arenas;
        self.cells.iter().map(|cell| arenas.value(cell))
    }
}
