//! Owned values: one allocation for each value that is not a number.

use outflow_bench::{Columns, FrameReader, Result, Wire};
use outflow_core::{Timestamp, Value, ValueRef};

use crate::flat::{self, Buffers, FlatBatch};
use crate::layout::{Decode, Pool, Reader, integer};

impl flat::Value for Value {
    fn get(&self) -> ValueRef<'_> {
        self.as_ref()
    }

    fn detach(&mut self) {}
}

pub(crate) struct OwnedReader {
    frames: FrameReader,
    decode: Vec<Decode>,
    pool: Pool<Buffers<Value>>,
}

impl Reader for OwnedReader {
    const NAME: &'static str = "owned values";
    type Batch = FlatBatch<Value>;

    fn new(wire: Wire) -> Self {
        Self { frames: FrameReader::new(wire), decode: Decode::plan(), pool: Pool::new() }
    }

    fn next_batch(&mut self, rows: usize) -> Result<Option<Self::Batch>> {
        let mut batch = FlatBatch::new(&self.pool);
        for _ in 0..rows {
            let Some(frame) = self.frames.next_frame()? else { break };
            let mut columns = Columns::new(frame);
            for decode in &self.decode {
                let Some(at) = columns.next_value()? else {
                    batch.push_value(Value::Null);
                    continue;
                };
                let bytes = &frame[at];
                let text = || std::str::from_utf8(bytes).map(str::to_owned);
                batch.push_value(match decode {
                    Decode::Bool => Value::Bool(bytes == [1]),
                    Decode::I64 => Value::I64(integer(bytes)?),
                    Decode::Uuid => Value::Uuid(bytes.try_into()?),
                    Decode::Timestamp => Value::Timestamp(Timestamp::from_micros(integer(bytes)?)),
                    Decode::Decimal => Value::Decimal(text()?),
                    Decode::Text => Value::Text(text()?),
                    Decode::Json => Value::Json(text()?),
                });
            }
            batch.end_row();
        }
        Ok((!batch.is_empty()).then_some(batch))
    }
}
