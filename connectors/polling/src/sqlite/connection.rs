//! Connections to a file, and what their errors mean.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outflow_sdk::{Error, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// How long a statement waits for the application's locks. Then the runtime tries again.
const BUSY: Duration = Duration::from_secs(5);
/// Each connection's page cache; rows are read once, so a large one would only cost memory.
const CACHE_KIB: u32 = 512;

/// A database file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    path: PathBuf,
}

impl File {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file's name, which stands for the database.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    /// Opens it for reading.
    pub(crate) fn read(&self) -> Result<Connection> {
        let connection = self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.pragma_update(None, "query_only", true).map_err(|e| self.failed(e))?;
        Ok(connection)
    }

    /// Opens it for marking rows; each commit is on disk when it returns.
    pub(crate) fn write(&self) -> Result<Connection> {
        let connection = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(|e| self.failed(e))?;
        if connection.is_readonly(rusqlite::MAIN_DB).map_err(|e| self.failed(e))? {
            return Err(self.not_writable());
        }
        Ok(connection)
    }

    fn open(&self, flags: OpenFlags) -> Result<Connection> {
        match self.path.metadata() {
            Ok(meta) if meta.is_dir() => {
                return Err(Error::permanent("polling.database_missing")
                    .message(format!("{} is a folder, not a SQLite database", self.path.display()))
                    .hint("correct `url`"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::permanent("polling.database_missing")
                    .message(format!("there is no file {}", self.path.display()))
                    .hint("create the database first, or correct `url` (relative paths start at the pipeline file)"));
            }
            _ => {}
        }
        let connect = || {
            let connection =
                Connection::open_with_flags(&self.path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "cache_size", -i64::from(CACHE_KIB))?;
            // The first statement that reads: finds out whether this is a database.
            connection.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0))?;
            Ok(connection)
        };
        connect().map_err(|e| self.failed(e))
    }

    fn not_writable(&self) -> Error {
        Error::permanent("polling.not_permitted")
            .message(format!(
                "{} cannot be written, and delivered rows are to be marked there",
                self.path.display()
            ))
            .hint("let this user write the file and its folder, or use   delivered: keep")
    }

    /// Says what an error of SQLite's means here.
    pub(crate) fn failed(&self, error: rusqlite::Error) -> Error {
        let name = self.path.display();
        let of = |error: Error, message: &dyn Display| error.message(message.to_string());
        let base = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => of(
                Error::transient("polling.locked"),
                &format_args!("{name} has been locked by another program for {} s", BUSY.as_secs()),
            ),
            Some(ErrorCode::ReadOnly) => return self.not_writable(),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => of(
                Error::permanent("polling.not_permitted")
                    .hint("let this user read the file and, with write-ahead logging, write its folder"),
                &format_args!("{name} cannot be opened"),
            ),
            Some(ErrorCode::NotADatabase) => of(
                Error::permanent("polling.not_a_database").hint("correct `url`"),
                &format_args!("{name} is no SQLite database, or it is encrypted"),
            ),
            Some(ErrorCode::DatabaseCorrupt) => of(
                Error::permanent("polling.database_corrupt").hint("PRAGMA integrity_check;"),
                &format_args!("{name} is damaged"),
            ),
            Some(
                ErrorCode::SchemaChanged
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory,
            ) => of(Error::transient("polling.unreachable"), &name),
            _ => of(Error::permanent("polling.query"), &name),
        };
        base.caused_by(error)
    }

    /// The path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
