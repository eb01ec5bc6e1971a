//! The 16-byte form of a value inside a batch, and the ranges that point at cells and arenas.

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
        Range { start: self.b as u32, len, arena: self.arena }
    }
}

/// A run of cells in one arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) arena: Arena,
}

impl Range {
    /// No row, as opposed to a row without columns.
    pub(crate) const ABSENT: Self = Self { start: u32::MAX, len: 0, arena: Arena::Data };

    pub(crate) const fn is_absent(&self) -> bool {
        self.start == u32::MAX
    }

    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }
}

/// A run of text in one arena.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) len: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_takes_sixteen_bytes() {
        assert_eq!(size_of::<Cell>(), 16);
    }
}
