//! Checkpoints: how far each partition is done, and the keyed state that belongs to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::position::{PartitionId, Position};

/// Changes to keyed state (schemas, snapshot chunks, shard lineage) that become durable with a batch's position.
///
/// Applied in order; a later change of a key wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDelta {
    changes: Vec<(String, Option<String>)>,
}

impl StateDelta {
    /// Sets a key. Values are text; binary content is the source's to encode.
    pub fn put(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.changes.push((key.into(), Some(value.into())));
    }

    /// Removes a key.
    pub fn delete(&mut self, key: impl Into<String>) {
        self.changes.push((key.into(), None));
    }

    /// True when nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes, in order: key and new value, or `None` for a removal.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.changes.iter().map(|(k, v)| (k.as_str(), v.as_deref()))
    }

    /// Adds the changes of a later delta.
    pub fn append(&mut self, later: Self) {
        self.changes.extend(later.changes);
    }

    /// Bytes retained.
    pub fn charge(&self) -> usize {
        let texts = self.changes.iter().map(|(k, v)| k.capacity() + v.as_ref().map_or(0, String::capacity));
        self.changes.capacity() * size_of::<(String, Option<String>)>() + texts.sum::<usize>()
    }
}

/// How far a pipeline is done: partition → position, plus keyed state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    fingerprint: Option<String>,
    positions: BTreeMap<PartitionId, Position>,
    state: BTreeMap<String, String>,
}

impl Checkpoint {
    /// An empty checkpoint: nothing has been read.
    pub fn new() -> Self {
        Self::default()
    }

    /// True when nothing was ever stored.
    pub fn is_empty(&self) -> bool {
        self.fingerprint.is_none() && self.positions.is_empty() && self.state.is_empty()
    }

    /// What was selected from the source when this was written ("capture fingerprint"); opaque to the runtime.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// The position of a partition.
    pub fn position(&self, partition: &PartitionId) -> Option<&Position> {
        self.positions.get(partition)
    }

    /// All partitions with their positions, by name.
    pub fn positions(&self) -> impl ExactSizeIterator<Item = (&PartitionId, &Position)> {
        self.positions.iter()
    }

    /// The state under a key.
    pub fn state(&self, key: &str) -> Option<&str> {
        self.state.get(key).map(String::as_str)
    }

    /// All state, by key.
    pub fn states(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.state.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// Applies a delta.
    pub fn apply(&mut self, delta: &CheckpointDelta) {
        if let Some(fingerprint) = &delta.fingerprint {
            self.fingerprint = Some(fingerprint.clone());
        }
        for (partition, position) in &delta.positions {
            match position {
                Some(position) => self.positions.insert(partition.clone(), position.clone()),
                None => self.positions.remove(partition),
            };
        }
        for (key, value) in delta.state.iter() {
            match value {
                Some(value) => self.state.insert(key.to_owned(), value.to_owned()),
                None => self.state.remove(key),
            };
        }
    }
}

/// What changes in a checkpoint: the unit that a store commits atomically, at the cost of its own size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointDelta {
    fingerprint: Option<String>,
    positions: BTreeMap<PartitionId, Option<Position>>,
    state: StateDelta,
}

impl CheckpointDelta {
    /// A delta that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// True when it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.fingerprint.is_none() && self.positions.is_empty() && self.state.is_empty()
    }

    /// Records what was selected from the source.
    pub fn set_fingerprint(&mut self, fingerprint: impl Into<String>) {
        self.fingerprint = Some(fingerprint.into());
    }

    /// Moves a partition. A later call for the same partition wins.
    pub fn set_position(&mut self, partition: PartitionId, position: Position) {
        self.positions.insert(partition, Some(position));
    }

    /// Forgets a partition: a finished shard or chunk.
    pub fn remove_partition(&mut self, partition: PartitionId) {
        self.positions.insert(partition, None);
    }

    /// Adds state changes after those already there.
    pub fn append_state(&mut self, later: StateDelta) {
        self.state.append(later);
    }

    /// The new fingerprint, if it changes.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// The partitions that move, with their position, or `None` when forgotten.
    pub fn positions(&self) -> impl ExactSizeIterator<Item = (&PartitionId, Option<&Position>)> {
        self.positions.iter().map(|(k, v)| (k, v.as_ref()))
    }

    /// The state changes.
    pub fn state(&self) -> &StateDelta {
        &self.state
    }
}
