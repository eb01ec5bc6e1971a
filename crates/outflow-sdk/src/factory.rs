//! Factories: typed configuration in, running parts out.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use outflow_core::{Error, PositionCodec, Result};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::capabilities::{SinkCapabilities, SourceCapabilities};
use crate::connector::{Simple, SinkConnector, SourceConnector, sealed};
use crate::findings::Findings;
use crate::format::Format;
use crate::log::WalSource;
use crate::polling::PollingSource;
use crate::record::RecordBatch;
use crate::sink::Sink;
use crate::source::{Source, SourceContext};
use crate::state::CheckpointStore;
use crate::transform::Transform;

/// What `list` and `describe` print about a connector.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Description {
    /// One sentence.
    pub summary: &'static str,
    /// What it promises, and under which conditions.
    pub guarantees: &'static str,
    /// The block of a pipeline file, as YAML.
    pub example: &'static str,
}

/// What a part is built for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BuildContext {
    /// The pipeline's name.
    pub pipeline: Arc<str>,
    /// The folder that relative paths of the pipeline file start from.
    pub base: std::path::PathBuf,
    /// Whether the sink has a `format`.
    pub has_format: bool,
}

impl BuildContext {
    /// A context for a pipeline whose relative paths start from the current folder.
    pub fn new(pipeline: impl Into<Arc<str>>) -> Self {
        Self { pipeline: pipeline.into(), base: std::path::PathBuf::new(), has_format: false }
    }

    /// Relative paths start from `base`.
    #[must_use]
    pub fn base(mut self, base: impl Into<std::path::PathBuf>) -> Self {
        self.base = base.into();
        self
    }

    /// Whether the sink has a `format`.
    #[must_use]
    pub fn has_format(mut self, yes: bool) -> Self {
        self.has_format = yes;
        self
    }
}

/// A source by its family; the runtime has a driver for each.
#[non_exhaustive]
pub enum SourceKind {
    /// A log that the server keeps until it is released.
    Wal(Box<dyn WalSource>),
    /// A query with a cursor, or marks.
    Polling(Box<dyn PollingSource>),
    /// Anything else.
    Custom(Box<dyn Source>),
}

/// A sink by what it takes.
#[non_exhaustive]
pub enum SinkKind {
    /// Typed batches.
    Changes(Box<dyn Sink>),
    /// Bytes, by the pipeline's format.
    Records(Box<dyn Sink<RecordBatch>>),
}

macro_rules! debug_kind {
    ($name:ident: $($variant:ident),*) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant(_) => stringify!($variant)),* })
            }
        }
    };
}
debug_kind!(SourceKind: Wal, Polling, Custom);
debug_kind!(SinkKind: Changes, Records);

/// Makes sources of one type.
pub trait SourceFactory: Send + Sync + 'static {
    /// The keys under `source:`, all but `type`. Derive `JsonSchema` with `deny_unknown_fields`.
    type Config: DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// The word after `type:`.
    fn type_name(&self) -> &'static str;

    /// What `describe` prints.
    fn description(&self) -> Description {
        Description::default()
    }

    /// What it can do under this configuration.
    fn capabilities(&self, config: &Self::Config) -> SourceCapabilities;

    /// Reads and prints positions without a connection.
    fn positions(&self) -> Option<Box<dyn PositionCodec>> {
        None
    }

    /// What is selected from the source, so that a checkpoint of another selection is not taken for this one's.
    fn fingerprint(&self, config: &Self::Config) -> Option<String> {
        let _ = config;
        None
    }

    /// A short text for status lines: where it reads, without credentials.
    fn address(&self, config: &Self::Config) -> String {
        let _ = config;
        String::new()
    }

    /// Looks for mistakes that the schema cannot tell, without touching any system. A context value `path` names the
    /// key, such as `tls.mode`.
    ///
    /// # Errors
    /// A mistake in the configuration.
    fn validate(&self, config: &Self::Config) -> Result<()> {
        let _ = config;
        Ok(())
    }

    /// Looks at the system without changing anything.
    fn check(&self, config: &Self::Config, findings: &mut Findings) -> impl Future<Output = ()> + Send {
        let _ = (config, findings);
        async {}
    }

    /// Builds the source for one attempt.
    fn build(
        &self,
        config: &Self::Config,
        cx: &BuildContext,
    ) -> impl Future<Output = Result<SourceKind>> + Send;

    /// Gives back what the source keeps on the server (a replication slot). Only on command.
    fn retire(&self, config: &Self::Config) -> impl Future<Output = Result<()>> + Send {
        let _ = config;
        async { Ok(()) }
    }
}

