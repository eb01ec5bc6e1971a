//! Many shards at once, as a sharded stream has them: each a partition of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outflow_sdk::{
    BatchBuilder, Emitter, PartitionId, Position, Result, Source, SourceCapabilities, SourceContext,
    SourceKind, async_trait,
};
use tokio::sync::Notify;

use super::own_source;
use super::row::Row;

/// Shards of one stream. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct ShardTree {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    shards: Mutex<BTreeMap<String, Shard>>,
    appended: Notify,
}

#[derive(Debug, Default)]
struct Shard {
    rows: Vec<Row>,
    /// Read only when every row of the parents has been emitted.
    parents: Vec<String>,
    closed: bool,
}

impl ShardTree {
    /// No shards yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Shard>> {
        self.shared.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a row to a shard, which begins to be if it is not there.
    pub fn append(&self, shard: &str, row: Row) {
        self.lock().entry(shard.to_owned()).or_default().rows.push(row);
        self.shared.appended.notify_waiters();
    }

    /// Closes a shard and opens its children.
    pub fn split(&self, shard: &str, children: &[&str]) {
        let mut shards = self.lock();
        shards.entry(shard.to_owned()).or_default().closed = true;
        for child in children {
            shards.entry((*child).to_owned()).or_default().parents.push(shard.to_owned());
        }
        drop(shards);
        self.shared.appended.notify_waiters();
    }
}

own_source!(ShardTree, "memory-shards", SourceCapabilities::new().resume().updates(), |self| {
    SourceKind::Custom(Box::new(self.clone()))
});

#[async_trait]
impl Source for ShardTree {
    async fn run(self: Box<Self>, cx: SourceContext) -> Result<()> {
        cx.connected();
        let mut readers: BTreeMap<String, (Emitter, usize)> = BTreeMap::new();
        let mut builder = BatchBuilder::new();
        loop {
            let appended = self.shared.appended.notified();
            let mut appended = std::pin::pin!(appended);
            appended.as_mut().enable();
            let names: Vec<String> = self.lock().keys().cloned().collect();
            let mut moved = false;
            for name in names {
                let partition = PartitionId::new(name.as_str());
                if !readers.contains_key(&name) {
                    let resume = cx.checkpoint().position(&partition).and_then(|p| p.as_str().parse().ok());
                    readers.insert(name.clone(), (cx.emitter(partition.clone()), resume.unwrap_or(0)));
                }
                let at = readers.get(&name).map_or(0, |r| r.1);
                let next = {
                    let shards = self.lock();
                    let drained = |parent: &String| {
                        let read = readers.get(parent).map_or(0, |r| r.1);
                        shards.get(parent).is_none_or(|p| p.closed && read >= p.rows.len())
                    };
                    let shard = shards.get(&name);
                    shard.filter(|s| s.parents.iter().all(drained)).and_then(|s| s.rows.get(at).cloned())
                };
                let (Some(row), Some((emitter, at))) = (next, readers.get_mut(&name)) else { continue };
                builder.origin(&name);
                row.write(&mut builder, None, *at as u64)?;
                let permit = emitter.ready().await?;
                *at += 1;
                permit.send(builder.finish(partition, Some(Position::token(at.to_string()))));
                moved = true;
            }
            if !moved {
                appended.await;
            }
        }
    }
}
