//! The source `file`: replays events from a file of outflow-json.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use outflow_sdk::json::{EventReader, Outcome};
use outflow_sdk::{
    BatchBuilder, BuildContext, Description, Emitter, Error, ErrorKind, Findings, JsonSchema, MessageParts,
    Op, PartitionId, PositionCodec, Result, Retry, Source, SourceCapabilities, SourceContext, SourceFactory,
    SourceKind, ValueRef,
};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, SeekFrom};

use super::position::{Codec, Place};
use super::{open_failed, resolve};
use crate::configured::configured_source;

/// Replays events from a file of outflow-json, one a line; dead letters are such lines. The events keep the ids that they
/// had. Ends at the end of the file, unless it is told to `follow` it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// The file. Relative to the pipeline file.
    path: PathBuf,
    /// Waits for lines that are appended, instead of ending.
    #[serde(default)]
    follow: bool,
}

impl FileSource {
    /// A source that replays the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), follow: false }
    }

    /// Waits for lines that are appended, instead of ending.
    #[must_use]
    pub fn follow(mut self) -> Self {
        self.follow = true;
        self
    }
}

/// Makes the source `file`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSourceFactory;

impl SourceFactory for FileSourceFactory {
    type Config = FileSource;

    fn type_name(&self) -> &'static str {
        "file"
    }

    fn description(&self) -> Description {
        Description {
            summary: "Replays events from a file of outflow-json, one a line.",
            guarantees: "Goes on after the last line that is done. Ids are those of the original events. A line \
                         that cannot be read is refused as one event, by on_error.",
            example: "source:\n  type: file\n  path: dead.jsonl\n",
        }
    }

    fn capabilities(&self, _: &FileSource) -> SourceCapabilities {
        SourceCapabilities::new().resume().deletes().updates().before_images().stop_at_current()
    }

    fn positions(&self) -> Option<Box<dyn PositionCodec>> {
        Some(Box::new(Codec))
    }

    fn fingerprint(&self, config: &FileSource) -> Option<String> {
        Some(format!("file {}", config.path.display()))
    }

    fn address(&self, config: &FileSource) -> String {
        config.path.display().to_string()
    }

    async fn check(&self, config: &FileSource, findings: &mut Findings) {
        // Relative paths start from a folder that is not known here.
        if config.path.is_absolute() {
            let opened = std::fs::File::open(&config.path).map_err(|e| open_failed(&config.path, e));
            findings.probe("file.open", opened, "correct `path`, or grant access to the file");
        }
    }

    async fn build(&self, config: &FileSource, cx: &BuildContext) -> Result<SourceKind> {
        let replay = Replay { path: resolve(cx, &config.path), follow: config.follow };
        Ok(SourceKind::Custom(Box::new(replay)))
    }
}

configured_source!(FileSource, FileSourceFactory);

struct Replay {
    path: PathBuf,
    follow: bool,
}

/// The one partition of a file.
const PARTITION: &str = "file";
/// How often a file that is followed is looked at.
const POLL: Duration = Duration::from_millis(100);

#[async_trait]
impl Source for Replay {
    async fn run(self: Box<Self>, cx: SourceContext) -> Result<()> {
        let partition = PartitionId::from(PARTITION);
        let start = match cx.checkpoint().position(&partition) {
            Some(position) => Place::read(position)?,
            None => Place::default(),
        };
        let mut lines = Lines::open(&self.path, start).await?;
        cx.connected();
        let mut batch = Batch {
            builder: BatchBuilder::new(),
            reader: EventReader::new(),
            emitter: cx.emitter(PARTITION),
            partition,
            done: start,
            origin: format!("file {}", self.path.display()),
        };
        // What is appended after the start is not current.
        let follow = self.follow && !cx.stop_at_current();
        loop {
            while let Some((line, next)) = lines.next() {
                batch.add(line, next).await?;
                if cx.limits().reached(&batch.builder) {
                    batch.emit().await?;
                }
            }
            // Nothing more is at hand: what is there goes out if it can, and else grows with what comes.
            batch.try_emit();
            if lines.fill(&self.path).await? {
                continue;
            }
            if follow {
                batch.emit().await?;
                tokio::time::sleep(POLL).await;
                lines.check(&self.path).await?;
                continue;
            }
            if let Some((line, next)) = lines.last() {
                batch.add(line, next).await?;
            }
            return batch.emit().await;
        }
    }
}

/// The batch that is being built.
struct Batch {
    builder: BatchBuilder,
    reader: EventReader,
    emitter: Emitter,
    partition: PartitionId,
    /// The place behind the last line in the builder.
    done: Place,
    /// The origin of lines that cannot be read.
    origin: String,
}

impl Batch {
    /// Adds one line, which ends at `next`.
    async fn add(&mut self, line: &[u8], next: Place) -> Result<()> {
        if !line.iter().all(u8::is_ascii_whitespace) {
            loop {
                match self.reader.read(line, &mut self.builder) {
                    Ok(Outcome::Read) => break,
                    // A batch has one origin.
                    Ok(Outcome::OriginChanged) => self.emit().await?,
                    Err(error) => {
                        self.refuse(line, next, &error).await?;
                        break;
                    }
                }
            }
        }
        self.done = next;
        Ok(())
    }

