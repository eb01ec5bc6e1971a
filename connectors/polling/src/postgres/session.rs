//! A connection: text queries, bounded in time, and the notifications that come in between.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use outflow_sdk::{Error, Result};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{
    AsyncMessage, Client, Connection, SimpleQueryMessage, SimpleQueryRow, SimpleQueryStream, Socket,
};

use super::address::{Address, Endpoint};
use super::failure::failed;
use super::pg_text;

/// How long an answer may take. The server gives up before we do; this is for a server that is gone.
const ANSWER: Duration = Duration::from_secs(45);
/// Invariant 11: nothing of ours runs or waits for long on the server, and no path of the session decides what a
/// name means. Plans keep to the order of the index: with LIMIT, the statistics of a table that is filled and
/// emptied all day mislead the planner into sorting it whole.
const SETTINGS: &str = "SET statement_timeout = '30s'; SET lock_timeout = '5s'; \
     SET idle_in_transaction_session_timeout = '30s'; SET search_path = ''; SET standard_conforming_strings = on; \
     SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off";

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
}

/// A connection to the server.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    task: JoinHandle<()>,
    shared: Arc<Shared>,
}

/// What the connection's task tells the session.
#[derive(Debug)]
struct Shared {
    address: Arc<Address>,
    notified: Notify,
    /// Why the connection ended.
    end: Mutex<Option<Error>>,
}

impl Session {
    pub(super) async fn connect(endpoint: &Endpoint, purpose: Purpose) -> Result<Self> {
        let connected = endpoint.config.connect(endpoint.tls.clone()).await;
        let (client, connection) = connected.map_err(|e| failed(&endpoint.address, e))?;
        let shared = Arc::new(Shared {
            address: Arc::clone(&endpoint.address),
            notified: Notify::new(),
            end: Mutex::default(),
        });
        let task = tokio::spawn(drive(connection, Arc::clone(&shared)));
        let session = Self { client, task, shared };
        let own = match purpose {
            Purpose::Read => "SET default_transaction_read_only = on",
            // What is marked must be on disk when the mark is reported (invariant 1). Stronger settings stay.
            Purpose::Write => {
                "SELECT pg_catalog.set_config('synchronous_commit', 'on', false) \
                 WHERE pg_catalog.current_setting('synchronous_commit') = 'off'"
            }
        };
        session.execute(&format!("{}; {SETTINGS}; {own}", pg_text::SESSION_SETTINGS)).await?;
        Ok(session)
    }

    /// The address.
    pub(super) fn address(&self) -> &Address {
        &self.shared.address
    }

    /// Waits for a notification since the last one that was waited for. Cancel-safe.
    pub(super) async fn notified(&self) {
        self.shared.notified.notified().await;
    }

    /// Runs statements, one after the other, for their effect; the number of rows of all of them.
    pub(super) async fn execute(&self, statements: &str) -> Result<u64> {
        let run = async {
            let mut rows = 0;
            let mut stream = self.stream(statements).await?;
            while let Some(message) = stream.next().await {
                if let SimpleQueryMessage::CommandComplete(n) = message.map_err(|e| self.broken(e))? {
                    rows += n;
                }
            }
            Ok(rows)
        };
        self.timed(run).await
    }

    /// The rows of a query that has few.
    pub(super) async fn query(&self, query: &str) -> Result<Vec<SimpleQueryRow>> {
        let run = async {
            let mut rows = Vec::new();
            let mut stream = self.stream(query).await?;
            while let Some(message) = stream.next().await {
                if let SimpleQueryMessage::Row(row) = message.map_err(|e| self.broken(e))? {
                    rows.push(row);
                }
            }
            Ok(rows)
        };
        self.timed(run).await
    }

    /// The messages that answer a query. To be read within [`timed`](Self::timed).
    pub(super) async fn stream(&self, query: &str) -> Result<std::pin::Pin<Box<SimpleQueryStream>>> {
        self.client.simple_query_raw(query).await.map(Box::pin).map_err(|e| self.broken(e))
    }

    /// Gives up on a server that does not answer.
    pub(super) async fn timed<T>(&self, run: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(ANSWER, run).await.unwrap_or_else(|_| {
            Err(Error::transient("polling.unreachable").message(format!(
                "{} has not answered for {} s",
                self.shared.address,
                ANSWER.as_secs()
            )))
        })
    }

    /// An error of a statement; the reason why the connection ended, if it did.
    pub(super) fn broken(&self, error: tokio_postgres::Error) -> Error {
        let end = self.shared.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        match end {
            Some(end) if error.as_db_error().is_none() => end,
            _ => failed(&self.shared.address, error),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Closes the socket.
        self.task.abort();
    }
}

/// Moves the bytes of a connection, and hears notifications.
async fn drive<T: TlsStream + Unpin>(mut connection: Connection<Socket, T>, shared: Arc<Shared>) {
    let end = loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(_))) => shared.notified.notify_one(),
            Some(Ok(_)) => {}
            Some(Err(error)) => break failed(&shared.address, error),
            None => {
                break Error::transient("polling.unreachable")
                    .message(format!("{} closed the connection", shared.address));
            }
        }
    };
    *shared.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    // Whoever waits for a notification learns of the end by its next statement.
    shared.notified.notify_one();
}
