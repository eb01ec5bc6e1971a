//! `outflow-core` itself: the arena layout with all that the product adds, such as identities, transactions, schemas,
//! nested values and an overlay for transforms.

use std::sync::Arc;

use outflow_bench::{Columns, FrameReader, Result, Wire};
use outflow_core::{
    BatchBuilder, BatchEdit, ChangeBatch, EventRef, Op, Position, RowRef, TableSchema, Timestamp, ValueRef,
};

use crate::layout::{Batch, Decode, Reader, Row, integer};

pub(crate) struct ProductReader {
    frames: FrameReader,
    decode: Vec<Decode>,
    schema: Arc<TableSchema>,
    builder: BatchBuilder,
    done: u64,
}

impl Reader for ProductReader {
    const NAME: &'static str = "outflow-core";
    type Batch = ChangeBatch;

    fn new(wire: Wire) -> Self {
        Self {
            frames: FrameReader::new(wire),
            decode: Decode::plan(),
            schema: outflow_bench::schema(),
            builder: BatchBuilder::new(),
            done: 0,
        }
    }

    fn next_batch(&mut self, rows: usize) -> Result<Option<ChangeBatch>> {
        let Self { frames, decode, schema, builder, done } = self;
        let schema = builder.schema(schema);
        while builder.len() < rows {
            let Some(frame) = frames.next_frame()? else { break };
            let mut columns = Columns::new(frame);
            let mut event = builder.event(Op::Insert).schema(schema).ordinal(*done);
            let mut row = event.after();
            for decode in decode.iter() {
                let Some(at) = columns.next_value()? else {
                    row.null();
                    continue;
                };
                let bytes = &frame[at];
                match decode {
                    Decode::Bool => row.bool(bytes == [1]),
                    Decode::I64 => row.i64(integer(bytes)?),
                    Decode::Uuid => row.value(ValueRef::Uuid(bytes.try_into()?)),
                    Decode::Timestamp => row.timestamp(Timestamp::from_micros(integer(bytes)?)),
                    Decode::Decimal => row.decimal(std::str::from_utf8(bytes)?),
                    Decode::Text => row.text(std::str::from_utf8(bytes)?),
                    Decode::Json => row.json(std::str::from_utf8(bytes)?),
                }
            }
            row.end()?;
            event.end();
            *done += 1;
        }
        if builder.is_empty() {
            return Ok(None);
        }
        Ok(Some(builder.finish("wire".into(), Some(Position::token(done.to_string())))))
    }
}

impl Batch for ChangeBatch {
    type Row<'b> = RowRef<'b>;

    fn len(&self) -> usize {
        Self::len(self)
    }

    fn rows(&self) -> impl Iterator<Item = RowRef<'_>> {
        self.iter().filter_map(|event| event.after())
    }

    fn retain(&mut self, mut keep: impl FnMut(RowRef<'_>) -> bool) {
        BatchEdit::new(self).retain(|event: EventRef<'_>| event.after().is_some_and(&mut keep));
    }

    fn compact_if_sparse(&mut self) {
        if self.referenced() * 4 < self.charge() {
            self.compact();
        }
    }
}

impl<'b> Row<'b> for RowRef<'b> {
    fn get(self, column: usize) -> ValueRef<'b> {
        RowRef::get(&self, column).unwrap_or(ValueRef::Null)
    }

    fn values(self) -> impl Iterator<Item = ValueRef<'b>> {
        RowRef::values(&self)
    }
}
