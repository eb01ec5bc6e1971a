//! The tables that generators write to.

use serde::{Deserialize, Serialize};

/// The columns of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Shape {
    /// Debezium's outbox columns (`id`, `aggregatetype`, `aggregateid`, `type`, `payload`) and an autoincrement
    /// primary key `seq`, the cursor.
    #[default]
    Outbox,
    /// Eventuate Tram's `message` columns (`id`, `destination`, `headers`, `payload`, `published`, `creation_time`).
    /// Its ids are texts, so there is no cursor; progress is the mark `published`.
    Eventuate,
}

/// A database's way to write SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// SQLite's.
    Sqlite,
    /// PostgreSQL's.
    Postgres,
}

/// A table that generators write to, and the two tables that they keep beside it: `<name>_keys`, a row a key, which
/// serialised writers lock, and `<name>_commits`, a row a transaction, which says what was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    name: String,
    shape: Shape,
}

/// The aggregate type, or destination, of every generated row.
pub const DESTINATION: &str = "generated";
/// The event type of every generated row.
pub const EVENT_TYPE: &str = "RowGenerated";

impl Table {
    /// A table of this name, which may have a schema before a dot.
    pub fn new(name: impl Into<String>, shape: Shape) -> Self {
        Self { name: name.into(), shape }
    }

    /// The columns.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The quoted name.
    pub fn quoted(&self) -> String {
        self.beside("")
    }

    /// The quoted name of the table of keys.
    pub fn keys(&self) -> String {
        self.beside("_keys")
    }

    /// The quoted name of the table of committed transactions.
    pub fn commits(&self) -> String {
        self.beside("_commits")
    }

    fn beside(&self, suffix: &str) -> String {
        let name = format!("{}{suffix}", self.name);
        let parts: Vec<String> = name.split('.').map(|p| format!("\"{}\"", p.replace('"', "\"\""))).collect();
        parts.join(".")
    }

    /// The statements that create the three tables, for a database without them.
    pub fn create(&self, dialect: Dialect) -> Vec<String> {
        let (table, keys, commits) = (self.quoted(), self.keys(), self.commits());
        let columns = match (self.shape, dialect) {
            (Shape::Outbox, Dialect::Sqlite) => {
                "seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, aggregatetype TEXT NOT NULL, \
                 aggregateid TEXT NOT NULL, type TEXT NOT NULL, payload TEXT NOT NULL"
            }
            (Shape::Outbox, Dialect::Postgres) => {
                "seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid NOT NULL UNIQUE, \
                 aggregatetype varchar(255) NOT NULL, aggregateid varchar(255) NOT NULL, type varchar(255) NOT NULL, \
                 payload jsonb NOT NULL"
            }
            (Shape::Eventuate, Dialect::Sqlite) => {
                "id TEXT PRIMARY KEY, destination TEXT NOT NULL, headers TEXT NOT NULL, payload TEXT NOT NULL, \
                 published INTEGER DEFAULT 0, creation_time INTEGER"
            }
            (Shape::Eventuate, Dialect::Postgres) => {
                "id varchar(1000) PRIMARY KEY, destination text NOT NULL, headers text NOT NULL, \
                 payload text NOT NULL, published smallint DEFAULT 0, creation_time bigint"
            }
        };
        vec![
            format!("CREATE TABLE {table} ({columns})"),
            format!("CREATE TABLE {keys} (key text PRIMARY KEY, seq bigint NOT NULL)"),
            format!("CREATE TABLE {commits} (tx text PRIMARY KEY)"),
        ]
    }
}

/// The headers of an Eventuate message, as its producers write them.
#[cfg(any(feature = "verifier-sqlite", feature = "verifier-postgres"))]
pub(super) fn eventuate_headers(row: &super::journal::Row) -> String {
    serde_json::json!({
        "ID": row.id.eventuate(),
        "PARTITION_ID": row.key,
        "DESTINATION": DESTINATION,
        "event-aggregate-type": DESTINATION,
        "event-aggregate-id": row.key,
        "event-type": EVENT_TYPE,
    })
    .to_string()
}
