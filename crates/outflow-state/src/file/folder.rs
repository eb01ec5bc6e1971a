//! The folder of a pipeline: how it is made durable, what its files are called, and what its errors mean.
//!
//! The log of the checkpoint is `checkpoint`, or `checkpoint.N`: each time that the lock is taken from a process that
//! may still be alive, N grows. That process goes on, if it ever does, with the files it knows, and nothing that it
//! still has under way can touch those of its successor. The highest N counts.

use std::fs::{self, DirBuilder, File};
use std::io::{Error as IoError, ErrorKind as Io};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use outflow_sdk::{Error, ErrorKind, Result};

const LOG: &str = "checkpoint";

/// Makes a folder with the rights of its owner alone.
pub(super) fn make(folder: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|e| refused(folder, "make the folder", &e))
}

/// Makes the names in a folder durable.
pub(super) fn sync(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| refused(folder, "sync", &e))
}

/// Makes the folder's own name durable, and those of all that it lies in: any of them may be new.
pub(super) fn sync_above(folder: &Path) -> Result<()> {
    let whole = folder.canonicalize().map_err(|e| refused(folder, "find", &e))?;
    for above in whole.ancestors().skip(1) {
        // What may not be opened or synced is not one that we made.
        match File::open(above).and_then(|f| f.sync_all()) {
            Ok(()) => {}
            Err(e)
                if matches!(
                    e.kind(),
                    Io::PermissionDenied | Io::ReadOnlyFilesystem | Io::InvalidInput | Io::Unsupported
                ) =>
            {
                break;
            }
            Err(e) => return Err(refused(above, "sync", &e)),
        }
    }
    Ok(())
}

/// The log of a generation.
pub(super) fn log(folder: &Path, generation: u64) -> PathBuf {
    if generation == 0 { folder.join(LOG) } else { folder.join(format!("{LOG}.{generation}")) }
}

/// The generations that have a log, the newest first.
pub(super) fn generations(folder: &Path) -> Result<Vec<u64>> {
    let read = || -> std::io::Result<Vec<u64>> {
        let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<std::io::Result<Vec<_>>>()?;
        Ok(names.iter().filter_map(|name| generation(name.to_str()?)).collect())
    };
    match read() {
        Ok(mut found) => {
            found.sort_unstable_by(|a, b| b.cmp(a));
            Ok(found)
        }
        Err(e) if e.kind() == Io::NotFound => Ok(Vec::new()),
        Err(e) => Err(refused(folder, "read", &e)),
    }
}

fn generation(name: &str) -> Option<u64> {
    match name.strip_prefix(LOG)? {
        "" => Some(0),
        // In one form only: `checkpoint.07` is none of ours.
        rest => rest.strip_prefix('.')?.parse().ok().filter(|n| *n > 0 && rest == format!(".{n}")),
    }
}

/// Under what name a log is kept that was put aside.
pub(super) fn aside(folder: &Path) -> PathBuf {
    let free = (0..u32::MAX).map(|n| folder.join(format!("{LOG}.old.{n}"))).find(|p| !p.exists());
    free.unwrap_or_else(|| folder.join(format!("{LOG}.old")))
}

/// An error of the file system, with what to do about it.
pub(super) fn refused(path: &Path, what: &str, error: &IoError) -> Error {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_logs_are_taken_for_logs() {
        let folder = Path::new("x");
        for n in [0, 1, 12] {
            let path = log(folder, n);
            assert_eq!(generation(path.file_name().unwrap().to_str().unwrap()), Some(n));
        }
        for name in [
            "checkpoint.new",
            "checkpoint.3.new",
            "checkpoint.old.0",
            "checkpoint.0",
            "checkpoint.07",
            "checkpoint.+1",
            "lock",
        ] {
            assert_eq!(generation(name), None, "{name}");
        }
    }
}
