//! Configurations that stand for their connector, so that an embedded pipeline takes them as they are:
//! `.sink(FileSink::new("orders.jsonl"))`.

/// Makes a configuration a `ConfiguredSink` through its factory.
macro_rules! configured_sink {
    ($config:ty, $factory:expr) => {
        #[async_trait::async_trait]
        impl outflow_sdk::ConfiguredSink for $config {
            fn type_name(&self) -> &'static str {
                outflow_sdk::SinkFactory::type_name(&$factory)
            }

            fn capabilities(&self) -> outflow_sdk::SinkCapabilities {
                outflow_sdk::SinkFactory::capabilities(&$factory, self)
            }

            fn default_format(&self) -> Option<&'static str> {
                outflow_sdk::SinkFactory::default_format(&$factory)
            }

            fn address(&self) -> String {
                outflow_sdk::SinkFactory::address(&$factory, self)
            }

            async fn check(&self, findings: &mut outflow_sdk::Findings) {
                outflow_sdk::SinkFactory::check(&$factory, self, findings).await;
            }

            async fn build(
                &self,
                cx: &outflow_sdk::BuildContext,
            ) -> outflow_sdk::Result<outflow_sdk::SinkKind> {
                outflow_sdk::SinkFactory::build(&$factory, self, cx).await
            }
        }
    };
}

/// Makes a configuration a `ConfiguredSource` through its factory.
macro_rules! configured_source {
    ($config:ty, $factory:expr) => {
        #[async_trait::async_trait]
        impl outflow_sdk::ConfiguredSource for $config {
            fn type_name(&self) -> &'static str {
                outflow_sdk::SourceFactory::type_name(&$factory)
            }

            fn capabilities(&self) -> outflow_sdk::SourceCapabilities {
                outflow_sdk::SourceFactory::capabilities(&$factory, self)
            }

            fn fingerprint(&self) -> Option<String> {
                outflow_sdk::SourceFactory::fingerprint(&$factory, self)
            }

            fn address(&self) -> String {
                outflow_sdk::SourceFactory::address(&$factory, self)
            }

            async fn check(&self, findings: &mut outflow_sdk::Findings) {
                outflow_sdk::SourceFactory::check(&$factory, self, findings).await;
            }

            async fn build(
                &self,
                cx: &outflow_sdk::BuildContext,
            ) -> outflow_sdk::Result<outflow_sdk::SourceKind> {
                outflow_sdk::SourceFactory::build(&$factory, self, cx).await
            }

            async fn retire(&self) -> outflow_sdk::Result<()> {
                outflow_sdk::SourceFactory::retire(&$factory, self).await
            }
        }
    };
}

pub(crate) use {configured_sink, configured_source};
