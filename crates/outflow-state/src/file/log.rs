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

use super::refused;

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
    folder: PathBuf,
    path: PathBuf,
    pipeline: String,
    file: File,
    /// Bytes that are whole and synced.
    len: u64,
    /// The length right after the log was last written anew.
    base: u64,
    checkpoint: Checkpoint,
    /// The last write or sync failed: what is on disk behind `len` is unknown.
    doubtful: bool,
}

impl Log {
    /// Opens the log of a pipeline, or begins it.
    pub(super) fn open(folder: &Path, pipeline: &str) -> Result<Self> {
        let path = folder.join("checkpoint");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(refused(&path, "read", &e)),
        };
        let (checkpoint, whole) = read(&path, pipeline, &text)?;
        if whole == 0 {
            let (file, len) = write_anew(folder, &path, pipeline, &checkpoint)?;
            let pipeline = pipeline.to_owned();
            let folder = folder.to_owned();
            return Ok(Self { folder, path, pipeline, file, len, base: len, checkpoint, doubtful: false });
        }
        let file = OpenOptions::new().write(true).open(&path).map_err(|e| refused(&path, "open", &e))?;
        if whole < text.len() as u64 {
            tracing::warn!(
                file = %path.display(),
                bytes = text.len() as u64 - whole,
                "the last write was cut short by a crash; it had not been confirmed, and is taken back"
            );
            file.set_len(whole).and_then(|()| file.sync_all()).map_err(|e| refused(&path, "repair", &e))?;
        }
        let pipeline = pipeline.to_owned();
        let folder = folder.to_owned();
        Ok(Self { folder, path, pipeline, file, len: whole, base: whole, checkpoint, doubtful: false })
    }

    /// What a log says, without touching it.
    pub(super) fn peek(path: &Path, pipeline: &str) -> Result<Checkpoint> {
        match fs::read(path) {
            Ok(text) => read(path, pipeline, &text).map(|(checkpoint, _)| checkpoint),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Checkpoint::new()),
            Err(e) => Err(refused(path, "read", &e)),
        }
    }

    pub(super) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Stores a change: durable when it returns, not stored when it fails.
    pub(super) fn append(&mut self, delta: &CheckpointDelta) -> Result<()> {
        if self.doubtful || self.len > COMPACT_BYTES.max(self.base * 4) {
            let mut whole = self.checkpoint.clone();
            whole.apply(delta);
            let (file, len) = write_anew(&self.folder, &self.path, &self.pipeline, &whole)?;
            (self.file, self.len, self.base, self.doubtful) = (file, len, len, false);
        } else {
            let text = Line::of_delta(delta).text()?;
            let written =
                self.file.write_all_at(text.as_bytes(), self.len).and_then(|()| self.file.sync_data());
            if let Err(e) = written {
                // After a failed sync the kernel may have dropped what it could not write: start from a new file.
                self.doubtful = true;
                let _ = self.file.set_len(self.len);
                return Err(refused(&self.path, "write", &e));
            }
            self.len += text.len() as u64;
        }
        self.checkpoint.apply(delta);
        Ok(())
    }
}

/// Writes a log that says just this, beside the old one, and puts it in its place.
fn write_anew(folder: &Path, path: &Path, pipeline: &str, checkpoint: &Checkpoint) -> Result<(File, u64)> {
    let new = folder.join("checkpoint.new");
    let text = format!("{MAGIC} {VERSION} {pipeline}\n{}", Line::of_checkpoint(checkpoint).text()?);
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        // The name is durable only when the folder is.
        File::open(folder)?.sync_all()?;
        Ok(file)
    };
    let file = write().map_err(|e| refused(path, "write", &e))?;
    Ok((file, text.len() as u64))
}

/// What the text of a log says, and how many of its bytes are whole.
fn read(path: &Path, pipeline: &str, text: &[u8]) -> Result<(Checkpoint, u64)> {
    let mut checkpoint = Checkpoint::new();
    if text.is_empty() {
        return Ok((checkpoint, 0));
    }
    let corrupt = |offset: usize, what: &str| {
        Error::permanent("state.corrupt")
            .kind_of(ErrorKind::State)
            .message(format!("{} is damaged at byte {offset}: {what}", path.display()))
            .with("file", path.display())
            .hint(format!(
                "restore the file from a backup, or start from the beginning:  outflow position reset {pipeline}"
            ))
    };
    let mut offset = 0;
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
    }
    Ok((checkpoint, offset as u64))
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
