//! The driver of the log family: joins what is there to what follows, keeps order and releases.

mod backfill;
mod changed;
mod plan;
mod snapshot;
mod stream;

use std::sync::Arc;

use async_trait::async_trait;
use outflow_sdk::{
    BatchBuilder, Control, Error, ErrorKind, Position, Released, Result, SnapshotMode, Source, SourceContext,
    WalSource,
};

use crate::probe;
use plan::Plan;

/// A [`WalSource`] as a [`Source`].
pub(crate) struct LogDriver(pub(crate) Box<dyn WalSource>);

#[async_trait]
impl Source for LogDriver {
    async fn run(self: Box<Self>, cx: SourceContext) -> Result<()> {
        let source = &*self.0;
        let mut released = cx.released();
        let mut control = std::pin::pin!(cx.control());
        let work = follow(source, &cx);
        let mut work = std::pin::pin!(work);
        let mut working = true;
        loop {
            tokio::select! {
                biased;
                Control::Stop = &mut control => {
                    // Every release has been published before the order to stop: apply what is left, then go.
                    while let Some(position) = next_now(&mut released, source).await {
                        release(source, &position).await;
                    }
                    return source.close().await;
                }
                position = next_release(&mut released, source) => release(source, &position).await,
                result = &mut work, if working => {
                    result?;
                    working = false;
                    cx.finished();
                }
            }
        }
    }
}

/// The next position that is stored, so that the server may forget what lies before it (invariant 1). Cancel-safe.
async fn next_release(released: &mut Released, source: &dyn WalSource) -> Position {
    loop {
        let release = released.next().await;
        if let Some(position) = release.position.filter(|_| release.partition == source.partition()) {
            return position;
        }
    }
}

async fn next_now(released: &mut Released, source: &dyn WalSource) -> Option<Position> {
    tokio::select! {
        biased;
        position = next_release(released, source) => Some(position),
        () = std::future::ready(()) => None,
    }
}

async fn release(source: &dyn WalSource, position: &Position) {
    let _probe = probe::enter(probe::Phase::Release).await;
    source.release(position);
}

/// Reads what is there, if need be, and then the log, until there is nothing more to come.
async fn follow(source: &dyn WalSource, cx: &SourceContext) -> Result<()> {
    let policy = source.policy();
    let server = source.identify().await?;
    match resume(source, cx, &server).await {
        Ok(Some((reader, position))) => {
            let plan = Plan::stored(cx.checkpoint())?;
            if policy.snapshot == SnapshotMode::InitialOnly && plan.is_done() {
                return Ok(());
            }
            stream::run(source, cx, reader, position, plan).await
        }
        Ok(None) => begin(source, cx, server, false).await,
        Err(error) if error.kind() == ErrorKind::Position && policy.resnapshot => {
            tracing::warn!(code = error.code(), "beginning anew, as on_lost_position says: {error}");
            begin(source, cx, server, true).await
        }
        Err(error) => Err(error),
    }
}

/// Opens the log where the checkpoint says; `None` on a first start.
async fn resume(
    source: &dyn WalSource,
    cx: &SourceContext,
    server: &str,
) -> Result<Option<(Box<dyn outflow_sdk::LogReader>, Position)>> {
    let known = cx.checkpoint().state(plan::SERVER);
    if let Some(known) = known.filter(|known| *known != server) {
        return Err(other_server(known, server));
    }
    let Some(position) = cx.checkpoint().position(&source.partition()) else { return Ok(None) };
    let reader = source.open(position, cx.checkpoint()).await?;
    Ok(Some((reader, position.clone())))
}

/// A first start, or a new one: the log is kept from here on, what is there is read, and then what follows.
async fn begin(source: &dyn WalSource, cx: &SourceContext, server: String, again: bool) -> Result<()> {
    let policy = source.policy();
    let reads = policy.snapshot != SnapshotMode::Never;
    let beginning = source.begin(reads, again).await?;
    let mut plan = Plan::default();
    if reads {
        let snapshot = match &beginning.pinned {
            Some(pinned) => Arc::clone(pinned),
            None => source.snapshot().await?,
        };
        plan = Plan::new(snapshot.plan().await?);
    }
    // Stored before the first row is delivered: after a crash the log goes on from this beginning. From a later one it
    // would not tell of rows that were delivered and have been deleted since.
    let mut builder = BatchBuilder::new();
    plan.store(cx.checkpoint(), builder.state(), &server)?;
    let mut stored = cx.released();
    let mut emitter = cx.emitter(source.partition());
    let first =
        emitter.ready().await?.send(builder.finish(source.partition(), Some(beginning.position.clone())));
    cx.connected();
    while stored.next().await.seq < first {}
    if let Some(pinned) = beginning.pinned {
        snapshot::run(source, cx, &pinned, &beginning.position, plan.take()).await?;
        pinned.close().await?;
    }
    if policy.snapshot == SnapshotMode::InitialOnly && plan.is_done() {
        return Ok(());
    }
    let reader = source.open(&beginning.position, cx.checkpoint()).await?;
    stream::run(source, cx, reader, beginning.position, plan).await
}

fn other_server(known: &str, found: &str) -> Error {
    Error::permanent("log.other_server")
        .kind_of(ErrorKind::Position)
        .message(format!("the checkpoint belongs to {known}, and this is {found}"))
        .hint(
            "correct `url`; if the server was replaced on purpose:  outflow position reset  , or  on_lost_position: \
             resnapshot",
        )
}
