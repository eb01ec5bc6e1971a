//! The unit of flow: a batch of events over arenas that are written once.

use std::sync::Arc;
use std::time::Instant;

use crate::arena::Parts;
use crate::checkpoint::StateDelta;
use crate::error::Error;
use crate::event::{Event, EventRef};
use crate::pool::BatchPool;
use crate::position::{PartitionId, Position};
use crate::schema::TableSchema;

/// An event that was refused on its way, with the reason.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) event: Event,
    pub(crate) error: Error,
}

/// A batch of events of one partition.
///
/// `Clone` copies the event list, never the data. Reading allocates nothing. Dropping the last clone returns
/// the buffers to the pool of the [`BatchBuilder`](crate::BatchBuilder) that made it.
#[derive(Debug)]
pub struct ChangeBatch {
    pub(crate) parts: Parts,
    pub(crate) events: Vec<Event>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) partition: PartitionId,
    pub(crate) end: Option<Position>,
    pub(crate) state: StateDelta,
    pub(crate) received: Instant,
    pub(crate) built: usize,
    /// Bytes that the source wrote; a compaction does not change what a replay costs.
    pub(crate) content: usize,
    pub(crate) pool: Option<BatchPool>,
}

impl Clone for ChangeBatch {
    /// Rejected events stay with the original, which alone hands them to the dead letters.
    fn clone(&self) -> Self {
        Self {
            parts: self.parts.clone(),
            events: self.events.clone(),
            rejected: Vec::new(),
            partition: self.partition.clone(),
            end: self.end.clone(),
            state: self.state.clone(),
            received: self.received,
            built: self.built,
            content: self.content,
            pool: self.pool.clone(),
        }
    }
}

impl ChangeBatch {
    /// A batch without events that only moves its partition to `end`.
    pub fn empty(partition: PartitionId, end: Position) -> Self {
        Self {
            parts: Parts::default(),
            events: Vec::new(),
            rejected: Vec::new(),
            partition,
            end: Some(end),
            state: StateDelta::default(),
            received: Instant::now(),
            built: 0,
            content: 0,
            pool: None,
        }
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// True when there are no events; the batch still carries its position.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The event at `index`.
    pub fn get(&self, index: usize) -> Option<EventRef<'_>> {
        self.events.get(index).map(|event| EventRef { parts: &self.parts, event, index })
    }

    /// All events, in commit order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = EventRef<'_>> {
        let parts = &self.parts;
        self.events.iter().enumerate().map(move |(index, event)| EventRef { parts, event, index })
    }

    /// The partition that the batch belongs to.
    pub fn partition(&self) -> &PartitionId {
        &self.partition
    }

    /// The position that is done when every event of the batch is; `None` when progress is kept by marks in
    /// the source.
    pub fn end(&self) -> Option<&Position> {
        self.end.as_ref()
    }

    /// State that becomes durable together with `end`.
    pub fn state(&self) -> &StateDelta {
        &self.state
    }

    /// When the first event came out of the source's socket or query.
    pub fn received(&self) -> Instant {
        self.received
    }

    /// The schemas of the batch, each once.
    pub fn schemas(&self) -> impl Iterator<Item = &Arc<TableSchema>> {
        self.parts.data.schemas.iter().chain(&self.parts.overlay.schemas)
    }

    /// The events that transforms refused, with the reasons. One transform's refusals are in commit order and
    /// stand after those of the transforms before it.
    pub fn rejected(&self) -> impl ExactSizeIterator<Item = (EventRef<'_>, &Error)> {
        self.rejected
            .iter()
            .enumerate()
            .map(|(index, r)| (EventRef { parts: &self.parts, event: &r.event, index }, &r.error))
    }

    /// The number of events that the source put in, before any filter.
    pub fn built_len(&self) -> usize {
        self.built
    }

    /// Takes the state out, for the runtime that stores it together with `end`.
    pub fn take_state(&mut self) -> StateDelta {
        std::mem::take(&mut self.state)
    }

    /// Bytes of content that the source wrote: what comes again when the batch is replayed.
    pub fn content_bytes(&self) -> usize {
        self.content
    }

    /// Bytes of capacity retained by this batch: what a memory budget counts (invariant 7).
    pub fn charge(&self) -> usize {
        size_of::<Self>()
            + self.parts.data.charge()
            + self.parts.overlay.charge()
            + self.events.capacity() * size_of::<Event>()
            + self.rejected.capacity() * size_of::<Rejected>()
            + self.state.charge()
    }

    /// Bytes that the remaining events refer to.
    pub fn referenced(&self) -> usize {
        let events = self.events.iter().chain(self.rejected.iter().map(|r| &r.event));
        events
            .map(|e| {
                size_of::<Event>()
                    + self.parts.referenced_by(e.before)
                    + self.parts.referenced_by(e.after)
                    + self.parts.referenced_by(e.message)
            })
            .sum()
    }
}

impl Drop for ChangeBatch {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.put(std::mem::take(&mut self.parts), std::mem::take(&mut self.events));
        }
    }
}
