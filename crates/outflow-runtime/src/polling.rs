//! The driver of the polling family: pages, waits, keeps order and settles.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use outflow_sdk::{
    BatchBuilder, Control, Emitter, Error, PartitionId, PollingSource, Position, Release, Result, RowKeys,
    Seq, Source, SourceContext,
};

use crate::probe;

/// A [`PollingSource`] as a [`Source`].
pub(crate) struct PollingDriver(pub(crate) Box<dyn PollingSource>);

/// One table.
struct Table {
    id: PartitionId,
    emitter: Emitter,
    after: Option<Position>,
    reached_target: bool,
}

/// Rows that were emitted and await their mark, by table, in order of emission.
type Unsettled = Mutex<HashMap<PartitionId, VecDeque<(Seq, RowKeys)>>>;

/// The pause after a poll that found nothing, doubled until the longest.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

#[async_trait]
impl Source for PollingDriver {
    async fn run(self: Box<Self>, cx: SourceContext) -> Result<()> {
        let source = &*self.0;
        source.open(cx.stop_at_current()).await?;
        let unsettled = Unsettled::default();
        let mut released = cx.released();
        let mut control = std::pin::pin!(cx.control());
        let poll = poll_all(source, &cx, &unsettled);
        let mut poll = std::pin::pin!(poll);
        let mut polling = true;
        loop {
            tokio::select! {
                biased;
                result = &mut poll, if polling => {
                    result?;
                    polling = false;
                    cx.finished();
                }
                release = released.next() => settle(source, &unsettled, release).await?,
                Control::Stop = &mut control => {
                    // Every release has been published before the order to stop: apply what is left, then go.
                    while let Some(release) = next_now(&mut released).await {
                        settle(source, &unsettled, release).await?;
                    }
                    return Ok(());
                }
            }
        }
    }
}

/// The next release if there is one already.
async fn next_now(released: &mut outflow_sdk::Released) -> Option<Release> {
    tokio::select! {
        biased;
        release = released.next() => Some(release),
        () = std::future::ready(()) => None,
    }
}

/// Polls all tables in turn until everything up to the target has been emitted; for ever without a target.
async fn poll_all(source: &dyn PollingSource, cx: &SourceContext, unsettled: &Unsettled) -> Result<()> {
    let table = |id: PartitionId| Table {
        emitter: cx.emitter(id.clone()),
        after: cx.checkpoint().position(&id).cloned(),
        reached_target: false,
        id,
    };
    let mut tables: Vec<Table> = source.tables().into_iter().map(table).collect();
    if tables.is_empty() {
        return Err(Error::configuration("polling.no_tables").message("no table to poll"));
    }
    let mut builder = BatchBuilder::new();
    let mut pause = SHORTEST_WAIT;
    let mut obstacle = None;
    loop {
        let mut more = false;
        for table in &mut tables {
            more |= poll_table(source, cx, table, &mut builder, unsettled, &mut pause).await?;
        }
        // Not before each table has been read once: a missing grant is a failure to start.
        cx.connected();
        if cx.stop_at_current() && tables.iter().all(|t| t.reached_target) {
            return Ok(());
        }
        let now = source.obstacle();
        if now != obstacle {
            cx.note(now.clone());
            obstacle = now;
        }
        if !more {
            source.wait(pause).await?;
            pause = (pause * 2).min(LONGEST_WAIT);
        }
    }
}

/// Polls one table once; true when it has more right now.
async fn poll_table(
    source: &dyn PollingSource,
    cx: &SourceContext,
    table: &mut Table,
    builder: &mut BatchBuilder,
    unsettled: &Unsettled,
    pause: &mut Duration,
) -> Result<bool> {
    let permit = table.emitter.ready().await?;
    let page = source.poll(&table.id, table.after.as_ref(), cx.limits(), builder).await?;
    let moved = page.end.is_some() && page.end != table.after;
    if !builder.is_empty() || moved {
        *pause = SHORTEST_WAIT;
        let seq = permit.send(builder.finish(table.id.clone(), page.end.clone()));
        if !page.rows.is_empty() {
            let mut unsettled = unsettled.lock().unwrap_or_else(PoisonError::into_inner);
            unsettled.entry(table.id.clone()).or_default().push_back((seq, page.rows));
        }
    }
    table.after = page.end.or(table.after.take());
    table.reached_target |= page.reached_target;
    Ok(page.more)
}

/// Marks what has been released. Where progress is kept by marks, the mark is the checkpoint (invariant 1).
async fn settle(source: &dyn PollingSource, unsettled: &Unsettled, release: Release) -> Result<()> {
    let mut rows = RowKeys::default();
    let mut batches = 0;
    {
        let mut unsettled = unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = unsettled.get_mut(&release.partition) else { return Ok(()) };
        while let Some((_, keys)) = waiting.pop_front_if(|(seq, _)| *seq <= release.seq) {
            rows.append(keys);
            batches += 1;
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let _probe = probe::enter(probe::Phase::Release).await;
    source.settle(&release.partition, &rows).await?;
    probe::released(batches, rows.len());
    Ok(())
}