/// Makes sinks of one type.
pub trait SinkFactory: Send + Sync + 'static {
    /// The keys under `sink:`, all but `type`, `format`, `key` and `headers`.
    type Config: DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// The word after `type:`.
    fn type_name(&self) -> &'static str;

    /// What `describe` prints.
    fn description(&self) -> Description {
        Description::default()
    }

    /// What it can do under this configuration.
    fn capabilities(&self, config: &Self::Config) -> SinkCapabilities;

    /// The format when the file names none; `None` for sinks that take typed batches by default.
    fn default_format(&self) -> Option<&'static str> {
        None
    }

    /// A short text for status lines: where it writes, without credentials.
    fn address(&self, config: &Self::Config) -> String {
        let _ = config;
        String::new()
    }

    /// Looks for mistakes that the schema cannot tell, without touching any system. A context value `path` names the
    /// key, such as `tls.mode`.
    ///
    /// # Errors
    /// A mistake in the configuration.
    fn validate(&self, config: &Self::Config) -> Result<()> {
        let _ = config;
        Ok(())
    }

    /// Looks at the system without changing anything.
    fn check(&self, config: &Self::Config, findings: &mut Findings) -> impl Future<Output = ()> + Send {
        let _ = (config, findings);
        async {}
    }

    /// Builds the sink for one attempt.
    fn build(
        &self,
        config: &Self::Config,
        cx: &BuildContext,
    ) -> impl Future<Output = Result<SinkKind>> + Send;
}

/// Makes transforms of one type.
pub trait TransformFactory: Send + Sync + 'static {
    /// The keys of the transform's block, all but `type`.
    type Config: DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// The word after `type:`.
    fn type_name(&self) -> &'static str;

    /// What `describe` prints.
    fn description(&self) -> Description {
        Description::default()
    }

    /// Builds the transform. Errors are mistakes in the configuration.
    fn build(&self, config: &Self::Config, cx: &BuildContext) -> Result<Box<dyn Transform>>;
}

/// Makes formats of one type.
pub trait FormatFactory: Send + Sync + 'static {
    /// The keys of a `format:` block, all but `type`.
    type Config: DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// The word after `format:` or `type:`.
    fn type_name(&self) -> &'static str;

    /// What `describe` prints.
    fn description(&self) -> Description {
        Description::default()
    }

    /// Builds the format. Errors are mistakes in the configuration.
    fn build(&self, config: &Self::Config, cx: &BuildContext) -> Result<Box<dyn Format>>;
}

/// Makes checkpoint stores of one type.
pub trait StoreFactory: Send + Sync + 'static {
    /// The keys under `state:`, all but `type`.
    type Config: DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// The word after `type:`.
    fn type_name(&self) -> &'static str;

    /// What `describe` prints.
    fn description(&self) -> Description {
        Description::default()
    }

    /// Opens the store. Relative paths start from `cx.base`.
    fn build(
        &self,
        config: &Self::Config,
        cx: &BuildContext,
    ) -> impl Future<Output = Result<Arc<dyn CheckpointStore>>> + Send;
}

