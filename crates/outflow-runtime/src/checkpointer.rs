//! Stores progress and releases the source: sink durable, then checkpoint, then release (invariant 1).

use std::sync::Arc;
use std::time::Instant;

use outflow_sdk::{CheckpointStore, Result};
use tokio::sync::Notify;

use crate::backoff::Backoff;
use crate::dead_letter::Policy;
use crate::intake::Intake;
use crate::lease::Guard;
use crate::ledger::{Ledger, Progress};
use crate::options::PipelineOptions;
use crate::path::{pause, settle};
use crate::probe;
use crate::status::Meter;

/// One attempt's checkpointer.
pub(crate) struct Checkpointer {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) store: Arc<dyn CheckpointStore>,
    pub(crate) lease: Guard,
    pub(crate) meter: Arc<Meter>,
    pub(crate) options: PipelineOptions,
    /// Stored with the first progress.
    pub(crate) fingerprint: Option<String>,
    /// Everything has been handed to the sink: end once it is settled and stored.
    pub(crate) finish: Arc<Notify>,
    /// The sink holds the checkpoint and the path commits it there: nothing to do here.
    pub(crate) transactional: bool,
    /// Progress is kept by marks in the source.
    pub(crate) marks: bool,
}

impl Checkpointer {
    /// Runs until it is told to finish and everything is settled, or until something fails.
    pub(crate) async fn run(mut self) -> Result<()> {
        let mut due: Option<Instant> = None;
        // What comes after a pause is stored at once.
        let mut earliest = Instant::now();
        let mut finishing = false;
        let finish = Arc::clone(&self.finish);
        if self.transactional {
            finish.notified().await;
            return Ok(());
        }
        loop {
            let tick = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.ledger.changed() => {
                    settle(&self.ledger, &self.policy).await?;
                    due.get_or_insert(earliest);
                    let (_, unstored) = self.ledger.retained();
                    if unstored >= self.options.max_replay.as_usize() / 2 {
                        due = Some(Instant::now());
                    }
                }
                () = tick => {
                    due = None;
                    self.store().await?;
                    earliest = Instant::now() + self.options.checkpoint_interval;
                }
                () = finish.notified(), if !finishing => finishing = true,
            }
            if finishing && self.ledger.is_settled() {
                settle(&self.ledger, &self.policy).await?;
                return self.store().await;
            }
        }
    }

    async fn store(&mut self) -> Result<()> {
        let mut progress = self.ledger.collect();
        if progress.is_empty() {
            return Ok(());
        }
        if let Some(fingerprint) = self.fingerprint.take() {
            progress.delta.set_fingerprint(fingerprint);
        }
        self.commit(&mut progress).await?;
        let _probe = probe::enter(probe::Phase::Release).await;
        self.ledger.stored(&progress);
        // Invariant 1: only what is stored is released.
        self.intake.publish(&progress.releases);
        // Marks are told when they are set.
        if !self.marks {
            probe::released(progress.batches, progress.events);
        }
        Ok(())
    }

    async fn commit(&self, progress: &mut Progress) -> Result<()> {
        // Where progress is a mark in the source, there is nothing to store: the mark is the checkpoint.
        if progress.delta.is_empty() {
            return Ok(());
        }
        let mut backoff = Backoff::new(self.options.max_backoff);
        loop {
            let lease = self.lease.live().await?;
            let _probe = probe::enter(probe::Phase::Checkpoint).await;
            match self.store.commit(&lease, &progress.delta).await {
                Ok(()) => {
                    self.meter.stored(&progress.delta);
                    if backoff.attempt() > 0 {
                        self.meter.recovered();
                    }
                    return Ok(());
                }
                Err(error) if error.is_transient() => {
                    pause(&self.meter, &mut backoff, &error).await;
                    // What became durable meanwhile goes along.
                    progress.append(self.ledger.collect());
                }
                Err(error) => return Err(error),
            }
        }
    }
}
