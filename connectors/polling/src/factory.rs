//! The source `polling` behind the registry.

use outflow_sdk::{
    BuildContext, Description, Findings, PositionCodec, Result, SourceCapabilities, SourceFactory, SourceKind,
};

use crate::check::check;
use crate::config::{Delivered, PollingConfig, Snapshot};
use crate::options::Options;
use crate::place::PlaceCodec;
use crate::url::Backend;

/// Makes `polling` sources.
#[derive(Clone, Copy, Debug, Default)]
pub struct PollingFactory;

impl SourceFactory for PollingFactory {
    type Config = PollingConfig;

    fn type_name(&self) -> &'static str {
        "polling"
    }

    fn description(&self) -> Description {
        Description {
            summary: "Follows tables that applications append to, an outbox first of all: SQLite, PostgreSQL.",
            guarantees: "Every committed row at least once and none that was rolled back. Order is by key among \
                         the rows provably visible, which is commit order per key where writers of a key wait for \
                         each other before they insert. Sees inserts alone.",
            example: "source:\n  type: polling\n  url: sqlite:shop.db\n  tables: [outbox]\n  mode: append\n  \
                      delivered: keep\n",
        }
    }

    fn capabilities(&self, config: &PollingConfig) -> SourceCapabilities {
        let mut capabilities = SourceCapabilities::new().resume().stop_at_current();
        capabilities.marks = config.delivered != Delivered::Keep;
        capabilities.snapshot = config.snapshot == Snapshot::Initial;
        capabilities
    }

    fn positions(&self) -> Option<Box<dyn PositionCodec>> {
        Some(Box::new(PlaceCodec))
    }

    /// Which database, and what the positions of its tables mean. Not which tables: each has a position of its own,
    /// so that one can be added without a new start.
    fn fingerprint(&self, config: &PollingConfig) -> Option<String> {
        let progress = match config.delivered {
            Delivered::Keep => config.cursor.as_deref().unwrap_or("primary key"),
            Delivered::Mark | Delivered::Delete => "marks",
        };
        Some(format!("{}, {} by {progress}", database(config), config.mode.as_str()))
    }

    fn address(&self, config: &PollingConfig) -> String {
        let tables: Vec<&str> = config.tables.iter().collect();
        let word = if tables.len() == 1 { "table" } else { "tables" };
        format!("{}, {word} {}", place(config), tables.join(", "))
    }

    fn validate(&self, config: &PollingConfig) -> Result<()> {
        Options::new(config)?;
        let database = match config.url.backend() {
            #[cfg(feature = "postgres")]
            Ok(Backend::Postgres(url)) => crate::postgres::address(url).map(drop),
            other => other.map(drop),
        };
        database.map_err(|e| e.with("path", "url"))
    }

    async fn check(&self, config: &PollingConfig, findings: &mut Findings) {
        check(config, findings).await;
    }

    async fn build(&self, config: &PollingConfig, cx: &BuildContext) -> Result<SourceKind> {
        let options = Options::new(config)?;
        Ok(SourceKind::Polling(match config.url.backend()? {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(path) => {
                let file = crate::sqlite::File::new(cx.base.join(path));
                Box::new(crate::sqlite::SqliteSource::new(file, options))
            }
            #[cfg(feature = "postgres")]
            Backend::Postgres(url) => {
                let endpoint = crate::postgres::Endpoint::new(url, config, &cx.base)?.pipeline(&cx.pipeline);
                Box::new(crate::postgres::PostgresSource::new(endpoint, options))
            }
        }))
    }
}

/// The database, in words that survive a failover or a move.
fn database(config: &PollingConfig) -> String {
    match config.url.backend() {
        #[cfg(feature = "sqlite")]
        Ok(Backend::Sqlite(path)) => crate::sqlite::File::new(path.into()).name(),
        #[cfg(feature = "postgres")]
        Ok(Backend::Postgres(url)) => crate::postgres::address(url).map(|a| a.database).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// Where the database is.
fn place(config: &PollingConfig) -> String {
    match config.url.backend() {
        #[cfg(feature = "sqlite")]
        Ok(Backend::Sqlite(path)) => path.to_owned(),
        #[cfg(feature = "postgres")]
        Ok(Backend::Postgres(url)) => {
            crate::postgres::address(url).map(|a| a.to_string()).unwrap_or_default()
        }
        Err(_) => String::new(),
    }
}
