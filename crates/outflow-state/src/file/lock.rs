//! The lock of a pipeline's folder: an OS lock that ends with its process, and the owner's name for people.
//!
//! The lock file says who holds it, under which epoch and until when. A process that stands still past its deadline
//! (SIGSTOP) keeps its OS lock; another may then put a new lock file in the place of the old one. The first sees, before
//! its next write, that the file it has locked is no longer the one in the folder, and is fenced.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use outflow_sdk::{Error, Owner, Result, StateScope, Uptime};
use serde::{Deserialize, Serialize};

use super::refused;

/// What a lock file says.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    epoch: u64,
    owner: Owner,
    /// Milliseconds of the machine's uptime until which the lease holds.
    deadline_ms: u64,
    /// Differs with each start of the machine, which the uptime is only comparable within.
    boot: String,
}

#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
    epoch: u64,
    owner: Owner,
    deadline: Uptime,
}

/// Longer than any pause between deciding to renew and having renewed.
const MARGIN: Duration = Duration::from_secs(1);

impl Lock {
    pub(super) fn acquire(
        folder: &Path,
        scope: &StateScope,
        owner: &Owner,
        ttl: Duration,
    ) -> Result<(Self, u64)> {
        let path = folder.join("lock");
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(|e| refused(&path, "open", &e))
        };
        let mut file = open()?;
        let mut before = read(&file);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = before.as_ref().filter(|c| c.is_over(owner));
                if holder.is_none() {
                    return Err(held(scope, before.as_ref()));
                }
                // The holder stands still past its deadline: a new file in the old one's place fences it.
                let fresh = folder.join(format!("lock.{}", owner.instance));
                let new = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&fresh);
                let new = new.map_err(|e| refused(&fresh, "make", &e))?;
                new.try_lock().map_err(|_| held(scope, before.as_ref()))?;
                std::fs::rename(&fresh, &path).map_err(|e| refused(&path, "replace", &e))?;
                file = new;
            }
            Err(TryLockError::Error(e)) => return Err(refused(&path, "lock", &e)),
        }
        // Between opening and locking another may have put its own file there.
        let same =
            path.metadata().is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino()));
        if !same {
            return Err(held(scope, read(&open()?).as_ref()));
        }
        before = read(&file).or(before);
        let epoch = before.map_or(1, |c| c.epoch + 1);
        let mut lock = Self { path, file, epoch, owner: owner.clone(), deadline: Uptime::now() };
        lock.renew(ttl)?;
        Ok((lock, epoch))
    }

    /// Whether the locked file is still the one in the folder.
    pub(super) fn is_ours(&self) -> Result<bool> {
        let ours = self.file.metadata().map_err(|e| refused(&self.path, "look at", &e))?;
        match self.path.metadata() {
            Ok(there) => Ok(there.ino() == ours.ino() && there.dev() == ours.dev()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(refused(&self.path, "look at", &e)),
        }
    }

    pub(super) fn deadline(&self) -> Uptime {
        self.deadline
    }

    /// Writes a new deadline.
    pub(super) fn renew(&mut self, ttl: Duration) -> Result<Uptime> {
        let deadline = Uptime::now().after(ttl);
        let content = Content {
            epoch: self.epoch,
            owner: self.owner.clone(),
            deadline_ms: millis(deadline),
            boot: boot(),
        };
        let text = serde_json::to_string(&content)
            .map_err(|e| Error::internal("state.lock").message(e.to_string()))?;
        // Of one width, so that a reader never sees the end of a longer one behind it.
        let line = format!("{text:<400}\n");
        self.file.write_all_at(line.as_bytes(), 0).map_err(|e| refused(&self.path, "write", &e))?;
        self.deadline = deadline;
        Ok(deadline)
    }
}

impl Content {
    /// True when the holder's lease is over by the clock that both share.
    fn is_over(&self, own: &Owner) -> bool {
        let now = millis(Uptime::now());
        self.owner.host == own.host
            && self.boot == boot()
            && now > self.deadline_ms + MARGIN.as_millis() as u64
    }
}

fn millis(at: Uptime) -> u64 {
    // Uptimes are differences from the machine's start.
    u64::try_from(at.since_boot().as_millis()).unwrap_or(u64::MAX)
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|s| s.trim().to_owned())
        .unwrap_or_default()
}

fn read(file: &File) -> Option<Content> {
    let mut text = String::new();
    let mut reader = file;
    std::io::Seek::rewind(&mut reader).ok()?;
    reader.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(text.trim()).ok()
}

fn held(scope: &StateScope, holder: Option<&Content>) -> Error {
    let who = holder.map_or_else(|| "another process".to_owned(), |c| c.owner.to_string());
    Error::transient("state.held")
        .message(format!("{scope} is already run by {who}"))
        .hint("stop that one first, or give this pipeline another name")
}
