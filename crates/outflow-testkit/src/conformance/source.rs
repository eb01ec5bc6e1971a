//! The contract of sources.

mod checks;
mod port;
mod run;

use std::sync::Arc;
use std::time::Duration;

use outflow_sdk::{ConfiguredSource, EventRef, PositionCodec, async_trait};

use super::PATIENCE;
use super::change::Change;
use super::verdict::{Report, Verdict, Violation};
use run::Bench;

/// What the suite needs to know of a source: how it is configured, how changes get into its system, and which
/// event is which change. Made anew for each check, over a system (a database, a folder, a topic) of its own.
#[async_trait]
pub trait SourceFixture: Send + Sync {
    /// The source. Asked for again before each run.
    fn source(&self) -> Arc<dyn ConfiguredSource>;

    /// Commits so many changes, of several keys and with several changes a key, and returns them in commit order.
    /// They come before everything that a later call commits.
    async fn produce(&mut self, changes: usize) -> Vec<Change>;

    /// Which change an event is; `None` for events that are none, such as transaction boundaries.
    fn change(&self, event: &EventRef<'_>) -> Option<Change>;

    /// Commits work that the source reads and passes over, where there is such a thing: other tables, rolled-back
    /// transactions. True if it did.
    async fn unrelated(&mut self) -> bool {
        false
    }

    /// Reads and prints the source's positions; the same as its factory gives.
    fn codec(&self) -> Option<Box<dyn PositionCodec>> {
        None
    }

    /// How long the connector may take for what it has to do: 20 s unless said. Only a broken one needs it.
    fn patience(&self) -> Duration {
        PATIENCE
    }
}

macro_rules! source_checks {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $function:ident, $rule:literal;)*) => {
        /// One check of the suite for sources.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum SourceCheck {
            $($(#[$doc])* $variant,)*
        }

        impl SourceCheck {
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
            pub async fn run(self, fixture: &mut dyn SourceFixture) -> Result<Verdict, Violation> {
                let bench = Bench::new(fixture);
                let result = match self { $(Self::$variant => checks::$function(bench).await),* };
                result.map_err(|mismatch| mismatch.of(self.name(), self.rule()))
            }
        }
    };
}

source_checks! {
    /// Nothing is lost, repeated or made up over a clean restart.
    CleanRestart, "nothing_is_lost_or_repeated_over_a_clean_restart", clean_restart,
    "capability `resume`: a restart neither loses nor repeats what was checkpointed (invariants 1, 2)";
    /// Changes of a key come in commit order.
    OrderPerKey, "changes_of_a_key_come_in_commit_order", order_per_key,
    "order per key: the deliveries of one key are in commit order (invariant 3)";
    /// Progress reaches the end of what was read, also where nothing of it was emitted.
    Progress, "progress_is_carried_by_every_batch", progress,
    "contiguous prefix: work that is passed over still carries its position, in an empty batch (invariant 2)";
    /// The future may be dropped at any await.
    CancelAnywhere, "a_drop_at_any_await_loses_nothing", cancel_anywhere,
    "cancellation is a drop: `run` may be dropped at any await and must lose nothing by it (invariants 1, 3)";
    /// Ends when everything current is delivered.
    StopAtCurrent, "stop_at_current_ends", stop_at_current,
    "capability `stop_at_current`: the run ends once everything is emitted that was committed when it started";
    /// Returns when it is told to stop.
    ControlStop, "an_order_to_stop_is_obeyed", control_stop,
    "a source that asks for control returns `Ok` when it is told to stop";
    /// A replay gives the same ids.
    StableIds, "a_replay_gives_the_same_ids", stable_ids,
    "stable identity: an event has one id, the same on every replay and no other event's (invariant 8)";
    /// Positions can be printed, read back and compared.
    Positions, "positions_grow_and_read_back", positions,
    "the position codec reads what it prints, and positions of a partition grow and cover what came before them";
}

/// Runs all checks, each over a fixture of its own, and says what they found.
pub async fn source<F, Made>(mut fixture: impl FnMut() -> Made) -> Report
where
    F: SourceFixture,
    Made: Future<Output = F>,
{
    let mut report = Report::default();
    for check in SourceCheck::ALL {
        let result = check.run(&mut fixture().await).await;
        report.push(check.name(), result);
    }
    report
}
