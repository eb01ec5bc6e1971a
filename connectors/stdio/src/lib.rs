//! Outflow's connectors that need no server.
//!
//! | type | kind | what it is for |
//! | --- | --- | --- |
//! | `stdout` | sink | records on standard output, one a line: [`StdoutSink`] |
//! | `file` | sink | records in a file, one a line, synced before they count as delivered: [`FileSink`] |
//! | `blackhole` | sink | looks at everything and keeps nothing: [`BlackholeSink`] |
//! | `file` | source | replays events from a file of outflow-json: [`FileSource`] |
//! | `generator` | source | rows out of a seed, the same on every replay: [`Generator`] |
//!
//! The types are the configuration of a pipeline file and the builders of an embedded pipeline at once.

mod blackhole;
mod checksum;
mod configured;
mod file;
mod generator;
mod lines;
mod stdout;

pub use blackhole::{BlackholeFactory, BlackholeSink, BlackholeTotals};
pub use file::{FileSink, FileSinkFactory, FileSource, FileSourceFactory};
pub use generator::{Generator, GeneratorFactory};
pub use stdout::{StdoutFactory, StdoutSink};

use outflow_sdk::Registry;

/// Adds all connectors of this crate.
pub fn register(registry: &mut Registry) {
    registry
        .add_sink(StdoutFactory)
        .add_sink(FileSinkFactory)
        .add_sink(BlackholeFactory)
        .add_source(FileSourceFactory)
        .add_source(GeneratorFactory);
}
