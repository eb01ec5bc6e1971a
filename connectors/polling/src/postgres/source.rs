//! The source.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as SyncMutex, OnceLock, PoisonError};
use std::time::Duration;

use outflow_sdk::{
    BatchBuilder, BatchLimits, Error, Page, PartitionId, PollingSource, Position, Result, RowKeys,
    async_trait,
};
use tokio::sync::Mutex;

use super::address::Endpoint;
use super::describe::{self, Described};
use super::failure::boolean;
use super::follow::{Context, Follower};
use super::marked::Marked;
use super::notify;
use super::session::{Purpose, Session};
use super::writer::Writer;
use crate::config::Delivered;
use crate::in_flight::InFlight;
use crate::options::Options;
use crate::place::Place;

/// Tables of one PostgreSQL database.
#[derive(Debug)]
pub(crate) struct PostgresSource {
    endpoint: Endpoint,
    options: Options,
    opened: OnceLock<Opened>,
}

#[derive(Debug)]
struct Opened {
    order: Vec<PartitionId>,
    tables: HashMap<PartitionId, Followed>,
    reader: Session,
    writer: Option<Writer>,
    /// What holds up each table, and how long to wait for it.
    held: SyncMutex<HashMap<PartitionId, Held>>,
}

#[derive(Debug)]
struct Followed {
    in_flight: InFlight,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    described: Arc<Described>,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    Follow(Box<Follower>),
    Marks(Marked),
}

#[derive(Debug)]
struct Held {
    pause: Duration,
    text: Option<String>,
}

impl PostgresSource {
    pub(crate) fn new(endpoint: Endpoint, options: Options) -> Self {
        Self { endpoint, options, opened: OnceLock::new() }
    }

    fn opened(&self) -> Result<&Opened> {
        self.opened
            .get()
            .ok_or_else(|| Error::internal("polling.not_open").message("open was not called, or it failed"))
    }
}

/// Refuses a server on which nothing can be promised.
pub(super) async fn refuse_standby(session: &Session) -> Result<()> {
    let rows = session.query("SELECT pg_is_in_recovery()").await?;
    if rows.first().map_or(Ok(false), |row| boolean(row, 0))? {
        return Err(Error::transient("polling.standby")
            .message(format!(
                "{} is a standby: it tells neither who holds an id nor takes a mark",
                session.address()
            ))
            .hint("connect to the primary, for example with   ?target_session_attrs=read-write   in `url`"));
    }
    Ok(())
}

#[async_trait]
impl PollingSource for PostgresSource {
    fn tables(&self) -> Vec<PartitionId> {
        self.opened.get().map(|o| o.order.clone()).unwrap_or_default()
    }

    async fn open(&self, stop_at_current: bool) -> Result<()> {
        let reader = Session::connect(&self.endpoint, Purpose::Read).await?;
        refuse_standby(&reader).await?;
        let mut described = Vec::new();
        for relation in describe::relations(&reader, &self.options).await? {
            described.push(Arc::new(describe::describe(&reader, &self.options, &relation).await?));
        }
        notify::listen(&reader, described.iter().map(AsRef::as_ref)).await?;
        let delivered = self.options.delivered;
        let writer = match delivered {
            Delivered::Keep => None,
            Delivered::Mark | Delivered::Delete => {
                let session = Session::connect(&self.endpoint, Purpose::Write).await?;
                Some(Writer::new(session, delivered, &described))
            }
        };
        let order = described.iter().map(|d| d.table.id.clone()).collect();
        let mut tables = HashMap::new();
        for described in described {
            let progress = match delivered {
                Delivered::Keep => {
                    let mut follower = Follower::new();
                    if stop_at_current {
                        follower.set_target(&reader, &described).await?;
                    }
                    Progress::Follow(Box::new(follower))
                }
                Delivered::Mark | Delivered::Delete => Progress::Marks(Marked::default()),
            };
            let id = described.table.id.clone();
            let state = Mutex::new(State { described, progress });
            tables.insert(id, Followed { in_flight: InFlight::default(), state });
        }
        self.opened
            .set(Opened { order, tables, reader, writer, held: SyncMutex::default() })
            .map_err(|_| Error::internal("polling.open_twice"))
    }

    async fn poll(
        &self,
        table: &PartitionId,
        after: Option<&Position>,
        limits: BatchLimits,
        out: &mut BatchBuilder,
    ) -> Result<Page> {
        let opened = self.opened()?;
        let Some(followed) = opened.tables.get(table) else {
            return Err(Error::internal("polling.unknown_table").message(table.to_string()));
        };
        let mut state = followed.state.lock().await;
        let State { described, progress } = &mut *state;
        let mut cx =
            Context { session: &opened.reader, options: &self.options, described: Arc::clone(described) };
        let page = match progress {
            Progress::Follow(follower) => {
                let place = after.map(Place::read).transpose()?;
                let page = follower.poll(&mut cx, place, limits, out).await?;
                let held = follower
                    .pause()
                    .map(|pause| Held { pause, text: follower.obstacle().map(str::to_owned) });
                opened.hold(table, held);
                page
            }
            Progress::Marks(marked) => marked.poll(&mut cx, &followed.in_flight, limits, out).await?,
        };
        *described = cx.described;
        Ok(page)
    }

    async fn settle(&self, table: &PartitionId, rows: &RowKeys) -> Result<()> {
        let opened = self.opened()?;
        let Some((writer, followed)) = opened.writer.as_ref().zip(opened.tables.get(table)) else {
            return Ok(());
        };
        writer.settle(table, rows).await?;
        followed.in_flight.settled(rows);
        Ok(())
    }

    async fn wait(&self, at_most: Duration) -> Result<()> {
        let opened = self.opened()?;
        let cleaning = opened.writer.as_ref().filter(|_| self.options.retention.is_some());
        tokio::select! {
            () = opened.reader.notified() => {}
            () = tokio::time::sleep(at_most.min(opened.pause())) => {}
            // A wake-up does not wait for it; the server finishes what it has begun.
            () = async { if let Some(writer) = cleaning { writer.clean().await } std::future::pending().await } => {}
        }
        Ok(())
    }

    fn obstacle(&self) -> Option<String> {
        let held = self.opened.get()?.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut texts: Vec<&str> = held.values().filter_map(|held| held.text.as_deref()).collect();
        texts.sort_unstable();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

impl Opened {
    fn hold(&self, table: &PartitionId, held: Option<Held>) {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held {
            Some(held) => all.insert(table.clone(), held),
            None => all.remove(table),
        };
    }

    /// How long to wait for open transactions before looking again.
    fn pause(&self) -> Duration {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.values().map(|held| held.pause).min().unwrap_or(Duration::MAX)
    }
}
