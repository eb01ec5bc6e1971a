//! One `Bytes` slice a value: nothing is copied, every value holds a count on its read buffer.

use bytes::{Buf, Bytes, BytesMut};
use bytes_utils::Str;
use outflow_bench::{Columns, READ_BUFFER, Result, Wire, split_frame};
use outflow_core::{Timestamp, ValueRef};

use crate::flat::{self, Buffers, FlatBatch};
use crate::layout::{Decode, Pool, Reader, integer};

/// Text is validated once, when it is sliced; what is no larger than a slice stands in the value itself.
pub(crate) enum Value {
    Null,
    Bool(bool),
    I64(i64),
    Uuid([u8; 16]),
    Timestamp(Timestamp),
    Decimal(Str),
    Text(Str),
    Json(Str),
}

impl flat::Value for Value {
    fn get(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Bool(v) => ValueRef::Bool(*v),
            Self::I64(v) => ValueRef::I64(*v),
            Self::Uuid(v) => ValueRef::Uuid(v),
            Self::Timestamp(v) => ValueRef::Timestamp(*v),
            Self::Decimal(v) => ValueRef::Decimal(v),
            Self::Text(v) => ValueRef::Text(v),
            Self::Json(v) => ValueRef::Json(v),
        }
    }

    fn detach(&mut self) {
        if let Self::Decimal(text) | Self::Text(text) | Self::Json(text) = self {
            *text = Str::from(String::from(&**text));
        }
    }
}

pub(crate) struct BytesReader {
    chunks: Chunks,
    decode: Vec<Decode>,
    pool: Pool<Buffers<Value>>,
}

impl Reader for BytesReader {
    const NAME: &'static str = "Bytes a value";
    type Batch = FlatBatch<Value>;

    fn new(wire: Wire) -> Self {
        Self { chunks: Chunks::new(wire), decode: Decode::plan(), pool: Pool::new() }
    }

    fn next_batch(&mut self, rows: usize) -> Result<Option<Self::Batch>> {
        let mut batch = FlatBatch::new(&self.pool);
        for _ in 0..rows {
            let Some(frame) = self.chunks.next_frame()? else { break };
            let mut columns = Columns::new(&frame);
            for decode in &self.decode {
                let Some(at) = columns.next_value()? else {
                    batch.push_value(Value::Null);
                    continue;
                };
                let text = |at| Str::from_inner(frame.slice(at)).map_err(|e| e.utf8_error());
                batch.push_value(match decode {
                    Decode::Bool => Value::Bool(frame[at] == [1]),
                    Decode::I64 => Value::I64(integer(&frame[at])?),
                    Decode::Uuid => Value::Uuid(frame[at].try_into()?),
                    Decode::Timestamp => Value::Timestamp(Timestamp::from_micros(integer(&frame[at])?)),
                    Decode::Decimal => Value::Decimal(text(at)?),
                    Decode::Text => Value::Text(text(at)?),
                    Decode::Json => Value::Json(text(at)?),
                });
            }
            batch.end_row();
        }
        Ok((!batch.is_empty()).then_some(batch))
    }
}

/// Reads into a buffer that is frozen when it is full. It is used again only if no value of it is left by then.
struct Chunks {
    wire: Wire,
    buffer: BytesMut,
    chunk: Bytes,
}

impl Chunks {
    fn new(wire: Wire) -> Self {
        Self { wire, buffer: BytesMut::with_capacity(READ_BUFFER), chunk: Bytes::new() }
    }

    fn next_frame(&mut self) -> Result<Option<Bytes>> {
        if split_frame(&self.chunk).is_none() && !self.refill() {
            return if self.chunk.is_empty() { Ok(None) } else { Err("the wire ends within a frame".into()) };
        }
        let range = split_frame(&self.chunk).ok_or("a frame is larger than the read buffer")?;
        let mut frame = self.chunk.split_to(range.end);
        frame.advance(range.start);
        Ok(Some(frame))
    }

    fn refill(&mut self) -> bool {
        let rest = std::mem::take(&mut self.chunk);
        let read = self.wire.read(READ_BUFFER - rest.len());
        self.buffer.reserve(READ_BUFFER);
        self.buffer.extend_from_slice(&rest);
        self.buffer.extend_from_slice(read);
        self.chunk = self.buffer.split().freeze();
        !read.is_empty()
    }
}
