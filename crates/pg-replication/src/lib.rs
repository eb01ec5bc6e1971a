//! A client of PostgreSQL's logical replication protocol, of use to anybody who reads a replication slot.
//!
//! [`Client`] connects in replication mode and runs the commands of that mode: `IDENTIFY_SYSTEM`,
//! `CREATE_REPLICATION_SLOT` with an exported snapshot, and so on. [`Client::start_logical`] turns it into a [`Reader`]
//! and a [`Feedback`]. The reader hands out messages that borrow from one reused buffer. The feedback is told what may be
//! forgotten; a task of its own tells the server, also while nobody reads, so that back-pressure never looks like a dead
//! client.
//!
//! What is inside the messages is the output plug-in's business (`pgoutput`, `test_decoding`).
//!
//! ```no_run
//! use pg_replication::{Client, Config, Lsn, Message};
//!
//! # async fn run() -> pg_replication::Result<()> {
//! let config = Config::tcp("127.0.0.1", 5432).user("cdc").password("secret").database("shop");
//! let client = Client::connect(&config).await?;
//! let options = [("proto_version", "1"), ("publication_names", "shop")];
//! let (mut reader, feedback) = client.start_logical("shop_slot", Lsn::ZERO, &options).await?;
//! while let Some(message) = reader.next().await? {
//!     if let Message::Data { start, data, .. } = message {
//!         println!("{start}: {} bytes", data.len());
//!     }
//!     // Once it is safe elsewhere, and not before:
//!     feedback.flushed(reader.received());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The protocol: <https://www.postgresql.org/docs/current/protocol-replication.html>.

mod auth;
mod client;
mod config;
mod error;
mod feedback;
mod frame;
mod lsn;
mod reader;
mod socket;

pub use client::{Client, CreatedSlot, Export, Row, System};
pub use config::{Config, Encryption};
pub use error::{Error, ErrorKind, Result, ServerError};
pub use feedback::Feedback;
pub use lsn::Lsn;
pub use reader::{Message, Reader};
