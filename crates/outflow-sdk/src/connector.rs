//! The simple level: one typed trait a connector, whose configuration is the struct.

use std::sync::Arc;

use async_trait::async_trait;
use outflow_core::{ChangeBatch, Error, EventRef, PositionCodec, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::capabilities::{SinkCapabilities, SourceCapabilities};
use crate::factory::{Description, SinkKind};
use crate::findings::Findings;
use crate::record::{RecordBatch, RecordRef};
use crate::sink::{Ack, Sink, SinkContext};
use crate::source::SourceContext;

/// A source whose configuration is the struct itself. Registered with
/// [`Registry::source`](crate::Registry::source); built anew from the configuration for each attempt.
#[async_trait]
pub trait SourceConnector: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The word after `type:`.
    const TYPE: &'static str;
    /// What it can do.
    const CAPABILITIES: SourceCapabilities;

    /// What `describe` prints.
    fn description() -> Description {
        Description::default()
    }

    /// Reads and prints positions without a connection.
    fn positions() -> Option<Box<dyn PositionCodec>> {
        None
    }

    /// What is selected from the source, so that a checkpoint of another selection is not taken for this one's.
    fn fingerprint(&self) -> Option<String> {
        None
    }

    /// A short text for status lines: where it reads, without credentials.
    fn address(&self) -> String {
        String::new()
    }

    /// Looks at the system without changing anything.
    async fn check(&self, findings: &mut Findings) {
        let _ = findings;
    }

    /// Reads and emits until the end, an error, or cancellation, which is a drop at an await.
    async fn run(self, cx: &mut SourceContext) -> Result<()>;
}

/// A sink whose configuration is the struct itself, and whose `write` acks by returning. Fields for clients are
/// `#[serde(skip)]`. Registered with [`Registry::sink`](crate::Registry::sink).
#[async_trait]
pub trait SinkConnector: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The word after `type:`.
    const TYPE: &'static str;
    /// [`Record`]: bytes with destination, key and headers, by the pipeline's `format`.
    /// [`ChangeEvent`]: typed rows.
    type Item: SinkItem;
    /// What it can do.
    const CAPABILITIES: SinkCapabilities;

    /// What `describe` prints.
    fn description() -> Description {
        Description::default()
    }

    /// A short text for status lines: where it writes, without credentials.
    fn address(&self) -> String {
        String::new()
    }

    /// Looks at the system without changing anything.
    async fn check(&self, findings: &mut Findings) {
        let _ = findings;
    }

    /// Connects.
    async fn open(&mut self, cx: &SinkContext) -> Result<()> {
        let _ = cx;
        Ok(())
    }

    /// Delivers a batch. Returning is the ack; an error that is transient brings the same batch again.
    async fn write(&mut self, batch: &Batch<Self::Item>) -> Result<Written>;

    /// Ends in order.
    async fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What became of a batch that a simple sink was given.
#[derive(Debug)]
#[non_exhaustive]
pub enum Written {
    /// Every record is durable.
    Durable,
    /// These records (by place in the batch given) can never be taken; all others are durable.
    Rejected(Vec<(usize, Error)>),
    /// No record can ever be taken, for this reason.
    RejectedAll(Error),
    /// Nothing was taken because there is too much of it: offer it again in halves. Of a single record that
    /// is a rejection.
    Split,
}

impl Written {
    /// Every record is durable.
    pub fn durable() -> Self {
        Self::Durable
    }

    /// These records can never be taken; all others are durable.
    pub fn rejected(bad: impl IntoIterator<Item = (usize, Error)>) -> Self {
        Self::Rejected(bad.into_iter().collect())
    }

    /// No record can ever be taken; `why` is what the destination said.
    pub fn rejected_all(code: &'static str, why: Option<String>) -> Self {
        Self::RejectedAll(Error::data(code).message(why.unwrap_or_default()))
    }

    /// Offer the batch again in halves, in order.
    pub fn split() -> Self {
        Self::Split
    }
}

/// What a simple sink is given: [`Record`] or [`ChangeEvent`]. Sealed.
pub trait SinkItem: sealed::Item {}

/// Bytes with destination, key and headers.
#[derive(Debug)]
pub enum Record {}

/// Typed rows.
#[derive(Debug)]
pub enum ChangeEvent {}

impl SinkItem for Record {}
impl SinkItem for ChangeEvent {}

pub(crate) mod sealed {
    use super::{Arc, ChangeBatch, RecordBatch, Sink, SinkKind};