    /// A line that cannot be read is an event that cannot be decoded: the pipeline's policy decides (invariant 4).
    async fn refuse(&mut self, line: &[u8], next: Place, error: &Error) -> Result<()> {
        if !self.builder.is_empty() {
            self.emit().await?;
        }
        self.builder.origin(&self.origin);
        let mut event = self.builder.event(Op::Undecodable).ordinal(next.lines);
        event.message(&MessageParts {
            kind: Some(error.code()),
            content_type: Some("application/json"),
            body: ValueRef::Bytes(line),
            headers: &[
                ("error", ValueRef::Text(error.text())),
                ("line", ValueRef::I64(i64::try_from(next.lines).unwrap_or(i64::MAX))),
            ],
            ..MessageParts::default()
        });
        event.end();
        self.done = next;
        self.emit().await
    }

    async fn emit(&mut self) -> Result<()> {
        if self.builder.is_empty() {
            return Ok(());
        }
        let permit = self.emitter.ready().await?;
        permit.send(self.builder.finish(self.partition.clone(), Some(self.done.position())));
        Ok(())
    }

    fn try_emit(&mut self) {
        if self.builder.is_empty() {
            return;
        }
        if let Some(permit) = self.emitter.try_ready() {
            permit.send(self.builder.finish(self.partition.clone(), Some(self.done.position())));
        }
    }
}

/// A file by lines.
struct Lines {
    file: File,
    buffer: Vec<u8>,
    /// What of the buffer has been taken as lines.
    taken: usize,
    /// What of the buffer has been searched for the end of the next line.
    searched: usize,
    place: Place,
}

impl Lines {
    const CHUNK: usize = 256 << 10;
    /// Beyond this a file is no file of lines, and would take all memory.
    const MAX_LINE: usize = 256 << 20;

    async fn open(path: &Path, start: Place) -> Result<Self> {
        let mut file = File::open(path).await.map_err(|e| open_failed(path, e))?;
        let about = file.metadata().await.map_err(|e| read_failed(path, e))?;
        if about.is_dir() {
            return Err(open_failed(path, std::io::ErrorKind::IsADirectory.into()));
        }
        if start.bytes > 0 {
            // The line break that ended the last line, if it had one, must still be where it was.
            file.seek(SeekFrom::Start(start.bytes - 1)).await.map_err(|e| read_failed(path, e))?;
            let mut last = [0];
            let there = about.len() >= start.bytes && file.read_exact(&mut last).await.is_ok();
            if !there || (last != *b"\n" && about.len() > start.bytes) {
                return Err(lost(path, start));
            }
        }
        Ok(Self { file, buffer: Vec::new(), taken: 0, searched: 0, place: start })
    }

    /// The next whole line in the buffer, without its line break, and the place behind it.
    fn next(&mut self) -> Option<(&[u8], Place)> {
        let from = self.searched.max(self.taken);
        let Some(at) = self.buffer.get(from..)?.iter().position(|b| *b == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let (start, end) = (self.taken, from + at);
        self.taken = end + 1;
        self.searched = self.taken;
        self.place.lines += 1;
        self.place.bytes += (self.taken - start) as u64;
        Some((self.buffer.get(start..end)?, self.place))
    }

    /// What stands behind the last line break at the end of the file.
    fn last(&mut self) -> Option<(&[u8], Place)> {
        let line = self.buffer.get(self.taken..).filter(|line| !line.is_empty())?;
        self.place.lines += 1;
        self.place.bytes += line.len() as u64;
        self.taken = self.buffer.len();
        Some((line, self.place))
    }

    /// Reads more; false at the end of the file.
    async fn fill(&mut self, path: &Path) -> Result<bool> {
        self.buffer.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        if self.buffer.len() > Self::MAX_LINE {
            return Err(Error::data("file.line_too_long")
                .message(format!("line {} of {} has no end", self.place.lines + 1, path.display()))
                .hint("the file is not one of outflow-json, one event a line"));
        }
        self.buffer.reserve(Self::CHUNK);
        let read = self.file.read_buf(&mut self.buffer).await.map_err(|e| read_failed(path, e))?;
        Ok(read > 0)
    }

    /// A file that is followed must not have become shorter.
    async fn check(&self, path: &Path) -> Result<()> {
        let about = self.file.metadata().await.map_err(|e| read_failed(path, e))?;
        let read = self.place.bytes + (self.buffer.len() - self.taken) as u64;
        if about.len() < read { Err(lost(path, self.place)) } else { Ok(()) }
    }
}

fn read_failed(path: &Path, error: std::io::Error) -> Error {
    Error::transient("file.read_failed")
        .message(format!("cannot read {}", path.display()))
        .hint("see the cause; it is tried again")
        .caused_by(error)
}

fn lost(path: &Path, place: Place) -> Error {
    Error::new(ErrorKind::Position, Retry::Permanent, "file.position_lost")
        .message(format!("{} is not the file that was read up to line {}", path.display(), place.lines))
        .hint("put the file back, or begin anew: outflow position reset")
}
