//! `outflow check` on a SQLite file.

use outflow_sdk::Findings;
use rusqlite::Connection;

use super::connection::File;
use super::describe;
use crate::config::Delivered;
use crate::options::Options;
use crate::table::quoted;

/// Looks at the file and its tables.
pub(crate) fn check(file: &File, options: &Options, findings: &mut Findings) {
    let connection = match file.read() {
        Ok(connection) => connection,
        Err(error) => return findings.fail(&error),
    };
    findings.ok("polling.connect", format!("SQLite {}, {}", rusqlite::version(), file.path().display()));
    journal(&connection, findings);
    if options.delivered != Delivered::Keep
        && let Err(error) = file.write()
    {
        findings.fail(&error);
    }
    match describe::tables(&connection, file, options) {
        Err(error) => findings.fail(&error),
        Ok(tables) => tables.iter().for_each(|t| table(t, findings)),
    }
}

fn journal(connection: &Connection, findings: &mut Findings) {
    let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
    match mode {
        Ok(mode) if mode.eq_ignore_ascii_case("wal") => findings.ok("polling.journal", "write-ahead log"),
        Ok(mode) => findings.warn(
            "polling.journal",
            format!("the journal mode is \"{mode}\": the application's commits wait while a page is read"),
            ["PRAGMA journal_mode = WAL;   -- once; the file remembers it"],
        ),
        Err(error) => findings.warn("polling.journal", error.to_string(), ["PRAGMA journal_mode;"]),
    }
}

fn table(described: &describe::Described, findings: &mut Findings) {
    let table = &described.table;
    findings.ok("polling.table", format!("{}, followed by {}", table.id, table.key.sql.trim_matches('"')));
    if let Some(mark) = table.mark.as_ref().filter(|_| !described.mark_indexed) {
        findings.warn(
            "polling.index",
            format!(
                "{}: no index finds the rows that are not delivered, so each look reads the whole table",
                table.id
            ),
            [format!(
                "CREATE INDEX {} ON {} ({}) WHERE {};",
                quoted(&format!("{}_undelivered", described.name)),
                table.sql,
                table.key.sql,
                mark.undelivered(),
            )],
        );
    }
}
