//! The identity of an event: the same on every replay (invariant 8).

use std::fmt;

/// Where an event comes from, in terms that survive a failover. Equal ids mean byte-identical events.
///
/// `origin` names the history (PostgreSQL system id and timeline, a server UUID, a shard, a polled table),
/// `commit` the transaction or row in it, `ordinal` the event within the commit and `sub` the part when a
/// transform split one event. The text form is `origin:commit:ordinal`, with `.sub` when it is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId<'a> {
    /// The history.
    pub origin: &'a str,
    /// The transaction or row.
    pub commit: &'a str,
    /// The event within the commit.
    pub ordinal: u64,
    /// The part after a split.
    pub sub: u32,
}

impl fmt::Display for EventId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.origin)?;
        if !self.commit.is_empty() {
            write!(f, ":{}", self.commit)?;
        }
        write!(f, ":{}", self.ordinal)?;
        if self.sub == 0 { Ok(()) } else { write!(f, ".{}", self.sub) }
    }
}
