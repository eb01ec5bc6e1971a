//! A pipeline's life: lease, checkpoint, attempts with pauses between them, end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use outflow_sdk::{Checkpoint, Error, Owner, Result, StateScope};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::attempt::{self, Order, Shared};
use crate::backoff::Backoff;
use crate::lease::Guard;
use crate::options::PipelineSpec;
use crate::status::{Counts, Latency, Meter, Phase, Status};

/// Starts pipelines. Each is supervised on its own: one that fails, panics or stands still leaves the others
/// alone.
#[derive(Debug)]
pub struct Pipeline;

impl Pipeline {
    /// Starts a pipeline in the background, within a tokio runtime, and returns at once. Transient failures are
    /// retried; the status tells.
    pub fn spawn(spec: PipelineSpec) -> PipelineHandle {
        let meter = Arc::new(Meter::new());
        let (orders, order) = watch::channel(Order::Run);
        let (started, is_started) = watch::channel(false);
        let name = Arc::clone(&spec.name);
        let task = tokio::spawn(supervise(spec, Arc::clone(&meter), order, started));
        PipelineHandle { name, meter, orders: Arc::new(orders), started: is_started, task }
    }

    /// Starts a pipeline and returns once it has connected.
    ///
    /// # Errors
    /// A permanent error at start, or the last transient one when `startup_timeout` ran out.
    pub async fn start(spec: PipelineSpec) -> Result<PipelineHandle> {
        let mut handle = Self::spawn(spec);
        let mut started = handle.started.clone();
        let is_started = async move { started.wait_for(|s| *s).await.is_ok() };
        if is_started.await {
            return Ok(handle);
        }
        match handle.ended().await {
            Ok(()) => Ok(handle),
            Err(error) => Err(error),
        }
    }
}

/// A pipeline that was started. Dropped, the pipeline goes on.
#[derive(Debug)]
pub struct PipelineHandle {
    name: Arc<str>,
    meter: Arc<Meter>,
    orders: Arc<watch::Sender<Order>>,
    started: watch::Receiver<bool>,
    task: JoinHandle<Result<()>>,
}

impl PipelineHandle {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A view that can be cloned and kept by others.
    pub fn observer(&self) -> Observer {
        Observer {
            name: Arc::clone(&self.name),
            meter: Arc::clone(&self.meter),
            orders: Arc::clone(&self.orders),
            started: self.started.clone(),
        }
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.meter.status()
    }

    /// Ends in order: stop intake, drain, checkpoint, release, close. Returns at once; see [`wait`](Self::wait).
    pub fn stop(&self) {
        self.observer().stop();
    }

    /// Drops everything at once. What was not confirmed comes again at the next start.
    pub fn abort(&self) {
        self.observer().abort();
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What ended the pipeline, if it did not end in order.
    pub async fn wait(mut self) -> Result<()> {
        self.ended().await
    }

    /// Runs until `signal`, then ends in order.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn run_until<T>(mut self, signal: impl Future<Output = T>) -> Result<()> {
        tokio::select! {
            result = self.ended() => return result,
            _ = signal => self.stop(),
        }
        self.ended().await
    }

    async fn ended(&mut self) -> Result<()> {
        match (&mut self.task).await {
            Ok(result) => result,
            Err(error) => {
                Err(Error::internal("pipeline.panic").message(format!("the supervisor ended: {error}")))
            }
        }
    }
}

/// Watches and steers a pipeline without owning it.
#[derive(Clone, Debug)]
pub struct Observer {
    name: Arc<str>,
    meter: Arc<Meter>,
    orders: Arc<watch::Sender<Order>>,
    started: watch::Receiver<bool>,
}

impl Observer {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.meter.status()
    }

    /// Whether it has ever connected, so that an error since then is no failure to start.
    pub fn has_run(&self) -> bool {
        *self.started.borrow()
    }

    /// Counters and gauges alone.
    pub fn counts(&self) -> Counts {
        self.meter.counts()
    }

    /// How long events took, since the start of the process.
    pub fn latency(&self) -> Latency {
        self.meter.latency()
    }

    /// The stored checkpoint.
    pub fn checkpoint(&self) -> Checkpoint {
        self.meter.checkpoint()
    }

    /// Ends in order.
    pub fn stop(&self) {
        self.orders.send_if_modified(|o| *o < Order::Stop && std::mem::replace(o, Order::Stop) == Order::Run);
    }

    /// Drops everything at once.
    pub fn abort(&self) {
        self.orders.send_replace(Order::Abort);
    }
}