/// A source with its configuration: built again for each attempt of a pipeline.
#[async_trait]
pub trait ConfiguredSource: Send + Sync {
    /// The connector's type.
    fn type_name(&self) -> &'static str;
    /// What it can do.
    fn capabilities(&self) -> SourceCapabilities;
    /// What is selected from the source.
    fn fingerprint(&self) -> Option<String>;
    /// Where it reads, without credentials.
    fn address(&self) -> String;
    /// Looks at the system without changing anything.
    async fn check(&self, findings: &mut Findings);
    /// Builds the source for one attempt.
    async fn build(&self, cx: &BuildContext) -> Result<SourceKind>;
    /// Gives back what the source keeps on the server.
    async fn retire(&self) -> Result<()>;
}

/// A sink with its configuration: built again for each attempt of a pipeline.
#[async_trait]
pub trait ConfiguredSink: Send + Sync {
    /// The connector's type.
    fn type_name(&self) -> &'static str;
    /// What it can do.
    fn capabilities(&self) -> SinkCapabilities;
    /// The format when the file names none.
    fn default_format(&self) -> Option<&'static str>;
    /// Where it writes, without credentials.
    fn address(&self) -> String;
    /// Looks at the system without changing anything.
    async fn check(&self, findings: &mut Findings);
    /// Builds the sink for one attempt.
    async fn build(&self, cx: &BuildContext) -> Result<SinkKind>;
}

/// Makes a transform anew for each attempt.
pub trait ConfiguredTransform: Send + Sync {
    /// The transform's type.
    fn type_name(&self) -> &'static str;
    /// Builds it.
    fn build(&self, cx: &BuildContext) -> Result<Box<dyn Transform>>;
}

/// Makes a format anew for each attempt.
pub trait ConfiguredFormat: Send + Sync {
    /// The format's type.
    fn type_name(&self) -> &'static str;
    /// Builds it.
    fn build(&self, cx: &BuildContext) -> Result<Box<dyn Format>>;
}

/// A factory together with a configuration: what embedders and the registry hand to a pipeline.
#[derive(Debug)]
pub struct Configured<F, C> {
    factory: Arc<F>,
    config: C,
}

impl<F, C> Configured<F, C> {
    /// Joins the two.
    pub fn new(factory: Arc<F>, config: C) -> Self {
        Self { factory, config }
    }
}

#[async_trait]
impl<F: SourceFactory> ConfiguredSource for Configured<F, F::Config> {
    fn type_name(&self) -> &'static str {
        self.factory.type_name()
    }

    fn capabilities(&self) -> SourceCapabilities {
        self.factory.capabilities(&self.config)
    }

    fn fingerprint(&self) -> Option<String> {
        self.factory.fingerprint(&self.config)
    }

    fn address(&self) -> String {
        self.factory.address(&self.config)
    }

    async fn check(&self, findings: &mut Findings) {
        self.factory.check(&self.config, findings).await;
    }

    async fn build(&self, cx: &BuildContext) -> Result<SourceKind> {
        self.factory.build(&self.config, cx).await
    }

    async fn retire(&self) -> Result<()> {
        self.factory.retire(&self.config).await
    }
}

#[async_trait]
impl<F: SinkFactory> ConfiguredSink for Configured<F, F::Config> {
    fn type_name(&self) -> &'static str {
        self.factory.type_name()
    }

    fn capabilities(&self) -> SinkCapabilities {
        self.factory.capabilities(&self.config)
    }

    fn default_format(&self) -> Option<&'static str> {
        self.factory.default_format()
    }

    fn address(&self) -> String {
        self.factory.address(&self.config)
    }

    async fn check(&self, findings: &mut Findings) {
        self.factory.check(&self.config, findings).await;
    }

    async fn build(&self, cx: &BuildContext) -> Result<SinkKind> {
        self.factory.build(&self.config, cx).await
    }
}

impl<F: TransformFactory> ConfiguredTransform for Configured<F, F::Config> {
    fn type_name(&self) -> &'static str {
        self.factory.type_name()
    }

    fn build(&self, cx: &BuildContext) -> Result<Box<dyn Transform>> {
        self.factory.build(&self.config, cx)
    }
}

