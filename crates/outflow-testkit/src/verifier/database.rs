//! The few things that a generator asks of a database.

use outflow_core::{Error, Result};

use super::journal::Row;
use super::table::Table;

/// A row to insert: what the journal will say about it, and its payload.
#[derive(Clone, Debug)]
pub struct NewRow {
    /// What the journal says; the cursor is not known yet.
    pub row: Row,
    /// The whole payload, see [`Mark::payload`](super::Mark::payload).
    pub payload: String,
}

/// One session with a database. All calls block, and may be made from any thread, within a tokio runtime or not.
///
/// Errors are transient (code `verifier.database`) where another session could fare better: the server is away, a
/// deadlock, a lock that was not given in time. After any error the session is not used again.
pub trait Database: Send {
    /// Whether only one transaction can write at a time, so that one that is held open keeps all others waiting.
    fn is_exclusive(&self) -> bool {
        false
    }

    /// Carries out statements that give no rows.
    ///
    /// # Errors
    /// See [`Database`]; so for all others.
    fn execute(&mut self, statements: &str) -> Result<()>;

    /// Creates the [`Table`] and those beside it.
    fn create(&mut self) -> Result<()>;

    /// Begins a transaction.
    fn begin(&mut self) -> Result<()> {
        self.execute("BEGIN")
    }

    /// Sets a savepoint.
    fn savepoint(&mut self) -> Result<()> {
        self.execute("SAVEPOINT generated")
    }

    /// Takes back everything since the savepoint.
    fn roll_back_to_savepoint(&mut self) -> Result<()> {
        self.execute("ROLLBACK TO SAVEPOINT generated")
    }

    /// Commits. After an error the outcome is unknown.
    fn commit(&mut self) -> Result<()> {
        self.execute("COMMIT")
    }

    /// Rolls back.
    fn roll_back(&mut self) -> Result<()> {
        self.execute("ROLLBACK")
    }

    /// Locks keys to the end of the transaction, in the order in which they are given, and reserves the next numbers of
    /// the sequence of each, as many as it is given with. Gives the last of these, in the same order.
    ///
    /// Who always gives keys in ascending order, and once a transaction, causes no deadlock.
    fn reserve(&mut self, keys: &[(String, u64)]) -> Result<Vec<u64>>;

    /// Inserts rows, and gives the cursor of each, in order, if the table has one.
    fn insert(&mut self, rows: Vec<NewRow>) -> Result<Vec<Option<u64>>>;

    /// Notes within the transaction that it is being committed.
    fn note(&mut self, tx: &str) -> Result<()>;

    /// Whether a transaction was committed. Waits until no session of its writer is left that could still do it.
    fn committed(&mut self, tx: &str) -> Result<bool>;

    /// The first two columns, as text, of what a query gives. NULL gives an empty text.
    fn pairs(&mut self, query: &str) -> Result<Vec<(String, String)>>;
}

/// Opens a session by its URL: `sqlite:<path>` or `postgres://…`. `writer` names it to the server.
///
/// # Errors
/// `verifier.database` when it cannot be opened; `verifier.url` when the URL is of another database, or this build
/// lacks the crate feature for it.
pub fn open(url: &str, table: &Table, writer: &str) -> Result<Box<dyn Database>> {
    let scheme = url.split_once(':').map_or(url, |(scheme, _)| scheme);
    match scheme {
        #[cfg(feature = "verifier-sqlite")]
        "sqlite" => Ok(Box::new(super::sqlite::Sqlite::open(url, table)?)),
        #[cfg(feature = "verifier-postgres")]
        "postgres" | "postgresql" => Ok(Box::new(super::postgres::Postgres::open(url, table, writer)?)),
        _ => {
            _ = (table, writer);
            // The URL may hold a password: it is not shown.
            Err(Error::configuration("verifier.url").message("no database for this URL in this build").hint(
                "sqlite:<path> needs the crate feature verifier-sqlite, postgres://… verifier-postgres",
            ))
        }
    }
}
