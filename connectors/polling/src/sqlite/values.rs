//! What SQLite stores, as values. A column's declared type is a wish there: every value tells its own kind.

use outflow_sdk::serde::de::IgnoredAny;
use outflow_sdk::{LogicalType, RowWriter, serde_json};
use rusqlite::types::ValueRef;

/// The meaning of a declared type, by SQLite's own rules of affinity.
pub(super) fn logical(declared: &str) -> LogicalType {
    let declared = declared.to_ascii_uppercase();
    let has = |word: &str| declared.contains(word);
    if has("INT") {
        LogicalType::Int(64)
    } else if has("JSON") {
        LogicalType::Json
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        LogicalType::Text
    } else if has("BLOB") {
        LogicalType::Bytes
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        LogicalType::Float(64)
    } else if has("BOOL") {
        LogicalType::Bool
    } else {
        LogicalType::Any
    }
}

/// Writes a value as what it is. A declared type decides only where a value can be either: 0 and 1 in a boolean
/// column, text that is valid JSON in a JSON column.
pub(super) fn write(row: &mut RowWriter<'_>, logical: &LogicalType, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => row.null(),
        ValueRef::Integer(n @ (0 | 1)) if matches!(logical, LogicalType::Bool) => row.bool(n == 1),
        ValueRef::Integer(n) => row.i64(n),
        ValueRef::Real(n) => row.f64(n),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if matches!(logical, LogicalType::Json) && is_json(text) => row.json(text),
            Ok(text) => row.text(text),
            // SQLite does not check; the bytes are what there is.
            Err(_) => row.bytes(bytes),
        },
        ValueRef::Blob(bytes) => row.bytes(bytes),
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
