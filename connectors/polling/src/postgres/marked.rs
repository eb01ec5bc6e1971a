//! `delivered: mark` and `delivered: delete`: reads what has no mark, in the order of the keys.
//!
//! A page must not show a row without those that come before it: where writers of a key wait for each other, whoever
//! sees the later row sees the earlier one too, but only by one look at the table. So what a page of many continues
//! with is limited to the keys that were there at the first look, and rows that have appeared since, below or above,
//! are left to the next one. Long transactions hold up nothing: their rows come when they are visible.

use outflow_sdk::{BatchBuilder, BatchLimits, Page, Result, RowKeys};

use super::failure::text;
use super::follow::Context;
use super::page::{self, Ended, PageSize, Take, Visitor, literal, parse_key};
use crate::in_flight::{InFlight, Poll};
use crate::table::{RowKey, push};

/// What is known of a table while the source runs.
#[derive(Debug, Default)]
pub(super) struct Marked {
    sweep: Option<Sweep>,
    /// Whether the last look left something.
    backlog: bool,
    page: PageSize,
}

/// A look at the table that is continued: keys after `last`, up to `up_to`.
#[derive(Clone, Debug)]
struct Sweep {
    last: RowKey,
    up_to: RowKey,
}

/// Keys without a mark, in their order, as they are at one moment.
struct Listed {
    /// Those that are not in flight.
    fresh: Vec<RowKey>,
    /// The last of all keys at that moment.
    up_to: Option<RowKey>,
    /// Whether the list has all of them.
    complete: bool,
}

impl Marked {
    /// Rows without a mark that are not in flight.
    pub(super) async fn poll(
        &mut self,
        cx: &mut Context<'_>,
        in_flight: &InFlight,
        limits: BatchLimits,
        out: &mut BatchBuilder,
    ) -> Result<Page> {
        let poll = in_flight.poll();
        let mut rows = cx.described.table.key.kind.no_rows();
        // Once more if the table turns out to be another than was described.
        for _ in 0..2 {
            let ended = self.page(cx, &poll, &mut rows, limits, out).await?;
            if ended == Ended::Changed {
                cx.refresh().await?;
                self.sweep = None;
                if rows.is_empty() {
                    continue;
                }
            }
            // A look is over when all that it found has been returned; there may be new rows after a long one.
            let (reached_target, more) = match ended {
                Ended::Rows => (true, false),
                Ended::Caller => (true, true),
                Ended::Limit | Ended::Changed => (false, true),
            };
            poll.emitted(&rows);
            return Ok(Page { rows, more, reached_target, ..Page::default() });
        }
        Err(cx.unreadable())
    }

    /// One page. Ends with `Rows` when one look has found everything, with `Caller` at the end of a look of several
    /// pages, with `Limit` when there is more of it.
    async fn page(
        &mut self,
        cx: &Context<'_>,
        poll: &Poll<'_>,
        rows: &mut RowKeys,
        limits: BatchLimits,
        out: &mut BatchBuilder,
    ) -> Result<Ended> {
        let size = self.page.rows(limits);
        let key = &cx.described.table.key.sql;
        if let Some(sweep) = self.sweep.clone() {
            let between = format!(
                "{key} > {} AND {key} <= {}",
                literal(&cx.described, &sweep.last),
                literal(&cx.described, &sweep.up_to)
            );
            let query = select(cx, Some(&between), Some(size));
            let mut taken = Taken::new(rows, Some(poll));
            let ended = page::read(cx.session, &cx.described, &query, limits, out, &mut taken).await?;
            let Taken { seen, last, emitted, .. } = taken;
            self.page.learn(emitted, ended, limits, page::row_bytes(out));
            if ended == Ended::Rows && seen < size {
                self.sweep = None;
                return Ok(Ended::Caller);
            }
            self.sweep = last.map(|last| Sweep { last, up_to: sweep.up_to });
            return Ok(if ended == Ended::Changed { ended } else { Ended::Limit });
        }
        if poll.len() == 0 {
            // Rows that were delivered lie at the head of the index, dead, until they are vacuumed: where there are
            // many, the next page begins after this one. Ids taken after this moment are above `up_to`.
            let up_to = if self.backlog { last_key(cx).await? } else { None };
            let query = select(cx, None, Some(size));
            let mut taken = Taken::new(rows, None);
            let ended = page::read(cx.session, &cx.described, &query, limits, out, &mut taken).await?;
            let (seen, last) = (taken.seen, taken.last);
            self.page.learn(seen, ended, limits, page::row_bytes(out));
            self.backlog = ended != Ended::Rows || seen == size;
            if !self.backlog || ended == Ended::Changed {
                return Ok(ended);
            }
            self.sweep = last.zip(up_to).map(|(last, up_to)| Sweep { last, up_to });
            return Ok(Ended::Limit);
        }
        let Listed { mut fresh, up_to, complete } = list(cx, poll, size).await?;
        let all = complete && fresh.len() <= size;
        fresh.truncate(size);
        if fresh.is_empty() {
            return Ok(Ended::Rows);
        }
        let keys: Vec<String> = fresh.iter().map(|key| literal(&cx.described, key)).collect();
        let query = select(cx, Some(&format!("{key} IN ({})", keys.join(", "))), None);
        let mut taken = Taken::new(rows, None);
        let ended = page::read(cx.session, &cx.described, &query, limits, out, &mut taken).await?;
        let (seen, last) = (taken.seen, taken.last);
        self.page.learn(seen, ended, limits, page::row_bytes(out));
        match ended {
            Ended::Rows if all => Ok(Ended::Rows),
            Ended::Changed => Ok(Ended::Changed),
            _ => {
                // A row that has gone since the list was made is passed as well.
                let last = if ended == Ended::Rows { fresh.pop() } else { last };
                self.sweep = last.zip(up_to).map(|(last, up_to)| Sweep { last, up_to });
                Ok(Ended::Limit)
            }
        }
    }
}

