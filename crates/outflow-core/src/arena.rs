//! What a batch's values live in: arenas that are written once, and cells that point into them.

use std::sync::{Arc, OnceLock};

use crate::cell::{Arena, Cell, Kind, Range, Span, Unfit, limit};
use crate::event::NONE;
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

    pub(crate) fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
        self.bytes.shrink_to_fit();
        self.cells.shrink_to_fit();
        self.schemas.shrink_to_fit();
        self.transactions.shrink_to_fit();
        self.routes.shrink_to_fit();
    }

    /// Bytes of capacity.
    pub(crate) fn charge(&self) -> usize {
        self.text.capacity()
            + self.bytes.capacity()
            + self.cells.capacity() * size_of::<Cell>()
            + self.schemas.capacity() * size_of::<Arc<TableSchema>>()
            + self.transactions.capacity() * size_of::<Transaction>()
            + self.routes.capacity() * size_of::<Span>()
    }

    /// Bytes of content.
    pub(crate) fn used(&self) -> usize {
        self.text.len() + self.bytes.len() + self.cells.len() * size_of::<Cell>()
    }

    pub(crate) fn push_text(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        Span { start, len: text.len() }
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> u64 {
        let start = self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        start
    }

    pub(crate) fn text_of(&self, span: Span) -> &str {
        &self.text[span.start..span.start + span.len]
    }

    fn text_at(&self, start: u64, len: u32) -> &str {
        self.text_of(Span { start: start as usize, len: len as usize })
    }

    fn bytes_at(&self, start: u64, len: usize) -> &[u8] {
        &self.bytes[start as usize..start as usize + len]
    }

    /// Writes a value that is kept as text.
    pub(crate) fn push_text_cell(&mut self, kind: Kind, text: &str, arena: Arena) -> Result<Cell, Unfit> {
        let len = length(text.len())?;
        Ok(Cell::new(kind, len, self.push_text(text).start as u64, arena))
    }

    /// Writes bytes.
    pub(crate) fn push_bytes_cell(&mut self, bytes: &[u8], arena: Arena) -> Result<Cell, Unfit> {
        let len = length(bytes.len())?;
        Ok(Cell::new(Kind::Bytes, len, self.push_bytes(bytes), arena))
    }

    /// Writes a value that stands inside `depth` lists and maps, and what it holds; the cell itself is the
    /// caller's to place. After an error parts of the value may be left in the arenas, where nothing refers to
    /// them.
    pub(crate) fn push_value(
        &mut self,
        value: ValueRef<'_>,
        arena: Arena,
        depth: usize,
    ) -> Result<Cell, Unfit> {
        let scalar = |kind, b| Ok(Cell::scalar(kind, b));
        match value {
            ValueRef::Null => Ok(Cell::NULL),
            ValueRef::Unavailable => Ok(Cell::UNAVAILABLE),
            ValueRef::Bool(v) => scalar(Kind::Bool, v.into()),
            ValueRef::I64(v) => scalar(Kind::I64, v as u64),
            ValueRef::U64(v) => scalar(Kind::U64, v),
            ValueRef::F32(v) => scalar(Kind::F32, v.to_bits().into()),
            ValueRef::F64(v) => scalar(Kind::F64, v.to_bits()),
            ValueRef::Decimal(s) => self.push_text_cell(Kind::Decimal, s, arena),
            ValueRef::Text(s) => self.push_text_cell(Kind::Text, s, arena),
            ValueRef::Json(s) => self.push_text_cell(Kind::Json, s, arena),
            ValueRef::Enum(s) => self.push_text_cell(Kind::Enum, s, arena),
            ValueRef::Set(s) => self.push_text_cell(Kind::Set, s, arena),
            ValueRef::Other(s) => self.push_text_cell(Kind::Other, s, arena),
            ValueRef::Bytes(b) => self.push_bytes_cell(b, arena),
            ValueRef::Bits(b) => {
                length(b.bytes().len())?;
                Ok(Cell::new(Kind::Bits, b.len(), self.push_bytes(b.bytes()), arena))
            }
            ValueRef::Uuid(u) => Ok(Cell::new(Kind::Uuid, 0, self.push_bytes(u), arena)),
            ValueRef::Date(d) => scalar(Kind::Date, i64::from(d.days()) as u64),
            ValueRef::Time(t) => scalar(Kind::Time, t.nanos() as u64),
            ValueRef::TimeTz(t) => Ok(Cell::new(Kind::TimeTz, t.offset as u32, t.time.nanos() as u64, arena)),
            ValueRef::DateTime(t) => Ok(Cell::new(Kind::DateTime, t.nanos(), t.seconds() as u64, arena)),
            ValueRef::Timestamp(t) => Ok(Cell::new(Kind::Timestamp, t.nanos(), t.seconds() as u64, arena)),
            ValueRef::Interval(i) => {
                let start = self.push_bytes(&i.days.to_le_bytes());
                self.push_bytes(&i.nanos.to_le_bytes());
                Ok(Cell::new(Kind::Interval, i.months as u32, start, arena))
            }
            ValueRef::List(list) => {
                let depth = deeper(depth)?;
                let start = self.reserve_cells(list.len())?;
                for (i, value) in list.iter().enumerate() {
                    let cell = self.push_value(value, arena, depth)?;
                    self.cells[start + i] = cell;
                }
                Ok(Cell::new(Kind::List, list.len() as u32, start as u64, arena))
            }
            ValueRef::Map(map) => {
                let entries = map.iter();
                self.push_entries(map.len(), entries, arena, depth)
            }
        }
    }

    /// Writes a map of `len` entries.
    pub(crate) fn push_entries<'v>(
        &mut self,
        len: usize,
        entries: impl Iterator<Item = (ValueRef<'v>, ValueRef<'v>)>,
        arena: Arena,
        depth: usize,
    ) -> Result<Cell, Unfit> {
        let depth = deeper(depth)?;
        let start = self.reserve_cells(len.checked_mul(2).ok_or(Unfit::Large)?)?;
        for (i, (key, value)) in entries.take(len).enumerate() {
            let key = self.push_value(key, arena, depth)?;
            let value = self.push_value(value, arena, depth)?;
            self.cells[start + 2 * i] = key;
            self.cells[start + 2 * i + 1] = value;
        }
        Ok(Cell::new(Kind::Map, len as u32, start as u64, arena))
    }

    /// Makes room for a row, list or map that can be addressed.
    pub(crate) fn reserve_cells(&mut self, count: usize) -> Result<usize, Unfit> {
        let start = self.cells.len();
        Range::new(start, count, Arena::Data)?;
        self.cells.resize(start + count, Cell::NULL);
        Ok(start)
    }

    /// Lists a destination. Neighbours mostly go to the same place.
    pub(crate) fn push_route(&mut self, destination: &str) -> u32 {
        let same = self.routes.last().is_some_and(|last| self.text_of(*last) == destination);
        if !same {
            let span = self.push_text(destination);
            self.routes.push(span);
        }
        index(self.routes.len() - 1)
    }
}