impl<F: FormatFactory> ConfiguredFormat for Configured<F, F::Config> {
    fn type_name(&self) -> &'static str {
        self.factory.type_name()
    }

    fn build(&self, cx: &BuildContext) -> Result<Box<dyn Format>> {
        self.factory.build(&self.config, cx)
    }
}

/// The factory behind a [`SourceConnector`]: its configuration is the document, read anew for each attempt.
#[derive(Debug)]
pub struct SimpleSource<C>(PhantomData<fn() -> C>);

impl<C> Default for SimpleSource<C> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// The configuration of a simple connector, still as the document that its struct is read from.
pub struct Document<C> {
    json: Json,
    parsed: C,
}

impl<C> std::fmt::Debug for Document<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // May hold credentials (invariant 10).
        f.write_str("Document(****)")
    }
}

impl<'de, C: DeserializeOwned> serde::Deserialize<'de> for Document<C> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        let parsed = C::deserialize(&json).map_err(serde::de::Error::custom)?;
        Ok(Self { json, parsed })
    }
}

impl<C: JsonSchema> JsonSchema for Document<C> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        C::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> Schema {
        C::json_schema(generator)
    }
}

impl<C: DeserializeOwned> Document<C> {
    fn fresh(&self) -> Result<C> {
        C::deserialize(&self.json)
            .map_err(|e| Error::configuration("config.connector").message(e.to_string()))
    }
}

impl<C: SourceConnector> SourceFactory for SimpleSource<C> {
    type Config = Document<C>;

    fn type_name(&self) -> &'static str {
        C::TYPE
    }

    fn description(&self) -> Description {
        C::description()
    }

    fn capabilities(&self, _: &Self::Config) -> SourceCapabilities {
        C::CAPABILITIES
    }

    fn positions(&self) -> Option<Box<dyn PositionCodec>> {
        C::positions()
    }

    fn fingerprint(&self, config: &Self::Config) -> Option<String> {
        config.parsed.fingerprint()
    }

    fn address(&self, config: &Self::Config) -> String {
        config.parsed.address()
    }

    async fn check(&self, config: &Self::Config, findings: &mut Findings) {
        config.parsed.check(findings).await;
    }

    async fn build(&self, config: &Self::Config, _: &BuildContext) -> Result<SourceKind> {
        Ok(SourceKind::Custom(Box::new(SimpleRun(config.fresh()?))))
    }
}

struct SimpleRun<C>(C);

#[async_trait]
impl<C: SourceConnector> Source for SimpleRun<C> {
    async fn run(self: Box<Self>, mut cx: SourceContext) -> Result<()> {
        self.0.run(&mut cx).await
    }
}

/// The factory behind a [`SinkConnector`].
#[derive(Debug)]
pub struct SimpleSink<C>(PhantomData<fn() -> C>);

impl<C> Default for SimpleSink<C> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<C: SinkConnector> SinkFactory for SimpleSink<C> {
    type Config = Document<C>;

    fn type_name(&self) -> &'static str {
        C::TYPE
    }

    fn description(&self) -> Description {
        C::description()
    }

    fn capabilities(&self, _: &Self::Config) -> SinkCapabilities {
        C::CAPABILITIES
    }

    fn default_format(&self) -> Option<&'static str> {
        <C::Item as sealed::Item>::DEFAULT_FORMAT
    }

    fn address(&self, config: &Self::Config) -> String {
        config.parsed.address()
    }

    async fn check(&self, config: &Self::Config, findings: &mut Findings) {
        config.parsed.check(findings).await;
    }

    async fn build(&self, config: &Self::Config, _: &BuildContext) -> Result<SinkKind> {
        Ok(<C::Item as sealed::Item>::kind(Box::new(Simple(config.fresh()?))))
    }
}

/// The JSON Schema of a configuration.
pub(crate) fn schema_of<C: JsonSchema>() -> Json {
    schema_for!(C).to_value()
}
