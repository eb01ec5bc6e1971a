//! A source that makes rows up and a sink that looks at every value of them.

use std::sync::{Arc, Mutex, PoisonError};

use outflow_core::{BatchBuilder, ChangeBatch, Op, Position, TableSchema, Timestamp, ValueRef};
use outflow_sdk::{
    Ack, BuildContext, ConfiguredSink, ConfiguredSource, Findings, Result, Sink, SinkCapabilities, SinkKind,
    Source, SourceCapabilities, SourceContext, SourceKind, async_trait,
};

/// Rows that are all different, made without allocation: the columns of `outflow_bench::schema`.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    schema: Arc<TableSchema>,
    left: u64,
    next: u64,
    /// So many rows come from the wire at once.
    arrivals: u64,
    random: u64,
    text: [u8; 64],
}

impl Rows {
    pub(crate) fn new(rows: u64, arrivals: u64) -> Self {
        Self {
            schema: outflow_bench::schema(),
            left: rows,
            next: 0,
            arrivals,
            random: 0x9e37_79b9,
            text: [b'a'; 64],
        }
    }

    fn random(&mut self) -> u64 {
        // xorshift64: cheap, and good enough for content that only has to differ.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Adds up to `rows` rows; how many there were left to add.
    pub(crate) fn fill(&mut self, builder: &mut BatchBuilder, rows: u64) -> u64 {
        let count = rows.min(self.left);
        let schema = builder.schema(&self.schema);
        for _ in 0..count {
            for chunk in 0..8 {
                let bits = self.random();
                for (i, byte) in self.text[chunk * 8..chunk * 8 + 8].iter_mut().enumerate() {
                    *byte = b'a' + (bits >> (i * 8)) as u8 % 26;
                }
            }
            let text = std::str::from_utf8(&self.text).unwrap_or_default();
            let n = self.next.cast_signed();
            let mut event = builder.event(Op::Insert).schema(schema).ordinal(self.next);
            let mut row = event.after();
            row.i64(n);
            row.i64(n ^ 0x5555);
            row.value(ValueRef::Uuid(self.text[..16].try_into().unwrap_or(&[0; 16])));
            row.text(&text[..8]);
            row.text(&text[8..28]);
            row.text(&text[20..48]);
            row.decimal("1234567.89");
            row.bool(n % 2 == 0);
            row.timestamp(Timestamp::from_micros(1_700_000_000_000_000 + n));
            row.timestamp(Timestamp::from_micros(1_700_000_000_000_001 + n));
            row.json(r#"{"sku":"abcdefghijkl","quantity":42}"#);
            row.text(&text[12..64]);
            if row.end().is_ok() {
                event.end();
            }
            self.next += 1;
        }
        self.left -= count;
        count
    }
}

#[async_trait]
impl ConfiguredSource for Rows {
    fn type_name(&self) -> &'static str {
        "rows"
    }

    fn capabilities(&self) -> SourceCapabilities {
        SourceCapabilities::new().stop_at_current()
    }

    fn fingerprint(&self) -> Option<String> {
        None
    }

    fn address(&self) -> String {
        String::new()
    }

    async fn check(&self, _: &mut Findings) {}

    async fn build(&self, _: &BuildContext) -> Result<SourceKind> {
        Ok(SourceKind::Custom(Box::new(self.clone())))
    }

    async fn retire(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Source for Rows {
    async fn run(mut self: Box<Self>, cx: SourceContext) -> Result<()> {
        let mut emitter = cx.emitter("rows");
        let mut builder = BatchBuilder::new();
        let limits = cx.limits();
        builder.origin("rows");
        loop {
            let arrivals = self.arrivals;
            if self.fill(&mut builder, arrivals) == 0 {
                break;
            }
            // Keeps reading while the pipeline is busy: batches become large by themselves.
            let permit = match emitter.try_ready() {
                Some(permit) => permit,
                None if limits.reached(&builder) => emitter.ready().await?,
                None => continue,
            };
            permit.send(builder.finish("rows".into(), Some(Position::token(self.next.to_string()))));
            builder.origin("rows");
            // A reader of a socket would wait here.
            tokio::task::consume_budget().await;
        }
        if !builder.is_empty() {
            let permit = emitter.ready().await?;
            permit.send(builder.finish("rows".into(), Some(Position::token(self.next.to_string()))));
        }
        Ok(())
    }
}

/// What was seen, independent of how it was cut into batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    rows: u64,
    bytes: u64,
    numbers: u64,
    mixed: u64,
}

/// Looks at every value.
pub(crate) fn visit(batch: &ChangeBatch, seen: &mut Seen) {
    for event in batch.iter() {
        let Some(row) = event.after() else { continue };
        seen.rows += 1;
        let mut mixed = seen.rows;
        for value in row.values() {
            match value {
                ValueRef::I64(n) => seen.numbers = seen.numbers.wrapping_add(n as u64),
                ValueRef::Bool(b) => seen.numbers += u64::from(b),
                ValueRef::Timestamp(t) => seen.numbers = seen.numbers.wrapping_add(t.micros() as u64),
                ValueRef::Uuid(u) => mixed ^= u64::from(u[3]) << 8,
                other => {
                    let bytes = other.as_bytes().unwrap_or_default();
                    seen.bytes += bytes.len() as u64;
                    mixed = mixed.rotate_left(5) ^ bytes.last().copied().map_or(0, u64::from);
                }
            }
        }
        seen.mixed = seen.mixed.wrapping_add(mixed);
    }
}

/// A sink that looks at everything and confirms out of order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visitor(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    seen: Seen,
    held: Vec<Ack>,
}

impl Visitor {
    pub(crate) fn seen(&self) -> Seen {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).seen
    }
}

#[async_trait]
impl ConfiguredSink for Visitor {
    fn type_name(&self) -> &'static str {
        "visitor"
    }

    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities::new().ordered()
    }

    fn default_format(&self) -> Option<&'static str> {
        None
    }

    fn address(&self) -> String {
        String::new()
    }

    async fn check(&self, _: &mut Findings) {}

    async fn build(&self, _: &BuildContext) -> Result<SinkKind> {
        Ok(SinkKind::Changes(Box::new(self.clone())))
    }
}

#[async_trait]
impl Sink for Visitor {
    async fn write(&mut self, batch: &Arc<ChangeBatch>, ack: Ack) -> Result<()> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        visit(batch, &mut inner.seen);
        inner.held.push(ack);
        if inner.held.len() == 4 {
            inner.held.drain(..).rev().for_each(Ack::durable);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.held.drain(..).rev().for_each(Ack::durable);
        Ok(())
    }
}
