//! The registry: which types a binary knows. Explicit; nothing registers itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use outflow_core::{Error, PositionCodec, Result};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::connector::{SinkConnector, SourceConnector};
use crate::factory::{
    BuildContext, Configured, ConfiguredFormat, ConfiguredSink, ConfiguredSource, ConfiguredTransform,
    Description, FormatFactory, SimpleSink, SimpleSource, SinkFactory, SourceFactory, StoreFactory,
    TransformFactory, schema_of,
};
use crate::state::CheckpointStore;

/// What every registered type tells about itself.
pub trait Registered: Send + Sync {
    /// The word after `type:`.
    fn type_name(&self) -> &'static str;
    /// What `describe` prints.
    fn description(&self) -> Description;
    /// The JSON Schema of its configuration, without `type`.
    fn schema(&self) -> Json;
}

/// A registered type of source.
pub trait RegisteredSource: Registered {
    /// Reads a configuration.
    fn configure(&self, config: Json) -> Result<Arc<dyn ConfiguredSource>>;
    /// Reads and prints positions without a connection.
    fn positions(&self) -> Option<Box<dyn PositionCodec>>;
}

/// A registered type of sink.
pub trait RegisteredSink: Registered {
    /// Reads a configuration.
    fn configure(&self, config: Json) -> Result<Arc<dyn ConfiguredSink>>;
    /// The format when the file names none.
    fn default_format(&self) -> Option<&'static str>;
}

/// A registered type of transform.
pub trait RegisteredTransform: Registered {
    /// Reads a configuration.
    fn configure(&self, config: Json) -> Result<Arc<dyn ConfiguredTransform>>;
}

/// A registered type of format.
pub trait RegisteredFormat: Registered {
    /// Reads a configuration.
    fn configure(&self, config: Json) -> Result<Arc<dyn ConfiguredFormat>>;
}

/// A registered type of checkpoint store.
#[async_trait]
pub trait RegisteredStore: Registered {
    /// Reads a configuration and opens the store.
    async fn open(&self, config: Json, cx: &BuildContext) -> Result<Arc<dyn CheckpointStore>>;
}

fn read<C: DeserializeOwned>(type_name: &str, config: Json) -> Result<C> {
    // An absent block is an empty one.
    let config = if config.is_null() { Json::Object(serde_json::Map::new()) } else { config };
    serde_json::from_value::<C>(config)
        .map_err(|e| Error::configuration("config.connector").message(format!("{type_name}: {e}")))
}

/// A typed factory behind the trait of its kind.
macro_rules! entry {
    ($name:ident: $factory:ident) => {
        struct $name<F>(Arc<F>);

        impl<F: $factory> Registered for $name<F> {
            fn type_name(&self) -> &'static str {
                self.0.type_name()
            }

            fn description(&self) -> Description {
                self.0.description()
            }

            fn schema(&self) -> Json {
                schema_of::<F::Config>()
            }
        }
    };
}
entry!(SourceEntry: SourceFactory);
entry!(SinkEntry: SinkFactory);
entry!(TransformEntry: TransformFactory);
entry!(FormatEntry: FormatFactory);
entry!(StoreEntry: StoreFactory);

impl<F: SourceFactory> RegisteredSource for SourceEntry<F> {
    fn configure(&self, config: Json) -> Result<Arc<dyn ConfiguredSource>> {
        let config = read::<F::Config>(self.type_name(), config)?;
        self.0.validate(&config)?;
        Ok(Arc::new(Configured::new(Arc::clone(&self.0), config)))
    }

    fn positions(&self) -> Option<Box<dyn PositionCodec>> {
        self.0.positions()
    }
}

impl<F: SinkFactory> RegisteredSink for SinkEntry<F> {
    fn configure(&self, config: Json) -> Result<Arc<dyn ConfiguredSink>> {
        let config = read::<F::Config>(self.type_name(), config)?;
        self.0.validate(&config)?;
        Ok(Arc::new(Configured::new(Arc::clone(&self.0), config)))
    }

