//! The polling family: a query with a cursor, or marks in the source table.

use std::time::Duration;

use async_trait::async_trait;
use outflow_core::{BatchBuilder, PartitionId, Position, Result};

use crate::source::BatchLimits;

/// A database that is asked for new rows. The runtime's driver pages, waits, keeps order and settles; the
/// connector speaks SQL.
///
/// Progress is kept in one of two ways. With a **cursor**, each page ends at a position, and only rows that no
/// transaction can slip in before are on it (no gaps: a lower id that commits later must not be lost). With
/// **marks**, pages have no position; rows are marked or deleted by [`settle`](Self::settle) once they have been
/// delivered, and the mark is the checkpoint.
///
/// `poll` and `settle` may run at the same time. All methods may be dropped at any await.
#[async_trait]
pub trait PollingSource: Send + Sync {
    /// The tables, each a partition, in the order in which they are polled.
    fn tables(&self) -> Vec<PartitionId>;

    /// Connects, checks the tables and, when `stop_at_current`, notes what is committed now. Called once,
    /// before anything else.
    async fn open(&self, stop_at_current: bool) -> Result<()>;

    /// Writes the next rows of `table` after `after` into `out`, within the limits (one row may exceed them).
    /// With marks, rows that were returned before and not settled are not returned again.
    async fn poll(
        &self,
        table: &PartitionId,
        after: Option<&Position>,
        limits: BatchLimits,
        out: &mut BatchBuilder,
    ) -> Result<Page>;

    /// Marks or deletes rows that have been delivered, durably when it returns. Only called with marks.
    async fn settle(&self, table: &PartitionId, rows: &RowKeys) -> Result<()>;

    /// Waits for a sign of new rows: a notification where the database can, else `at_most`. May return early
    /// without new rows.
    async fn wait(&self, at_most: Duration) -> Result<()>;

    /// Something that holds up delivery and that the operator should know, such as a transaction that is open
    /// for long. Shown in status.
    fn obstacle(&self) -> Option<String> {
        None
    }
}

/// What a poll found.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The position after the page; `None` with marks, or when nothing moved.
    pub end: Option<Position>,
    /// The rows of the page, to be settled; empty with a cursor.
    pub rows: RowKeys,
    /// True when more rows are there right now.
    pub more: bool,
    /// True when everything that was committed at `open` has now been returned.
    pub reached_target: bool,
}

/// The keys of rows that await their mark.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowKeys {
    /// Integer keys.
    Integers(Vec<i64>),
    /// Text keys, also UUIDs in their text form.
    Texts(Vec<String>),
}

impl Default for RowKeys {
    fn default() -> Self {
        Self::Integers(Vec::new())
    }
}

impl RowKeys {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Integers(v) => v.len(),
            Self::Texts(v) => v.len(),
        }
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes retained.
    pub fn charge(&self) -> usize {
        match self {
            Self::Integers(v) => v.capacity() * size_of::<i64>(),
            Self::Texts(v) => v.iter().map(|s| s.capacity() + size_of::<String>()).sum(),
        }
    }

    /// Adds the keys of a later page. Keys of one table are of one kind.
    pub fn append(&mut self, later: Self) {
        match (&mut *self, later) {
            (Self::Integers(a), Self::Integers(b)) => a.extend(b),
            (Self::Texts(a), Self::Texts(b)) => a.extend(b),
            (this, other) if this.is_empty() => *this = other,
            (_, _) => {}
        }
    }
}
