//! What has been written, as far as the journals and the database know.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use outflow_core::{Error, Result};

use super::journal::{self, Change, Entry, Row};
use super::mark::RowId;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// COMMIT had returned at this time, or by the database's word it was carried out (no time).
    Committed(Option<u64>),
    RolledBack,
    /// COMMIT may have been carried out.
    Uncertain,
}

pub(super) struct Transaction {
    pub(super) name: String,
    pub(super) writer: u32,
    pub(super) begun: u64,
    pub(super) outcome: Outcome,
    /// Of `History::rows`.
    pub(super) rows: Range<usize>,
}

pub(super) struct Written {
    pub(super) id: RowId,
    pub(super) key: usize,
    pub(super) seq: u64,
    pub(super) cursor: Option<u64>,
    pub(super) padding: u32,
    pub(super) change: Change,
    pub(super) tx: usize,
    /// Taken back by a rollback to a savepoint.
    pub(super) undone: bool,
    /// The next row of the same key in the same transaction.
    pub(super) next_of_key: Option<usize>,
}

/// Every change that the writers made, with the outcome of its transaction.
///
/// Memory is about 150 bytes a row, whatever its size.
#[derive(Default)]
pub struct History {
    pub(super) rows: Vec<Written>,
    pub(super) transactions: Vec<Transaction>,
    pub(super) keys: Vec<String>,
    rows_by_id: HashMap<(RowId, Change), usize>,
    transactions_by_name: HashMap<String, usize>,
    keys_by_name: HashMap<String, usize>,
}

impl History {
    /// Reads all journals of a folder.
    ///
    /// # Errors
    /// `verifier.journal` when there is none, one cannot be read, or they contradict themselves.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut history = Self::default();
        journal::read(folder, |entry| history.add(entry))?;
        Ok(history)
    }

    /// Adds an entry of a journal. Entries of one transaction come in order; those of others may come between.
    ///
    /// # Errors
    /// `verifier.journal` when the entry contradicts an earlier one.
    pub fn add(&mut self, entry: Entry) -> Result<()> {
        match entry {
            Entry::Intent { tx, writer, begun, rows, undone } => {
                let undone = undone.into_iter().map(|r| (r, true));
                let rows = rows.into_iter().map(|r| (r, false)).chain(undone);
                self.add_transaction(tx, writer, begun, Outcome::Uncertain, rows)
            }
            Entry::RolledBack { tx, writer, rows } => {
                let rows = rows.into_iter().map(|r| (r, false));
                self.add_transaction(tx, writer, 0, Outcome::RolledBack, rows)
            }
            Entry::Committed { tx, at } => {
                let transaction =
                    self.transactions_by_name.get(&tx).and_then(|i| self.transactions.get_mut(*i));
                match transaction {
                    Some(t) if t.outcome == Outcome::Uncertain => {
                        t.outcome = Outcome::Committed(Some(at));
                        Ok(())
                    }
                    _ => Err(contradiction("a commit without an open intent", &tx)),
                }
            }
        }
    }

    fn add_transaction(
        &mut self,
        name: String,
        writer: u32,
        begun: u64,
        outcome: Outcome,
        rows: impl Iterator<Item = (Row, bool)>,
    ) -> Result<()> {
        let tx = self.transactions.len();
        if self.transactions_by_name.insert(name.clone(), tx).is_some() {
            return Err(contradiction("a transaction that was written twice", &name));
        }
        let first = self.rows.len();
        let mut last_of_key: HashMap<usize, usize> = HashMap::new();
        for (row, undone) in rows {
            let index = self.rows.len();
            if self.rows_by_id.insert((row.id, row.change), index).is_some() {
                return Err(contradiction("a row that was written twice", &row.id.to_string()));
            }
            let key = self.key(row.key);
            if !undone && let Some(before) = last_of_key.insert(key, index).and_then(|i| self.rows.get_mut(i))
            {
                before.next_of_key = Some(index);
            }
            self.rows.push(Written {
                id: row.id,
                key,
                seq: row.seq,
                cursor: row.cursor,
                padding: row.padding,
                change: row.change,
                tx,
                undone,
                next_of_key: None,
            });
        }
        let rows = first..self.rows.len();
        self.transactions.push(Transaction { name, writer, begun, outcome, rows });
        Ok(())
    }

    fn key(&mut self, name: String) -> usize {
        let next = self.keys.len();
        *self.keys_by_name.entry(name).or_insert_with_key(|name| {
            self.keys.push(name.clone());
            next
        })
    }

    /// Settles every transaction whose outcome the journal does not know, by asking `committed` with its name.
    /// Gives the number of those asked for.
    ///
    /// [`Database::committed`](super::database::Database::committed) is the usual one to ask.
    ///
    /// # Errors
    /// The first that `committed` gives.
    pub fn resolve(&mut self, mut committed: impl FnMut(&str) -> Result<bool>) -> Result<usize> {
        let mut asked = 0;
        for transaction in self.transactions.iter_mut().filter(|t| t.outcome == Outcome::Uncertain) {
            transaction.outcome =
                if committed(&transaction.name)? { Outcome::Committed(None) } else { Outcome::RolledBack };
            asked += 1;
        }
        Ok(asked)
    }

    /// How many transactions may or may not have been committed.
    pub fn uncertain(&self) -> usize {
        self.transactions.iter().filter(|t| t.outcome == Outcome::Uncertain).count()
    }

    /// How many changes are known to have been committed.
    pub fn committed(&self) -> usize {
        let committed = self.transactions.iter().filter(|t| matches!(t.outcome, Outcome::Committed(_)));
        committed.filter_map(|t| self.rows.get(t.rows.clone())).flatten().filter(|r| !r.undone).count()
    }

    /// When COMMIT had returned for the transaction that wrote this version of a row, in nanoseconds since 1970:
    /// the time from which latency counts. None where it was not committed, or nobody lived to see when.
    pub fn committed_at(&self, row: RowId) -> Option<u64> {
        let row = self.find(row, Change::Write).and_then(|i| self.rows.get(i)).filter(|r| !r.undone)?;
        match self.transactions.get(row.tx)?.outcome {
            Outcome::Committed(at) => at,
            _ => None,
        }
    }

    pub(super) fn find(&self, row: RowId, change: Change) -> Option<usize> {
        self.rows_by_id.get(&(row, change)).copied()
    }
}

fn contradiction(what: &str, of: &str) -> Error {
    Error::permanent("verifier.journal").message(format!("{what}: {of}")).hint(
        "journals of different generators or of an earlier run may lie in one folder; give each test its own",
    )
}
