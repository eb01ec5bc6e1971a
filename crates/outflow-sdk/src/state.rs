//! Checkpoint stores and the lease that makes a pipeline the only writer.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use outflow_core::{Checkpoint, CheckpointDelta, Result};

use crate::clock::Uptime;

/// What a lease and a checkpoint belong to: a pipeline, or one of its tasks (`orders`, `orders/1`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StateScope(String);

impl StateScope {
    /// The scope of a pipeline's only task.
    pub fn pipeline(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StateScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who holds a lease, in terms a person can act on.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Owner {
    /// The host.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Differs between any two instances, also of one process.
    pub instance: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// The right to be the only writer of a scope, until its deadline.
#[derive(Clone, Debug)]
pub struct Lease {
    scope: StateScope,
    owner: Owner,
    epoch: u64,
    deadline: Uptime,
}

impl Lease {
    /// A lease. For stores.
    pub fn new(scope: StateScope, owner: Owner, epoch: u64, deadline: Uptime) -> Self {
        Self { scope, owner, epoch, deadline }
    }

    /// What it is for.
    pub fn scope(&self) -> &StateScope {
        &self.scope
    }

    /// Who holds it.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Grows with each owner; a store refuses a commit of an older one.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Until when it holds without another renewal.
    pub fn deadline(&self) -> Uptime {
        self.deadline
    }

    /// True before the deadline, by this machine's own clock, which also runs while the machine sleeps.
    pub fn is_live(&self) -> bool {
        Uptime::now() < self.deadline
    }

    /// Time left; zero when it is over.
    pub fn remaining(&self) -> Duration {
        self.deadline.since(Uptime::now())
    }
}

/// Keeps checkpoints, durably, and lets one owner write (invariant 12).
#[async_trait]
pub trait CheckpointStore: Send + Sync {
    /// Becomes the only writer of `scope`.
    ///
    /// # Errors
    /// `state.held` (transient) with the owner's name while another instance holds the lease; nothing has been
    /// read or written then.
    async fn acquire(&self, scope: &StateScope, owner: &Owner) -> Result<Lease>;

    /// Extends the lease; the result replaces the old one.
    ///
    /// # Errors
    /// A fenced error when another instance has taken over: stop for good. Transient errors may be retried
    /// until the deadline.
    async fn renew(&self, lease: &Lease) -> Result<Lease>;

    /// Gives the lease up, so that the next instance starts at once.
    async fn release(&self, lease: Lease) -> Result<()>;

    /// The stored checkpoint; empty when there never was one.
    async fn load(&self, lease: &Lease) -> Result<Checkpoint>;

    /// Stores a change, atomically and durably when it returns. Its cost is that of the delta, not of the
    /// checkpoint. Cancel-safe: dropped, the delta is stored either wholly or not at all.
    ///
    /// # Errors
    /// A fenced error when the lease is not the newest; nothing is stored then.
    async fn commit(&self, lease: &Lease, delta: &CheckpointDelta) -> Result<()>;
}
