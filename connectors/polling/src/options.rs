//! What a configuration asks for, checked as far as that goes without the database.

use std::time::Duration;

use outflow_sdk::{Error, Result, TablePatterns};

use crate::config::{Delivered, OnLostPosition, PollingConfig, Snapshot};

/// What both backends are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) tables: TablePatterns,
    pub(crate) exclude_tables: TablePatterns,
    pub(crate) delivered: Delivered,
    pub(crate) cursor: Option<String>,
    pub(crate) mark_column: Option<String>,
    pub(crate) retention: Option<Retention>,
    pub(crate) snapshot: Snapshot,
    pub(crate) on_lost_position: OnLostPosition,
}

/// When delivered rows go.
#[derive(Clone, Debug)]
pub(crate) struct Retention {
    /// How long they stay.
    pub(crate) keep: Duration,
    /// The column that this counts from; the mark itself if it is a time.
    pub(crate) column: Option<String>,
}

impl Options {
    /// Checks a configuration.
    pub(crate) fn new(config: &PollingConfig) -> Result<Self> {
        let refuse = |code: &'static str, message: &str, hint: &str| {
            Err(Error::configuration(code).message(message).hint(hint))
        };
        if config.tables.is_empty() {
            return refuse(
                "polling.no_tables",
                "tables: no table is named",
                "for example   tables: [outbox]",
            );
        }
        let marks = config.delivered == Delivered::Mark;
        if config.mark_column.is_some() && !marks {
            return refuse(
                "polling.mark_column",
                "mark_column is set, and rows are not marked",
                "add   delivered: mark",
            );
        }
        let retention = match (config.retention, &config.retention_column) {
            (Some(_), _) if !marks => {
                return refuse(
                    "polling.retention",
                    "retention needs delivered: mark, which tells delivered rows from others",
                    "use   delivered: mark   or, to remove rows as soon as they are delivered,   delivered: delete",
                );
            }
            (None, Some(_)) => {
                return refuse(
                    "polling.retention",
                    "retention_column is set without retention",
                    "for example   retention: 7d",
                );
            }
            (keep, column) => keep.map(|keep| Retention { keep: keep.0, column: column.clone() }),
        };
        if config.snapshot == Snapshot::Never && config.delivered != Delivered::Keep {
            return refuse(
                "polling.snapshot",
                "snapshot: never needs delivered: keep; with marks, every row without one is delivered",
                "mark the rows that are not to be delivered before the first start, and leave out   snapshot",
            );
        }
        Ok(Self {
            tables: config.tables.clone(),
            exclude_tables: config.exclude_tables.clone(),
            delivered: config.delivered,
            cursor: config.cursor.clone(),
            mark_column: config.mark_column.clone(),
            retention,
            snapshot: config.snapshot,
            on_lost_position: config.on_lost_position,
        })
    }

    /// Whether a table is asked for. `schema` is empty where the database has none.
    pub(crate) fn wants(&self, schema: &str, table: &str) -> bool {
        self.tables.matches(schema, table) && !self.exclude_tables.matches(schema, table)
    }

    /// The patterns without a wildcard of which `found` says that no table is behind them.
    pub(crate) fn unmatched(&self, mut found: impl FnMut(&TablePatterns) -> bool) -> Vec<String> {
        let single = |pattern: &str| TablePatterns::new([pattern]);
        self.tables.iter().filter(|p| !found(&single(p))).map(str::to_owned).collect()
    }
}
