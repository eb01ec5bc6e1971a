//! `delivered: keep`: follows a table by its ids, in their order, up to where no id can be missing.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use outflow_sdk::{BatchBuilder, BatchLimits, Page, Result};

use super::describe::{self, Described};
use super::failure::{number, optional};
use super::holders::{Barrier, Holders};
use super::page::{self, Ended, PageSize, Take, Visitor, literal};
use super::session::Session;
use crate::config::{OnLostPosition, Snapshot};
use crate::error;
use crate::options::Options;
use crate::place::Place;
use crate::table::RowKey;

/// An id that nobody held and that had no row is looked for a while longer: applications that take an id in one
/// transaction and insert the row in another are not lost by it.
const WATCH: Duration = Duration::from_secs(60);
/// How often such ids, and the sequence, are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Only the newest ids can be on their way; gaps farther below the newest are those of rows long deleted.
const NEAR: i64 = 10_000;

/// What is known of a table while the source runs.
#[derive(Debug)]
pub(super) struct Follower {
    /// Every id up to here is settled: its row is visible or will never come.
    settled: i64,
    /// Ids above that are taken by transactions which have not ended.
    barrier: Option<Barrier>,
    page: PageSize,
    /// Since when skipped ids are looked for, by the first id of the range as it was skipped.
    watched: HashMap<i64, Instant>,
    next_look: Instant,
    /// With `--stop-at current`: the last id when the source was opened.
    target: Option<Option<i64>>,
    obstacle: Option<String>,
}

impl Follower {
    pub(super) fn new() -> Self {
        Self {
            settled: i64::MIN,
            barrier: None,
            page: PageSize::default(),
            watched: HashMap::new(),
            next_look: Instant::now(),
            target: None,
            obstacle: None,
        }
    }

    /// Notes what is committed now.
    pub(super) async fn set_target(&mut self, session: &Session, described: &Described) -> Result<()> {
        self.target = Some(last_id(session, described).await?);
        Ok(())
    }

    /// What holds up delivery.
    pub(super) fn obstacle(&self) -> Option<&str> {
        self.obstacle.as_deref()
    }

    /// How long to wait for the end of a transaction before looking again; `None` when none is waited for. Grows
    /// with the time it has taken already, so that a row comes at most an eighth later than it could.
    pub(super) fn pause(&self) -> Option<Duration> {
        let age = self.barrier.as_ref()?.age();
        Some((age / 8).clamp(Duration::from_millis(2), LOOK))
    }

    /// The rows after `place`.
    pub(super) async fn poll(
        &mut self,
        cx: &mut Context<'_>,
        place: Option<Place>,
        limits: BatchLimits,
        out: &mut BatchBuilder,
    ) -> Result<Page> {
        let mut place = match place {
            Some(place) => place,
            None if cx.options.snapshot == Snapshot::Never => cx.present().await?,
            None => Place::default(),
        };
        self.look(cx, &mut place, limits, out).await?;
        let mut ended = if limits.reached(out) {
            Ended::Limit
        } else if self.held(cx, &place).await? {
            Ended::Caller
        } else {
            self.scan(cx, &mut place, limits, out).await?
        };
        if ended == Ended::Caller && self.barrier.is_none() && self.settle(cx).await? {
            // Nobody holds an id any more. What was committed up to that moment is seen by a new statement.
            ended = self.scan(cx, &mut place, limits, out).await?;
        }
        self.tell(cx).await?;
        let more = match ended {
            Ended::Limit | Ended::Changed => true,
            Ended::Rows => false,
            Ended::Caller => self.barrier.is_none(),
        };
        let done = ended == Ended::Rows && !more;
        let reached_target = match self.target {
            Some(target) => done || place.last() >= target,
            None => done,
        };
        Ok(Page { end: Some(place.position()), more, reached_target, ..Page::default() })
    }

    /// Whether there is nothing to be read because of a transaction that is waited for.
    async fn held(&mut self, cx: &Context<'_>, place: &Place) -> Result<bool> {
        let Some(barrier) = &mut self.barrier else { return Ok(false) };
        let now = Holders::now(cx.session, &cx.described).await?;
        if barrier.observe(&now) {
            self.settled = self.settled.max(barrier.up_to);
            self.barrier = None;
            return Ok(false);
        }
        // Others may have to end, while the row that was missed is there.
        let Some(last) = place.last() else { return Ok(true) };
        let table = &cx.described.table;
        let key = &table.key.sql;
        let next = format!(
            "SELECT {key} FROM {} WHERE {key} > {} ORDER BY {key} LIMIT 1",
            table.sql,
            literal(&cx.described, &RowKey::Integer(last))
        );
        let rows = cx.session.query(&next).await?;
        let next = rows.first().map(|row| number(row, 0)).transpose()?;
        Ok(!next.is_some_and(|id| place.is_next(id)))
    }

