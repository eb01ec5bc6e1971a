//! What the benchmarks share: distinct rows with a known content, a wire to read them from, an encoder, meters
//! and the report.
//!
//! Linking this crate replaces the global allocator by one that counts per thread.

mod json;
mod measure;
mod options;
mod report;
mod rows;
mod wire;

pub use json::Plan;
pub use measure::{Usage, freed_by, measured};
pub use options::Options;
pub use report::{Series, Summary};
pub use rows::{COLUMNS, Digest, Row, schema};
pub use wire::{Columns, CutFrame, FrameReader, READ_BUFFER, Wire, split_frame};

/// A benchmark fails for any reason at once: what it prints after a failure would be worth nothing.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
