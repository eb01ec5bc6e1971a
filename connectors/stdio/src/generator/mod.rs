//! The source `generator`: rows out of a seed.

mod position;
mod rows;

use std::num::NonZeroU64;
use std::time::Duration;

use async_trait::async_trait;
use outflow_sdk::{
    BatchBuilder, BuildContext, Description, JsonSchema, PartitionId, PositionCodec, Result, Source,
    SourceCapabilities, SourceContext, SourceFactory, SourceKind,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::configured::configured_source;
use position::Codec;
use rows::Rows;

/// Distinct rows of twelve columns of mixed types, the same for the same seed on every machine and on every
/// replay: for trials, benchmarks and tests.
///
/// Without `keys` each row is an insert. With `keys`, rows go round so many keys: the first of each is an insert,
/// the others are updates.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Generator {
    /// How many rows there are in all, over every restart; without end unless set.
    rows: Option<u64>,
    /// Rows a second; as fast as the sink takes them unless set.
    rate: Option<NonZeroU64>,
    /// What the rows are made of.
    seed: u64,
    /// Bytes of the values of a row, at least 128.
    row_bytes: u32,
    /// How many keys there are; a new one each row unless set.
    keys: Option<NonZeroU64>,
}

impl Default for Generator {
    fn default() -> Self {
        Self { rows: None, rate: None, seed: 0, row_bytes: 200, keys: None }
    }
}

impl Generator {
    /// Rows without end, as fast as the sink takes them.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many rows in all, over every restart.
    #[must_use]
    pub fn rows(mut self, rows: u64) -> Self {
        self.rows = Some(rows);
        self
    }

    /// So many rows a second; 0 is as fast as the sink takes them.
    #[must_use]
    pub fn rate(mut self, rate: u64) -> Self {
        self.rate = NonZeroU64::new(rate);
        self
    }

    /// Rows of another seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Rows of so many bytes, at least 128.
    #[must_use]
    pub fn row_bytes(mut self, bytes: u32) -> Self {
        self.row_bytes = bytes;
        self
    }

    /// So many keys; 0 is a new one each row.
    #[must_use]
    pub fn keys(mut self, keys: u64) -> Self {
        self.keys = NonZeroU64::new(keys);
        self
    }
}

/// Makes the source `generator`.
#[derive(Clone, Copy, Debug, Default)]
pub struct GeneratorFactory;

impl SourceFactory for GeneratorFactory {
    type Config = Generator;

    fn type_name(&self) -> &'static str {
        "generator"
    }

    fn description(&self) -> Description {
        Description {
            summary: "Rows out of a seed, for trials, benchmarks and tests.",
            guarantees: "The same seed gives the same rows with the same ids on every replay; resumes by row.",
            example: "source:\n  type: generator\n  rows: 1000000\n  rate: 10000\n",
        }
    }

    fn capabilities(&self, config: &Generator) -> SourceCapabilities {
        let capabilities = SourceCapabilities::new().resume().stop_at_current();
        if config.keys.is_some() { capabilities.updates() } else { capabilities }
    }

    fn positions(&self) -> Option<Box<dyn PositionCodec>> {
        Some(Box::new(Codec))
    }

    fn fingerprint(&self, config: &Generator) -> Option<String> {
        Some(format!("generator {}", origin(config)))
    }

    fn address(&self, config: &Generator) -> String {
        format!("seed {}", config.seed)
    }

    async fn build(&self, config: &Generator, _: &BuildContext) -> Result<SourceKind> {
        Ok(SourceKind::Custom(Box::new(Run { config: config.clone() })))
    }
}

configured_source!(Generator, GeneratorFactory);

/// What decides the rows: part of their ids, so that rows of another configuration have others.
fn origin(config: &Generator) -> String {
    let keys = config.keys.map_or(0, NonZeroU64::get);
    format!("{}/{}/{keys}", config.seed, config.row_bytes)
}

struct Run {
    config: Generator,
}

/// The one partition of a generator.
const PARTITION: &str = "generator";
/// Rows between two looks at whether the pipeline would take a batch.
const STRIDE: u64 = 128;

#[async_trait]
impl Source for Run {
    async fn run(self: Box<Self>, cx: SourceContext) -> Result<()> {
        let partition = PartitionId::from(PARTITION);
        let first = cx.checkpoint().position(&partition).map_or(Ok(0), position::read)?;
        let end = match self.config.rows {
            Some(rows) => rows,
            // Of rows without end none is there before it is asked for.
            None if cx.stop_at_current() => first,
            None => u64::MAX,
        };
        let mut emitter = cx.emitter(PARTITION);
        let mut builder = BatchBuilder::new();
        let mut rows = Rows::new(&self.config, origin(&self.config));
        let limits = cx.limits();
        let pace = self.config.rate.map(|rate| Pace { start: Instant::now(), rate });
        let mut next = first;
        cx.connected();
        while next < end {
            let due = pace.as_ref().map_or(end, |pace| pace.due(first).min(end));
            rows.begin(&mut builder, next);
            while next < due && !limits.reached(&builder) {
                rows.write(&mut builder, next)?;
                next += 1;
                // Without a pace, a batch is as large as the pipeline lets it become.
                if next.is_multiple_of(STRIDE) && emitter.try_ready().is_some() {
                    break;
                }
            }
            if builder.is_empty() {
                if let Some(pace) = &pace {
                    tokio::time::sleep_until(pace.at(next - first + 1)).await;
                }
                continue;
            }
            let permit = emitter.ready().await?;
            permit.send(builder.finish(partition.clone(), Some(position::of(next))));
            // The pipeline may have been ready all along: others on this thread have their turn.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// Rows by the clock.
struct Pace {
    start: Instant,
    rate: NonZeroU64,
}

impl Pace {
    /// The rows that are due by now, in all.
    fn due(&self, first: u64) -> u64 {
        let nanos = self.start.elapsed().as_nanos();
        let rows = nanos * u128::from(self.rate.get()) / 1_000_000_000;
        first.saturating_add(u64::try_from(rows).unwrap_or(u64::MAX))
    }

    /// When so many rows of this run are due.
    fn at(&self, rows: u64) -> Instant {
        let nanos = (u128::from(rows) * 1_000_000_000).div_ceil(u128::from(self.rate.get()));
        self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 4))
    }
}
