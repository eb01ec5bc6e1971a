//! Formats: change events to bytes.
//!
//! | type | what it writes |
//! | --- | --- |
//! | `json` | flat JSON for people and simple consumers: [`Json`] |
//! | `debezium-json` | Debezium's envelope without inline schema: [`DebeziumJson`] |
//! | `raw` | the body of a message, or one column, as it is: [`Raw`] |
//!
//! Each works by plans: what a schema fixes (escaped names, constant parts, how a column's values are written) is
//! prepared once a schema, so that an event costs copies and no allocation. Numbers, decimals, JSON and UUIDs are
//! copied as text, never through floats. The same event gives the same bytes on every replay (invariant 8).
//!
//! Every record carries the event's id (or the message's own), its destination (what a transform routed to, else
//! the message's destination, else `schema.table`), its key, the time of its commit and the message's headers.
//! [`with_overrides`] puts the pipeline's `key:` and `headers:` over any format.

mod debezium;
mod flat;
mod head;
mod options;
mod overrides;
mod raw;
mod text;

pub use debezium::{DebeziumJson, DebeziumJsonFormat};
pub use flat::{Json, JsonFormat};
pub use options::Decimals;
pub use overrides::with_overrides;
pub use raw::{Raw, RawFormat};

use outflow_sdk::Registry;

/// Adds all formats of this crate.
pub fn register(registry: &mut Registry) {
    registry.add_format(JsonFormat);
    registry.add_format(DebeziumJsonFormat);
    registry.add_format(RawFormat);
}