async fn supervise(
    spec: PipelineSpec,
    meter: Arc<Meter>,
    order: watch::Receiver<Order>,
    started: watch::Sender<bool>,
) -> Result<()> {
    let name = Arc::clone(&spec.name);
    let result = live(spec, Arc::clone(&meter), order, started).await;
    match &result {
        Ok(()) => meter.enter(Phase::Stopped),
        Err(error) => {
            tracing::error!(pipeline = &*name, code = error.code(), "the pipeline failed: {error}");
            meter.failed(error);
        }
    }
    result
}

async fn live(
    spec: PipelineSpec,
    meter: Arc<Meter>,
    mut order: watch::Receiver<Order>,
    started: watch::Sender<bool>,
) -> Result<()> {
    let mut patience = Patience::new(&spec, &meter);
    let scope = StateScope::pipeline(&*spec.name);
    let owner = this_owner();
    let lease = loop {
        match spec.store.acquire(&scope, &owner).await {
            Ok(lease) => break lease,
            Err(error) => patience.pause(error, &mut order, false).await?,
        }
    };
    let (guard, renewal) = Guard::keep(lease, Arc::clone(&spec.store));
    let store = Arc::clone(&spec.store);
    let shared =
        Shared { spec, meter: Arc::clone(&meter), order: order.clone(), lease: guard.clone(), started };
    let result = tokio::select! {
        result = attempts(&shared, &mut patience, &mut order) => result,
        // Invariant 12: fenced, the task stops for good and is never retried.
        lost = renewal => Err(lost),
    };
    if let Some(lease) = guard.newest()
        && let Err(error) = store.release(lease).await
    {
        tracing::warn!(code = error.code(), "the lease was not given up: {error}");
    }
    result
}

async fn attempts(
    shared: &Shared,
    patience: &mut Patience,
    order: &mut watch::Receiver<Order>,
) -> Result<()> {
    let mut generation = 0;
    loop {
        let load = async {
            let lease = shared.lease.live().await?;
            shared.spec.store.load(&lease).await
        };
        let result = match load.await {
            Ok(checkpoint) => {
                shared.meter.loaded(&checkpoint);
                generation += 1;
                let before = shared.meter.counts();
                let result = attempt::run(shared, checkpoint, generation).await;
                let after = shared.meter.counts();
                if after.checkpoints > before.checkpoints || after.delivered > before.delivered {
                    patience.progressed();
                }
                result
            }
            Err(error) => Err(error),
        };
        let Err(error) = result else { return Ok(()) };
        let has_run = *shared.started.borrow();
        shared.meter.rewound();
        patience.pause(error, order, has_run).await?;
    }
}

/// How long to go on trying.
struct Patience {
    backoff: Backoff,
    since: Instant,
    startup_timeout: Duration,
    pipeline: Arc<str>,
    meter: Arc<Meter>,
}

impl Patience {
    fn new(spec: &PipelineSpec, meter: &Arc<Meter>) -> Self {
        Self {
            backoff: Backoff::new(spec.options.max_backoff),
            since: Instant::now(),
            startup_timeout: spec.options.startup_timeout,
            pipeline: Arc::clone(&spec.name),
            meter: Arc::clone(meter),
        }
    }

    fn progressed(&mut self) {
        self.backoff.reset();
    }

    /// Pauses before the next attempt.
    ///
    /// # Errors
    /// The error itself: when it is not transient, when the pipeline has never run and time is up, or when it was
    /// told to stop meanwhile, which is no end in order.
    async fn pause(&mut self, error: Error, order: &mut watch::Receiver<Order>, has_run: bool) -> Result<()> {
        if !error.is_transient() {
            return Err(error);
        }
        let pause = self.backoff.next();
        let limit = self.startup_timeout;
        if !has_run && !limit.is_zero() && self.since.elapsed() + pause > limit {
            let seconds = self.since.elapsed().as_secs();
            return Err(error
                .retry(outflow_sdk::Retry::Permanent)
                .with("tried_for", format!("{seconds} s"))
                .with("attempts", self.backoff.attempt()));
        }
        let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            pipeline = &*self.pipeline,
            code = error.code(),
            attempt = self.backoff.attempt(),
            pause_ms = ms,
            "nothing is lost; trying again: {error}"
        );
        self.meter.retry(&error, self.backoff.attempt(), pause);
        match tokio::time::timeout(pause, order.wait_for(|o| *o >= Order::Stop)).await {
            Ok(_) => Err(error.with("stopped", "while it was being retried")),
            Err(_) => Ok(()),
        }
    }
}

/// This process, in terms that a person can act on.
fn this_owner() -> Owner {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let instance = format!("{:016x}", rand::random::<u64>());
    Owner { host, pid: std::process::id(), instance }
}
