//! A sink that is opened, written to and closed as a pipeline would.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use outflow_sdk::{
    Ack, BatchBuilder, BuildContext, ChangeBatch, Checkpoint, CheckpointDelta, Error, Format, Op, Outcome,
    Position, RecordBatch, RecordWriter, Result, Sink, SinkContext, SinkKind, SourceContext,
};
use tokio::time::{Instant, timeout};

use super::SinkFixture;
use super::acks::Acks;
use crate::conformance::change::Change;
use crate::conformance::verdict::Mismatch;

const MEMORY: usize = 16 << 20;

/// The pause before a transient error is tried again.
const RETRY: Duration = Duration::from_millis(20);

enum Outlet {
    Changes(Box<dyn Sink>),
    Records(Box<dyn Sink<RecordBatch>>, Box<dyn Format>),
}

/// A batch in the form that the sink takes.
enum Payload {
    Changes(Arc<ChangeBatch>),
    Records(Arc<RecordBatch>),
}

/// A batch that can be offered again and again.
pub(super) struct Offer(Payload);

/// A destination with the sink that is open on it.
pub(super) struct Bench<'f> {
    pub(super) fixture: &'f mut dyn SinkFixture,
    pub(super) acks: Acks,
    outlet: Option<Outlet>,
    batches: u64,
}

/// What `future` gives, unless it takes longer than `patience` or fails.
async fn in_time<T>(
    patience: Duration,
    what: &str,
    future: impl Future<Output = Result<T>>,
) -> Result<T, Mismatch> {
    match timeout(patience, future).await {
        Ok(result) => result.map_err(Mismatch::failed(what)),
        Err(_) => Err(Mismatch::new(format!("{what} within {patience:?}"), "it still waits")),
    }
}

impl<'f> Bench<'f> {
    pub(super) fn new(fixture: &'f mut dyn SinkFixture) -> Self {
        Self { fixture, acks: Acks::default(), outlet: None, batches: 0 }
    }

