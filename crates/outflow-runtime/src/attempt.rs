//! One attempt: builds the parts, runs them, and drains or drops them.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use outflow_sdk::{
    BuildContext, Checkpoint, Error, ErrorKind, Result, SinkContext, Source, SourceContext, TransformContext,
};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::checkpointer::Checkpointer;
use crate::dead_letter::Policy;
use crate::driver::driver;
use crate::intake::{Intake, Port};
use crate::lease::Guard;
use crate::ledger::Ledger;
use crate::options::{OnError, PipelineSpec};
use crate::path::{Outlet, Path};
use crate::probe;
use crate::status::{Meter, Phase};

/// What a pipeline has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    Run,
    /// Stop intake, drain, checkpoint, release, close.
    Stop,
    /// Drop everything now.
    Abort,
}

/// What attempts of one pipeline share.
pub(crate) struct Shared {
    pub(crate) spec: PipelineSpec,
    pub(crate) meter: Arc<Meter>,
    pub(crate) order: watch::Receiver<Order>,
    pub(crate) lease: Guard,
    /// Set once the pipeline has run.
    pub(crate) started: watch::Sender<bool>,
}

/// A task that ends with its handle.
struct Task<T> {
    name: &'static str,
    /// Gone once it has been joined.
    handle: Option<JoinHandle<Result<T>>>,
}

