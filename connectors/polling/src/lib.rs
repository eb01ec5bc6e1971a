//! Outflow source `polling`: follows tables that applications append to, an outbox first of all, by asking the
//! database for new rows. SQLite (feature `sqlite`) and PostgreSQL (feature `postgres`).
//!
//! Rows are delivered once they are committed, without gaps: a row with a lower id that commits later is not lost.
//! Progress is a position in Outflow's state (`delivered: keep`), or a mark in the table itself (`delivered: mark`,
//! `delivered: delete`). README.md says which to choose, and `docs/explanation/polling-order.md` why it is sound.
//!
//! ```
//! use outflow_connector_polling::{Delivered, Polling};
//! let outbox = Polling::sqlite("shop.db").table("outbox").delivered(Delivered::Delete);
//! let mut registry = outflow_sdk::Registry::new();
//! outflow_connector_polling::register(&mut registry);
//! # let _ = outbox;
//! ```

#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
compile_error!("outflow-connector-polling needs a backend: feature `sqlite` or `postgres`");

mod builder;
mod check;
mod config;
mod emit;
mod error;
mod factory;
mod in_flight;
mod options;
mod place;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
mod table;
mod url;

pub use builder::Polling;
pub use config::{Delivered, Mode, OnLostPosition, PollingConfig, Snapshot};
#[cfg(feature = "postgres")]
pub use config::{Tls, TlsMode};
pub use factory::PollingFactory;
pub use url::DatabaseUrl;

/// Adds the source `polling` to a registry.
pub fn register(registry: &mut outflow_sdk::Registry) {
    registry.add_source(PollingFactory);
}
