//! Partitions and positions.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::event_id::EventId;

/// The name of one totally ordered stream of a source: the WAL, one shard, one polled table, one snapshot chunk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionId(Arc<str>);

impl PartitionId {
    /// A partition of this name. Names are stable across restarts: they are keys of the checkpoint.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for PartitionId {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A place in one partition: everything up to and including it has been read.
///
/// A version and the source's human form (`0/16B3748+3`, `binlog.000012:4711`, a GTID set), so that what is
/// stored can be read by a person. Opaque to all but its source; the runtime never compares two positions.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    #[serde(rename = "v")]
    version: u16,
    #[serde(rename = "at")]
    text: Arc<str>,
}

impl Position {
    /// A position in format `version` of its source.
    pub fn new(version: u16, text: impl Into<Arc<str>>) -> Self {
        Self { version, text: text.into() }
    }

    /// A position that is the server's own token, in format version 1.
    pub fn token(text: impl Into<Arc<str>>) -> Self {
        Self::new(1, text)
    }

    /// The format version.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// The human form, or the server's token.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(v{})", self.text, self.version)
    }
}

/// How one position lies to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Relation {
    /// The first covers less.
    Before,
    /// Both cover the same.
    Equal,
    /// The first covers more.
    After,
    /// Neither covers the other (diverged GTID sets, different shards).
    Unrelated,
}

/// What a source knows about its positions without a connection: used by `outflow position` and by tests.
pub trait PositionCodec: Send + Sync {
    /// Reads the human form. Errors say what the form looks like.
    fn parse(&self, text: &str) -> Result<Position>;

    /// The human form.
    fn print(&self, position: &Position) -> String {
        position.as_str().to_owned()
    }

    /// How `a` lies to `b`.
    fn relate(&self, a: &Position, b: &Position) -> Result<Relation>;

    /// Whether the event of this id is done when everything up to `position` is.
    fn covers(&self, position: &Position, event: &EventId<'_>) -> Result<bool>;
}
