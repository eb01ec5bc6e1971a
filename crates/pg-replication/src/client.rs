//! A connection in replication mode, before it streams.

use std::collections::HashMap;
use std::fmt::Write as _;

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use crate::auth::{Session, unexpected, unsendable};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result, ServerError};
use crate::feedback::{self, Feedback};
use crate::lsn::Lsn;
use crate::reader::Reader;

/// A connection in replication mode (`replication=database`): it takes replication commands and, in simple form, SQL.
pub struct Client {
    session: Session,
    config: Config,
}

/// A row of a command's answer: text by column name, `None` for NULL.
pub type Row = HashMap<String, Option<String>>;

/// What `IDENTIFY_SYSTEM` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// The cluster's identifier, the same on its standbys.
    pub id: String,
    /// The current timeline.
    pub timeline: u32,
    /// The end of the log that is flushed.
    pub end: Lsn,
    /// The database of this connection.
    pub database: Option<String>,
}

/// What a new slot does about the data that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export {
    /// A snapshot of the slot's beginning, which other sessions can import while this connection runs no other command.
    Snapshot,
    /// Nothing.
    Nothing,
}

/// A slot that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedSlot {
    /// Its name.
    pub name: String,
    /// From here on transactions are streamed whole.
    pub consistent_point: Lsn,
    /// The snapshot's name for `SET TRANSACTION SNAPSHOT`.
    pub snapshot: Option<String>,
}

impl Client {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Of kind `Connection`, `Tls`, `Authentication`, `Server` or `Timeout`.
    pub async fn connect(config: &Config) -> Result<Self> {
        let start = tokio::time::timeout(config.connect_timeout, Session::start(config));
        let session = start.await.map_err(|_| {
            let limit = config.connect_timeout;
            Error::new(ErrorKind::Timeout, format!("{} was not ready within {limit:?}", config.host))
        })??;
        Ok(Self { session, config: config.clone() })
    }

