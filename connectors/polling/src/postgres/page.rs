//! Reads the rows that a query gives, as far as the limits allow.

use std::ops::ControlFlow;

use futures_util::StreamExt;
use outflow_sdk::{BatchBuilder, BatchLimits, Error, Result};
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::describe::Described;
use super::failure::optional;
use super::pg_text::Scratch;
use super::session::Session;
use crate::table::{KeyKind, RowKey};
use crate::{emit, error};

/// How a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With the last row of the query.
    Rows,
    /// At a limit of the batch.
    Limit,
    /// Where the caller said so.
    Caller,
    /// The table is not as it was described: it is to be described and asked again.
    Changed,
}

/// How many rows a query asks for.
///
/// Rows that do not fit a batch any more have been sent for nothing, so it asks for a little less than what the last
/// rows let expect.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageSize(usize);

/// The largest growth from one page to the next: the first rows may be smaller than all others.
const GROWTH: usize = 8;

impl Default for PageSize {
    fn default() -> Self {
        Self(256)
    }
}

impl PageSize {
    /// The number of rows to ask for.
    pub(super) fn rows(self, limits: BatchLimits) -> usize {
        self.0.clamp(1, limits.events.max(1))
    }

    /// What came of it: rows were taken, and the rows of the batch have so many bytes each.
    pub(super) fn learn(&mut self, taken: usize, ended: Ended, limits: BatchLimits, row_bytes: usize) {
        let full = match ended {
            Ended::Limit => true,
            Ended::Rows => taken >= self.rows(limits),
            Ended::Caller | Ended::Changed => false,
        };
        if full {
            let fit = limits.bytes / row_bytes.max(1);
            let most = self.0.saturating_mul(GROWTH).min(limits.events).max(1);
            self.0 = (fit - fit / 32).clamp(1, most);
        }
    }
}

/// The bytes of a row of the batch, on average.
pub(super) fn row_bytes(out: &BatchBuilder) -> usize {
    out.bytes() / out.len().max(1)
}

/// What is to be done with a row.
pub(super) enum Take {
    /// It becomes an event.
    Emit,
    /// It is passed over.
    Skip,
    /// It and all that follow are left.
    Stop,
}

/// Decides about rows, and remembers them.
pub(super) trait Visitor {
    /// What is to be done with the row of this key.
    fn take(&mut self, key: &RowKey) -> Take;
    /// The row of this key has become an event.
    fn emitted(&mut self, key: RowKey);
}

/// Runs a query for all columns and writes its rows into `out`.
pub(super) async fn read(
    session: &Session,
    described: &Described,
    query: &str,
    limits: BatchLimits,
    out: &mut BatchBuilder,
    visitor: &mut (impl Visitor + Send),
) -> Result<Ended> {
    let mut scratch = Scratch::default();
    let run = async {
        let mut stream = session.stream(query).await?;
        while let Some(message) = stream.next().await {
            let row = match message.map_err(|e| session.broken(e))? {
                SimpleQueryMessage::RowDescription(columns) => {
                    if !described.has_columns(columns.iter().map(|c| c.name())) {
                        return Ok(Ended::Changed);
                    }
                    continue;
                }
                SimpleQueryMessage::Row(row) => row,
                _ => continue,
            };
            let key = key(described, &row)?;
            match visitor.take(&key) {
                Take::Skip => continue,
                Take::Stop => return Ok(Ended::Caller),
                Take::Emit => {}
            }
            if emit(described, &key, &row, out, &mut scratch)?.is_break() {
                return Ok(Ended::Changed);
            }
            visitor.emitted(key);
            if limits.reached(out) {
                // What the server sends beyond this is read and dropped before the next answer.
                return Ok(Ended::Limit);
            }
        }
        Ok(Ended::Rows)
    };
    session.timed(run).await
}

/// The key in a row of all columns.
fn key(described: &Described, row: &SimpleQueryRow) -> Result<RowKey> {
    let table = &described.table;
    let text = optional(row, table.key.index);
    text.and_then(|text| parse_key(table.key.kind, text)).ok_or_else(|| {
        error::bad_value(
            table.id.as_str(),
            &table.key.sql,
            &format!("{text:?} is no key that can be followed"),
        )
    })
}

/// A key from its text.
pub(super) fn parse_key(kind: KeyKind, text: &str) -> Option<RowKey> {
    match kind {
        KeyKind::Integer => text.parse().ok().map(RowKey::Integer),
        KeyKind::Text => Some(RowKey::Text(text.into())),
    }
}

/// Writes one event. Breaks when a value is none of its type's: the type has been changed.
fn emit(
    described: &Described,
    key: &RowKey,
    row: &SimpleQueryRow,
    out: &mut BatchBuilder,
    scratch: &mut Scratch,
) -> Result<ControlFlow<()>> {
    let mut event = emit::insert(out, &described.table, key);
    let mut writer = event.after();
    for (index, of) in described.types.iter().enumerate() {
        match row.try_get(index) {
            Ok(None) => writer.null(),
            Ok(Some(text)) => {
                if of.write(text, &mut writer, scratch).is_err() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Err(error) => return Err(Error::internal("polling.answer").caused_by(error)),
        }
    }
    writer.end()?;
    event.end();
    Ok(ControlFlow::Continue(()))
}

/// A literal of a key's type.
pub(super) fn literal(described: &Described, key: &RowKey) -> String {
    match key {
        RowKey::Integer(id) if *id >= 0 => id.to_string(),
        RowKey::Integer(id) => format!("'{id}'::bigint"),
        RowKey::Text(text) => format!("'{}'::{}", text.replace('\'', "''"), described.key_type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_fits_a_batch() {
        let mut limits = BatchLimits { events: 8192, bytes: 1 << 20 };
        let mut page = PageSize::default();
        assert_eq!(page.rows(limits), 256);
        // Not much more at once than before, then a little less than what fits.
        for expected in [2048, 5079, 5079] {
            page.learn(page.rows(limits), Ended::Rows, limits, 200);
            assert_eq!(page.rows(limits), expected);
        }
        page.learn(1, Ended::Limit, limits, 2 << 20);
        assert_eq!(page.rows(limits), 1);
        // The last page of a table, and one that was given up, say nothing.
        page.learn(0, Ended::Rows, limits, 0);
        page.learn(1, Ended::Changed, limits, 8);
        page.learn(1, Ended::Caller, limits, 8);
        assert_eq!(page.rows(limits), 1);
        limits.events = 0;
        page.learn(1, Ended::Rows, limits, 8);
        assert_eq!(page.rows(limits), 1);
    }
}
