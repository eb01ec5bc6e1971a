//! A table that is followed.

use std::sync::Arc;

use outflow_sdk::{PartitionId, RowKeys, TableSchema};

/// The key of one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RowKey {
    /// A number.
    Integer(i64),
    /// A text, also a UUID in its text form.
    Text(Box<str>),
}

/// The values of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// Numbers.
    Integer,
    /// Texts.
    Text,
}

impl KeyKind {
    /// An empty list of keys.
    pub(crate) fn no_rows(self) -> RowKeys {
        match self {
            Self::Integer => RowKeys::Integers(Vec::new()),
            Self::Text => RowKeys::Texts(Vec::new()),
        }
    }
}

/// Adds a key to a list of its kind.
pub(crate) fn push(rows: &mut RowKeys, key: RowKey) {
    match (rows, key) {
        (RowKeys::Integers(ids), RowKey::Integer(id)) => ids.push(id),
        (RowKeys::Texts(texts), RowKey::Text(text)) => texts.push(text.into()),
        _ => {}
    }
}

/// The column that identifies and orders the rows.
#[derive(Clone, Debug)]
pub(crate) struct KeyColumn {
    /// Its place in the table.
    pub(crate) index: usize,
    /// Its quoted name.
    pub(crate) sql: String,
    /// Its values.
    pub(crate) kind: KeyKind,
}

/// The values of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkKind {
    /// False, then true.
    #[cfg(feature = "postgres")]
    Boolean,
    /// 0, then 1.
    Number,
    /// NULL, then the time.
    Time,
}

/// The column that tells delivered rows from others.
#[derive(Clone, Debug)]
pub(crate) struct MarkColumn {
    /// Its name.
    pub(crate) name: String,
    /// Its quoted name.
    pub(crate) sql: String,
    /// Its values.
    pub(crate) kind: MarkKind,
}

impl MarkColumn {
    /// The name of the column when the configuration has none: the first of these that the table has.
    pub(crate) const USUAL: [&str; 2] = ["published", "delivered_at"];

    /// The condition on a row that is to be delivered.
    pub(crate) fn undelivered(&self) -> String {
        match self.kind {
            #[cfg(feature = "postgres")]
            MarkKind::Boolean => format!("{} = false", self.sql),
            MarkKind::Number => format!("{} = 0", self.sql),
            MarkKind::Time => format!("{} IS NULL", self.sql),
        }
    }

    /// The condition on a row that has been delivered. No row fulfils both.
    pub(crate) fn delivered(&self) -> String {
        match self.kind {
            #[cfg(feature = "postgres")]
            MarkKind::Boolean => format!("{} = true", self.sql),
            MarkKind::Number => format!("{} <> 0", self.sql),
            MarkKind::Time => format!("{} IS NOT NULL", self.sql),
        }
    }

    /// The assignment that marks a row; `now` is the present in the database's SQL.
    pub(crate) fn assignment(&self, now: &str) -> String {
        match self.kind {
            #[cfg(feature = "postgres")]
            MarkKind::Boolean => format!("{} = true", self.sql),
            MarkKind::Number => format!("{} = 1", self.sql),
            MarkKind::Time => format!("{} = {now}", self.sql),
        }
    }
}

/// What both backends know of a table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// The partition: `public.outbox`, `outbox`.
    pub(crate) id: PartitionId,
    /// The quoted name.
    pub(crate) sql: String,
    /// The history that event ids belong to: database and table, which survive a failover and a move.
    pub(crate) origin: String,
    /// The columns.
    pub(crate) schema: Arc<TableSchema>,
    /// The key.
    pub(crate) key: KeyColumn,
    /// The mark, with `delivered: mark`.
    pub(crate) mark: Option<MarkColumn>,
    /// When a delivered row is old enough to go: a condition, with `retention`.
    pub(crate) expired: Option<String>,
}

/// A quoted name: the same in both databases.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
