//! The 16-byte form of a value inside a batch, and the ranges that point at cells and arenas.

use crate::error::Error;

/// What a cell holds, and so how its `a` and `b` are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Null,
    Unavailable,
    Bool,
    I64,
    U64,
    F32,
    F64,
    Decimal,
    Text,
    Bytes,
    Bits,
    Json,
    Uuid,
    Date,
    Time,
    TimeTz,
    DateTime,
    Timestamp,
    Interval,
    Enum,
    Set,
    List,
    Map,
    Other,
}

/// Which arena a cell or range points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arena {
    /// What the source wrote.
    Data,
    /// What transforms wrote.
    Overlay,
}

/// One value. `a` is a length, count, nanosecond or offset part; `b` an arena offset or the value itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) b: u64,
    pub(crate) a: u32,
    pub(crate) kind: Kind,
    pub(crate) arena: Arena,
}

impl Cell {
    pub(crate) const NULL: Self = Self::scalar(Kind::Null, 0);
    pub(crate) const UNAVAILABLE: Self = Self::scalar(Kind::Unavailable, 0);

    pub(crate) const fn scalar(kind: Kind, b: u64) -> Self {
        Self { b, a: 0, kind, arena: Arena::Data }
    }

    pub(crate) const fn new(kind: Kind, a: u32, b: u64, arena: Arena) -> Self {
        Self { b, a, kind, arena }
    }

    /// The cells that a list (`a` elements) or map (`a` entries) holds.
    pub(crate) const fn children(&self) -> Range {
        let len = if matches!(self.kind, Kind::Map) { self.a * 2 } else { self.a };
        Range::of(self.b as u32, len, self.arena)
    }
}

/// Why a value has no place in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Its text, its bytes or its number of elements is over the limit, or the batch is full of cells.
    Large,
    /// Its lists and maps are nested too deep.
    Deep,
}

impl Unfit {
    pub(crate) fn error(self) -> Error {
        match self {
            Self::Large => Error::data("batch.value_too_large")
                .message("a value has 4 GiB or more, or the batch has no room for its elements")
                .hint("leave the column out, or lower the limit on the size of a row"),
            Self::Deep => Error::data("batch.value_too_deep")
                .message(format!("a value nests lists and maps more than {} deep", limit::DEPTH)),
        }
    }
}

/// What a batch can address. Nothing is ever cut to fit: what does not is refused with [`Unfit`].
pub(crate) mod limit {
    /// Bytes of one value.
    pub(crate) const VALUE: usize = if cfg!(test) { 1 << 16 } else { u32::MAX as usize };
    /// Cells of one arena: a [`Range`](super::Range) starts below this.
    pub(crate) const CELLS: usize = if cfg!(test) { 1 << 16 } else { u32::MAX as usize };
    /// Cells of one row, list or map: one bit of the length says which arena.
    pub(crate) const RUN: usize = if cfg!(test) { 1 << 12 } else { (u32::MAX >> 1) as usize };
    /// Lists and maps within one another, so that reading a value never exhausts the stack.
    pub(crate) const DEPTH: usize = 128;
}

/// A run of cells in one arena.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    start: u32,
    /// The length, and in the lowest bit the arena.
    packed: u32,
}

impl Range {
    /// No row, as opposed to a row without columns.
    pub(crate) const ABSENT: Self = Self { start: u32::MAX, packed: 0 };

    /// A run that is known to be addressable.
    const fn of(start: u32, len: u32, arena: Arena) -> Self {
        Self { start, packed: len << 1 | arena as u32 }
    }

    /// A run of `len` cells from `start` on, if that can be addressed.
    pub(crate) const fn new(start: usize, len: usize, arena: Arena) -> Result<Self, Unfit> {
        if start >= limit::CELLS || len > limit::RUN {
            return Err(Unfit::Large);
        }
        Ok(Self::of(start as u32, len as u32, arena))
    }

    pub(crate) const fn is_absent(&self) -> bool {
        self.start == u32::MAX
    }

    pub(crate) const fn start(&self) -> usize {
        self.start as usize
    }

    pub(crate) const fn len(&self) -> usize {
        (self.packed >> 1) as usize
    }

    pub(crate) const fn arena(&self) -> Arena {
        if self.packed & 1 == 0 { Arena::Data } else { Arena::Overlay }
    }

    /// The place of the cell at `index`, if the run is that long.
    pub(crate) const fn at(&self, index: usize) -> Option<usize> {
        if index < self.len() { Some(self.start() + index) } else { None }
    }
}

impl std::fmt::Debug for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_absent() {
            return f.write_str("absent");
        }
        write!(f, "{:?}[{}..{}]", self.arena(), self.start(), self.start() + self.len())
    }
}

/// A run of text in one arena.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) len: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_takes_sixteen_bytes_and_a_range_eight() {
        assert_eq!((size_of::<Cell>(), size_of::<Range>()), (16, 8));
    }

    #[test]
    fn a_range_keeps_its_parts_and_refuses_what_it_cannot_address() {
        for arena in [Arena::Data, Arena::Overlay] {
            let range = Range::new(limit::CELLS - 1, limit::RUN, arena).unwrap();
            assert_eq!((range.start(), range.len(), range.arena()), (limit::CELLS - 1, limit::RUN, arena));
            assert!(!range.is_absent());
            assert_eq!(range.at(limit::RUN), None);
        }
        assert_eq!(Range::new(limit::CELLS, 0, Arena::Data), Err(Unfit::Large));
        assert_eq!(Range::new(0, limit::RUN + 1, Arena::Data), Err(Unfit::Large));
        assert!(Range::ABSENT.is_absent());
    }
}