    /// Opens a sink, in place of the one that was open, which is dropped without a word.
    pub(super) async fn open(&mut self) -> Result<(), Mismatch> {
        self.outlet = None;
        let until = Instant::now() + self.fixture.patience();
        loop {
            match self.try_open().await {
                Ok(outlet) => {
                    self.outlet = Some(outlet);
                    return Ok(());
                }
                // As a pipeline does: a predecessor may need a moment to be gone.
                Err(error) if error.is_transient() && Instant::now() < until => {
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(Mismatch::failed("the sink opens")(error)),
            }
        }
    }

    async fn try_open(&mut self) -> Result<Outlet> {
        let sink = self.fixture.sink();
        let format = self.fixture.format();
        let build = BuildContext::new("conformance").has_format(sink.default_format().is_some());
        let mut outlet = match sink.build(&build).await? {
            SinkKind::Changes(sink) => Outlet::Changes(sink),
            SinkKind::Records(sink) => Outlet::Records(sink, format.build(&build)?),
            _ => {
                return Err(
                    Error::internal("conformance.sink_kind").message("a kind of sink that is not known")
                );
            }
        };
        let cx = SinkContext::new("conformance", Checkpoint::new(), MEMORY);
        match &mut outlet {
            Outlet::Changes(sink) => sink.open(cx).await?,
            Outlet::Records(sink, _) => sink.open(cx).await?,
        };
        Ok(outlet)
    }

    fn outlet(&mut self) -> Result<&mut Outlet, Mismatch> {
        self.outlet.as_mut().ok_or_else(|| Mismatch::new("an open sink", "none"))
    }

    /// Makes a batch of upserts, one a change.
    pub(super) async fn offer(&mut self, changes: &[Change]) -> Result<Offer, Mismatch> {
        self.batches += 1;
        let batch = self.batches;
        let build = || {
            let table = self.fixture.table();
            let mut builder = BatchBuilder::new();
            builder.origin("conformance");
            let schema = builder.schema(&table);
            let transaction = builder.transaction(&batch.to_string(), None);
            for (change, ordinal) in changes.iter().zip(0..) {
                let mut event =
                    builder.event(Op::Upsert).schema(schema).transaction(transaction).ordinal(ordinal);
                let mut row = event.after();
                self.fixture.row(change).iter().for_each(|value| row.owned(value));
                row.end()?;
                event.end();
            }
            let end = Position::token(batch.to_string());
            Ok(Arc::new(builder.finish(SourceContext::DEFAULT_PARTITION.into(), Some(end))))
        };
        let batch: Arc<ChangeBatch> =
            build().map_err(Mismatch::failed("the fixture's rows fit its table"))?;
        let payload = match self.outlet()? {
            Outlet::Changes(_) => Payload::Changes(batch),
            Outlet::Records(_, format) => {
                let encode = encode(&mut **format, batch).await;
                Payload::Records(encode.map_err(Mismatch::failed("the format encodes the rows"))?)
            }
        };
        Ok(Offer(payload))
    }

    /// Writes until the batch is taken; the number of its ack.
    pub(super) async fn write(&mut self, offer: &Offer) -> Result<u64, Mismatch> {
        let patience = self.fixture.patience();
        let until = Instant::now() + patience;
        loop {
            let (number, ack) = self.acks.arm();
            let outlet = self.outlet()?;
            let written = match timeout(patience, outlet.write(offer, ack)).await {
                Ok(written) => written,
                Err(_) => {
                    let expected = format!("a batch is taken within {patience:?}");
                    return Err(Mismatch::new(expected, "`write` still waits"));
                }
            };
            match written {
                Ok(()) => return Ok(number),
                Err(error) if error.is_transient() && Instant::now() < until => {
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(Mismatch::failed("a batch is taken")(error)),
            }
        }
    }

    /// Polls `write` so many times, then drops it. The number of the ack if it was done by then.
    pub(super) async fn write_and_drop(
        &mut self,
        offer: &Offer,
        polls: usize,
    ) -> Result<Option<u64>, Mismatch> {
        let patience = self.fixture.patience();
        let (number, ack) = self.acks.arm();
        let outlet = self.outlet()?;
        let mut write = Box::pin(outlet.write(offer, ack));
        let mut deadline = std::pin::pin!(tokio::time::sleep(patience));
        let mut polled = 0;
        let done = poll_fn(|cx| {
            if let Poll::Ready(result) = write.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            polled += 1;
            if polled >= polls { Poll::Ready(None) } else { deadline.as_mut().poll(cx).map(|()| None) }
        });
        // An error took nothing: the batch is offered again, as after a drop.
        Ok(matches!(done.await, Some(Ok(()))).then_some(number))
    }

    /// Waits until all that was taken is settled: acks resolved, and committed where the sink is transactional.
    pub(super) async fn flush(&mut self) -> Result<(), Mismatch> {
        let patience = self.fixture.patience();
        let transactional = self.fixture.sink().capabilities().transactional;
        let mut delta = CheckpointDelta::new();
        let end = Position::token(self.batches.to_string());
        delta.set_position(SourceContext::DEFAULT_PARTITION.into(), end);
        let outlet = self.outlet()?;
        in_time(patience, "`flush` returns", outlet.flush()).await?;
        if transactional {
            in_time(patience, "`commit` returns", outlet.commit(&delta)).await?;
        }
        Ok(())
    }

    /// Closes in order.
    pub(super) async fn close(&mut self) -> Result<(), Mismatch> {
        let patience = self.fixture.patience();
        match self.outlet.take() {
            Some(Outlet::Changes(sink)) => in_time(patience, "`close` returns", sink.close()).await,
            Some(Outlet::Records(sink, _)) => in_time(patience, "`close` returns", sink.close()).await,
            None => Ok(()),
        }
    }

    /// Lets go of the sink as a crash would.
    pub(super) fn drop_sink(&mut self) {
        self.outlet = None;
    }

    /// The batch is durable.
    pub(super) fn expect_durable(&self, ack: u64) -> Result<(), Mismatch> {
        let expected = "an ack that says durable";
        match self.acks.take(ack) {
            Some(Outcome::Durable) => Ok(()),
            Some(outcome) => Err(Mismatch::new(expected, format!("{outcome:?}"))),
            None => Err(Mismatch::new(expected, "the ack is not resolved after a flush")),
        }
    }
}

impl Outlet {
    async fn write(&mut self, offer: &Offer, ack: Ack) -> Result<()> {
        match (self, &offer.0) {
            (Self::Changes(sink), Payload::Changes(batch)) => sink.write(batch, ack).await,
            (Self::Records(sink, _), Payload::Records(batch)) => sink.write(batch, ack).await,
            _ => Err(Error::internal("conformance.payload").message("the sink has changed its kind")),
        }
    }

    async fn flush(&mut self) -> Result<()> {
        match self {
            Self::Changes(sink) => sink.flush().await,
            Self::Records(sink, _) => sink.flush().await,
        }
    }

    async fn commit(&mut self, delta: &CheckpointDelta) -> Result<()> {
        match self {
            Self::Changes(sink) => sink.commit(delta).await,
            Self::Records(sink, _) => sink.commit(delta).await,
        }
    }
}

async fn encode(format: &mut dyn Format, batch: Arc<ChangeBatch>) -> Result<Arc<RecordBatch>> {
    let schemas: Vec<_> = batch.schemas().cloned().collect();
    format.prepare(&schemas).await?;
    let mut out = RecordWriter::new();
    for event in batch.iter() {
        format.encode(event, &mut out)?;
    }
    Ok(Arc::new(out.finish(batch)))
}
