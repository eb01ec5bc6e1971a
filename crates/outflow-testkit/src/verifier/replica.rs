//! The state that deliveries add up to, and how it differs from the database's.

use std::collections::BTreeMap;
use std::fmt;

/// How many differences are kept word by word; all are counted.
const KEPT: usize = 10;

/// A table as a consumer would rebuild it from what arrived: key → row, both as canonical text of the caller's choice.
///
/// Repeats that arrive in order change nothing in the end, so that they need not be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replica {
    rows: BTreeMap<String, String>,
}

impl Replica {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// An insert, an update or a snapshot read.
    pub fn write(&mut self, key: impl Into<String>, row: impl Into<String>) {
        self.rows.insert(key.into(), row.into());
    }

    /// A deletion. A key that is not there is none to worry about: it was deleted before, and this is a repeat.
    pub fn delete(&mut self, key: &str) {
        self.rows.remove(key);
    }

    /// A truncation.
    pub fn clear(&mut self) {
        self.rows.clear();
    }

    /// Compares with the whole content of the table, such as
    /// [`Database::pairs`](super::database::Database::pairs) reads it.
    pub fn compare(&self, table: impl IntoIterator<Item = (String, String)>) -> Difference {
        let mut difference = Difference::default();
        let mut extra = self.rows.clone();
        for (key, row) in table {
            match extra.remove(&key) {
                Some(ours) if ours == row => difference.equal += 1,
                Some(ours) => {
                    difference.different += 1;
                    difference.keep(format!("{key} is {row}, delivered as {ours}"));
                }
                None => {
                    difference.missing += 1;
                    difference.keep(format!("{key} is missing"));
                }
            }
        }
        for key in extra.keys() {
            difference.extra += 1;
            difference.keep(format!("{key} should not be there"));
        }
        difference
    }
}

/// How a [`Replica`] differs from the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// Rows that are the same.
    pub equal: u64,
    /// Rows that only the table has.
    pub missing: u64,
    /// Rows that only the replica has.
    pub extra: u64,
    /// Rows whose content differs.
    pub different: u64,
    findings: Vec<String>,
}

impl Difference {
    fn keep(&mut self, finding: String) {
        if self.findings.len() < KEPT {
            self.findings.push(finding);
        }
    }

    /// True if there is none.
    pub fn is_none(&self) -> bool {
        (self.missing, self.extra, self.different) == (0, 0, 0)
    }

    /// Panics with the difference if there is one.
    #[track_caller]
    pub fn assert_none(&self) {
        assert!(self.is_none(), "the final state differs: {self}");
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rows equal, {} missing, {} too many, {} different",
            self.equal, self.missing, self.extra, self.different
        )?;
        let mut separator = "\n";
        for finding in &self.findings {
            write!(f, "{separator}{finding}")?;
            separator = "; ";
        }
        Ok(())
    }
}
