//! The lock of a pipeline's folder: an OS lock that ends with its process, and the owner's name for people.
//!
//! The lock file says who holds it, under which epoch and until when. A process that stands still past its deadline
//! (SIGSTOP) keeps its OS lock; another may then put a new lock file in the place of the old one. The first sees, before
//! and after each write, that the file it has locked is no longer the one in the folder, and is fenced.
//!
//! Whoever changes the lock file (acquires, renews, takes over) holds the gate while it does: a second OS lock, on a
//! file that is never replaced. So nobody takes over from one who is just renewing, and of two who would take over one
//! does. Nobody waits at the gate: it is busy only while the lease is free or over.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind as Io, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use outflow_sdk::{Error, Lease, Owner, Result, StateScope, Uptime};
use serde::{Deserialize, Serialize};

use super::folder::{generations, refused};
use crate::refusal::{fenced, held};

/// What a lock file says.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    epoch: u64,
    owner: Owner,
    /// Which log the owner writes.
    generation: u64,
    /// Milliseconds of the machine's uptime until which the lease holds.
    deadline_ms: u64,
    /// Differs with each start of the machine, which the uptime is only comparable within.
    boot: String,
}

#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
    scope: StateScope,
    owner: Owner,
    epoch: u64,
    generation: u64,
    deadline: Uptime,
}

/// What an owner that is still alive may need, at its deadline, to end what it has begun.
const MARGIN: Duration = Duration::from_secs(1);

impl Lock {
    /// Takes the lock, or refuses and has changed nothing.
    pub(super) fn acquire(folder: &Path, scope: &StateScope, owner: &Owner, ttl: Duration) -> Result<Self> {
        let path = folder.join("lock");
        // Before the gate, so that a live owner never finds it busy.
        let (mut file, mut fresh) = open(&path)?;
        let free = try_lock(&file, &path)?;
        if !free {
            refuse_live(&file, scope, owner)?;
        }
        let _gate = gate(folder)?.ok_or_else(|| held_by(&file, scope))?;
        if !is_there(&file, &path)? {
            // Another has taken over since.
            return Err(held_by(&open(&path)?.0, scope));
        }
        let before = read(&file);
        let take_over = !free && !try_lock(&file, &path)?;
        if take_over {
            // It may have been renewed since.
            refuse_live(&file, scope, owner)?;
            // The holder stands still past its deadline: a new file in the old one's place fences it.
            let new = folder.join("lock.new");
            (file, fresh) = (open(&new)?.0, true);
            if !try_lock(&file, &new)? {
                return Err(held_by(&file, scope));
            }
            file.set_len(0).map_err(|e| refused(&new, "write", &e))?;
        }
        let generation = next_generation(folder, before.as_ref(), fresh)?;
        let epoch = before.map_or(1, |c| c.epoch + 1);
        let (scope, owner) = (scope.clone(), owner.clone());
        let mut lock = Self { path, file, scope, owner, epoch, generation, deadline: Uptime::now() };
        lock.sign(ttl)?;
        if take_over {
            fs::rename(folder.join("lock.new"), &lock.path)
                .map_err(|e| refused(&lock.path, "replace", &e))?;
        }
        Ok(lock)
    }

    /// The lease that this lock stands for.
    pub(super) fn lease(&self) -> Lease {
        Lease::new(self.scope.clone(), self.owner.clone(), self.epoch, self.deadline)
    }

    /// Whether it was this lease that the lock was taken for.
    pub(super) fn is_of(&self, lease: &Lease) -> bool {
        self.epoch == lease.epoch() && self.owner == *lease.owner()
    }

    /// Which log its owner writes.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Refuses when another has taken over.
    pub(super) fn is_ours(&self) -> Result<()> {
        if is_there(&self.file, &self.path)? { Ok(()) } else { Err(fenced(&self.scope)) }
    }

