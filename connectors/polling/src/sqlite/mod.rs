//! SQLite. Reads on one connection, watches for commits on a second, and marks or deletes on a third.

mod check;
mod connection;
mod describe;
mod reader;
mod values;
mod watcher;
mod writer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use outflow_sdk::{
    BatchBuilder, BatchLimits, Error, Page, PartitionId, PollingSource, Position, Result, RowKeys,
    async_trait,
};

use crate::config::Delivered;
use crate::in_flight::InFlight;
use crate::options::Options;
use crate::place::Place;
use reader::Reader;
use watcher::Watcher;
use writer::Writer;

pub(crate) use check::check;
pub(crate) use connection::File;

/// Tables of one SQLite file.
#[derive(Debug)]
pub(crate) struct SqliteSource {
    file: File,
    options: Options,
    opened: OnceLock<Opened>,
}

#[derive(Debug)]
struct Opened {
    tables: Vec<PartitionId>,
    in_flight: HashMap<PartitionId, Arc<InFlight>>,
    reader: Arc<Mutex<Reader>>,
    writer: Option<Arc<Mutex<Writer>>>,
    watcher: Watcher,
}

impl SqliteSource {
    pub(crate) fn new(file: File, options: Options) -> Self {
        Self { file, options, opened: OnceLock::new() }
    }

    fn opened(&self) -> Result<&Opened> {
        self.opened
            .get()
            .ok_or_else(|| Error::internal("polling.not_open").message("open was not called, or it failed"))
    }
}

/// Runs what may wait for the disk or a lock on a thread for such work.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::transient("polling.stopped").message("the runtime is shutting down")),
        },
    }
}

#[async_trait]
impl PollingSource for SqliteSource {
    fn tables(&self) -> Vec<PartitionId> {
        self.opened.get().map(|o| o.tables.clone()).unwrap_or_default()
    }

    async fn open(&self, stop_at_current: bool) -> Result<()> {
        let (file, options) = (self.file.clone(), self.options.clone());
        let opened = blocking(move || {
            let watcher = Watcher::new(file.read()?)?;
            let reader = Reader::open(&file, &options, stop_at_current)?;
            let writer = match options.delivered {
                Delivered::Keep => None,
                _ => Some(Arc::new(Mutex::new(Writer::open(&file, &options, reader.tables())?))),
            };
            let tables: Vec<PartitionId> = reader.tables().iter().map(|t| t.id.clone()).collect();
            let in_flight = tables.iter().map(|t| (t.clone(), Arc::default())).collect();
            Ok(Opened { tables, in_flight, reader: Arc::new(Mutex::new(reader)), writer, watcher })
        });
        self.opened.set(opened.await?).map_err(|_| Error::internal("polling.open_twice"))
    }

    async fn poll(
        &self,
        table: &PartitionId,
        after: Option<&Position>,
        limits: BatchLimits,
        out: &mut BatchBuilder,
    ) -> Result<Page> {
        let opened = self.opened()?;
        opened.watcher.note();
        let place = match self.options.delivered {
            Delivered::Keep => after.map(Place::read).transpose()?,
            _ => None,
        };
        let (reader, table) = (Arc::clone(&opened.reader), table.clone());
        let in_flight = opened.in_flight.get(&table).cloned().unwrap_or_default();
        let mut builder = std::mem::take(out);
        let (builder, page) = blocking(move || {
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            let page = match reader.delivered() {
                Delivered::Keep => reader.page_after(&table, place, limits, &mut builder),
                _ => reader.undelivered(&table, &in_flight, limits, &mut builder),
            };
            page.map(|page| (builder, page))
        })
        .await?;
        *out = builder;
        Ok(page)
    }

    async fn settle(&self, table: &PartitionId, rows: &RowKeys) -> Result<()> {
        let opened = self.opened()?;
        let Some(writer) = opened.writer.clone() else { return Ok(()) };
        let (table, keys) = (table.clone(), rows.clone());
        let in_flight = opened.in_flight.get(&table).cloned().unwrap_or_default();
        blocking(move || {
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.settle(&table, &keys)?;
            in_flight.settled(&keys);
            Ok(())
        })
        .await
    }

    async fn wait(&self, at_most: Duration) -> Result<()> {
        let opened = self.opened()?;
        if let Some(writer) = opened.writer.clone().filter(|_| self.options.retention.is_some()) {
            blocking(move || {
                writer.lock().unwrap_or_else(PoisonError::into_inner).clean();
                Ok(())
            })
            .await?;
        }
        opened.watcher.wait(at_most).await;
        Ok(())
    }
}
