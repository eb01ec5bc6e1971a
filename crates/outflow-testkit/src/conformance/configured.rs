//! Connectors of the simple level with their configuration.

use std::sync::Arc;

use outflow_sdk::{
    Configured, ConfiguredSink, ConfiguredSource, Document, SimpleSink, SimpleSource, SinkConnector,
    SourceConnector, serde_json,
};

/// A source of the simple level with the keys that stand under `source:` in a pipeline file, all but `type`.
///
/// # Panics
/// When the configuration does not fit.
pub fn configured_source<C: SourceConnector>(config: serde_json::Value) -> Arc<dyn ConfiguredSource> {
    let factory = Arc::new(SimpleSource::<C>::default());
    #[expect(clippy::expect_used, reason = "a test fails by panicking")]
    let config = serde_json::from_value::<Document<C>>(config).expect("the configuration fits the connector");
    Arc::new(Configured::new(factory, config))
}

/// A sink of the simple level with the keys that stand under `sink:` in a pipeline file, all but `type`, `format`,
/// `key` and `headers`.
///
/// # Panics
/// When the configuration does not fit.
pub fn configured_sink<C: SinkConnector>(config: serde_json::Value) -> Arc<dyn ConfiguredSink> {
    let factory = Arc::new(SimpleSink::<C>::default());
    #[expect(clippy::expect_used, reason = "a test fails by panicking")]
    let config = serde_json::from_value::<Document<C>>(config).expect("the configuration fits the connector");
    Arc::new(Configured::new(factory, config))
}
