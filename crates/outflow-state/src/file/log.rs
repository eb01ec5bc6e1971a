//! The log of a pipeline's checkpoint: text, one line a change, each with its checksum.
//!
//! ```text
//! outflow-checkpoint 1 orders
//! 5e3a…(16 hex digits) {"positions":{"main":{"v":1,"at":"0/16B3748"}}}
//! ```
//!
//! A commit appends one line and syncs, so its cost is that of the change. When the log has grown well beyond what it
//! says, it is written anew, beside the old one, and put in its place. A last line without its end is a torn write: it
//! was never confirmed and is cut off. Any other damage is an error: to guess would be to lose or repeat in silence.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use outflow_sdk::{Checkpoint, CheckpointDelta, Error, ErrorKind, PartitionId, Position, Result, StateDelta};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::folder::{self, refused};

const MAGIC: &str = "outflow-checkpoint";
const VERSION: u32 = 1;
/// A log below this size is never worth writing anew.
const COMPACT_BYTES: u64 = 64 << 10;

/// One change as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    positions: BTreeMap<PartitionId, Option<Position>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    state: Vec<(String, Option<String>)>,
}

impl Line {
    fn of_delta(delta: &CheckpointDelta) -> Self {
        Self {
            fingerprint: delta.fingerprint().map(str::to_owned),
            positions: delta.positions().map(|(k, v)| (k.clone(), v.cloned())).collect(),
            state: delta.state().iter().map(|(k, v)| (k.to_owned(), v.map(str::to_owned))).collect(),
        }
    }

    fn of_checkpoint(checkpoint: &Checkpoint) -> Self {
        Self {
            fingerprint: checkpoint.fingerprint().map(str::to_owned),
            positions: checkpoint.positions().map(|(k, v)| (k.clone(), Some(v.clone()))).collect(),
            state: checkpoint.states().map(|(k, v)| (k.to_owned(), Some(v.to_owned()))).collect(),
        }
    }

    fn delta(self) -> CheckpointDelta {
        let mut delta = CheckpointDelta::new();
        if let Some(fingerprint) = self.fingerprint {
            delta.set_fingerprint(fingerprint);
        }
        for (partition, position) in self.positions {
            match position {
                Some(position) => delta.set_position(partition, position),
                None => delta.remove_partition(partition),
            }
        }
        let mut state = StateDelta::default();
        for (key, value) in self.state {
            match value {
                Some(value) => state.put(key, value),
                None => state.delete(key),
            }
        }
        delta.append_state(state);
        delta
    }

    fn text(&self) -> Result<String> {
        let json = serde_json::to_string(self)
            .map_err(|e| Error::internal("state.encode").message(e.to_string()))?;
        Ok(format!("{:016x} {json}\n", xxh3_64(json.as_bytes())))
    }
}

#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    pipeline: String,
    file: File,
    /// Bytes that are whole and synced.
    len: u64,
    /// Beyond this length the log is written anew.
    limit: u64,
    checkpoint: Checkpoint,
    /// What is on disk behind `len`, or under this name, is unknown: only a new file will do.
    doubtful: bool,
}

impl Log {
    /// Opens the log of a pipeline, or begins it, as the owner of this generation. A log of an older generation is
    /// copied: whoever wrote it may still do so.
    pub(super) fn open(folder: &Path, pipeline: &str, generation: u64) -> Result<Self> {
        let found = folder::generations(folder)?;
        let path = folder::log(folder, generation);
        let log = match found.first() {
            Some(newest) if *newest == generation => Self::resume(path, pipeline)?,
            Some(older) => {
                let older = folder::log(folder, *older);
                let checkpoint = Self::peek_file(&older, pipeline)?;
                Self::begin(path, pipeline, checkpoint)?
            }
            None => {
                let log = Self::begin(path, pipeline, Checkpoint::new())?;
                folder::sync_above(folder)?;
                log
            }
        };
        for older in found.into_iter().filter(|found| *found < generation) {
            // In nobody's way: tried again at the next start.
            let _ = fs::remove_file(folder::log(folder, older));
        }
        Ok(log)
    }

