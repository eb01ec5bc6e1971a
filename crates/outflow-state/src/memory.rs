//! Checkpoints in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outflow_sdk::{
    Checkpoint, CheckpointDelta, CheckpointStore, Lease, Owner, Result, StateScope, Uptime, async_trait,
};

use crate::refusal::{expired, fenced, held};

/// Checkpoints in memory: for tests, try-outs and pipelines whose sink holds the checkpoint. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    scopes: Arc<Mutex<HashMap<String, Scope>>>,
}

#[derive(Debug, Default)]
struct Scope {
    checkpoint: Checkpoint,
    epoch: u64,
    holder: Option<(Owner, Uptime)>,
}

const LEASE: Duration = Duration::from_secs(10);

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Scope>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something under a lease that is the newest and was not given up.
    fn with<T>(&self, lease: &Lease, act: impl FnOnce(&mut Scope) -> T) -> Result<T> {
        match self.lock().get_mut(lease.scope().as_str()) {
            Some(scope) if scope.epoch == lease.epoch() && scope.holder.is_some() => Ok(act(scope)),
            _ => Err(fenced(lease.scope())),
        }
    }

    /// The same, before the deadline of the last renewal.
    fn with_live<T>(&self, lease: &Lease, act: impl FnOnce(&mut Scope) -> T) -> Result<T> {
        self.with(lease, |scope| {
            // Invariant 12: past the deadline nothing until it is renewed.
            match &scope.holder {
                Some((_, deadline)) if Uptime::now() < *deadline => Ok(act(scope)),
                _ => Err(expired(lease.scope())),
            }
        })?
    }
}

#[async_trait]
impl CheckpointStore for MemoryStore {
    async fn acquire(&self, scope: &StateScope, owner: &Owner) -> Result<Lease> {
        let mut scopes = self.lock();
        let state = scopes.entry(scope.as_str().to_owned()).or_default();
        if let Some((holder, deadline)) = &state.holder
            && Uptime::now() < *deadline
        {
            return Err(held(scope, holder));
        }
        state.epoch += 1;
        let deadline = Uptime::now().after(LEASE);
        state.holder = Some((owner.clone(), deadline));
        Ok(Lease::new(scope.clone(), owner.clone(), state.epoch, deadline))
    }

    async fn renew(&self, lease: &Lease) -> Result<Lease> {
        self.with(lease, |state| {
            let deadline = Uptime::now().after(LEASE);
            state.holder = Some((lease.owner().clone(), deadline));
            Lease::new(lease.scope().clone(), lease.owner().clone(), lease.epoch(), deadline)
        })
    }

    async fn release(&self, lease: Lease) -> Result<()> {
        self.with(&lease, |state| state.holder = None)
    }

    async fn load(&self, lease: &Lease) -> Result<Checkpoint> {
        self.with_live(lease, |state| state.checkpoint.clone())
    }

    async fn commit(&self, lease: &Lease, delta: &CheckpointDelta) -> Result<()> {
        self.with_live(lease, |state| state.checkpoint.apply(delta))
    }
}
