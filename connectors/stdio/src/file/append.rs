//! A file that whole lines are appended to.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use outflow_sdk::{Error, Result};

use super::{disk_full, open_failed};
use crate::lines::Destination;

/// A file open for appending, for this process alone.
#[derive(Debug)]
pub(super) struct Append {
    file: File,
    path: PathBuf,
    /// A file on a disk, and not a pipe or device, which can neither be synced nor cut.
    regular: bool,
    /// The length that is known to be durable.
    synced: u64,
    length: u64,
}

impl Append {
    /// Opens or creates the file, and cuts off the line that a killed process left unfinished.
    ///
    /// # Errors
    /// A code a reason: `file.not_found`, `file.denied`, `file.in_use`, `file.not_lines`, …
    pub(super) fn open(path: &Path) -> Result<Self> {
        let existed = path.exists();
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
        let mut file = match options.open(path) {
            Ok(file) => file,
            // Pipes and devices may be open to writers alone.
            Err(e) if e.kind() == ErrorKind::PermissionDenied && existed => {
                OpenOptions::new().append(true).open(path).map_err(|e| open_failed(path, e))?
            }
            Err(e) => return Err(open_failed(path, e)),
        };
        let about = file.metadata().map_err(|e| open_failed(path, e))?;
        let mut length = about.len();
        if about.is_file() {
            lock(&file, path)?;
            length = cut_torn_line(&mut file, path).map_err(|e| e.into_error(path))?;
            if !existed {
                sync_folder(path).map_err(|e| failed(path, e))?;
            }
        }
        Ok(Self { file, path: path.to_owned(), regular: about.is_file(), synced: length, length })
    }
}

/// Two writers would tear each other's lines.
fn lock(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        // File systems without locks exist; most of them are on one machine's network for one writer.
        Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => Ok(()),
        Err(TryLockError::Error(e)) => Err(open_failed(path, e)),
        Err(TryLockError::WouldBlock) => Err(Error::transient("file.in_use")
            .message(format!("another pipeline or process writes to {}", path.display()))
            .hint("give each pipeline a `path` of its own; it is tried again")),
    }
}

enum CutError {
    Io(std::io::Error),
    NotLines,
}

impl From<std::io::Error> for CutError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl CutError {
    fn into_error(self, path: &Path) -> Error {
        match self {
            Self::Io(error) => failed(path, error),
            Self::NotLines => Error::permanent("file.not_lines")
                .message(format!("{} holds something that is no line of ours", path.display()))
                .hint("move it away, or name another `path`: appending would destroy it"),
        }
    }
}

/// Cuts off what stands behind the last line break; gives the length that is left.
fn cut_torn_line(file: &mut File, path: &Path) -> Result<u64, CutError> {
    const CHUNK: u64 = 64 << 10;
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = length;
    let mut chunk = Vec::new();
    let kept = loop {
        let start = end.saturating_sub(CHUNK);
        chunk.resize((end - start) as usize, 0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut chunk)?;
        if let Some(at) = chunk.iter().rposition(|b| *b == b'\n') {
            break start + at as u64 + 1;
        }
        if start == 0 {
            // Not one whole line. The first of ours is JSON; anything else is somebody's file.
            if chunk.first().is_some_and(|b| *b != b'{') {
                return Err(CutError::NotLines);
            }
            break 0;
        }
        end = start;
    };
    if kept < length {
        file.set_len(kept)?;
        file.sync_data()?;
        tracing::warn!(
            code = "file.torn_line",
            path = %path.display(),
            bytes = length - kept,
            "cut off an unfinished last line; its record was never acknowledged and comes again"
        );
    }
    Ok(kept)
}

/// A new file is durable once its name is.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => disk_full(path).caused_by(error),
        ErrorKind::BrokenPipe => Error::transient("file.reader_gone")
            .message(format!("nobody reads the pipe {}", path.display()))
            .hint("start the reader; it is tried again")
            .caused_by(error),
        _ => Error::transient("file.write_failed")
            .message(format!("cannot write to {}", path.display()))
            .hint("see the cause; it is tried again")
            .caused_by(error),
    }
}

impl Destination for Append {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| failed(&self.path, e))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        if self.regular {
            self.file.sync_data().map_err(|e| failed(&self.path, e))?;
            self.synced = self.length;
        }
        Ok(())
    }

    fn undo(&mut self) {
        // What cannot be cut now is cut when the file is opened again, or comes twice.
        if self.regular && self.file.set_len(self.synced).is_ok() {
            self.length = self.synced;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn appends_behind_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        for line in ["1\n", "2\n"] {
            let mut file = Append::open(&path).unwrap();
            file.write(line.as_bytes()).unwrap();
            file.sync().unwrap();
        }
        assert_eq!(lines(&path), "1\n2\n");
    }

    #[test]
    fn a_torn_line_of_any_length_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        for torn in [1, 65_535, 65_536, 65_537, 200_000] {
            std::fs::write(&path, "{\"n\":1}\n{\"n\":2}\n".to_owned() + &"x".repeat(torn)).unwrap();
            drop(Append::open(&path).unwrap());
            assert_eq!(lines(&path), "{\"n\":1}\n{\"n\":2}\n", "{torn}");
        }
        std::fs::write(&path, "{\"n\":").unwrap();
        drop(Append::open(&path).unwrap());
        assert_eq!(lines(&path), "");
    }

    #[test]
    fn a_file_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photo.jpg");
        std::fs::write(&path, "not a line").unwrap();
        assert_eq!(Append::open(&path).unwrap_err().code(), "file.not_lines");
        assert_eq!(lines(&path), "not a line");
    }

    #[test]
    fn two_writers_are_one_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let first = Append::open(&path).unwrap();
        let error = Append::open(&path).unwrap_err();
        assert_eq!(error.code(), "file.in_use");
        drop(first);
        Append::open(&path).unwrap();
    }

    #[test]
    fn mistakes_in_the_path_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let code = |path: &Path| {
            let error = Append::open(path).unwrap_err();
            assert!(error.hint_text().is_some(), "{error}");
            error.code().to_owned()
        };
        assert_eq!(code(&folder.path().join("none/out.jsonl")), "file.not_found");
        assert_eq!(code(folder.path()), "file.is_folder");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_named_and_tried_again() {
        let mut full = Append::open(Path::new("/dev/full")).unwrap();
        let error = full.write(b"line\n").unwrap_err();
        assert_eq!(error.code(), "file.disk_full");
        assert!(error.is_transient());
    }

    #[test]
    fn what_was_not_synced_can_be_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let mut file = Append::open(&path).unwrap();
        file.write(b"1\n").unwrap();
        file.sync().unwrap();
        file.write(b"2").unwrap();
        file.undo();
        file.write(b"3\n").unwrap();
        file.sync().unwrap();
        assert_eq!(lines(&path), "1\n3\n");
    }
}
