//! The pipeline: intake, transforms, format, sink, ack ledger, checkpoints, supervision and dead letters.
//!
//! One source is wired through transforms to one sink. The source runs in its own task and hands over batches;
//! the path carries them, in order, to the sink; the ledger learns what is durable; the checkpointer stores
//! progress and then releases the source. The order *sink durable → checkpoint stored → source released* is
//! never another (invariant 1). A failed ack, or an error of source or sink, rewinds: everything in flight is
//! dropped and a new generation starts from the stored checkpoint.

mod attempt;
mod backoff;
mod checkpointer;
mod dead_letter;
mod driver;
mod intake;
mod lease;
mod ledger;
mod log;
mod options;
mod path;
mod pipeline;
mod polling;
mod probe;
mod status;

pub use driver::driver;
pub use options::{OnError, PipelineOptions, PipelineSpec};
pub use pipeline::{Observer, Pipeline, PipelineHandle};
pub use status::{Counts, LATENCY_BUCKETS_MS, Latency, State, Status, Trouble};
