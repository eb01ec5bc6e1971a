//! A driver that calls a source as the runtime does, one step at a time.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use outflow_connector_polling::Polling;
use outflow_sdk::{
    BatchBuilder, BatchLimits, BuildContext, ConfiguredSource, Image, Page, PartitionId, PollingSource,
    Position, Result, RowKeys, SourceKind, Value,
};

/// How long a test waits for what must happen.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A delivered row.
#[derive(Clone, PartialEq)]
pub struct Row {
    pub event_id: String,
    pub table: String,
    pub values: Vec<(String, Value)>,
}

impl Row {
    pub fn get(&self, column: &str) -> &Value {
        let found = self.values.iter().find(|(name, _)| name == column);
        &found.unwrap_or_else(|| panic!("no column {column}")).1
    }

    pub fn id(&self) -> i64 {
        match self.get("id") {
            Value::I64(id) => *id,
            other => panic!("id {other:?}"),
        }
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.event_id)
    }
}

/// A source, and what the runtime keeps for it.
pub struct Driver {
    pub source: Box<dyn PollingSource>,
    pub positions: HashMap<PartitionId, Position>,
    pub unsettled: Vec<(PartitionId, RowKeys)>,
    pub limits: BatchLimits,
    pub reached_target: HashMap<PartitionId, bool>,
    builder: BatchBuilder,
}

impl Driver {
    pub async fn open(config: &Polling) -> Result<Self> {
        Self::start(config, HashMap::new(), false).await
    }

    pub async fn start(
        config: &Polling,
        positions: HashMap<PartitionId, Position>,
        stop_at_current: bool,
    ) -> Result<Self> {
        let SourceKind::Polling(source) = config.build(&BuildContext::new("test")).await? else {
            panic!("another kind of source")
        };
        source.open(stop_at_current).await?;
        Ok(Self {
            source,
            positions,
            unsettled: Vec::new(),
            limits: BatchLimits::default(),
            reached_target: HashMap::new(),
            builder: BatchBuilder::new(),
        })
    }

    /// Starts again at the positions reached, as after a crash: what was in flight is forgotten.
    pub async fn restart(self, config: &Polling) -> Result<Self> {
        Self::start(config, self.positions, false).await
    }

    /// Polls every table once; the rows, and whether there are more.
    pub async fn poll(&mut self) -> Result<(Vec<Row>, bool)> {
        let mut rows = Vec::new();
        let mut more = false;
        for table in self.source.tables() {
            more |= self.poll_table(&table, &mut rows).await?.more;
        }
        Ok((rows, more))
    }

    pub async fn poll_table(&mut self, table: &PartitionId, rows: &mut Vec<Row>) -> Result<Page> {
        let after = self.positions.get(table).cloned();
        let page = self.source.poll(table, after.as_ref(), self.limits, &mut self.builder).await?;
        let batch = self.builder.finish(table.clone(), page.end.clone());
        for event in batch.iter() {
            let schema = event.schema().expect("a schema");
            let row = event.row(Image::After).expect("a row");
            rows.push(Row {
                event_id: event.id().to_string(),
                table: schema.qualified_name(),
                values: schema
                    .columns()
                    .iter()
                    .enumerate()
                    .map(|(i, c)| (c.name().to_owned(), row.get(i).expect("a value").to_value()))
                    .collect(),
            });
        }
        if let Some(end) = &page.end {
            self.positions.insert(table.clone(), end.clone());
        }
        if !page.rows.is_empty() {
            self.unsettled.push((table.clone(), page.rows.clone()));
        }
        *self.reached_target.entry(table.clone()).or_default() |= page.reached_target;
        Ok(page)
    }

    /// Marks or deletes everything that was delivered.
    pub async fn settle(&mut self) -> Result<()> {
        for (table, rows) in std::mem::take(&mut self.unsettled) {
            self.source.settle(&table, &rows).await?;
        }
        Ok(())
    }

    /// Polls and waits until `done`, with whatever comes; panics after [`DEADLINE`].
    pub async fn until(&mut self, mut done: impl FnMut(&[Row]) -> bool) -> Vec<Row> {
        let end = Instant::now() + DEADLINE;
        let mut all = Vec::new();
        let mut pause = Duration::from_millis(20);
        while !done(&all) {
            assert!(
                Instant::now() < end,
                "not in time; {} rows: {all:?}; {:?}",
                all.len(),
                self.source.obstacle()
            );
            let (rows, more) = self.poll().await.expect("poll");
            if rows.is_empty() && !more {
                self.source.wait(pause).await.expect("wait");
                pause = (pause * 2).min(Duration::from_secs(1));
            } else {
                pause = Duration::from_millis(20);
            }
            all.extend(rows);
        }
        all
    }

    /// As many rows, and not one more.
    pub async fn exactly(&mut self, count: usize) -> Vec<Row> {
        let mut rows = self.until(|rows| rows.len() >= count).await;
        rows.extend(self.poll().await.expect("poll").0);
        assert_eq!(rows.len(), count, "{rows:?}");
        rows
    }

    pub fn position(&self, table: &str) -> String {
        self.positions.get(&PartitionId::new(table)).map(|p| p.as_str().to_owned()).unwrap_or_default()
    }
}

/// Ids in the order of delivery.
pub fn ids(rows: &[Row]) -> Vec<i64> {
    rows.iter().map(Row::id).collect()
}

/// Waits until a condition holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The code of the error that a configuration ends in, when it is built or opened.
pub async fn refused(config: &Polling) -> outflow_sdk::Error {
    match Driver::open(config).await {
        Err(error) => error,
        Ok(_) => panic!("it was opened"),
    }
}
