//! Runs of a source, one after another, as a pipeline with its restarts would run it.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use outflow_runtime::driver;
use outflow_sdk::{
    BatchLimits, BuildContext, ChangeBatch, Checkpoint, CheckpointDelta, Error, Release, SourceContext,
};
use tokio::time::Instant;

use super::SourceFixture;
use super::port::Script;
use crate::conformance::change::{self, Change};
use crate::conformance::verdict::Mismatch;

/// A source that has nothing to do for so long is cut.
const QUIET: Duration = Duration::from_millis(300);

/// The pause before a transient error is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// Small, so that a few changes make several batches.
const LIMITS: BatchLimits = BatchLimits { bytes: 64 << 10, events: 7 };

/// When a run is over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal<'a> {
    /// These have arrived; then the source is stopped, in order if it asked to be.
    Arrived(&'a [Change]),
    /// The checkpoint has moved from here; then as above.
    Moved(&'a Checkpoint),
    /// The source ended by itself.
    End,
    /// Nothing happened for a while.
    Quiet,
    /// So many polls, or all of these have arrived: then the future is dropped, with what it has in flight.
    Cut(usize, &'a [Change]),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The source returned when it was told to stop.
    Stopped,
    /// The source returned by itself.
    Returned,
    /// Its future was dropped.
    Dropped,
}

/// Why a run did not end well.
enum Trouble {
    /// The source gave up.
    Source(Error),
    /// A rule is broken.
    Rule(Mismatch),
}

enum Step {
    Returned(outflow_sdk::Result<()>),
    Emitted,
    Cut,
    TimeOut,
}

/// A source with its checkpoint and everything that it has delivered so far.
pub(super) struct Bench<'f> {
    pub(super) fixture: &'f mut dyn SourceFixture,
    pub(super) checkpoint: Checkpoint,
    pub(super) batches: Vec<ChangeBatch>,
    /// Whether what was delivered is checkpointed and released.
    pub(super) confirm: bool,
}

impl<'f> Bench<'f> {
    pub(super) fn new(fixture: &'f mut dyn SourceFixture) -> Self {
        Self { fixture, checkpoint: Checkpoint::new(), batches: Vec::new(), confirm: true }
    }

    /// What has been delivered, in order.
    pub(super) fn came(&self) -> Vec<Change> {
        self.batches.iter().flat_map(ChangeBatch::iter).filter_map(|e| self.fixture.change(&e)).collect()
    }

    /// Runs the source from the checkpoint until `goal`. After a transient error it is built again, as a pipeline
    /// would: a predecessor may need a moment to be gone.
    pub(super) async fn run(&mut self, goal: Goal<'_>) -> Result<End, Mismatch> {
        let until = Instant::now() + self.fixture.patience();
        loop {
            match self.attempt(goal).await {
                Ok(end) => return Ok(end),
                Err(Trouble::Rule(mismatch)) => return Err(mismatch),
                Err(Trouble::Source(error)) if error.is_transient() && Instant::now() < until => {
                    tokio::time::sleep(RETRY).await;
                }
                Err(Trouble::Source(error)) => return Err(Mismatch::failed("the source runs")(error)),
            }
        }
    }

    async fn attempt(&mut self, goal: Goal<'_>) -> Result<End, Trouble> {
        let source = self.fixture.source();
        let kind = source.build(&BuildContext::new("conformance")).await;
        let source = kind.and_then(driver).map_err(Trouble::Source)?;
        // Room for one batch: each emission awaits that the one before was taken.
        let script = Script::new(1);
        let at_current = matches!(goal, Goal::End);
        let cx =
            SourceContext::new(script.port(), "conformance", self.checkpoint.clone(), LIMITS, at_current);
        let mut run = source.run(cx);
        let mut polls = 0;
        let mut stopping = false;
        let patience =
            if matches!(goal, Goal::Quiet | Goal::Cut(..)) { QUIET } else { self.fixture.patience() };
        let mut deadline = std::pin::pin!(tokio::time::sleep(patience));
        loop {
            let step = poll_fn(|cx| {
                if let Poll::Ready(result) = run.as_mut().poll(cx) {
                    return Poll::Ready(Step::Returned(result));
                }
                polls += 1;
                if matches!(goal, Goal::Cut(limit, _) if polls >= limit) {
                    return Poll::Ready(Step::Cut);
                }
                if script.has_emitted(cx) || (script.finished() && !stopping) {
                    return Poll::Ready(Step::Emitted);
                }
                deadline.as_mut().poll(cx).map(|()| Step::TimeOut)
            });
            match step.await {
                // What is in flight is lost with the one who was to deliver it.
                Step::Cut => return Ok(End::Dropped),
                Step::Returned(result) => {
                    self.deliver(&script);
                    result.map_err(Trouble::Source)?;
                    return match goal {
                        _ if stopping => Ok(End::Stopped),
                        Goal::Arrived(_) | Goal::Moved(_) if !self.reached(goal, &script) => {
                            Err(Trouble::Rule(self.not_reached(goal, "before the source returned")))
                        }
                        _ => Ok(End::Returned),
                    };
                }
                Step::Emitted => {
                    self.deliver(&script);
                    if patience == QUIET {
                        deadline.as_mut().reset(Instant::now() + QUIET);
                    }
                }
                Step::TimeOut if patience == QUIET && !stopping => return Ok(End::Dropped),
                Step::TimeOut => return Err(Trouble::Rule(self.too_late(goal, stopping))),
            }
            if stopping || !self.reached(goal, &script) {
                continue;
            }
            if matches!(goal, Goal::Cut(..)) || !(script.asked_for_control() || matches!(goal, Goal::End)) {
                return Ok(End::Dropped);
            }
            script.stop();
            stopping = true;
            deadline.as_mut().reset(Instant::now() + self.fixture.patience());
        }
    }

    fn reached(&self, goal: Goal<'_>, script: &Script) -> bool {
        match goal {
            Goal::Arrived(expected) | Goal::Cut(_, expected) => {
                change::missing(expected, &self.came()).is_empty()
            }
            Goal::Moved(from) => self.checkpoint != *from,
            Goal::End => script.finished(),
            Goal::Quiet => false,
        }
    }

    /// Takes what was emitted: delivers, checkpoints, releases, in this order (invariant 1).
    fn deliver(&mut self, script: &Script) {
        for (seq, mut batch) in script.take() {
            let partition = batch.partition().clone();
            let position = batch.end().cloned();
            if self.confirm {
                let mut delta = CheckpointDelta::new();
                if let Some(position) = position.clone() {
                    delta.set_position(partition.clone(), position);
                }
                delta.append_state(batch.take_state());
                self.checkpoint.apply(&delta);
                script.release(Release { partition, seq, position });
            }
            self.batches.push(batch);
        }
    }

    fn too_late(&self, goal: Goal<'_>, stopping: bool) -> Mismatch {
        let within = format!("within {:?}", self.fixture.patience());
        if stopping {
            let expected = format!("the source returns {within} of the order to stop");
            return Mismatch::new(expected, "it still runs");
        }
        self.not_reached(goal, &within)
    }

    fn not_reached(&self, goal: Goal<'_>, within: &str) -> Mismatch {
        match goal {
            Goal::Arrived(expected) => {
                let came = self.came();
                let missing = change::missing(expected, &came);
                Mismatch::new(
                    format!("all {} changes {within}", expected.len()),
                    format!("{} of them did not come: {}", missing.len(), change::list(missing)),
                )
            }
            Goal::Moved(from) => Mismatch::new(
                format!("a position after {:?} {within}", from.positions().collect::<Vec<_>>()),
                "no batch carried one",
            ),
            Goal::End | Goal::Quiet | Goal::Cut(..) => {
                Mismatch::new(format!("the source ends by itself {within}"), "it still runs")
            }
        }
    }
}
