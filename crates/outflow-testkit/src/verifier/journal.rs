//! What a writer says it did, written ahead of doing it.
//!
//! A journal is a file of JSON lines. A line is one write to the operating system, so it survives the death of the
//! process at any moment; it is not synced, so it need not survive that of the machine. Before COMMIT a writer appends
//! `intent` with all rows, after it `committed`. An intent without outcome means: it may have been committed.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use outflow_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::mark::RowId;

/// What happened to a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// This version of the row was written, by an insert or an update.
    #[default]
    Write,
    /// The row was deleted; it is named by the id that its last version carried.
    Delete,
}

/// A change as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The row.
    pub id: RowId,
    /// Its key.
    pub key: String,
    /// Its place among the rows of its key, see [`Mark::seq`](super::Mark::seq).
    pub seq: u64,
    /// The value of the autoincrement column, where the table has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<u64>,
    /// Bytes of padding in the payload.
    #[serde(default)]
    pub padding: u32,
    /// What happened to it.
    #[serde(default)]
    pub change: Change,
}

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// COMMIT is about to be sent.
    Intent {
        /// The transaction.
        tx: String,
        /// The writer.
        writer: u32,
        /// When BEGIN was about to be sent, in nanoseconds since 1970.
        begun: u64,
        /// What the transaction changes, in order.
        rows: Vec<Row>,
        /// What it changed and took back by a rollback to a savepoint.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        undone: Vec<Row>,
    },
    /// COMMIT returned.
    Committed {
        /// The transaction.
        tx: String,
        /// When COMMIT had returned, in nanoseconds since 1970.
        at: u64,
    },
    /// The transaction was rolled back, or broke off before COMMIT was sent.
    RolledBack {
        /// The transaction.
        tx: String,
        /// The writer.
        writer: u32,
        /// What it had changed.
        rows: Vec<Row>,
    },
}

/// The journal of one writer.
pub struct Journal {
    file: File,
    path: PathBuf,
    line: Vec<u8>,
}

impl Journal {
    /// Creates the journal `<name>.journal` in a folder, which is created too where it is missing.
    ///
    /// # Errors
    /// `verifier.journal` when the file exists or cannot be created.
    pub fn create(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(format!("{name}.journal"));
        let file = std::fs::create_dir_all(folder)
            .and_then(|()| OpenOptions::new().append(true).create_new(true).open(&path))
            .map_err(|e| failed(&path, "it cannot be created").caused_by(e))?;
        Ok(Self { file, path, line: Vec::new() })
    }

    /// Appends an entry. When this returns, the entry survives the death of this process.
    ///
    /// # Errors
    /// `verifier.journal` when it cannot be written; the writer must then not go on.
    pub fn append(&mut self, entry: &Entry) -> Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, entry)
            .map_err(std::io::Error::from)
            .and_then(|()| {
                self.line.push(b'\n');
                self.file.write_all(&self.line)
            })
            .map_err(|e| failed(&self.path, "it cannot be written").caused_by(e))
    }
}

/// Calls `each` with every entry of every journal of a folder, in the order of each journal.
///
/// A last line without its end was being written when the writer died. It is left out, which is sound: after a torn
/// intent no COMMIT was sent, and a torn outcome leaves its intent without one.
///
/// # Errors
/// `verifier.journal` when the folder has no journal, one cannot be read, or a line is no entry.
pub fn read(folder: &Path, mut each: impl FnMut(Entry) -> Result<()>) -> Result<()> {
    let mut journals = Vec::new();
    for file in std::fs::read_dir(folder).map_err(|e| failed(folder, "it cannot be read").caused_by(e))? {
        let path = file.map_err(|e| failed(folder, "it cannot be read").caused_by(e))?.path();
        if path.extension().is_some_and(|e| e == "journal") {
            journals.push(path);
        }
    }
    if journals.is_empty() {
        return Err(failed(folder, "there is no journal in it"));
    }
    journals.sort();
    for path in journals {
        let file = File::open(&path).map_err(|e| failed(&path, "it cannot be read").caused_by(e))?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            reader
                .read_until(b'\n', &mut line)
                .map_err(|e| failed(&path, "it cannot be read").caused_by(e))?;
            if line.pop() != Some(b'\n') {
                break;
            }
            let entry = serde_json::from_slice(&line)
                .map_err(|e| failed(&path, "a line is no entry").with("line", number).caused_by(e))?;
            each(entry)?;
        }
    }
    Ok(())
}

fn failed(path: &Path, what: &str) -> Error {
    Error::permanent("verifier.journal").message(format!("{}: {what}", path.display()))
}