    /// Writes a new deadline.
    pub(super) fn renew(&mut self, ttl: Duration) -> Result<Lease> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let Some(_gate) = gate(folder)? else {
            self.is_ours()?;
            return Err(Error::transient("state.busy")
                .message(format!("another instance looks at the state of {}", self.scope))
                .hint("it is tried again"));
        };
        self.is_ours()?;
        self.sign(ttl)?;
        Ok(self.lease())
    }

    /// Says whose the lock is, and until when.
    fn sign(&mut self, ttl: Duration) -> Result<()> {
        let deadline = Uptime::now().after(ttl);
        let content = Content {
            epoch: self.epoch,
            owner: self.owner.clone(),
            generation: self.generation,
            deadline_ms: millis(deadline),
            boot: boot(),
        };
        let text = serde_json::to_string(&content)
            .map_err(|e| Error::internal("state.lock").message(e.to_string()))?;
        self.file
            .write_all_at(format!("{text}\n").as_bytes(), 0)
            .map_err(|e| refused(&self.path, "write", &e))?;
        self.deadline = deadline;
        Ok(())
    }
}

impl Content {
    /// True when the holder's lease is over by the clock that both share.
    fn is_over(&self, own: &Owner) -> bool {
        let now = millis(Uptime::now());
        self.owner.host == own.host
            && self.boot == boot()
            && now > self.deadline_ms.saturating_add(MARGIN.as_millis() as u64)
    }
}

/// Opens a lock file, and tells whether it was made.
fn open(path: &Path) -> Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().create_new(true).open(path) {
        Ok(file) => return Ok((file, true)),
        Err(e) if e.kind() == Io::AlreadyExists => {}
        Err(e) => return Err(refused(path, "open", &e)),
    }
    let opened = options.create(true).truncate(false).open(path);
    opened.map(|file| (file, false)).map_err(|e| refused(path, "open", &e))
}

/// Which log the new owner of a lock writes. Only a lock file that goes from one hand to the other proves that its last
/// owner has ended; otherwise, also where nobody can tell, the new owner gets a log of its own.
fn next_generation(folder: &Path, before: Option<&Content>, fresh: bool) -> Result<u64> {
    let fresh = fresh || before.is_none();
    let recorded = before.map_or(0, |c| c.generation);
    Ok(match generations(folder)?.first() {
        Some(found) => recorded.max(*found) + u64::from(fresh),
        None => recorded + u64::from(fresh && recorded > 0),
    })
}

fn try_lock(file: &File, path: &Path) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(refused(path, "lock", &e)),
    }
}

/// Enters the gate until the file is dropped; `None` while another is in it.
fn gate(folder: &Path) -> Result<Option<File>> {
    let path = folder.join("lock.gate");
    let (file, _) = open(&path)?;
    Ok(try_lock(&file, &path)?.then_some(file))
}

/// Whether an open file is the one of that name.
fn is_there(file: &File, path: &Path) -> Result<bool> {
    let ours = file.metadata().map_err(|e| refused(path, "look at", &e))?;
    match path.metadata() {
        Ok(there) => Ok(there.ino() == ours.ino() && there.dev() == ours.dev()),
        Err(e) if e.kind() == Io::NotFound => Ok(false),
        Err(e) => Err(refused(path, "look at", &e)),
    }
}

/// Refuses unless the holder of a file that is locked stands still past its deadline.
fn refuse_live(file: &File, scope: &StateScope, own: &Owner) -> Result<()> {
    if read(file).is_some_and(|c| c.is_over(own)) { Ok(()) } else { Err(held_by(file, scope)) }
}

fn held_by(file: &File, scope: &StateScope) -> Error {
    held(scope, read(file).map_or_else(|| "another process".to_owned(), |c| c.owner.to_string()))
}

fn read(file: &File) -> Option<Content> {
    let mut text = String::new();
    let mut reader = file;
    std::io::Seek::rewind(&mut reader).ok()?;
    reader.take(64 << 10).read_to_string(&mut text).ok()?;
    // Behind it may be the end of a longer one.
    serde_json::from_str(text.lines().next()?).ok()
}

fn millis(at: Uptime) -> u64 {
    u64::try_from(at.since_boot().as_millis()).unwrap_or(u64::MAX)
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|s| s.trim().to_owned()).unwrap_or_default()
}