impl<T: Send + 'static> Task<T> {
    fn spawn(name: &'static str, future: impl Future<Output = Result<T>> + Send + 'static) -> Self {
        Self { name, handle: Some(tokio::spawn(future)) }
    }

    /// The task's result; a panic is an error of the pipeline. Waits for ever once it has been told. Cancel-safe.
    async fn join(&mut self) -> Result<T> {
        let Some(handle) = &mut self.handle else { return std::future::pending().await };
        let result = handle.await;
        self.handle = None;
        result.unwrap_or_else(|error| Err(panicked(self.name, error)))
    }

    /// Drops the task's future and waits until that has happened.
    async fn abort(mut self) {
        if let Some(handle) = self.handle.take() {
            handle.abort();
            let _ = handle.await;
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}

fn panicked(part: &'static str, error: JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => Error::internal("pipeline.panic")
            .message(format!("the {part} panicked: {}", panic_text(&*panic)))
            .hint("this is a defect; nothing was released that was not delivered. Please report it"),
        Err(_) => Error::internal("pipeline.aborted").message(format!("the {part} was ended from outside")),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// A source that does not say when it has connected counts as connected after so long without an error.
const SILENT_START: Duration = Duration::from_secs(2);

/// How long batches of a failed source may take to be confirmed before the task rewinds.
const SALVAGE: Duration = Duration::from_secs(2);

/// Runs one attempt from `checkpoint`. `Ok` is an end in order: everything that was emitted is done, stored and
/// released.
pub(crate) async fn run(shared: &Shared, checkpoint: Checkpoint, generation: u64) -> Result<()> {
    let mut order = shared.order.clone();
    let parts = tokio::select! {
        parts = build(shared, checkpoint, generation) => parts?,
        // Nothing has been read yet: there is nothing to drain.
        _ = order.wait_for(|o| *o >= Order::Stop) => return Ok(()),
    };
    let Parts { source, cx, intake, ledger, path, checkpointer, finish, policy } = parts;
    let mut source = Task::spawn("source", source.run(cx));
    let mut path = Task::spawn("path", path.run());
    let mut checkpointer = Task::spawn("checkpointer", checkpointer.run());
    let silent_start = tokio::time::sleep(SILENT_START);
    let mut silent_start = std::pin::pin!(silent_start);
    let mut running = false;
    let mut source_ended = false;
    let ended = loop {
        tokio::select! {
            biased;
            _ = order.wait_for(|o| *o >= Order::Stop) => break Ok(()),
            result = source.join() => {
                source_ended = true;
                break result;
            }
            () = intake.finished() => break Ok(()),
            result = path.join() => break result.and_then(|_| Err(early("path"))),
            result = checkpointer.join() => break result.and_then(|()| Err(early("checkpointer"))),
            () = intake.connected(), if !running => {
                running = true;
                enter_running(shared);
            }
            () = &mut silent_start, if !running => {
                running = true;
                enter_running(shared);
            }
        }
    };
    let drained = match ended {
        Ok(()) => {
            enter_running(shared);
            let mut drain = Drain { intake: &intake, ledger: &ledger, source_ended, finish };
            drain.run(shared, &mut source, &mut path, &mut checkpointer).await
        }
        Err(error) => {
            // What the source had emitted before it failed need not come again, if the sink works.
            if source_ended && !error.is_fenced() {
                let mut drain = Drain { intake: &intake, ledger: &ledger, source_ended, finish };
                let steps = drain.steps(&mut source, &mut path, &mut checkpointer);
                let _ = tokio::time::timeout(SALVAGE, steps).await;
            }
            Err(error)
        }
    };
    // Acks that still come belong to nobody.
    ledger.retire();
    probe::reset();
    // A rewind starts with nothing in flight: every part is gone before the next attempt is built.
    source.abort().await;
    path.abort().await;
    checkpointer.abort().await;
    if let Ok(policy) = Arc::try_unwrap(policy).map_err(drop)
        && let Err(error) = policy.close().await
    {
        tracing::warn!(code = error.code(), "the dead-letter sink did not close in order: {error}");
    }
    drained
}

fn early(part: &str) -> Error {
    Error::internal("pipeline.ended_early").message(format!("the {part} ended before it was told to"))
}

fn enter_running(shared: &Shared) {
    shared.meter.enter(Phase::Running);
    shared.meter.recovered();
    shared.started.send_replace(true);
}

struct Drain<'a> {
    intake: &'a Arc<Intake>,
    ledger: &'a Arc<Ledger>,
    source_ended: bool,
    finish: Arc<Notify>,
}

impl Drain<'_> {
    /// Stop intake, drain, checkpoint, release, close, within `shutdown_timeout`.
    async fn run(
        &mut self,
        shared: &Shared,
        source: &mut Task<()>,
        path: &mut Task<Outlet>,
        checkpointer: &mut Task<()>,
    ) -> Result<()> {
        let mut order = shared.order.clone();
        // A source that ended by itself has all the time it needs, until somebody asks to stop.
        let deadline = async {
            let _ = shared.order.clone().wait_for(|o| *o >= Order::Stop).await;
            tokio::time::sleep_until(Instant::now() + shared.spec.options.shutdown_timeout).await;
        };
        tokio::select! {
            result = self.steps(source, path, checkpointer) => result,
            () = deadline => Err(self.undelivered("pipeline.shutdown_timeout", "shutdown_timeout ran out")),
            _ = order.wait_for(|o| *o == Order::Abort) => {
                Err(self.undelivered("pipeline.aborted", "the pipeline was told to end at once"))
            }
        }
    }

    fn undelivered(&self, code: &'static str, why: &str) -> Error {
        let batches = self.ledger.in_flight();
        Error::permanent(code)
            .kind_of(ErrorKind::Unavailable)
            .message(format!(
                "{why} with {batches} batches not confirmed by the sink; nothing was released for them, and they \
                 come again at the next start"
            ))
            .hint("start the pipeline again when the sink works")
    }

    async fn steps(
        &mut self,
        source: &mut Task<()>,
        path: &mut Task<Outlet>,
        checkpointer: &mut Task<()>,
    ) -> Result<()> {
        self.intake.close();
        let outlet = tokio::select! {
            outlet = path.join() => outlet?,
            result = checkpointer.join() => return result.and_then(|()| Err(early("checkpointer"))),
        };
        self.finish.notify_one();
        checkpointer.join().await?;
        if !self.source_ended && self.intake.stop() {
            source.join().await?;
        }
        outlet.close().await
    }
}

struct Parts {
    source: Box<dyn Source>,
    cx: SourceContext,
    intake: Arc<Intake>,
    ledger: Arc<Ledger>,
    path: Path,
    checkpointer: Checkpointer,
    finish: Arc<Notify>,
    policy: Arc<Policy>,
}

