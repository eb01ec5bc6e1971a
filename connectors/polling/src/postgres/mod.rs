//! PostgreSQL. Reads and listens on one connection; marks or deletes on a second.

mod address;
mod check;
mod describe;
mod failure;
mod follow;
mod holders;
mod keys;
mod marked;
mod notify;
mod page;
mod pg_text;
mod session;
mod source;
mod tls;
mod writer;

pub(crate) use address::{Endpoint, address};
pub(crate) use check::check;
pub(crate) use source::PostgresSource;