    pub trait Item: Send + Sync + 'static {
        type Batch: Send + Sync + 'static;
        /// Bytes need a format.
        const DEFAULT_FORMAT: Option<&'static str>;
        fn len(batch: &Self::Batch) -> usize;
        fn event(batch: &Self::Batch, index: usize) -> u32;
        fn id(batch: &Self::Batch, index: usize) -> String;
        fn kind(sink: Box<dyn Sink<Self::Batch>>) -> SinkKind;
    }

    impl Item for super::Record {
        type Batch = RecordBatch;
        const DEFAULT_FORMAT: Option<&'static str> = Some("json");

        fn len(batch: &RecordBatch) -> usize {
            batch.len()
        }

        fn event(batch: &RecordBatch, index: usize) -> u32 {
            batch.get(index).map_or(0, |r| r.event())
        }

        fn id(batch: &RecordBatch, index: usize) -> String {
            batch.get(index).map(|r| r.id().to_owned()).unwrap_or_default()
        }

        fn kind(sink: Box<dyn Sink<RecordBatch>>) -> SinkKind {
            SinkKind::Records(sink)
        }
    }

    impl Item for super::ChangeEvent {
        type Batch = ChangeBatch;
        const DEFAULT_FORMAT: Option<&'static str> = None;

        fn len(batch: &ChangeBatch) -> usize {
            batch.len()
        }

        fn event(_: &ChangeBatch, index: usize) -> u32 {
            index as u32
        }

        fn id(batch: &ChangeBatch, index: usize) -> String {
            batch.get(index).map(|e| e.id().to_string()).unwrap_or_default()
        }

        fn kind(sink: Box<dyn Sink<ChangeBatch>>) -> SinkKind {
            SinkKind::Changes(sink)
        }
    }

    /// Keeps the whole batch alive without a copy.
    pub(crate) type Shared<I> = Arc<<I as Item>::Batch>;
}

/// A run of items of one batch.
pub struct Batch<I: SinkItem> {
    items: sealed::Shared<I>,
    from: usize,
    to: usize,
}

impl<I: SinkItem> std::fmt::Debug for Batch<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} items)", self.len())
    }
}

impl<I: SinkItem> Clone for Batch<I> {
    fn clone(&self) -> Self {
        Self { items: Arc::clone(&self.items), from: self.from, to: self.to }
    }
}

impl<I: SinkItem> Batch<I> {
    /// All items of a shared batch.
    pub fn whole(items: Arc<I::Batch>) -> Self {
        let to = I::len(&items);
        Self { items, from: 0, to }
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.to - self.from
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A text that is the same when the same items come again, and differs for all others: an idempotency key.
    pub fn id(&self) -> String {
        match self.len() {
            0 => String::new(),
            1 => I::id(&self.items, self.from),
            n => format!("{}/{}+{n}", I::id(&self.items, self.from), I::id(&self.items, self.to - 1)),
        }
    }

    fn halves(&self) -> (Self, Self) {
        let middle = self.from + self.len() / 2;
        (Self { to: middle, ..self.clone() }, Self { from: middle, ..self.clone() })
    }
}

impl Batch<Record> {
    /// The records, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordRef<'_>> {
        self.items.iter().skip(self.from).take(self.len())
    }

    /// The contents of the records, in order; a tombstone is empty.
    pub fn values(&self) -> Values<'_> {
        Values(self)
    }
}

/// The contents of a batch of records.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a>(&'a Batch<Record>);

impl<'a> Values<'a> {
    /// One by one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.0.iter().map(|r| r.value().unwrap_or_default())
    }

    /// All in one, with a separator between them.
    pub fn join(&self, separator: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.iter().map(|v| v.len() + separator.len()).sum());
        for (i, value) in self.iter().enumerate() {
            if i > 0 {
                out.extend_from_slice(separator);
            }
            out.extend_from_slice(value);
        }
        out
    }
}

impl Batch<ChangeEvent> {
    /// The events, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = EventRef<'_>> {
        self.items.iter().skip(self.from).take(self.len())
    }

    /// The rows of inserts, updates, upserts, deletes and snapshot reads as `T`, in commit order: the row after
    /// the change, else (for a delete) the row before it. Other events have no row and are passed over.
    ///
    /// # Errors
    /// Each item on its own, as for [`RowRef::deserialize`](outflow_core::RowRef::deserialize).
    pub fn rows<'a, T: Deserialize<'a>>(&'a self) -> impl Iterator<Item = Result<T>> + use<'a, T> {
        self.items.rows_in(self.from..self.to)
    }
}

/// A simple sink under the general trait: calls, halves, and acks by what `write` returns.
pub(crate) struct Simple<C>(pub(crate) C);

#[async_trait]
impl<C: SinkConnector> Sink<<C::Item as sealed::Item>::Batch> for Simple<C> {
    async fn open(&mut self, cx: SinkContext) -> Result<Option<outflow_core::Checkpoint>> {
        self.0.open(&cx).await?;
        Ok(None)
    }

    async fn write(&mut self, batch: &Arc<<C::Item as sealed::Item>::Batch>, ack: Ack) -> Result<()> {
        let mut rejected = Vec::new();
        // Parts that are still to be written, the next one last.
        let mut parts = vec![Batch::<C::Item>::whole(Arc::clone(batch))];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let event = |index: usize| <C::Item as sealed::Item>::event(batch, part.from + index);
            match self.0.write(&part).await? {
                Written::Durable => {}
                Written::Rejected(bad) => rejected.extend(bad.into_iter().map(|(i, e)| (event(i), e))),
                Written::Split if part.len() > 1 => {
                    let (first, second) = part.halves();
                    parts.push(second);
                    parts.push(first);
                }
                Written::Split => {
                    let error = Error::data("sink.record_too_large")
                        .message("the destination takes no record of this size");
                    rejected.push((event(0), error));
                }
                Written::RejectedAll(error) => {
                    let again = |_| Error::data(error.code().to_owned()).message(error.text());
                    rejected.extend((0..part.len()).map(|i| (event(i), again(i))));
                }
            }
        }
        ack.rejected(rejected);
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<()> {
        self.0.close().await
    }
}
