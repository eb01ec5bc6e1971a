//! A checkpoint store that remembers every commit and fails as it is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outflow_sdk::{
    Checkpoint, CheckpointDelta, CheckpointStore, Error, Lease, Owner, Result, StateScope, Uptime,
    async_trait,
};

/// One commit.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The epoch of the lease under which it was made.
    pub epoch: u64,
    /// What changed.
    pub delta: CheckpointDelta,
}

/// A store in memory for one scope. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryCheckpoints {
    shared: Arc<Mutex<Inner>>,
    ttl: Duration,
}

#[derive(Debug, Default)]
struct Inner {
    checkpoint: Checkpoint,
    commits: Vec<Commit>,
    epoch: u64,
    holder: Option<(Owner, Uptime)>,
    fail_commits: Vec<Error>,
    fail_renewals: bool,
}

impl Default for MemoryCheckpoints {
    fn default() -> Self {
        Self::new(Duration::from_secs(10))
    }
}

impl MemoryCheckpoints {
    /// A store whose leases last so long.
    pub fn new(ttl: Duration) -> Self {
        Self { shared: Arc::default(), ttl }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stored checkpoint.
    pub fn checkpoint(&self) -> Checkpoint {
        self.lock().checkpoint.clone()
    }

    /// Every commit, in order.
    pub fn commits(&self) -> Vec<Commit> {
        self.lock().commits.clone()
    }

    /// Makes the next commit fail.
    pub fn fail_next_commit(&self, error: Error) {
        self.lock().fail_commits.push(error);
    }

    /// Makes every renewal fail, or work again.
    pub fn fail_renewals(&self, fail: bool) {
        self.lock().fail_renewals = fail;
    }

    /// Another instance takes over: whoever holds a lease is fenced.
    pub fn take_over(&self) {
        let mut inner = self.lock();
        inner.epoch += 1;
        inner.holder = None;
    }
}

fn fenced() -> Error {
    Error::fenced("state.fenced").message("another instance has taken over")
}

#[async_trait]
impl CheckpointStore for MemoryCheckpoints {
    async fn acquire(&self, scope: &StateScope, owner: &Owner) -> Result<Lease> {
        let mut inner = self.lock();
        if let Some((holder, deadline)) = &inner.holder
            && Uptime::now() < *deadline
        {
            return Err(Error::transient("state.held").message(format!("{scope} is held by {holder}")));
        }
        inner.epoch += 1;
        let deadline = Uptime::now().after(self.ttl);
        inner.holder = Some((owner.clone(), deadline));
        Ok(Lease::new(scope.clone(), owner.clone(), inner.epoch, deadline))
    }

    async fn renew(&self, lease: &Lease) -> Result<Lease> {
        let mut inner = self.lock();
        if inner.epoch != lease.epoch() {
            return Err(fenced());
        }
        if inner.fail_renewals {
            return Err(Error::transient("state.unreachable").message("told to fail"));
        }
        let deadline = Uptime::now().after(self.ttl);
        inner.holder = Some((lease.owner().clone(), deadline));
        Ok(Lease::new(lease.scope().clone(), lease.owner().clone(), lease.epoch(), deadline))
    }

    async fn release(&self, lease: Lease) -> Result<()> {
        let mut inner = self.lock();
        if inner.epoch == lease.epoch() {
            inner.holder = None;
        }
        Ok(())
    }

    async fn load(&self, _: &Lease) -> Result<Checkpoint> {
        Ok(self.checkpoint())
    }

    async fn commit(&self, lease: &Lease, delta: &CheckpointDelta) -> Result<()> {
        let mut inner = self.lock();
        if inner.epoch != lease.epoch() {
            return Err(fenced());
        }
        if !inner.fail_commits.is_empty() {
            return Err(inner.fail_commits.remove(0));
        }
        inner.checkpoint.apply(delta);
        inner.commits.push(Commit { epoch: lease.epoch(), delta: delta.clone() });
        Ok(())
    }
}
