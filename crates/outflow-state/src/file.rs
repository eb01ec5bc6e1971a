//! Checkpoints in files.
//!
//! The folder of a pipeline holds two files: `lock`, which the running process keeps locked and which names it, and
//! `checkpoint`, a log of changes ([`log`]).

mod lock;
mod log;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outflow_sdk::{
    Checkpoint, CheckpointDelta, CheckpointStore, Error, ErrorKind, Lease, Owner, Result, StateScope,
    async_trait,
};

use crate::memory::fenced;
use lock::Lock;
use log::Log;

/// Checkpoints in a folder, one folder a pipeline in it. Clones share it.
#[derive(Clone, Debug)]
pub struct FileStore {
    root: PathBuf,
    lease: Duration,
    open: Arc<Mutex<HashMap<String, Arc<Mutex<Held>>>>>,
}

/// A scope that this process holds.
#[derive(Debug)]
struct Held {
    epoch: u64,
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
        Log::peek(&self.folder(scope).join("checkpoint"), scope.as_str())
    }

    /// Makes a pipeline start from the beginning: its checkpoint is renamed, not read, so that a damaged one can be
    /// put aside too. Refused while the pipeline runs.
    ///
    /// # Errors
    /// `state.held` while an instance runs; errors of the file system.
    pub async fn set_aside(&self, scope: &StateScope) -> Result<Option<PathBuf>> {
        let (folder, scope) = (self.folder(scope), scope.clone());
        Self::blocking(move || {
            let current = folder.join("checkpoint");
            if !current.exists() {
                return Ok(None);
            }
            let owner = Owner { host: "outflow".into(), pid: std::process::id(), instance: "reset".into() };
            let (_lock, _) = Lock::acquire(&folder, &scope, &owner, Duration::from_secs(10))?;
            let aside = (0..).map(|n| folder.join(format!("checkpoint.old.{n}"))).find(|p| !p.exists());
            let aside = aside.unwrap_or_else(|| folder.join("checkpoint.old"));
            fs::rename(&current, &aside).map_err(|e| refused(&current, "rename", &e))?;
            fs::File::open(&folder).and_then(|f| f.sync_all()).map_err(|e| refused(&folder, "sync", &e))?;
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

    fn held(&self, lease: &Lease) -> Result<Arc<Mutex<Held>>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(lease.scope().as_str()).cloned().ok_or_else(|| fenced(lease.scope()))
    }

    /// Does file work under a lease that is the newest.
    async fn under<T: Send + 'static>(
        &self,
        lease: &Lease,
        work: impl FnOnce(&mut Held) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (held, lease) = (self.held(lease)?, lease.clone());
        Self::blocking(move || {
            let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
            if held.epoch != lease.epoch() || !held.lock.is_ours()? {
                return Err(fenced(lease.scope()));
            }
            work(&mut held)
        })
        .await
    }
}

/// Makes a folder with the rights of its owner alone.
fn make_folder(folder: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|e| refused(folder, "make the folder", &e))
}

/// An error of the file system, with what to do about it.
fn refused(path: &Path, what: &str, error: &std::io::Error) -> Error {
    use std::io::ErrorKind as Io;
    let (code, hint) = match error.kind() {
        Io::PermissionDenied | Io::ReadOnlyFilesystem => {
            ("state.read_only", "let the process write there, or name another folder with --state-dir")
        }
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => {
            ("state.disk_full", "free some space; nothing is lost, and the pipeline goes on by itself")
        }
        Io::NotADirectory | Io::AlreadyExists => {
            ("state.no_folder", "something else is in the way: name another folder with --state-dir")
        }
        _ => ("state.io", "see to the disk, or name another folder with --state-dir"),
    };
    // A full disk may have room again; anything else needs a person.
    let base = if code == "state.disk_full" { Error::transient(code) } else { Error::permanent(code) };
    base.kind_of(ErrorKind::State).message(format!("cannot {what} {}: {error}", path.display())).hint(hint)
}

#[async_trait]
impl CheckpointStore for FileStore {
    async fn acquire(&self, scope: &StateScope, owner: &Owner) -> Result<Lease> {
        let folder = self.folder(scope);
        let (scope_in, owner_in, ttl) = (scope.clone(), owner.clone(), self.lease);
        let held = Self::blocking(move || {
            make_folder(&folder)?;
            // The lock comes first: before it nothing is read or written (invariant 12).
            let (lock, epoch) = Lock::acquire(&folder, &scope_in, &owner_in, ttl)?;
            let log = Log::open(&folder, scope_in.as_str())?;
            Ok(Held { epoch, lock, log })
        })
        .await?;
        let lease = Lease::new(scope.clone(), owner.clone(), held.epoch, held.lock.deadline());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(scope.as_str().to_owned(), Arc::new(Mutex::new(held)));
        Ok(lease)
    }

    async fn renew(&self, lease: &Lease) -> Result<Lease> {
        let ttl = self.lease;
        let deadline = self.under(lease, move |held| held.lock.renew(ttl)).await?;
        Ok(Lease::new(lease.scope().clone(), lease.owner().clone(), lease.epoch(), deadline))
    }

    async fn release(&self, lease: Lease) -> Result<()> {
        // Let go only of what is this lease's own.
        self.under(&lease, |_| Ok(())).await?;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(lease.scope().as_str());
        Ok(())
    }

    async fn load(&self, lease: &Lease) -> Result<Checkpoint> {
        self.under(lease, |held| Ok(held.log.checkpoint().clone())).await
    }

    async fn commit(&self, lease: &Lease, delta: &CheckpointDelta) -> Result<()> {
        let delta = delta.clone();
        self.under(lease, move |held| held.log.append(&delta)).await
    }
}
