//! Formats: events to bytes.

use std::sync::Arc;

use async_trait::async_trait;
use outflow_core::{EventRef, Result, TableSchema};

use crate::record::RecordWriter;

/// Makes records of events.
#[async_trait]
pub trait Format: Send {
    /// Called before events of a new schema come: registry calls, encode plans. Schemas are known by fingerprint.
    async fn prepare(&mut self, schemas: &[Arc<TableSchema>]) -> Result<()> {
        let _ = schemas;
        Ok(())
    }

    /// Writes the records of one event: none, one or several. Synchronous and without allocation after warm-up.
    /// The writer takes back a record that is not ended, so an error leaves no half record. An error of scope
    /// `Events` rejects that event alone.
    fn encode(&mut self, event: EventRef<'_>, out: &mut RecordWriter) -> Result<()>;
}