    /// Writes a log that says just this.
    pub(super) fn begin(path: PathBuf, pipeline: &str, checkpoint: Checkpoint) -> Result<Self> {
        let prepared = Prepared::new(&path, pipeline, &checkpoint)?;
        let (file, len) = prepared.place(&path)?;
        let pipeline = pipeline.to_owned();
        Ok(Self { path, pipeline, file, len, limit: limit(len), checkpoint, doubtful: false })
    }

    fn resume(path: PathBuf, pipeline: &str) -> Result<Self> {
        let text = fs::read(&path).map_err(|e| refused(&path, "read", &e))?;
        let (checkpoint, len) = read(&path, pipeline, &text)?;
        let file = OpenOptions::new().write(true).open(&path).map_err(|e| refused(&path, "open", &e))?;
        if len < text.len() as u64 {
            tracing::warn!(
                file = %path.display(),
                bytes = text.len() as u64 - len,
                "the last write was cut short by a crash; it had not been confirmed, and is taken back"
            );
            file.set_len(len).and_then(|()| file.sync_all()).map_err(|e| refused(&path, "repair", &e))?;
        }
        let pipeline = pipeline.to_owned();
        Ok(Self { path, pipeline, file, len, limit: limit(len), checkpoint, doubtful: false })
    }

    /// What the newest log in a folder says, without touching it.
    pub(super) fn peek(folder: &Path, pipeline: &str) -> Result<Checkpoint> {
        // A log that is gone by the time it is read has been replaced by a newer one.
        for _ in 0..100 {
            let Some(newest) = folder::generations(folder)?.first().copied() else { break };
            let path = folder::log(folder, newest);
            match Self::peek_file(&path, pipeline) {
                Err(_) if !path.exists() => {}
                result => return result,
            }
        }
        Ok(Checkpoint::new())
    }

    fn peek_file(path: &Path, pipeline: &str) -> Result<Checkpoint> {
        let text = fs::read(path).map_err(|e| refused(path, "read", &e))?;
        read(path, pipeline, &text).map(|(checkpoint, _)| checkpoint)
    }

    pub(super) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Stores a change: durable when it returns. When it fails, the change may or may not be stored; the next one that
    /// succeeds is stored without it.
    pub(super) fn append(&mut self, delta: &CheckpointDelta) -> Result<()> {
        if self.doubtful || self.len > self.limit {
            match self.rewrite(delta) {
                Ok(()) => return Ok(()),
                Err(error) if self.doubtful => return Err(error),
                Err(error) => {
                    tracing::warn!(code = error.code(), "the log of the checkpoint goes on growing: {error}");
                    // Not at each commit.
                    self.limit = self.len + COMPACT_BYTES.max(self.len / 4);
                }
            }
        }
        let text = Line::of_delta(delta).text()?;
        if let Err(e) = self.file.write_all_at(text.as_bytes(), self.len) {
            // Cut off what is half written.
            self.doubtful = self.file.set_len(self.len).is_err();
            return Err(refused(&self.path, "write", &e));
        }
        if let Err(e) = self.file.sync_data() {
            // The kernel may have dropped what it could not write, and would not say so again.
            self.doubtful = true;
            let _ = self.file.set_len(self.len);
            return Err(refused(&self.path, "sync", &e));
        }
        self.len += text.len() as u64;
        self.checkpoint.apply(delta);
        Ok(())
    }

