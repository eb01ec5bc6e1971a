//! What the examples share: a shop that keeps its orders in SQLite, as a service would.

use outflow::{Error, Result, prelude::ResultExt};
use rusqlite::{Connection, params};

/// The service's own database, `shop.db` in the current folder.
#[derive(Debug)]
pub struct Shop(Connection);

impl Shop {
    /// Opens it; makes the tables if they are not there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open() -> Result<Self> {
        let tables = "
            PRAGMA journal_mode = WAL;
            CREATE TABLE IF NOT EXISTS orders (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                customer TEXT NOT NULL,
                total INTEGER NOT NULL,
                card TEXT NOT NULL
            );
            CREATE TABLE IF NOT EXISTS outbox (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL,
                aggregatetype TEXT NOT NULL,
                aggregateid TEXT NOT NULL,
                type TEXT NOT NULL,
                payload TEXT NOT NULL
            );";
        let connection = Connection::open("shop.db").permanent("shop.open")?;
        connection.execute_batch(tables).permanent("shop.open")?;
        Ok(Self(connection))
    }

    /// Stores an order, and in the same transaction the event that says so: both are there, or neither.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn place_order(&mut self, customer: &str, total: i64, card: &str) -> Result<()> {
        let mut place = || -> rusqlite::Result<()> {
            let transaction = self.0.transaction()?;
            transaction.execute(
                "INSERT INTO orders (customer, total, card) VALUES (?1, ?2, ?3)",
                params![customer, total, card],
            )?;
            let order = transaction.last_insert_rowid();
            transaction.execute(
                "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload)
                 VALUES (?1, 'orders', ?2, 'OrderPlaced', json_object('customer', ?3, 'total', ?4))",
                params![format!("placed-{order}"), format!("order-{order}"), customer, total],
            )?;
            transaction.commit()
        };
        place().map_err(|e| Error::permanent("shop.order").caused_by(e))
    }
}
