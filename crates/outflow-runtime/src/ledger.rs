//! The ack ledger: what has been emitted, what is durable, and how far each partition is done without a gap.
//!
//! Invariant 2: a checkpoint covers only positions whose every earlier event of the partition is durable,
//! filtered, or durably dead-lettered. Batches may be resolved in any order; only the contiguous prefix counts.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use outflow_sdk::{
    AckPort, AckToken, ChangeBatch, CheckpointDelta, Error, Outcome, PartitionId, Position, RecordBatch,
    Release, Seq, StateDelta,
};
use tokio::sync::Notify;

use crate::probe;
use crate::status::Meter;

/// One generation's ledger. A rewind drops it; acks of an older generation find nothing to change.
#[derive(Debug)]
pub(crate) struct Ledger {
    generation: u64,
    inner: Mutex<Inner>,
    /// Something was resolved, or failed.
    changed: Notify,
    /// Room may have come for a waiting source.
    pub(crate) room: Arc<Notify>,
    meter: Arc<Meter>,
}

#[derive(Debug, Default)]
struct Inner {
    lanes: HashMap<PartitionId, Lane>,
    in_flight: HashMap<u64, InFlight>,
    /// Lanes whose prefix has grown since the last collection.
    dirty: HashSet<PartitionId>,
    next_seq: u64,
    /// Bytes charged by batches that are not done.
    charged: usize,
    /// Bytes emitted and not covered by a stored checkpoint.
    unstored: usize,
    refused: Vec<Refused>,
    failed: Option<Error>,
    /// The attempt is over: acks that still come belong to nobody.
    retired: bool,
}

/// The batches of one partition, in order of emission.
#[derive(Debug, Default)]
struct Lane {
    entries: VecDeque<Entry>,
    done: Option<Done>,
}

/// A batch, or several adjacent ones that are done and wait for an earlier one.
#[derive(Debug)]
struct Entry {
    first: u64,
    last: u64,
    end: Option<Position>,
    state: StateDelta,
    bytes: usize,
    batches: usize,
    events: usize,
    resolved: bool,
}

#[derive(Debug)]
struct Done {
    seq: u64,
    end: Option<Position>,
    state: StateDelta,
    bytes: usize,
    batches: usize,
    events: usize,
}

#[derive(Debug)]
struct InFlight {
    partition: PartitionId,
    charge: usize,
    attempt: u32,
    armed: bool,
    /// An answer that came before the batch was taken.
    early: Option<Outcome>,
    events: usize,
    received: Instant,
    payload: Option<Payload>,
}

/// What a sink was given.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Changes(Arc<ChangeBatch>),
    Records(Arc<RecordBatch>),
}

impl Payload {
    /// The events.
    pub(crate) fn source(&self) -> Option<&Arc<ChangeBatch>> {
        match self {
            Self::Changes(batch) => Some(batch),
            Self::Records(batch) => batch.source(),
        }
    }
}

/// A batch of which the sink refused some events.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) seq: Seq,
    pub(crate) payload: Option<Payload>,
    pub(crate) bad: Vec<(u32, Error)>,
}

/// What can be stored now.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) delta: CheckpointDelta,
    pub(crate) releases: Vec<Release>,
    bytes: usize,
    /// What the probe counts.
    pub(crate) batches: usize,
    pub(crate) events: usize,
}

impl Progress {
    pub(crate) fn is_empty(&self) -> bool {
        self.releases.is_empty()
    }

    /// Adds what came later.
    pub(crate) fn append(&mut self, later: Self) {
        for (partition, position) in later.delta.positions() {
            if let Some(position) = position {
                self.delta.set_position(partition.clone(), position.clone());
            }
        }
        self.delta.append_state(later.delta.state().clone());
        self.releases.extend(later.releases);
        self.bytes += later.bytes;
        self.batches += later.batches;
        self.events += later.events;
    }
}