    /// Stores a change by writing the log anew.
    fn rewrite(&mut self, delta: &CheckpointDelta) -> Result<()> {
        let mut checkpoint = self.checkpoint.clone();
        checkpoint.apply(delta);
        let prepared = Prepared::new(&self.path, &self.pipeline, &checkpoint)?;
        // From here on the name may stand for the new file, whose name may not be durable.
        self.doubtful = true;
        let (file, len) = prepared.place(&self.path)?;
        (self.file, self.len, self.limit, self.checkpoint) = (file, len, limit(len), checkpoint);
        self.doubtful = false;
        Ok(())
    }
}

/// How long a log may become that was written anew with this length.
fn limit(len: u64) -> u64 {
    COMPACT_BYTES.max(len.saturating_mul(4))
}

/// A new log beside the old one, whole and durable, not yet in its place.
struct Prepared {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Prepared {
    fn new(path: &Path, pipeline: &str, checkpoint: &Checkpoint) -> Result<Self> {
        let text = format!("{MAGIC} {VERSION} {pipeline}\n{}", Line::of_checkpoint(checkpoint).text()?);
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            Ok(file)
        };
        match write() {
            Ok(file) => Ok(Self { path: new, file, len: text.len() as u64 }),
            Err(e) => {
                // A full disk needs its room for other things.
                let _ = fs::remove_file(&new);
                Err(refused(path, "write", &e))
            }
        }
    }

    /// Puts it in the place of the old one, durably.
    fn place(self, path: &Path) -> Result<(File, u64)> {
        fs::rename(&self.path, path).map_err(|e| refused(path, "replace", &e))?;
        // The name is durable only when the folder is.
        folder::sync(path.parent().unwrap_or(Path::new(".")))?;
        Ok((self.file, self.len))
    }
}

/// What the text of a log says, and how many of its bytes are whole.
fn read(path: &Path, pipeline: &str, text: &[u8]) -> Result<(Checkpoint, u64)> {
    let mut checkpoint = Checkpoint::new();
    let corrupt = |offset: usize, what: &str| {
        Error::permanent("state.corrupt")
            .kind_of(ErrorKind::State)
            .message(format!("{} is damaged at byte {offset}: {what}", path.display()))
            .with("file", path.display())
            .hint(format!(
                "restore the file from a backup, or start from the beginning:  outflow position reset FILE, with the \
                 file of pipeline {pipeline}"
            ))
    };
    let (mut offset, mut lines) = (0, 0);
    for (n, line) in text.split_inclusive(|b| *b == b'\n').enumerate() {
        let is_last = offset + line.len() == text.len();
        let Some(line_text) = line.strip_suffix(b"\n") else {
            // Never confirmed: a commit returns only after its line's end is synced. The header comes by rename.
            return if n > 1 {
                Ok((checkpoint, offset as u64))
            } else {
                Err(corrupt(offset, "it ends too early"))
            };
        };
        if n == 0 {
            header(path, pipeline, line_text)
                .map_err(|e| e.unwrap_or_else(|| corrupt(0, "no checkpoint file")))?;
        } else {
            match change(line_text) {
                Ok(line) => checkpoint.apply(&line.delta()),
                // A torn write may also leave zeros or old bytes before the end of its line.
                Err(_) if is_last && n > 1 && !begins_whole(line_text) => {
                    return Ok((checkpoint, offset as u64));
                }
                Err(what) => return Err(corrupt(offset, &what)),
            }
        }
        offset += line.len();
        lines += 1;
    }
    // The first change comes with the header, by rename.
    if lines < 2 { Err(corrupt(offset, "it ends too early")) } else { Ok((checkpoint, offset as u64)) }
}

