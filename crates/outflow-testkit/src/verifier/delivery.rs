//! What arrived, and how it is read from a file of JSON lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::Value;

use super::journal::Change;
use super::mark::Mark;

/// How much [`whole_lines`] reads at a time, from the end.
const BLOCK: u64 = 64 << 10;

/// One delivered record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What the payload says about its row.
    pub mark: Mark,
    /// The length of the payload's padding; none if it is not what was written.
    pub padding: Option<u32>,
    /// What the record says has happened.
    pub change: Change,
}

impl Delivery {
    /// Reads a delivered record from its JSON, in any format that has the row's payload in it: the payload itself,
    /// a row, a Debezium envelope. A record whose `op` is `d` or `delete` is a deletion.
    ///
    /// # Errors
    /// Why this is no record of a generated row.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        let (mark, padding) = Mark::find(&value).ok_or("no mark of a generated row in it")?;
        let op = [value.get("op"), value.get("payload").and_then(|p| p.get("op"))];
        let deleted = op.into_iter().flatten().any(|op| op == "d" || op == "delete");
        Ok(Self { mark, padding, change: if deleted { Change::Delete } else { Change::Write } })
    }
}

/// A step in the life of an output file.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step {
    /// A record.
    Delivered(Delivery),
    /// The pipeline was restarted here.
    Restarted,
    /// A line that is no record, and why; also a last line without its end.
    Unreadable(String),
}

/// Reads a file of JSON lines, in order.
///
/// `restarts` are the lengths that the file's whole lines had when the pipeline was killed, ascending, as
/// [`whole_lines`] gives them.
///
/// # Errors
/// When the file cannot be read.
pub fn steps(path: &Path, restarts: &[u64]) -> io::Result<impl Iterator<Item = io::Result<Step>>> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut restarts: std::collections::VecDeque<u64> = restarts.iter().copied().collect();
    let (mut offset, mut number) = (0_u64, 0_u64);
    let mut line = Vec::new();
    Ok(std::iter::from_fn(move || {
        if restarts.front().is_some_and(|at| *at <= offset) {
            restarts.pop_front();
            return Some(Ok(Step::Restarted));
        }
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            // The pipeline was killed again before it delivered anything.
            Ok(0) => return restarts.pop_front().map(|_| Ok(Step::Restarted)),
            Ok(read) => offset += read as u64,
            Err(e) => return Some(Err(e)),
        }
        number += 1;
        let delivery = match line.pop() {
            Some(b'\n') => Delivery::from_json(&line),
            _ => Err("the line has no end".into()),
        };
        Some(Ok(
            delivery.map_or_else(|why| Step::Unreadable(format!("line {number}: {why}")), Step::Delivered)
        ))
    }))
}

/// The number of bytes up to the end of the last whole line; 0 for a file that does not exist.
///
/// # Errors
/// When the file cannot be read.
pub fn whole_lines(path: &Path) -> io::Result<u64> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => file?,
    };
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.by_ref().take(end - start).read_to_end(&mut block)?;
        if let Some(last) = block.iter().rposition(|b| *b == b'\n') {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
