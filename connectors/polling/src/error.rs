//! Errors that both backends have in common.

use outflow_sdk::{Error, ErrorKind};

/// A table that is asked for is not there.
pub(crate) fn table_missing(pattern: &str, database: &str, there: &[String]) -> Error {
    let hint = if there.is_empty() {
        "the database has no table that can be read; create it, or correct `url`".to_owned()
    } else {
        let shown: Vec<&str> = there.iter().take(8).map(String::as_str).collect();
        let more = if there.len() > shown.len() { ", …" } else { "" };
        format!("create it, or correct `tables`; there are: {}{more}", shown.join(", "))
    };
    Error::permanent("polling.table_missing")
        .message(format!("{database} has no table \"{pattern}\""))
        .hint(hint)
}

/// A column that is asked for is not there.
pub(crate) fn column_missing(key: &str, column: &str, table: &str, there: &str) -> Error {
    Error::permanent("polling.column_missing")
        .message(format!("{key}: table {table} has no column \"{column}\""))
        .hint(format!("correct `{key}`; the columns are: {there}"))
}

/// No column identifies the rows.
pub(crate) fn key_missing(table: &str, found: &str) -> Error {
    Error::permanent("polling.key_missing")
        .message(format!("table {table} has {found}, and rows are followed by a primary key of one column"))
        .hint("name a column that orders the rows and has an index:   cursor: seq")
}

/// Rows cannot be followed by a position.
pub(crate) fn keep_needs(code: &'static str, message: String, hint: String) -> Error {
    Error::permanent(code).message(message).hint(hint)
}

/// The position is not one of this table, or no longer.
pub(crate) fn position_lost(table: &str, message: String) -> Error {
    Error::permanent("polling.position_lost")
        .kind_of(ErrorKind::Position)
        .message(format!("{table}: {message}"))
        .hint(
            "rows that were added since may have ids below the position. Start again at the first row:  \
             on_lost_position: resnapshot   or set the position:  outflow position set",
        )
}

/// A value that is not what its column says.
pub(crate) fn bad_value(table: &str, column: &str, found: &str) -> Error {
    Error::permanent("polling.value").kind_of(ErrorKind::Data).message(format!("{table}.{column}: {found}"))
}