    fn default_format(&self) -> Option<&'static str> {
        self.0.default_format()
    }
}

impl<F: TransformFactory> RegisteredTransform for TransformEntry<F> {
    fn configure(&self, config: Json) -> Result<Arc<dyn ConfiguredTransform>> {
        let config = read::<F::Config>(self.type_name(), config)?;
        Ok(Arc::new(Configured::new(Arc::clone(&self.0), config)))
    }
}

impl<F: FormatFactory> RegisteredFormat for FormatEntry<F> {
    fn configure(&self, config: Json) -> Result<Arc<dyn ConfiguredFormat>> {
        let config = read::<F::Config>(self.type_name(), config)?;
        Ok(Arc::new(Configured::new(Arc::clone(&self.0), config)))
    }
}

#[async_trait]
impl<F: StoreFactory> RegisteredStore for StoreEntry<F> {
    async fn open(&self, config: Json, cx: &BuildContext) -> Result<Arc<dyn CheckpointStore>> {
        let config = read::<F::Config>(self.type_name(), config)?;
        self.0.build(&config, cx).await
    }
}

/// The types that a binary knows. A type registered twice is that of the later call, so that a custom build can
/// replace one of ours.
///
/// ```
/// use outflow_sdk::Registry;
/// let registry = Registry::new();
/// assert!(registry.sources().next().is_none());
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    sources: BTreeMap<&'static str, Arc<dyn RegisteredSource>>,
    sinks: BTreeMap<&'static str, Arc<dyn RegisteredSink>>,
    transforms: BTreeMap<&'static str, Arc<dyn RegisteredTransform>>,
    formats: BTreeMap<&'static str, Arc<dyn RegisteredFormat>>,
    stores: BTreeMap<&'static str, Arc<dyn RegisteredStore>>,
}

macro_rules! kind {
    ($map:ident, $trait:ident, $factory:ident, $entry:ident, $add:ident, $get:ident, $word:literal) => {
        #[doc = concat!("Adds a factory of ", $word, "s.")]
        pub fn $add<F: $factory>(&mut self, factory: F) -> &mut Self {
            self.$map.insert(factory.type_name(), Arc::new($entry(Arc::new(factory))));
            self
        }

        #[doc = concat!("The ", $word, " of this type.")]
        pub fn $get(&self, type_name: &str) -> Option<&Arc<dyn $trait>> {
            self.$map.get(type_name)
        }

        #[doc = concat!("All ", $word, "s, by type.")]
        pub fn $map(&self) -> impl Iterator<Item = &Arc<dyn $trait>> {
            self.$map.values()
        }
    };
}

impl Registry {
    /// A registry that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a simple source.
    pub fn source<C: SourceConnector>(&mut self) -> &mut Self {
        self.add_source(SimpleSource::<C>::default())
    }

    /// Adds a simple sink.
    pub fn sink<C: SinkConnector>(&mut self) -> &mut Self {
        self.add_sink(SimpleSink::<C>::default())
    }

    kind!(sources, RegisteredSource, SourceFactory, SourceEntry, add_source, get_source, "source");
    kind!(sinks, RegisteredSink, SinkFactory, SinkEntry, add_sink, get_sink, "sink");
    kind!(
        transforms,
        RegisteredTransform,
        TransformFactory,
        TransformEntry,
        add_transform,
        get_transform,
        "transform"
    );
    kind!(formats, RegisteredFormat, FormatFactory, FormatEntry, add_format, get_format, "format");
    kind!(stores, RegisteredStore, StoreFactory, StoreEntry, add_store, get_store, "store");
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("sources", &self.sources.keys())
            .field("sinks", &self.sinks.keys())
            .field("transforms", &self.transforms.keys())
            .field("formats", &self.formats.keys())
            .field("stores", &self.stores.keys())
            .finish()
    }
}