    /// A setting that the server told at start-up, such as `server_version`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.session.parameters.get(name).map(String::as_str)
    }

    /// The server process, as `pg_stat_activity` shows it.
    pub fn process(&self) -> i32 {
        self.session.process
    }

    /// Runs a command and gives its rows. Several commands in one text give the rows of all.
    ///
    /// # Errors
    /// Of kind `Server` where it was refused; the connection can still be used then.
    pub async fn query(&mut self, command: &str) -> Result<Vec<Row>> {
        let mut message = BytesMut::new();
        frontend::query(command, &mut message).map_err(unsendable)?;
        self.session.send(&message).await?;
        let (mut names, mut rows, mut refused) = (Vec::new(), Vec::new(), None);
        loop {
            match self.session.receive().await {
                Ok((b'T', body)) => names = columns(&body)?,
                Ok((b'D', body)) => rows.push(row(&names, &body)?),
                Ok((b'C' | b'I', _)) => {}
                Ok((b'Z', _)) => return refused.map_or(Ok(rows), Err),
                Ok((tag, _)) => return Err(unexpected(tag, "a command")),
                // Whatever the server says to it, it says next that it is ready again, unless it goes away.
                Err(error) if error.server().is_some_and(|s: &ServerError| s.severity == "ERROR") => {
                    refused = Some(error);
                }
                Err(error) => return Err(refused.unwrap_or(error)),
            }
        }
    }

    async fn one(&mut self, command: &str) -> Result<Row> {
        let row = self.query(command).await?.into_iter().next();
        row.ok_or_else(|| Error::protocol(format!("no answer to {command}")))
    }

    /// Which cluster this is, and how far its log is.
    pub async fn identify_system(&mut self) -> Result<System> {
        let mut row = self.one("IDENTIFY_SYSTEM").await?;
        Ok(System {
            id: take(&mut row, "systemid")?,
            timeline: number(&take(&mut row, "timeline")?)?,
            end: take(&mut row, "xlogpos")?.parse()?,
            database: row.remove("dbname").flatten(),
        })
    }

    /// Creates a logical slot. Waits for the transactions that are open on the server.
    pub async fn create_slot(
        &mut self,
        name: &str,
        plugin: &str,
        temporary: bool,
        export: Export,
    ) -> Result<CreatedSlot> {
        let temporary = if temporary { " TEMPORARY" } else { "" };
        let export = match export {
            Export::Snapshot => "EXPORT_SNAPSHOT",
            Export::Nothing => "NOEXPORT_SNAPSHOT",
        };
        // The form that all versions from 10 on take.
        let command = format!(
            "CREATE_REPLICATION_SLOT {}{temporary} LOGICAL {} {export}",
            identifier(name),
            identifier(plugin)
        );
        let mut row = self.one(&command).await?;
        Ok(CreatedSlot {
            name: take(&mut row, "slot_name")?,
            consistent_point: take(&mut row, "consistent_point")?.parse()?,
            snapshot: row.remove("snapshot_name").flatten(),
        })
    }

    /// Drops a slot; with `wait`, once nobody uses it any more.
    pub async fn drop_slot(&mut self, name: &str, wait: bool) -> Result<()> {
        let wait = if wait { " WAIT" } else { "" };
        self.query(&format!("DROP_REPLICATION_SLOT {}{wait}", identifier(name))).await.map(drop)
    }

    /// Streams a slot from `from`, or from where the slot is if that is later: **the server skips in silence** what was
    /// confirmed before. `options` are the output plug-in's.
    ///
    /// # Errors
    /// Of kind `Server` where the slot cannot be used: it is gone, in use, of another database or invalid.
    pub async fn start_logical(
        mut self,
        slot: &str,
        from: Lsn,
        options: &[(&str, &str)],
    ) -> Result<(Reader, Feedback)> {
        let mut command = format!("START_REPLICATION SLOT {} LOGICAL {from}", identifier(slot));
        for (n, (name, value)) in options.iter().enumerate() {
            let before = if n == 0 { " (" } else { ", " };
            let _ = write!(command, "{before}{} '{}'", identifier(name), value.replace('\'', "''"));
        }
        if !options.is_empty() {
            command.push(')');
        }
        let mut message = BytesMut::new();
        frontend::query(&command, &mut message).map_err(unsendable)?;
        self.session.send(&message).await?;
        match self.session.receive().await? {
            (b'W', _) => {}
            (tag, _) => return Err(unexpected(tag, "the start of the stream")),
        }
        let (read, write) = tokio::io::split(self.session.socket);
        let feedback = feedback::start(write, self.config.status_interval, from);
        Ok((Reader::new(read, self.session.frames, feedback.clone()), feedback))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("config", &self.config).finish_non_exhaustive()
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn take(row: &mut Row, column: &str) -> Result<String> {
    row.remove(column).flatten().ok_or_else(|| Error::protocol(format!("an answer without {column}")))
}

fn number(text: &str) -> Result<u32> {
    text.parse().map_err(|_| Error::protocol(format!("not a number: {text:?}")))
}

/// The names in a RowDescription.
fn columns(body: &[u8]) -> Result<Vec<String>> {
    let short = || Error::protocol("a description of columns is cut short");
    let (count, mut rest) = body.split_first_chunk().ok_or_else(short)?;
    let mut names = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let end = rest.iter().position(|byte| *byte == 0).ok_or_else(short)?;
        let (name, after) = rest.split_at(end);
        names.push(String::from_utf8_lossy(name).into_owned());
        // The zero, and what is said of the column: table, number, type, size, modifier, format.
        rest = after.get(1 + 18..).ok_or_else(short)?;
    }
    Ok(names)
}

/// The values in a DataRow.
fn row(names: &[String], body: &[u8]) -> Result<Row> {
    let short = || Error::protocol("a row is cut short");
    let (count, mut rest) = body.split_first_chunk().ok_or_else(short)?;
    let mut row = Row::new();
    for index in 0..usize::from(u16::from_be_bytes(*count)) {
        let (length, after) = rest.split_first_chunk().ok_or_else(short)?;
        // Minus one is NULL.
        let value = match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) => Some(after.split_at_checked(length).ok_or_else(short)?),
            Err(_) => None,
        };
        rest = value.map_or(after, |(_, rest)| rest);
        let name = names.get(index).ok_or_else(|| Error::protocol("a row with more values than columns"))?;
        row.insert(name.clone(), value.map(|(text, _)| String::from_utf8_lossy(text).into_owned()));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_is_an_error_and_never_a_panic() {
        let description = [&[0, 1][..], b"name\0", &[0; 18]].concat();
        let data = [&[0, 1][..], &[0, 0, 0, 3], b"abc"].concat();
        assert_eq!(columns(&description).unwrap(), ["name"]);
        let names = ["name".to_owned()];
        assert_eq!(row(&names, &data).unwrap()["name"].as_deref(), Some("abc"));
        assert_eq!(row(&names, &[0, 1, 255, 255, 255, 255]).unwrap()["name"], None);
        (0..description.len()).for_each(|end| drop(columns(&description[..end]).unwrap_err()));
        (0..data.len()).for_each(|end| drop(row(&names, &data[..end]).unwrap_err()));
        assert!(row(&[], &data).is_err());
    }
}