async fn build(shared: &Shared, mut checkpoint: Checkpoint, generation: u64) -> Result<Parts> {
    let Shared { spec, meter, lease, .. } = shared;
    let options = &spec.options;
    let cx = BuildContext::new(Arc::clone(&spec.name)).base(&options.base).has_format(spec.format.is_some());
    let format = spec.format.as_ref().map(|f| f.build(&cx)).transpose()?;
    let transforms = spec.transforms.iter().map(|t| t.build(&cx)).collect::<Result<Vec<_>>>()?;
    let letters = match (&spec.dead_letter, options.on_error) {
        (Some(sink), OnError::DeadLetter { .. }) => Some(Policy::open_sink(&**sink, &cx).await?),
        (None, OnError::DeadLetter { .. }) => {
            return Err(Error::configuration("config.dead_letter")
                .message("on_error is dead-letter and there is no dead_letter destination"));
        }
        (_, OnError::Stop) => None,
    };
    let policy = Arc::new(Policy::new(
        Arc::clone(&spec.name),
        options.on_error,
        letters,
        Arc::clone(meter),
        options.max_backoff,
    ));
    let mut outlet = Outlet::new(spec.sink.build(&cx).await?, format)?;
    lease.live().await?;
    let budget = options.memory_budget.as_usize();
    let opened =
        outlet.open(SinkContext::new(Arc::clone(&spec.name), checkpoint.clone(), budget / 2)).await?;
    let transactional = spec.sink.capabilities().transactional;
    if let (true, Some(committed)) = (transactional, opened) {
        // The sink's checkpoint is the truth where it commits data and checkpoint together.
        meter.loaded(&committed);
        checkpoint = committed;
    }
    let fingerprint = spec.source.fingerprint();
    same_source(checkpoint.fingerprint(), fingerprint.as_deref(), &spec.name)?;
    let new_fingerprint = fingerprint.filter(|f| checkpoint.fingerprint() != Some(f));
    let source = driver(spec.source.build(&cx).await?)?;
    let ledger = Ledger::new(generation, Arc::clone(meter));
    let max_replay = options.max_replay.as_usize();
    let intake = Intake::new(Arc::clone(&ledger), Arc::clone(meter), budget, max_replay);
    let finish = Arc::new(Notify::new());
    let path = Path {
        intake: Arc::clone(&intake),
        ledger: Arc::clone(&ledger),
        meter: Arc::clone(meter),
        policy: Arc::clone(&policy),
        lease: lease.clone(),
        options: options.clone(),
        transforms,
        cx: TransformContext::new(Arc::clone(&spec.name)),
        outlet,
        transactional,
        fingerprint: new_fingerprint.clone(),
    };
    let checkpointer = Checkpointer {
        ledger: Arc::clone(&ledger),
        intake: Arc::clone(&intake),
        policy: Arc::clone(&policy),
        store: Arc::clone(&spec.store),
        lease: lease.clone(),
        meter: Arc::clone(meter),
        options: options.clone(),
        fingerprint: new_fingerprint,
        finish: Arc::clone(&finish),
        transactional,
        marks: spec.source.capabilities().marks,
    };
    let port = Arc::new(Port(Arc::clone(&intake)));
    let cx =
        SourceContext::new(port, Arc::clone(&spec.name), checkpoint, options.batch, options.stop_at_current);
    Ok(Parts { source, cx, intake, ledger, path, checkpointer, finish, policy })
}

/// A checkpoint of another source must never be taken for this one's (invariant 4).
fn same_source(stored: Option<&str>, configured: Option<&str>, pipeline: &str) -> Result<()> {
    match (stored, configured) {
        (Some(stored), Some(configured)) if stored != configured => Err(Error::permanent("state.other_source")
            .kind_of(ErrorKind::State)
            .message(format!("the stored checkpoint belongs to {stored}, and the pipeline reads {configured}"))
            .hint(format!(
                "give the pipeline another name, or start it from the beginning:  outflow position reset {pipeline}"
            ))),
        _ => Ok(()),
    }
}