/// The form of a list index in an event. Lists of 2^32 entries do not fit into memory.
pub(crate) fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(NONE)
}

fn length(len: usize) -> Result<u32, Unfit> {
    if len > limit::VALUE { Err(Unfit::Large) } else { Ok(len as u32) }
}

fn deeper(depth: usize) -> Result<usize, Unfit> {
    if depth < limit::DEPTH { Ok(depth + 1) } else { Err(Unfit::Deep) }
}

/// Everything of a batch but its event list, so that events can be edited while values are read.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) data: Arc<BatchData>,
    pub(crate) overlay: Arc<BatchData>,
}

impl Default for Parts {
    /// Nothing, shared by everyone: taking the parts out of a finished batch allocates nothing.
    fn default() -> Self {
        static NOTHING: OnceLock<Arc<BatchData>> = OnceLock::new();
        let nothing = NOTHING.get_or_init(Arc::default);
        Self { data: Arc::clone(nothing), overlay: Arc::clone(nothing) }
    }
}

impl Parts {
    pub(crate) fn arena(&self, arena: Arena) -> &BatchData {
        match arena {
            Arena::Data => &self.data,
            Arena::Overlay => &self.overlay,
        }
    }

    pub(crate) fn cells(&self, range: Range) -> &[Cell] {
        &self.arena(range.arena()).cells[range.start()..range.start() + range.len()]
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
        self.data.text_of(self.data.origin)
    }

    pub(crate) fn commit(&self, transaction: u32) -> &str {
        match self.data.transactions.get(transaction as usize) {
            Some(t) => self.data.text_of(t.commit),
            None => "",
        }
    }

    pub(crate) fn commit_time(&self, transaction: u32) -> Option<Timestamp> {
        self.data.transactions.get(transaction as usize)?.time
    }

    pub(crate) fn route(&self, route: u32) -> Option<&str> {
        let span = self.overlay.routes.get(route as usize)?;
        Some(self.overlay.text_of(*span))
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
}
