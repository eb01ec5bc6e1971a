//! Checkpoints in files.
//!
//! The folder of a pipeline holds `lock`, which the running process keeps locked and which names it, and `checkpoint`, a
//! log of changes ([`log`]). How a process that stood still is kept from harm: [`lock`] and [`folder`].

mod folder;
mod lock;
mod log;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outflow_sdk::{
    Checkpoint, CheckpointDelta, CheckpointStore, Error, Lease, Owner, Result, StateScope, Uptime,
    async_trait,
};

use crate::refusal::{expired, fenced};
use folder::refused;
use lock::Lock;
use log::Log;

/// Checkpoints in a folder, one folder a pipeline in it. Clones share it.
#[derive(Clone, Debug)]
pub struct FileStore {
    root: PathBuf,
    lease: Duration,
    open: Arc<Mutex<HashMap<String, Slot>>>,
}

/// Where what is held lies; empty once it was given up. Whoever waits for it gets it in the order of asking.
type Slot = Arc<tokio::sync::Mutex<Option<Held>>>;

/// A scope that this process holds.
#[derive(Debug)]
struct Held {
    lock: Lock,
    log: Log,
}

impl FileStore {
    /// A store in this folder, which is made when it is first needed.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), lease: Duration::from_secs(10), open: Arc::default() }
    }

    /// How long a lease lasts without renewal.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(100));
        self
    }

    /// The folder of a pipeline.
    pub fn folder(&self, scope: &StateScope) -> PathBuf {
        self.root.join(scope.as_str())
    }

    /// The stored checkpoint without a lease: may be read while the pipeline runs. Changes nothing.
    ///
    /// # Errors
    /// When what is stored is damaged, of a newer format, or cannot be read.
    pub fn peek(&self, scope: &StateScope) -> Result<Checkpoint> {
        Log::peek(&self.folder(scope), scope.as_str())
    }

    /// Makes a pipeline start from the beginning. Its log is kept under another name, which is returned; it is not
    /// read, so that a damaged one can be put aside too. `None` when there is nothing to put aside.
    ///
    /// # Errors
    /// `state.held` while an instance runs; errors of the file system.
    pub async fn set_aside(&self, scope: &StateScope) -> Result<Option<PathBuf>> {
        let (folder, scope, lease) = (self.folder(scope), scope.clone(), self.lease);
        Self::blocking(move || {
            if !folder.exists() {
                return Ok(None);
            }
            let owner = Owner { host: "outflow".into(), pid: std::process::id(), instance: "reset".into() };
            let lock = Lock::acquire(&folder, &scope, &owner, lease)?;
            let found = folder::generations(&folder)?;
            let is_empty = Log::peek(&folder, scope.as_str()).is_ok_and(|stored| stored.is_empty());
            let Some(newest) = found.first().filter(|_| !is_empty) else { return Ok(None) };
            let (current, aside) = (folder::log(&folder, *newest), folder::aside(&folder));
            fs::hard_link(&current, &aside)
                .or_else(|_| fs::copy(&current, &aside).map(drop))
                .map_err(|e| refused(&aside, "write", &e))?;
            // An empty log in its place: without any, one of an older generation could count again.
            Log::begin(folder::log(&folder, lock.generation()), scope.as_str(), Checkpoint::new())?;
            Ok(Some(aside))
        })
        .await
    }

    /// Runs blocking file work on its own thread, to its end even when the caller is dropped: a commit is stored
    /// wholly or not at all, and a later one waits for it.
    async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(Error::internal("state.panic").message(format!("file work ended: {error}"))),
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does file work under a lease that is the newest. Works are done in the order in which their futures were first
    /// polled; one whose future is dropped meanwhile is done to its end or not at all.
    async fn under<T: Send + 'static>(
        &self,
        lease: &Lease,
        work: impl FnOnce(&mut Held) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let slot = self.open().get(lease.scope().as_str()).cloned();
        let mut slot = slot.ok_or_else(|| fenced(lease.scope()))?.lock_owned().await;
        let lease = lease.clone();
        Self::blocking(move || {
            let held = slot.as_mut().filter(|held| held.lock.is_of(&lease));
            let held = held.ok_or_else(|| fenced(lease.scope()))?;
            held.lock.is_ours()?;
            work(held)
        })
        .await
    }

    /// The same, before the deadline of the last renewal.
    async fn under_live<T: Send + 'static>(
        &self,
        lease: &Lease,
        work: impl FnOnce(&mut Held) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.under(lease, |held| {
            let lease = held.lock.lease();
            // Invariant 12: past the deadline nothing until it is renewed.
            if Uptime::now() >= lease.deadline() {
                return Err(expired(lease.scope()));
            }
            let done = work(held)?;
            // Whoever stood still while it worked has worked on files that no longer count.
            held.lock.is_ours()?;
            Ok(done)
        })
        .await
    }
}

#[async_trait]
impl CheckpointStore for FileStore {
    async fn acquire(&self, scope: &StateScope, owner: &Owner) -> Result<Lease> {
        let folder = self.folder(scope);
        let (scope, owner, ttl) = (scope.clone(), owner.clone(), self.lease);
        let held = Self::blocking(move || {
            folder::make(&folder)?;
            // The lock comes first: before it nothing is read or written (invariant 12).
            let lock = Lock::acquire(&folder, &scope, &owner, ttl)?;
            let log = Log::open(&folder, scope.as_str(), lock.generation())?;
            Ok(Held { lock, log })
        })
        .await?;
        let lease = held.lock.lease();
        let slot = Arc::new(tokio::sync::Mutex::new(Some(held)));
        self.open().insert(lease.scope().as_str().to_owned(), slot);
        Ok(lease)
    }

    async fn renew(&self, lease: &Lease) -> Result<Lease> {
        let ttl = self.lease;
        self.under(lease, move |held| held.lock.renew(ttl)).await
    }

    async fn release(&self, lease: Lease) -> Result<()> {
        let name = lease.scope().as_str();
        let slot = self.open().get(name).cloned().ok_or_else(|| fenced(lease.scope()))?;
        // After what is still under way, and before what is asked for later.
        let mut held = slot.lock().await;
        let held = held.take_if(|held| held.lock.is_of(&lease)).ok_or_else(|| fenced(lease.scope()))?;
        {
            let mut open = self.open();
            if open.get(name).is_some_and(|there| Arc::ptr_eq(there, &slot)) {
                open.remove(name);
            }
        }
        Self::blocking(move || held.lock.is_ours()).await
    }

    async fn load(&self, lease: &Lease) -> Result<Checkpoint> {
        self.under_live(lease, |held| Ok(held.log.checkpoint().clone())).await
    }

    async fn commit(&self, lease: &Lease, delta: &CheckpointDelta) -> Result<()> {
        let delta = delta.clone();
        self.under_live(lease, move |held| held.log.append(&delta)).await
    }
}