impl Ledger {
    pub(crate) fn new(generation: u64, meter: Arc<Meter>) -> Arc<Self> {
        Arc::new(Self {
            generation,
            inner: Mutex::default(),
            changed: Notify::new(),
            room: Arc::new(Notify::new()),
            meter,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a batch at the moment of its emission, which fixes its place.
    pub(crate) fn emit(&self, batch: &mut ChangeBatch) -> Seq {
        let charge = batch.charge();
        let bytes = batch.content_bytes();
        let state = batch.take_state();
        let mut inner = self.lock();
        let seq = inner.next_seq;
        inner.next_seq += 1;
        inner.charged += charge;
        inner.unstored += bytes;
        let entry = Entry {
            first: seq,
            last: seq,
            end: batch.end().cloned(),
            state,
            bytes,
            batches: 1,
            events: batch.len(),
            resolved: false,
        };
        inner.lanes.entry(batch.partition().clone()).or_default().entries.push_back(entry);
        let in_flight = InFlight {
            partition: batch.partition().clone(),
            charge,
            attempt: 0,
            armed: false,
            early: None,
            events: 0,
            received: batch.received(),
            payload: None,
        };
        inner.in_flight.insert(seq, in_flight);
        probe::emitted(batch.len());
        self.meter.set_in_flight(inner.in_flight.len(), inner.charged);
        Seq(seq)
    }

    /// Bytes charged, and bytes emitted that no stored checkpoint covers.
    pub(crate) fn retained(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.charged, inner.unstored)
    }

    /// The batch retains another amount now: filtered, compacted, or encoded.
    pub(crate) fn recharge(&self, seq: Seq, charge: usize) {
        let mut inner = self.lock();
        if let Some(in_flight) = inner.in_flight.get_mut(&seq.0) {
            let before = std::mem::replace(&mut in_flight.charge, charge);
            inner.charged = inner.charged - before + charge;
            self.meter.set_in_flight(inner.in_flight.len(), inner.charged);
        }
        drop(inner);
        self.room.notify_waiters();
    }

    /// So many bytes of the batch are left after the transforms: only these can come again.
    pub(crate) fn shrink(&self, seq: Seq, bytes: usize) {
        let mut inner = self.lock();
        let Inner { lanes, in_flight, unstored, .. } = &mut *inner;
        let lane = in_flight.get(&seq.0).and_then(|batch| lanes.get_mut(&batch.partition));
        if let Some(entry) = lane.and_then(|lane| lane.entry(seq.0)) {
            let before = std::mem::replace(&mut entry.bytes, bytes);
            *unstored = (*unstored + bytes).saturating_sub(before);
        }
    }

    /// The batch is about to be offered: the token of this offer.
    pub(crate) fn offer(&self, seq: Seq, payload: &Payload, events: usize) -> AckToken {
        let mut inner = self.lock();
        let mut attempt = 0;
        if let Some(in_flight) = inner.in_flight.get_mut(&seq.0) {
            in_flight.attempt += 1;
            in_flight.armed = false;
            in_flight.early = None;
            in_flight.events = events;
            in_flight.payload = Some(payload.clone());
            attempt = in_flight.attempt;
        }
        AckToken { generation: self.generation, seq: seq.0, attempt }
    }

    /// The sink took the batch: from now on its answer counts.
    pub(crate) fn arm(&self, token: AckToken) {
        let mut inner = self.lock();
        let Some(in_flight) = inner.in_flight.get_mut(&token.seq) else { return };
        in_flight.armed = true;
        if let Some(outcome) = in_flight.early.take() {
            self.apply(&mut inner, token.seq, outcome);
        }
    }

    /// The batch is done: what the sink has not taken was filtered or is durably dead-lettered.
    pub(crate) fn finish(&self, seq: Seq) {
        let mut inner = self.lock();
        self.apply(&mut inner, seq.0, Outcome::Durable);
    }

    fn apply(&self, inner: &mut Inner, seq: u64, outcome: Outcome) {
        match outcome {
            Outcome::Durable => {
                let Some(in_flight) = inner.in_flight.remove(&seq) else { return };
                inner.charged -= in_flight.charge;
                self.meter.delivered(in_flight.events as u64, in_flight.received.elapsed());
                self.meter.set_in_flight(inner.in_flight.len(), inner.charged);
                if let Some(lane) = inner.lanes.get_mut(&in_flight.partition)
                    && lane.resolve(seq)
                {
                    inner.dirty.insert(in_flight.partition);
                }
                self.room.notify_waiters();
            }
            Outcome::Rejected(bad) => {
                let Some(in_flight) = inner.in_flight.get_mut(&seq) else { return };
                in_flight.events = in_flight.events.saturating_sub(bad.len());
                let payload = in_flight.payload.take();
                inner.refused.push(Refused { seq: Seq(seq), payload, bad });
            }
            Outcome::Failed(error) => {
                inner.failed.get_or_insert(error);
            }
            _ => {
                inner
                    .failed
                    .get_or_insert_with(|| Error::internal("sink.outcome").message("unknown outcome"));
            }
        }
        self.changed.notify_one();
    }

    /// Waits until something was resolved or failed since the last wait.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The error of a failed ack, once.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.lock().failed.take()
    }

    /// Batches with refused events that nobody has seen to yet.
    pub(crate) fn take_refused(&self) -> Vec<Refused> {
        std::mem::take(&mut self.lock().refused)
    }

    /// Ends the generation: from now on no ack changes anything.
    pub(crate) fn retire(&self) {
        self.lock().retired = true;
    }

    /// True when nothing is emitted that is not done.
    pub(crate) fn is_settled(&self) -> bool {
        self.lock().in_flight.is_empty()
    }

    /// The number of batches that are not done.
    pub(crate) fn in_flight(&self) -> usize {
        self.lock().in_flight.len()
    }

    /// What can be stored and released since the last call.
    pub(crate) fn collect(&self) -> Progress {
        let mut inner = self.lock();
        let Inner { lanes, dirty, .. } = &mut *inner;
        let mut progress = Progress::default();
        for partition in dirty.drain() {
            let Some(done) = lanes.get_mut(&partition).and_then(|lane| lane.done.take()) else { continue };
            if let Some(end) = &done.end {
                progress.delta.set_position(partition.clone(), end.clone());
            }
            progress.delta.append_state(done.state);
            progress.bytes += done.bytes;
            progress.batches += done.batches;
            progress.events += done.events;
            progress.releases.push(Release { partition, seq: Seq(done.seq), position: done.end });
        }
        progress
    }

    /// Progress is stored: what it covers no longer counts as to be replayed.
    pub(crate) fn stored(&self, progress: &Progress) {
        let mut inner = self.lock();
        inner.unstored = inner.unstored.saturating_sub(progress.bytes);
        self.meter.set_replay(inner.unstored);
        drop(inner);
        self.room.notify_waiters();
    }
}

impl AckPort for Ledger {
    fn resolve(&self, token: AckToken, outcome: Outcome) {
        let mut inner = self.lock();
        // A late ack of an older generation, or of an offer that was made again, must not move anything.
        if token.generation != self.generation || inner.retired {
            return;
        }
        let Some(in_flight) = inner.in_flight.get_mut(&token.seq) else { return };
        if in_flight.attempt != token.attempt {
            return;
        }
        if !in_flight.armed {
            in_flight.early = Some(outcome);
            return;
        }
        self.apply(&mut inner, token.seq, outcome);
    }
}

impl Lane {
    /// The entry of a batch that is not resolved.
    fn entry(&mut self, seq: u64) -> Option<&mut Entry> {
        let index = self.entries.partition_point(|e| e.last < seq);
        self.entries.get_mut(index).filter(|e| e.first == seq && !e.resolved)
    }

