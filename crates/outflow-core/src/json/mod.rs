//! outflow-json, the lossless text form of an event: one JSON object a line.
//!
//! Dead letters, the file source and sink, `tap` and tests speak it. What is read is what was written: the
//! operation, the id, every value of both rows with its kind, what was not sent as opposed to NULL, the schema.
//! Every line stands for itself, so a file can be cut, joined and searched by line. `docs/reference/outflow-json.md`
//! describes the form.
//!
//! ```
//! use outflow_core::{BatchBuilder, json};
//! let line = br#"{"op":"delete","table":"orders","before":{"id":7},"columns":[["id","int64"]],"key":["id"]}"#;
//! let mut builder = BatchBuilder::new();
//! assert_eq!(json::read_event(line, &mut builder)?, json::Outcome::Read);
//! let batch = builder.finish("orders".into(), None);
//! let mut text = Vec::new();
//! for event in batch.iter() {
//!     json::write_event(event, &mut text);
//! }
//! # Ok::<(), outflow_core::Error>(())
//! ```

mod form;
mod number;
mod read;
mod read_value;
mod schema;
mod text;
mod write;

pub use read::{EventReader, Outcome};
pub use schema::{read_schema, write_schema};
pub use text::write_str;
pub use write::EventWriter;

pub(crate) use text::UuidText;

use crate::builder::BatchBuilder;
use crate::error::Result;
use crate::event::EventRef;

/// The version of the form, the `v` of every line.
pub const VERSION: u32 = 1;

/// Writes one event, without a line break. [`EventWriter`] is quicker for many.
pub fn write_event(event: EventRef<'_>, out: &mut Vec<u8>) {
    EventWriter::new().write(event, out);
}

/// Reads one event into a batch. [`EventReader`] is quicker for many, and says what the outcomes mean.
///
/// # Errors
/// Those of [`EventReader::read`].
pub fn read_event(line: &[u8], builder: &mut BatchBuilder) -> Result<Outcome> {
    EventReader::new().read(line, builder)
}
