//! The change model of Outflow: what flows between a source, transforms and a sink.
//!
//! The unit of flow is the [`ChangeBatch`]: events over arenas that a [`BatchBuilder`] writes once. Everyone
//! reads [`ValueRef`]s; transforms change a batch through [`BatchEdit`]. A [`Position`] says how far a
//! [`PartitionId`] is done, a [`Checkpoint`] says it for all partitions. Every failure is an [`Error`] with a
//! stable code, a class that the runtime acts on and a hint for the person who reads it.

mod arena;
mod batch;
mod builder;
mod cell;
mod checkpoint;
mod compact;
mod de;
mod edit;
mod error;
mod event;
mod event_id;
pub mod json;
#[cfg(test)]
mod limit_tests;
mod logical;
mod pool;
mod position;
mod row_writer;
mod schema;
mod temporal;
mod value;

pub use batch::ChangeBatch;
pub use builder::{BatchBuilder, EventBuilder, MessageParts, SchemaIndex, TransactionIndex};
pub use checkpoint::{Checkpoint, CheckpointDelta, StateDelta};
pub use edit::{BatchEdit, EventMut, Field, MessageFields, RowMut};
pub use error::{Error, ErrorKind, Result, ResultExt, Retry, Scope};
pub use event::{EventRef, Image, MessageRef, Op, RowRef};
pub use event_id::EventId;
pub use logical::LogicalType;
pub use pool::BatchPool;
pub use position::{PartitionId, Position, PositionCodec, Relation};
pub use row_writer::RowWriter;
pub use schema::{Column, SchemaFingerprint, TableSchema, TableSchemaBuilder};
pub use temporal::{Date, DateTime, Interval, Time, TimeTz, Timestamp};
pub use value::{BitsRef, ListRef, MapRef, Value, ValueRef};