    /// Marks a batch as done; true when the prefix has grown.
    fn resolve(&mut self, seq: u64) -> bool {
        let index = self.entries.partition_point(|e| e.last < seq);
        let Some(entry) = self.entries.get_mut(index) else { return false };
        if entry.resolved || entry.first > seq {
            return false;
        }
        entry.resolved = true;
        if index > 0 {
            self.coalesce(index);
            return false;
        }
        while let Some(entry) = self.entries.pop_front_if(|e| e.resolved) {
            self.cover(entry);
        }
        true
    }

    /// Joins a done entry with done neighbours, so that filtered traffic behind a blocked sink costs one entry.
    fn coalesce(&mut self, index: usize) {
        for left in [index, index - 1] {
            let both = [left, left + 1].map(|i| self.entries.get(i).is_some_and(|e| e.resolved));
            if both == [true, true]
                && let Some(right) = self.entries.remove(left + 1)
                && let Some(entry) = self.entries.get_mut(left)
            {
                entry.last = right.last;
                entry.end = right.end.or(entry.end.take());
                entry.state.append(right.state);
                entry.bytes += right.bytes;
                entry.batches += right.batches;
                entry.events += right.events;
            }
        }
    }

    fn cover(&mut self, entry: Entry) {
        match &mut self.done {
            Some(done) => {
                done.seq = entry.last;
                done.end = entry.end.or(done.end.take());
                done.state.append(entry.state);
                done.bytes += entry.bytes;
                done.batches += entry.batches;
                done.events += entry.events;
            }
            none => {
                *none = Some(Done {
                    seq: entry.last,
                    end: entry.end,
                    state: entry.state,
                    bytes: entry.bytes,
                    batches: entry.batches,
                    events: entry.events,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
