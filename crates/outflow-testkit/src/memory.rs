//! In-memory servers: a log, a log whose table can be read, a log with GTID sets, a shard tree, a marked table, sinks and a checkpoint store.
//!
//! They stand for the families of real systems where a test wants what a real server cannot be made to show:
//! acks out of order, lost answers, a frozen destination. They keep what they were told, so that a test can ask
//! afterwards.

mod gtid;
mod log;
mod marked;
mod row;
mod shards;
mod sink;
mod store;
mod wal;

pub use gtid::{GtidCodec, GtidLog, GtidSet};
pub use log::{LogCodec, LogPosition, MemoryLog};
pub use marked::MarkedTable;
pub use row::{Row, rows_schema};
pub use shards::ShardTree;
pub use sink::{Delivered, MemorySink, TransactionalSink};
pub use store::{Commit, MemoryCheckpoints};
pub use wal::{Change, MemoryWal, WalCodec};

/// A source that is its own configuration.
macro_rules! own_source {
    ($type:ty, $name:literal, $capabilities:expr, |$self:ident| $build:expr) => {
        #[outflow_sdk::async_trait]
        impl outflow_sdk::ConfiguredSource for $type {
            fn type_name(&self) -> &'static str {
                $name
            }

            fn capabilities(&self) -> outflow_sdk::SourceCapabilities {
                $capabilities
            }

            fn fingerprint(&self) -> Option<String> {
                Some($name.into())
            }

            fn address(&self) -> String {
                "memory".into()
            }

            async fn check(&self, _: &mut outflow_sdk::Findings) {}

            async fn build(&$self, _: &outflow_sdk::BuildContext) -> outflow_sdk::Result<outflow_sdk::SourceKind> {
                Ok($build)
            }

            async fn retire(&self) -> outflow_sdk::Result<()> {
                Ok(())
            }
        }
    };
}
pub(crate) use own_source;

/// The same for sinks of typed batches.
macro_rules! own_sink {
    ($type:ty, $name:literal, $capabilities:expr) => {
        #[outflow_sdk::async_trait]
        impl outflow_sdk::ConfiguredSink for $type {
            fn type_name(&self) -> &'static str {
                $name
            }

            fn capabilities(&self) -> outflow_sdk::SinkCapabilities {
                $capabilities
            }

            fn default_format(&self) -> Option<&'static str> {
                None
            }

            fn address(&self) -> String {
                "memory".into()
            }

            async fn check(&self, _: &mut outflow_sdk::Findings) {}

            async fn build(
                &self,
                _: &outflow_sdk::BuildContext,
            ) -> outflow_sdk::Result<outflow_sdk::SinkKind> {
                Ok(outflow_sdk::SinkKind::Changes(Box::new(self.clone())))
            }
        }
    };
}
pub(crate) use own_sink;