/// Checks the first line; `Err(None)` when it is none at all.
fn header(path: &Path, pipeline: &str, line: &[u8]) -> Result<(), Option<Error>> {
    let text = std::str::from_utf8(line).map_err(|_| None)?;
    let mut words = text.splitn(3, ' ');
    let (Some(MAGIC), Some(version), Some(name)) = (words.next(), words.next(), words.next()) else {
        return Err(None);
    };
    let version: u32 = version.parse().ok().filter(|v| *v > 0).ok_or(None)?;
    if version > VERSION {
        return Err(Some(
            Error::permanent("state.newer_format")
                .kind_of(ErrorKind::State)
                .message(format!(
                    "{} has format {version}; this version reads up to {VERSION}",
                    path.display()
                ))
                .hint("run the version of Outflow that wrote it, or a newer one"),
        ));
    }
    if name != pipeline {
        return Err(Some(
            Error::permanent("state.other_pipeline")
                .kind_of(ErrorKind::State)
                .message(format!("{} belongs to pipeline \"{name}\", not \"{pipeline}\"", path.display()))
                .hint("name the folder of this pipeline, or another with --state-dir"),
        ));
    }
    Ok(())
}

/// Whether a line that is damaged begins with a whole change: then it is no torn write, but two confirmed ones whose
/// separator was damaged.
fn begins_whole(line: &[u8]) -> bool {
    let Some((sum, json)) = std::str::from_utf8(line).ok().and_then(|text| text.split_once(' ')) else {
        return false;
    };
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<serde::de::IgnoredAny>();
    let first = values.next().is_some_and(|v| v.is_ok()).then(|| values.byte_offset());
    let whole = first.and_then(|end| json.get(..end));
    whole.is_some_and(|whole| u64::from_str_radix(sum, 16).is_ok_and(|sum| sum == xxh3_64(whole.as_bytes())))
}

/// Reads one change.
fn change(line: &[u8]) -> Result<Line, String> {
    let text = std::str::from_utf8(line).map_err(|_| "not text".to_owned())?;
    let (sum, json) = text.split_once(' ').ok_or("no checksum")?;
    let sum = u64::from_str_radix(sum, 16).map_err(|_| "no checksum".to_owned())?;
    if sum != xxh3_64(json.as_bytes()) {
        return Err("the checksum does not match".into());
    }
    serde_json::from_str(json).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> CheckpointDelta {
        let mut delta = CheckpointDelta::new();
        delta.set_position("main".into(), Position::token(n.to_string()));
        delta
    }

    fn stored(folder: &Path) -> Option<String> {
        Log::peek(folder, "p").unwrap().position(&"main".into()).map(ToString::to_string)
    }

    /// The writer of an older generation has passed all checks when it is stopped, and goes on when another has taken
    /// over: whatever it had under way, the other's commits stay.
    #[test]
    fn nothing_of_an_older_generation_touches_a_newer_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut old = Log::open(folder, "p", 0).unwrap();
        old.append(&at(1)).unwrap();
        // Stopped between writing a new log and putting it in its place.
        let half_way = Prepared::new(&old.path, "p", &old.checkpoint).unwrap();

        let mut new = Log::open(folder, "p", 1).unwrap();
        new.append(&at(2)).unwrap();
        half_way.place(&old.path).unwrap();
        assert_eq!(stored(folder).as_deref(), Some("2"));
        old.append(&at(9)).unwrap();
        assert_eq!(stored(folder).as_deref(), Some("2"));
        old.rewrite(&at(9)).unwrap();
        new.append(&at(3)).unwrap();
        assert_eq!(stored(folder).as_deref(), Some("3"));
        // What it left behind goes at the next start.
        drop(new);
        let new = Log::open(folder, "p", 1).unwrap();
        assert_eq!(new.checkpoint().position(&"main".into()).map(Position::as_str), Some("3"));
        assert_eq!(folder::generations(folder).unwrap(), [1]);
    }

    #[test]
    fn a_takeover_that_did_not_get_to_its_own_log_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        Log::open(folder.path(), "p", 0).unwrap().append(&at(1)).unwrap();
        // Generation 1 crashed before it wrote anything.
        Log::open(folder.path(), "p", 2).unwrap();
        assert_eq!(stored(folder.path()).as_deref(), Some("1"));
        assert_eq!(folder::generations(folder.path()).unwrap(), [2]);
    }
}
