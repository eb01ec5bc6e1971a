//! The source for embedders.

use std::sync::Arc;
use std::time::Duration;

use outflow_sdk::{
    BuildContext, Configured, ConfiguredSource, Findings, Result, SourceCapabilities, SourceKind,
    TablePatterns, Timespan, async_trait,
};

use crate::config::{Delivered, OnLostPosition, PollingConfig, Snapshot};
use crate::factory::PollingFactory;
use crate::url::DatabaseUrl;

/// A `polling` source, set up in code.
///
/// ```
/// use outflow_connector_polling::{Delivered, Polling};
/// let source = Polling::postgres("postgres://outflow@db.internal/shop")
///     .password("secret")
///     .tables(["public.outbox"])
///     .delivered(Delivered::Mark)
///     .mark_column("published");
/// # let _ = source;
/// ```
#[derive(Clone, Debug)]
pub struct Polling {
    config: PollingConfig,
}

impl Polling {
    /// Tables of a SQLite file.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(path: impl AsRef<std::path::Path>) -> Self {
        Self::from_url(format!("sqlite:{}", path.as_ref().display()))
    }

    /// Tables of a PostgreSQL database: `postgres://USER@HOST/DATABASE`.
    #[cfg(feature = "postgres")]
    pub fn postgres(url: impl Into<String>) -> Self {
        Self::from_url(url)
    }

    /// Tables of the database at this URL.
    pub fn from_url(url: impl Into<String>) -> Self {
        Self { config: PollingConfig::new(DatabaseUrl::new(url)) }
    }

    /// Follows these tables and no others.
    #[must_use]
    pub fn tables(mut self, tables: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.config.tables = TablePatterns::new(tables);
        self
    }

    /// Follows this table too.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        let tables = self.config.tables.iter().map(str::to_owned).chain([table.into()]);
        self.config.tables = TablePatterns::new(tables.collect::<Vec<_>>());
        self
    }

    /// Leaves these tables out.
    #[must_use]
    pub fn exclude_tables(mut self, tables: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.config.exclude_tables = TablePatterns::new(tables);
        self
    }

    /// What becomes of a row after its delivery.
    #[must_use]
    pub fn delivered(mut self, delivered: Delivered) -> Self {
        self.config.delivered = delivered;
        self
    }

    /// The column that orders and identifies the rows. Its values are unique and never used again.
    #[must_use]
    pub fn cursor(mut self, column: impl Into<String>) -> Self {
        self.config.cursor = Some(column.into());
        self
    }

    /// The column that tells delivered rows from others.
    #[must_use]
    pub fn mark_column(mut self, column: impl Into<String>) -> Self {
        self.config.mark_column = Some(column.into());
        self
    }

    /// Removes marked rows after so long; for marks that are a time.
    #[must_use]
    pub fn retention(mut self, keep: Duration) -> Self {
        self.config.retention = Some(Timespan(keep));
        self
    }

    /// The time that the retention counts from.
    #[must_use]
    pub fn retention_column(mut self, column: impl Into<String>) -> Self {
        self.config.retention_column = Some(column.into());
        self
    }

    /// What the first start delivers.
    #[must_use]
    pub fn snapshot(mut self, snapshot: Snapshot) -> Self {
        self.config.snapshot = snapshot;
        self
    }

    /// What to do when the table no longer fits the position.
    #[must_use]
    pub fn on_lost_position(mut self, policy: OnLostPosition) -> Self {
        self.config.on_lost_position = policy;
        self
    }

    /// The password.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.config.password = Some(outflow_sdk::Secret::new(password));
        self
    }

    /// How the connection is encrypted.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn tls(mut self, tls: crate::config::Tls) -> Self {
        self.config.tls = tls;
        self
    }

    /// Factory and configuration together, as the registry makes them.
    pub fn configured(self) -> Configured<PollingFactory, PollingConfig> {
        Configured::new(Arc::new(PollingFactory), self.config)
    }

    fn inner(&self) -> Configured<PollingFactory, PollingConfig> {
        self.clone().configured()
    }
}

#[async_trait]
impl ConfiguredSource for Polling {
    fn type_name(&self) -> &'static str {
        self.inner().type_name()
    }

    fn capabilities(&self) -> SourceCapabilities {
        self.inner().capabilities()
    }

    fn fingerprint(&self) -> Option<String> {
        self.inner().fingerprint()
    }

    fn address(&self) -> String {
        self.inner().address()
    }

    async fn check(&self, findings: &mut Findings) {
        self.inner().check(findings).await;
    }

    async fn build(&self, cx: &BuildContext) -> Result<SourceKind> {
        self.inner().build(cx).await
    }

    async fn retire(&self) -> Result<()> {
        self.inner().retire().await
    }
}
