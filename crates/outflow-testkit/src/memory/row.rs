//! The row that all in-memory sources serve.

use std::sync::{Arc, LazyLock};

use outflow_sdk::{
    BatchBuilder, Column, EventBuilder, LogicalType, Op, Result, RowWriter, TableSchema, TransactionIndex,
};

/// One row: a key, the number of the change among those of its key, and padding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// The key.
    pub key: String,
    /// The change's number among those of the key, from 1 on.
    pub n: i64,
    /// Bytes that only take room.
    pub padding: String,
}

impl Row {
    /// A row without padding.
    pub fn new(key: impl Into<String>, n: i64) -> Self {
        Self { key: key.into(), n, padding: String::new() }
    }

    /// The same with so many bytes of padding.
    #[must_use]
    pub fn padded(mut self, bytes: usize) -> Self {
        self.padding = "x".repeat(bytes);
        self
    }

    /// Writes the row as an upsert.
    pub(crate) fn write(
        &self,
        builder: &mut BatchBuilder,
        transaction: Option<TransactionIndex>,
        ordinal: u64,
    ) -> Result<()> {
        let schema = builder.schema(rows_schema());
        let mut event: EventBuilder<'_> = builder.event(Op::Upsert).schema(schema).ordinal(ordinal);
        if let Some(transaction) = transaction {
            event = event.transaction(transaction);
        }
        self.values(event.after())?;
        event.end();
        Ok(())
    }

    /// Writes the row's values.
    pub(crate) fn values(&self, mut writer: RowWriter<'_>) -> Result<()> {
        writer.text(&self.key);
        writer.i64(self.n);
        writer.text(&self.padding);
        writer.end()
    }
}

/// The table `rows`: `key` (its key), `n`, `padding`.
pub fn rows_schema() -> &'static Arc<TableSchema> {
    static SCHEMA: LazyLock<Arc<TableSchema>> = LazyLock::new(|| {
        TableSchema::builder("rows")
            .column(Column::new("key", LogicalType::Text).not_null())
            .column(Column::new("n", LogicalType::Int(64)).not_null())
            .column(Column::new("padding", LogicalType::Text).not_null())
            .key(["key"])
            .build()
    });
    &SCHEMA
}
