//! The drivers of the families.

use outflow_sdk::{Error, Result, Source, SourceKind};

use crate::log::LogDriver;
use crate::polling::PollingDriver;

/// Puts the driver of its family over a source, so that it runs as any other. For test harnesses that stand in
/// for a pipeline.
///
/// # Errors
/// A family that this runtime does not know.
pub fn driver(kind: SourceKind) -> Result<Box<dyn Source>> {
    match kind {
        SourceKind::Wal(wal) => Ok(Box::new(LogDriver(wal))),
        SourceKind::Polling(polling) => Ok(Box::new(PollingDriver(polling))),
        SourceKind::Custom(source) => Ok(source),
        _ => Err(Error::internal("source.kind").message("a kind of source that this runtime does not know")),
    }
}
