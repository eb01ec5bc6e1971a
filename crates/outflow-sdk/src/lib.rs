//! What a connector for Outflow depends on: traits, contexts, the registry and plain types.
//!
//! A source that reads something simple implements [`SourceConnector`], a sink [`SinkConnector`]; both are
//! typed, and their configuration is the struct. What needs more implements [`Source`] or [`Sink`], or one of the
//! families ([`PollingSource`]), through a factory. The runtime owns retry, back-off, ordering, acks, checkpoints
//! and metrics, once, for every connector.
//!
//! The change model of `outflow-core` is re-exported, so that a connector needs no other crate of the framework.

mod capabilities;
mod clock;
mod connector;
mod factory;
mod findings;
mod format;
mod log;
mod polling;
mod record;
mod registry;
mod schema_cache;
mod sink;
mod source;
mod state;
mod tables;
mod template;
mod transform;
mod types;

pub use async_trait::async_trait;
pub use capabilities::{SinkCapabilities, SourceCapabilities};
pub use clock::Uptime;
pub use connector::{Batch, ChangeEvent, Record, SinkConnector, SinkItem, SourceConnector, Values, Written};
pub use factory::{
    BuildContext, Configured, ConfiguredFormat, ConfiguredSink, ConfiguredSource, ConfiguredTransform,
    Description, Document, FormatFactory, SimpleSink, SimpleSource, SinkFactory, SinkKind, SourceFactory,
    SourceKind, StoreFactory, TransformFactory,
};
pub use findings::{Finding, Findings, Level};
pub use format::Format;
pub use log::{
    Beginning, Chunk, ChunkPage, ChunkReader, LogPolicy, LogReader, LogSource, Moment, Snapshot,
    SnapshotMode, TransactionTag, WalSource,
};
pub use outflow_core::*;
pub use polling::{Page, PollingSource, RowKeys};
pub use record::{RecordAmend, RecordBatch, RecordBuilder, RecordPool, RecordRef, RecordWriter};
pub use registry::{
    Registered, RegisteredFormat, RegisteredSink, RegisteredSource, RegisteredStore, RegisteredTransform,
    Registry,
};
pub use schema_cache::SchemaCache;
pub use schemars::{self, JsonSchema};
pub use serde;
pub use serde_json;
pub use sink::{Ack, AckPort, AckToken, Countdown, Outcome, Sink, SinkContext};
pub use source::{
    BatchLimits, Control, Emitter, EmitterPort, Permit, Release, Released, ReleasedPort, Seq, Source,
    SourceContext, SourcePort,
};
pub use state::{CheckpointStore, Lease, Owner, StateScope};
pub use tables::TablePatterns;
pub use template::{PlainText, Template, TemplateOutput};
pub use transform::{Transform, TransformContext, TransformFn};
pub use types::{ByteSize, Secret, Timespan};
pub use url::Url;

/// What a connector's file starts with.
pub mod prelude {
    pub use crate::{
        Ack, Batch, ChangeBatch, ChangeEvent, Error, EventRef, Findings, JsonSchema, Op, Position, Record,
        Registry, Result, ResultExt, Secret, Sink, SinkCapabilities, SinkConnector, SinkContext, Source,
        SourceCapabilities, SourceConnector, SourceContext, TableSchema, Url, Value, Written, async_trait,
    };
    pub use serde::{Deserialize, Serialize};
}
