//! A table whose rows carry a mark: progress without positions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outflow_sdk::{
    BatchBuilder, BatchLimits, Page, PartitionId, PollingSource, Position, Result, RowKeys,
    SourceCapabilities, SourceKind, async_trait,
};
use tokio::sync::Notify;

use super::own_source;
use super::row::Row;

/// A table that tests insert into and a pipeline polls. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MarkedTable {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    inserted: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    rows: BTreeMap<i64, Row>,
    marked: BTreeSet<i64>,
    in_flight: BTreeSet<i64>,
    target: Option<BTreeSet<i64>>,
}

impl MarkedTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Inserts a row under an id of the test's choice: lower ids may come later.
    pub fn insert(&self, id: i64, row: Row) {
        self.lock().rows.insert(id, row);
        self.shared.inserted.notify_one();
    }

    /// The ids that are marked.
    pub fn marked(&self) -> BTreeSet<i64> {
        self.lock().marked.clone()
    }
}

own_source!(
    MarkedTable,
    "memory-marked",
    SourceCapabilities::new().resume().marks().stop_at_current(),
    |self| {
        // A new reader knows nothing of what an earlier one had in flight.
        self.lock().in_flight.clear();
        SourceKind::Polling(Box::new(self.clone()))
    }
);

#[async_trait]
impl PollingSource for MarkedTable {
    fn tables(&self) -> Vec<PartitionId> {
        vec!["rows".into()]
    }

    async fn open(&self, stop_at_current: bool) -> Result<()> {
        let mut inner = self.lock();
        inner.target = stop_at_current.then(|| inner.rows.keys().copied().collect());
        Ok(())
    }

    async fn poll(
        &self,
        _: &PartitionId,
        _: Option<&Position>,
        limits: BatchLimits,
        out: &mut BatchBuilder,
    ) -> Result<Page> {
        let mut inner = self.lock();
        let mut keys = Vec::new();
        out.origin("rows");
        let Inner { rows, marked, in_flight, target } = &mut *inner;
        for (id, row) in rows.iter().filter(|(id, _)| !marked.contains(id)) {
            if limits.reached(out) {
                break;
            }
            if in_flight.insert(*id) {
                row.write(out, None, id.unsigned_abs())?;
                keys.push(*id);
            }
        }
        let more = rows.keys().any(|id| !marked.contains(id) && !in_flight.contains(id));
        let returned = |id: &i64| marked.contains(id) || in_flight.contains(id);
        let reached_target = target.as_ref().is_some_and(|t| t.iter().all(returned));
        Ok(Page { end: None, rows: RowKeys::Integers(keys), more, reached_target })
    }

    async fn settle(&self, _: &PartitionId, rows: &RowKeys) -> Result<()> {
        let mut inner = self.lock();
        if let RowKeys::Integers(ids) = rows {
            for id in ids {
                inner.in_flight.remove(id);
                inner.marked.insert(*id);
            }
        }
        Ok(())
    }

    async fn wait(&self, at_most: Duration) -> Result<()> {
        let _ = tokio::time::timeout(at_most, self.shared.inserted.notified()).await;
        Ok(())
    }
}