/// Lists keys that have no mark, as many as are in flight and a page more, and the last of all, by one look.
async fn list(cx: &Context<'_>, poll: &Poll<'_>, page: usize) -> Result<Listed> {
    let table = &cx.described.table;
    let (sql, key) = (&table.sql, &table.key.sql);
    let condition = condition(cx, None);
    let limit = poll.len() + page;
    let query = format!(
        "SELECT {key}, (SELECT {key} FROM {sql} {condition} ORDER BY {key} DESC LIMIT 1) \
         FROM {sql} {condition} ORDER BY 1 LIMIT {limit}"
    );
    let rows = cx.session.query(&query).await?;
    let parse = |text: &str| parse_key(table.key.kind, text);
    let mut fresh = Vec::new();
    for row in &rows {
        match parse(text(row, 0)?) {
            Some(key) if poll.contains(&key) => {}
            Some(key) => fresh.push(key),
            None => return Err(cx.unreadable()),
        }
    }
    let up_to = rows.first().map(|row| text(row, 1)).transpose()?.and_then(parse);
    Ok(Listed { fresh, up_to, complete: rows.len() < limit })
}

/// The last of the keys without a mark.
async fn last_key(cx: &Context<'_>) -> Result<Option<RowKey>> {
    let table = &cx.described.table;
    let (sql, key) = (&table.sql, &table.key.sql);
    let query = format!("SELECT {key} FROM {sql} {} ORDER BY {key} DESC LIMIT 1", condition(cx, None));
    let rows = cx.session.query(&query).await?;
    let text = rows.first().map(|row| text(row, 0)).transpose()?;
    Ok(text.and_then(|text| parse_key(table.key.kind, text)))
}

fn condition(cx: &Context<'_>, also: Option<&str>) -> String {
    let undelivered = cx.described.table.mark.as_ref().map(|mark| mark.undelivered());
    match (undelivered, also) {
        (None, None) => String::new(),
        (Some(one), None) => format!("WHERE {one}"),
        (None, Some(one)) => format!("WHERE {one}"),
        (Some(one), Some(other)) => format!("WHERE {one} AND {other}"),
    }
}

fn select(cx: &Context<'_>, also: Option<&str>, limit: Option<usize>) -> String {
    let table = &cx.described.table;
    let limit = limit.map_or_else(String::new, |n| format!("LIMIT {n}"));
    format!("SELECT * FROM {} {} ORDER BY {} {limit}", table.sql, condition(cx, also), table.key.sql)
}

/// Takes rows that are not in flight.
struct Taken<'a> {
    rows: &'a mut RowKeys,
    in_flight: Option<&'a Poll<'a>>,
    seen: usize,
    emitted: usize,
    last: Option<RowKey>,
}

impl<'a> Taken<'a> {
    fn new(rows: &'a mut RowKeys, in_flight: Option<&'a Poll<'a>>) -> Self {
        Self { rows, in_flight, seen: 0, emitted: 0, last: None }
    }
}

impl Visitor for Taken<'_> {
    fn take(&mut self, key: &RowKey) -> Take {
        if self.in_flight.is_some_and(|poll| poll.contains(key)) {
            self.seen += 1;
            self.last = Some(key.clone());
            return Take::Skip;
        }
        Take::Emit
    }

    fn emitted(&mut self, key: RowKey) {
        self.seen += 1;
        self.emitted += 1;
        push(self.rows, key.clone());
        self.last = Some(key);
    }
}
