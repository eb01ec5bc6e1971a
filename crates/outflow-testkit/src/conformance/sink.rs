//! The contract of sinks.

mod acks;
mod checks;
mod run;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use outflow_format::{Json, JsonFormat};
use outflow_sdk::{
    Column, Configured, ConfiguredFormat, ConfiguredSink, LogicalType, TableSchema, Value, async_trait,
};

use super::PATIENCE;
use super::change::Change;
use super::verdict::{Report, Verdict, Violation};
use run::Bench;

/// What the suite needs to know of a sink: how it is configured, and what its destination durably holds. Made anew
/// for each check, over an empty destination of its own.
#[async_trait]
pub trait SinkFixture: Send + Sync {
    /// The sink. Asked for again each time it is opened.
    fn sink(&self) -> Arc<dyn ConfiguredSink>;

    /// What the destination holds, in order of arrival, read back without the sink: what would be there if the
    /// sink's process were gone now.
    async fn delivered(&mut self) -> Vec<Change>;

    /// A change whose row the destination refuses for ever, where there is one.
    fn poison(&self) -> Option<Change> {
        None
    }

    /// How records are made for a sink that takes records: flat JSON unless said.
    fn format(&self) -> Arc<dyn ConfiguredFormat> {
        Arc::new(Configured::new(Arc::new(JsonFormat), Json::default()))
    }

    /// The table of the rows: `conformance`, with the text columns `key` and `content`, unless said.
    fn table(&self) -> Arc<TableSchema> {
        static TABLE: LazyLock<Arc<TableSchema>> = LazyLock::new(|| {
            TableSchema::builder("conformance")
                .column(Column::new("key", LogicalType::Text).not_null())
                .column(Column::new("content", LogicalType::Text).not_null())
                .key(["key"])
                .build()
        });
        Arc::clone(&TABLE)
    }

    /// The row of a change, a value for each column of [`table`](Self::table).
    fn row(&self, change: &Change) -> Vec<Value> {
        vec![Value::from(change.key.as_str()), Value::from(change.content.as_str())]
    }

    /// How long the connector may take for what it has to do: 20 s unless said. Only a broken one needs it.
    fn patience(&self) -> Duration {
        PATIENCE
    }
}

macro_rules! sink_checks {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $function:ident, $rule:literal;)*) => {
        /// One check of the suite for sinks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum SinkCheck {
            $($(#[$doc])* $variant,)*
        }

        impl SinkCheck {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name of its test.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The rule of the contract.
            pub fn rule(self) -> &'static str {
                match self { $(Self::$variant => $rule),* }
            }

            /// Runs it. Within a tokio runtime with time and I/O.
            ///
            /// # Errors
            /// The rule is broken.
            pub async fn run(self, fixture: &mut dyn SinkFixture) -> Result<Verdict, Violation> {
                let bench = Bench::new(fixture);
                let result = match self { $(Self::$variant => checks::$function(bench).await),* };
                result.map_err(|mismatch| mismatch.of(self.name(), self.rule()))
            }
        }
    };
}

sink_checks! {
    /// What was acked is held, also after a crash of the sink.
    AckMeansDurable, "an_ack_means_durable", ack_means_durable,
    "order of safety: a batch is acked only when it survives a crash of all but the destination (invariant 1)";
    /// Records that are refused are named, and only they.
    RejectedAreNamed, "rejected_records_are_named", rejected_are_named,
    "capability `rejects`: `Ack::rejected` names the events that can never be taken; all others are durable";
    /// Records of a key arrive in order.
    OrderPerKey, "records_of_a_key_arrive_in_order", order_per_key,
    "capability `ordered`: after removing repeats, the records of a key arrive in order (invariant 3)";
    /// A write that was dropped in the middle is offered again.
    CancelWrite, "a_dropped_write_loses_nothing", cancel_write,
    "cancellation is a drop: a batch whose `write` was dropped counts as not taken and comes again";
    /// After a flush there are no open acks.
    FlushResolves, "flush_resolves_every_ack", flush_resolves,
    "`Sink::flush` returns when every armed ack is resolved";
    /// What was delivered stays, whatever becomes of the sink.
    Reopen, "nothing_is_lost_over_close_and_reopen", reopen,
    "order of safety: what was acked stays, over an orderly close and over one without a word (invariant 1)";
    /// A batch without events is acked.
    EmptyBatch, "an_empty_batch_is_acked", empty_batch,
    "contiguous prefix: a batch filtered to nothing still carries its position, and so must be acked (invariant 2)";
}

/// Runs all checks, each over a fixture of its own, and says what they found.
pub async fn sink<F, Made>(mut fixture: impl FnMut() -> Made) -> Report
where
    F: SinkFixture,
    Made: Future<Output = F>,
{
    let mut report = Report::default();
    for check in SinkCheck::ALL {
        let result = check.run(&mut fixture().await).await;
        report.push(check.name(), result);
    }
    report
}
