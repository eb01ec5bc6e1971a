//! What the server's errors mean.

use outflow_sdk::{Error, Result};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Error as PgError, SimpleQueryRow};

use super::address::Address;

const UNREACHABLE: &str = "see that the server runs, and can be reached from here";

/// Gives an error its code, class and remedy. PostgreSQL's own text has no credentials in it.
pub(super) fn failed(address: &Address, error: PgError) -> Error {
    let Some(db) = error.as_db_error() else { return without_answer(address, error) };
    let message = match db.detail() {
        Some(detail) => format!("{address}: {} ({detail})", db.message()),
        None => format!("{address}: {}", db.message()),
    };
    let class = db.code().code().get(..2).unwrap_or_default();
    let error = match db.code() {
        state if *state == SqlState::INVALID_PASSWORD || class == "28" => Error::permanent("polling.login")
            .hint("correct the user in `url`, or `password`; pg_hba.conf on the server says who may connect how"),
        state if *state == SqlState::INVALID_CATALOG_NAME => {
            Error::permanent("polling.database_missing").hint("correct the database in `url`, or create it")
        }
        state if *state == SqlState::INSUFFICIENT_PRIVILEGE => {
            Error::permanent("polling.not_permitted").hint("outflow check   prints the GRANT that is missing")
        }
        state if *state == SqlState::UNDEFINED_TABLE || *state == SqlState::INVALID_SCHEMA_NAME => {
            Error::permanent("polling.table_missing").hint("create it again, or correct `tables`")
        }
        state if *state == SqlState::UNDEFINED_COLUMN => {
            Error::permanent("polling.column_missing").hint("correct `cursor`, `mark_column` or `retention_column`")
        }
        state if *state == SqlState::READ_ONLY_SQL_TRANSACTION => Error::transient("polling.standby")
            .hint("delivered rows are marked on the primary: connect there (target_session_attrs=read-write)"),
        state if *state == SqlState::LOCK_NOT_AVAILABLE => Error::transient("polling.locked")
            .hint("another transaction holds rows or the table; see pg_stat_activity and pg_blocking_pids"),
        // Connections, rollbacks, resources, orders from outside, the server's own troubles.
        _ if ["08", "40", "53", "57", "58", "XX"].contains(&class) => {
            Error::transient("polling.unreachable").hint(UNREACHABLE)
        }
        _ => Error::permanent("polling.query"),
    };
    error.message(message).with("sqlstate", db.code().code())
}

fn without_answer(address: &Address, error: PgError) -> Error {
    let text = error.to_string();
    let cause = std::error::Error::source(&error);
    // A connection that is lost in the middle of a handshake is lost, and says nothing about certificates.
    let tls = match cause.and_then(|e| e.downcast_ref::<std::io::Error>()) {
        Some(error) => is_tls(error),
        None => text.starts_with("error performing TLS handshake"),
    };
    let shown = cause.map_or_else(|| text.clone(), |cause| format!("{text}: {cause}"));
    if tls {
        return Error::permanent("polling.tls").message(format!("{address}: {shown}")).hint(
            "name the authority of the server's certificate:  tls: {ca: ca.pem}  , or ask for less:  tls: {mode: \
             require}",
        );
    }
    if text.starts_with("authentication error") || text.starts_with("invalid configuration") {
        return Error::permanent("polling.login")
            .message(format!("{address}: {shown}"))
            .hint("set `password`, or correct the user in `url`");
    }
    Error::transient("polling.unreachable").message(format!("{address}: {shown}")).hint(UNREACHABLE)
}

/// Errors of rustls come wrapped in those of input and output.
fn is_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

/// A value that a query of ours always gives.
pub(super) fn text(row: &SimpleQueryRow, column: usize) -> Result<&str> {
    optional(row, column).ok_or_else(|| unexpected("a value is missing"))
}

/// A value that may be NULL.
pub(super) fn optional(row: &SimpleQueryRow, column: usize) -> Option<&str> {
    row.try_get(column).ok().flatten()
}

/// A number that a query of ours always gives.
pub(super) fn number<T: std::str::FromStr>(row: &SimpleQueryRow, column: usize) -> Result<T> {
    text(row, column)?.parse().map_err(|_| unexpected("a number is none"))
}

/// A boolean that a query of ours always gives.
pub(super) fn boolean(row: &SimpleQueryRow, column: usize) -> Result<bool> {
    text(row, column).map(|t| t == "t")
}

fn unexpected(what: &str) -> Error {
    Error::internal("polling.answer")
        .message(format!("the server's catalogue answers otherwise than expected: {what}"))
}
