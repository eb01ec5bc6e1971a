//! Change data capture as a library: pipelines from databases to anywhere, embedded in a Rust service.
//!
//! ```no_run
//! use outflow::{connectors::Polling, prelude::*};
//!
//! #[derive(serde::Deserialize)]
//! struct Order {
//!     id: i64,
//!     total: String,
//! }
//!
//! #[tokio::main]
//! async fn main() -> outflow::Result<()> {
//!     let pipeline = Pipeline::builder("big-orders")
//!         .source(Polling::sqlite("shop.db").tables(["orders"]))
//!         .filter(|e| e.op().is_write())
//!         .sink_fn(|batch| async move {
//!             // Ok = durable; Err = retried by its class.
//!             for order in batch.rows::<Order>() {
//!                 let order = order?;
//!                 println!("order {} of {}", order.id, order.total);
//!             }
//!             Ok(())
//!         })
//!         .state(FileState::at("./state"))
//!         .start()
//!         .await?;
//!     pipeline.run_until(tokio::signal::ctrl_c()).await
//! }
//! ```
//!
//! A Cargo feature a connector: `polling-sqlite` (default), `polling-postgres`; `all` for everything.

mod builder;
mod closures;
mod register;

pub use builder::{PipelineBuilder, Running};
pub use outflow_runtime::{Counts, Observer, OnError, PipelineOptions, State, Status};
pub use outflow_sdk::{Error, Result};
pub use register::{register_all, registry};

/// The connectors of this build, to be configured in Rust.
pub mod connectors {
    #[cfg(feature = "polling")]
    pub use outflow_connector_polling::{Delivered, Polling};
    pub use outflow_connector_stdio::{BlackholeSink, FileSink, FileSource, Generator, StdoutSink};
}

/// The SDK, for connectors that live in the application.
pub use outflow_sdk as sdk;

/// Where progress is kept.
pub mod state {
    pub use outflow_state::{FileStore as FileState, MemoryStore as MemoryState};
}

/// Pipelines: built step by step, then started.
#[derive(Debug)]
pub struct Pipeline;

impl Pipeline {
    /// Begins a pipeline. The name is the key of its stored progress.
    pub fn builder(name: impl Into<String>) -> PipelineBuilder {
        PipelineBuilder::new(name.into())
    }
}

/// What an embedding file starts with.
pub mod prelude {
    pub use crate::state::{FileState, MemoryState};
    pub use crate::{OnError, Pipeline, Status};
    pub use outflow_sdk::{
        Batch, ByteSize, ChangeEvent, Error, EventMut, EventRef, Op, Record, Result, ResultExt, TableSchema,
        Value, ValueRef,
    };
}
