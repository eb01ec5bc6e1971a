//! What a batch layout must do to be compared.

use std::sync::{Arc, Mutex, PoisonError};

use outflow_bench::{Result, Wire};
use outflow_core::{LogicalType, ValueRef};

/// The producer's side of a layout: reads frames, decodes values, builds batches.
pub(crate) trait Reader: Sized {
    /// The name in the report.
    const NAME: &'static str;
    type Batch: Batch;

    fn new(wire: Wire) -> Self;

    /// The next batch of up to `rows` rows; `None` at the end.
    fn next_batch(&mut self, rows: usize) -> Result<Option<Self::Batch>>;
}

/// The consumer's side.
pub(crate) trait Batch: Send {
    type Row<'b>: Row<'b>
    where
        Self: 'b;

    fn len(&self) -> usize;
    fn rows(&self) -> impl Iterator<Item = Self::Row<'_>>;

    /// Keeps the rows that `keep` accepts.
    fn retain(&mut self, keep: impl FnMut(Self::Row<'_>) -> bool);

    /// Copies what is left into memory of its own, when that is less than a quarter of what the batch retains.
    fn compact_if_sparse(&mut self);
}

/// A row of a batch.
pub(crate) trait Row<'b>: Copy {
    fn get(self, column: usize) -> ValueRef<'b>;
    fn values(self) -> impl Iterator<Item = ValueRef<'b>>;
}

/// Where the values of one row are in its batch. An event of the product also has its identity, schema and transaction,
/// which costs it more a row than the prototypes here.
#[derive(Clone, Copy)]
pub(crate) struct Change {
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl Change {
    /// The values of this row among those of all rows.
    pub(crate) fn of<V>(self, values: &[V]) -> &[V] {
        &values[self.start..self.start + self.len]
    }
}

/// How the bytes of each column become a value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decode {
    Bool,
    I64,
    Uuid,
    Timestamp,
    Decimal,
    Text,
    Json,
}

impl Decode {
    /// The decoders of the benchmark's table, in column order.
    pub(crate) fn plan() -> Vec<Self> {
        let of = |logical: &LogicalType| match logical {
            LogicalType::Bool => Self::Bool,
            LogicalType::Int(_) => Self::I64,
            LogicalType::Uuid => Self::Uuid,
            LogicalType::Timestamp => Self::Timestamp,
            LogicalType::Decimal(_) => Self::Decimal,
            LogicalType::Json => Self::Json,
            _ => Self::Text,
        };
        outflow_bench::schema().columns().iter().map(|column| of(column.logical())).collect()
    }
}

/// A big-endian integer of eight bytes.
pub(crate) fn integer(bytes: &[u8]) -> Result<i64> {
    Ok(i64::from_be_bytes(bytes.try_into()?))
}

/// Vectors that come back from consumed batches, so that no layout pays for their growth more than once.
pub(crate) struct Pool<T>(Arc<Mutex<Vec<T>>>);

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> Pool<T> {
    const MAX: usize = 6;

    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn take(&self) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// `emptied` must have been cleared.
    pub(crate) fn put(&self, emptied: T) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < Self::MAX {
            free.push(emptied);
        }
    }
}
