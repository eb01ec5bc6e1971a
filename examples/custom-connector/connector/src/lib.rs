//! Two connectors for Outflow that speak HTTP: the source `couchdb` and the sink `webhook`.

mod couchdb;
mod http;
mod webhook;

pub use couchdb::CouchDb;
pub use webhook::Webhook;

use outflow_sdk::Registry;

/// Adds both to a build of `outflow`.
pub fn register(registry: &mut Registry) {
    registry.source::<CouchDb>().sink::<Webhook>();
}