    /// Reads rows in the order of their ids up to the first id that may be on its way.
    async fn scan(
        &mut self,
        cx: &mut Context<'_>,
        place: &mut Place,
        limits: BatchLimits,
        out: &mut BatchBuilder,
    ) -> Result<Ended> {
        // Once more if the table turns out to be another than was described.
        for _ in 0..2 {
            let rows = self.page.rows(limits);
            let table = &cx.described.table;
            let key = &table.key.sql;
            let after = match place.last() {
                Some(last) => format!("WHERE {key} > {}", literal(&cx.described, &RowKey::Integer(last))),
                None => String::new(),
            };
            let query = format!("SELECT * FROM {} {after} ORDER BY {key} LIMIT {rows}", table.sql);
            let mut walk = Walk::new(self.settled, cx.first_id(), place.clone());
            let ended = page::read(cx.session, &cx.described, &query, limits, out, &mut walk).await?;
            *place = walk.place;
            for gap in walk.skipped {
                self.watched.insert(gap, Instant::now());
            }
            self.page.learn(walk.taken, ended, limits, page::row_bytes(out));
            match ended {
                Ended::Rows if walk.taken == rows => return Ok(Ended::Limit),
                Ended::Changed => {
                    cx.refresh().await?;
                    if walk.taken > 0 {
                        return Ok(Ended::Changed);
                    }
                }
                ended => return Ok(ended),
            }
        }
        Err(cx.unreadable())
    }

    /// Finds out whether anybody holds an id; true if not, and then everything that was taken is settled.
    async fn settle(&mut self, cx: &Context<'_>) -> Result<bool> {
        // In this order: whoever took one of these ids held it before we ask who holds one.
        let Some(up_to) = last_id(cx.session, &cx.described).await? else { return Ok(false) };
        let holders = Holders::now(cx.session, &cx.described).await?;
        if holders.is_empty() {
            self.settled = self.settled.max(up_to);
            return Ok(true);
        }
        self.barrier = Some(Barrier::new(up_to, holders));
        Ok(false)
    }

    /// From time to time, looks for rows with skipped ids, and whether the ids still rise.
    async fn look(
        &mut self,
        cx: &mut Context<'_>,
        place: &mut Place,
        limits: BatchLimits,
        out: &mut BatchBuilder,
    ) -> Result<()> {
        let now = Instant::now();
        if now < self.next_look {
            return Ok(());
        }
        self.next_look = now + LOOK;
        if !cx.still_valid(place).await? {
            // Ids begin again: nothing is known of them.
            (*place, self.settled, self.barrier) = (Place::default(), i64::MIN, None);
        }
        let watched = &mut self.watched;
        place.retain_skipped(|gap| now.duration_since(*watched.entry(*gap.start()).or_insert(now)) < WATCH);
        watched.retain(|start, _| place.skipped().iter().any(|gap| gap.start() == start));
        if place.skipped().is_empty() {
            return Ok(());
        }
        let table = &cx.described.table;
        let key = &table.key.sql;
        let ranges: Vec<String> = place
            .skipped()
            .iter()
            .map(|r| format!("('{}'::bigint, '{}'::bigint)", r.start(), r.end()))
            .collect();
        // A look at the index for each range, whatever the planner thinks of the table.
        let query = format!(
            "SELECT t.* FROM (VALUES {}) AS gap(low, high) CROSS JOIN LATERAL \
             (SELECT * FROM {} WHERE {key} BETWEEN gap.low AND gap.high ORDER BY {key} LIMIT 1000) AS t ORDER BY {key}",
            ranges.join(", "),
            table.sql
        );
        let mut found = Found(Vec::new());
        let ended = page::read(cx.session, &cx.described, &query, limits, out, &mut found).await?;
        for id in found.0 {
            tracing::debug!(table = %cx.described.table.id, id, "a row came after its id had been passed");
            self.split(place, id);
        }
        if ended == Ended::Changed {
            cx.refresh().await?;
        }
        Ok(())
    }

    /// Takes a found id out of what is skipped; the parts of its range keep their time.
    fn split(&mut self, place: &mut Place, id: i64) {
        let range = place.skipped().iter().find(|r| r.contains(&id)).cloned();
        place.found(id);
        if let Some((since, next)) =
            range.and_then(|r| Some((*self.watched.get(r.start())?, id.checked_add(1)?)))
        {
            self.watched.insert(next, since);
        }
    }

    /// Keeps the text about what holds up delivery, if it has done so for a moment.
    async fn tell(&mut self, cx: &Context<'_>) -> Result<()> {
        self.obstacle = match &self.barrier {
            Some(barrier) if barrier.age() >= Duration::from_secs(1) => {
                Some(barrier.describe(cx.session, &cx.described).await?)
            }
            _ => None,
        };
        Ok(())
    }
}

/// Goes through rows in the order of their ids.
struct Walk {
    settled: i64,
    first: i64,
    place: Place,
    taken: usize,
    /// The first ids of the gaps that are watched from now on.
    skipped: Vec<i64>,
}

