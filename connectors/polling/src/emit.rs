//! Rows become events.

use outflow_sdk::{BatchBuilder, EventBuilder, Op};

use crate::table::{RowKey, Table};

/// Starts the event of a row. Its id is the row's own (invariant 8): a number is the ordinal, a text the commit.
pub(crate) fn insert<'b>(out: &'b mut BatchBuilder, table: &Table, key: &RowKey) -> EventBuilder<'b> {
    out.origin(&table.origin);
    let schema = out.schema(&table.schema);
    match key {
        RowKey::Integer(id) => match u64::try_from(*id) {
            Ok(ordinal) => out.event(Op::Insert).schema(schema).ordinal(ordinal),
            Err(_) => named(out, &id.to_string()).schema(schema),
        },
        RowKey::Text(text) => named(out, text).schema(schema),
    }
}

fn named<'b>(out: &'b mut BatchBuilder, commit: &str) -> EventBuilder<'b> {
    let commit = out.transaction(commit, None);
    out.event(Op::Insert).transaction(commit)
}
