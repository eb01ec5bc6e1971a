//! Rows and message bodies as the application's own types.

mod message;
mod row;
mod value;

use std::fmt;
use std::ops::Range;

use crate::batch::ChangeBatch;
use crate::error::Result;
use crate::event::{EventRef, Op};

impl ChangeBatch {
    /// The rows of inserts, updates, upserts, deletes and snapshot reads as `T`, in commit order: the row after
    /// the change, else (for a delete) the row before it. Other events have no row and are passed over.
    ///
    /// Struct fields take columns by name, tuple fields by place; in a schema of documents they take the
    /// members of the document.
    ///
    /// ```
    /// use outflow_core::{BatchBuilder, json};
    /// #[derive(serde::Deserialize)]
    /// struct Order<'a> {
    ///     id: u64,
    ///     total: &'a str,
    ///     note: Option<String>,
    /// }
    ///
    /// let mut builder = BatchBuilder::new();
    /// let line = br#"{"op":"insert","table":"orders","after":{"id":1,"total":"42.10","note":null},
    ///                 "columns":[["id","int64"],["total","decimal"],["note","text"]]}"#;
    /// assert_eq!(json::read_event(line, &mut builder)?, json::Outcome::Read);
    /// let batch = builder.finish("orders".into(), None);
    /// for order in batch.rows::<Order<'_>>() {
    ///     let order = order?;
    ///     assert_eq!((order.id, order.total, order.note), (1, "42.10", None));
    /// }
    /// # Ok::<(), outflow_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Each item on its own, as for [`RowRef::deserialize`](crate::RowRef::deserialize).
    pub fn rows<'a, T: serde::Deserialize<'a>>(&'a self) -> impl Iterator<Item = Result<T>> + use<'a, T> {
        self.rows_in(0..self.len())
    }

    /// [`rows`](Self::rows) of the events at these places only; places beyond the end are passed over.
    pub fn rows_in<'a, T: serde::Deserialize<'a>>(
        &'a self,
        places: Range<usize>,
    ) -> impl Iterator<Item = Result<T>> + use<'a, T> {
        let events = self.iter().skip(places.start).take(places.len());
        events.filter(has_row).filter_map(|event| Some(event.row_any()?.deserialize()))
    }
}

fn has_row(event: &EventRef<'_>) -> bool {
    event.op().is_write() || event.op() == Op::Read
}

/// What went wrong, and in which column.
#[derive(Debug)]
struct Failure {
    what: String,
    column: Option<String>,
    /// The field that nothing was found for.
    missing: Option<&'static str>,
}

impl Failure {
    fn new(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), column: None, missing: None }
    }

    /// Names the column, unless a failure within it has a place already.
    fn within(mut self, column: &str) -> Self {
        self.column.get_or_insert_with(|| column.to_owned());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

impl serde::de::Error for Failure {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self::new(what)
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::new(format_args!("there is no column {field:?}")) }
    }
}