impl Walk {
    fn new(settled: i64, first: i64, place: Place) -> Self {
        Self { settled, first, place, taken: 0, skipped: Vec::new() }
    }
}

impl Visitor for Walk {
    fn take(&mut self, key: &RowKey) -> Take {
        match *key {
            RowKey::Integer(id) if id <= self.settled || self.place.is_next(id) => Take::Emit,
            _ => Take::Stop,
        }
    }

    fn emitted(&mut self, key: RowKey) {
        let RowKey::Integer(id) = key else { return };
        // A gap below the settled ids: rolled back, deleted, or taken outside the transaction of its row.
        let near = |gap: &RangeInclusive<i64>| *gap.end() > self.settled.saturating_sub(NEAR);
        if let Some(gap) = self.place.gap_before(id, self.first).filter(near) {
            self.skipped.push(*gap.start());
            self.place.skip(gap);
        }
        self.place.advance(id);
        self.taken += 1;
    }
}

/// Takes every row.
struct Found(Vec<i64>);

impl Visitor for Found {
    fn take(&mut self, _: &RowKey) -> Take {
        Take::Emit
    }

    fn emitted(&mut self, key: RowKey) {
        if let RowKey::Integer(id) = key {
            self.0.push(id);
        }
    }
}

/// The last id that has a row.
async fn last_id(session: &Session, described: &Described) -> Result<Option<i64>> {
    let table = &described.table;
    let rows = session.query(&format!("SELECT max({}) FROM {}", table.key.sql, table.sql)).await?;
    rows.first().filter(|row| optional(row, 0).is_some()).map(|row| number(row, 0)).transpose()
}

/// The table that is asked, and by whom.
pub(super) struct Context<'a> {
    pub(super) session: &'a Session,
    pub(super) options: &'a Options,
    pub(super) described: std::sync::Arc<Described>,
}

impl Context<'_> {
    /// The table has been changed: describes it anew.
    pub(super) async fn refresh(&mut self) -> Result<()> {
        let described = describe::again(self.session, self.options, &self.described.table.id).await?;
        self.described = std::sync::Arc::new(described);
        Ok(())
    }

    /// A value stays unreadable although the table has just been described.
    pub(super) fn unreadable(&self) -> outflow_sdk::Error {
        error::bad_value(self.described.table.id.as_str(), "*", "a value is none of its column's type")
            .hint("this is a defect; please report it with the table's definition and the row")
    }

    /// The lowest id that can be.
    fn first_id(&self) -> i64 {
        self.described.sequence.as_ref().map_or(i64::MIN, |sequence| sequence.first)
    }

    /// Where `snapshot: never` begins: after the rows that are there, but not those that are on their way.
    async fn present(&self) -> Result<Place> {
        let Some(last) = last_id(self.session, &self.described).await? else { return Ok(Place::default()) };
        let mut place = Place::after(last);
        if Holders::now(self.session, &self.described).await?.is_empty() {
            return Ok(place);
        }
        let table = &self.described.table;
        let key = &table.key.sql;
        let lowest = last.saturating_sub(NEAR).max(self.first_id().saturating_sub(1));
        let rows = self
            .session
            .query(&format!(
                "SELECT {key} FROM {} WHERE {key} > {lowest} AND {key} <= {last} ORDER BY {key}",
                table.sql
            ))
            .await?;
        let mut reached = Place::after(lowest);
        for row in &rows {
            let id = number(row, 0)?;
            if let Some(gap) = reached.gap_before(id, id) {
                place.skip(gap);
            }
            reached.advance(id);
        }
        Ok(place)
    }

    /// Whether the sequence still stands at or above the place; where it does not, the policy decides between an
    /// error and a new start.
    async fn still_valid(&self, place: &Place) -> Result<bool> {
        let (Some(last), Some(sequence)) = (place.last(), &self.described.sequence) else { return Ok(true) };
        if !sequence.readable {
            return Ok(true);
        }
        let rows = self.session.query(&format!("SELECT pg_sequence_last_value({})", sequence.oid)).await?;
        let stands = rows.first().and_then(|row| optional(row, 0)).and_then(|n| n.parse::<i64>().ok());
        if stands.is_some_and(|stands| stands >= last) {
            return Ok(true);
        }
        let stands = stands.map_or_else(|| "its beginning".to_owned(), |n| n.to_string());
        let lost = error::position_lost(
            self.described.table.id.as_str(),
            format!(
                "the sequence {} stands at {stands}, before the position {place}: it was reset, or rows have ids that \
                 it did not give",
                sequence.sql
            ),
        );
        match self.options.on_lost_position {
            OnLostPosition::Stop => Err(lost),
            OnLostPosition::Resnapshot => {
                tracing::warn!(error = %lost, "starting again at the first row, as on_lost_position says");
                Ok(false)
            }
        }
    }
}
