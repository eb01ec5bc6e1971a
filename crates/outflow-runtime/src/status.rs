//! What a pipeline says about itself: one truth for the terminal, `/readyz`, metrics and `--json`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use outflow_sdk::{Checkpoint, CheckpointDelta, Error};
use serde::Serialize;

/// The state of a pipeline, in the same words everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum State {
    /// Acquiring its lease, connecting, or trying to.
    Starting,
    /// Reading what was there before it follows changes.
    Snapshot,
    /// Changes arrive.
    Flowing,
    /// Connected, and there is nothing to deliver.
    Idle,
    /// Changes wait, and do not arrive; the reason says why. Nothing is lost.
    Stalled,
    /// Ended in order.
    Stopped,
    /// Ended by an error that a person must see to.
    Failed,
}

impl State {
    /// All words.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Snapshot,
        Self::Flowing,
        Self::Idle,
        Self::Stalled,
        Self::Stopped,
        Self::Failed,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Snapshot => "snapshot",
            Self::Flowing => "flowing",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// True while changes provably arrive, or the source is provably idle (invariant 9).
    pub fn is_healthy(self) -> bool {
        matches!(self, Self::Snapshot | Self::Flowing | Self::Idle)
    }

    /// True when the pipeline will not go on by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed)
    }
}

/// Why a pipeline stands still, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The stable code of the error.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// How often it was tried.
    pub attempt: u32,
    /// Milliseconds until the next attempt, where one is planned.
    pub retry_in_ms: Option<u64>,
}

impl Trouble {
    pub(crate) fn of(error: &Error, attempt: u32, pause: Option<Duration>) -> Self {
        let full = error.to_string();
        let message = full.strip_prefix(error.code()).and_then(|m| m.strip_prefix(": ")).unwrap_or(&full);
        Self {
            code: error.code().to_owned(),
            message: message.to_owned(),
            hint: error.hint_text().map(str::to_owned),
            attempt,
            retry_in_ms: pause.map(|p| u64::try_from(p.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// A pipeline at one moment.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// The word.
    pub state: State,
    /// Why it stands still.
    pub trouble: Option<Trouble>,
    /// What holds up the source, such as a transaction that is open for long.
    pub obstacle: Option<String>,
    /// Counters and gauges.
    pub counts: Counts,
    /// The stored positions, as `partition position`, at most ten.
    pub checkpoint: Vec<String>,
    /// Milliseconds since the last event came from the source.
    pub last_event_ms: Option<u64>,
    /// Milliseconds since progress was last stored.
    pub checkpoint_age_ms: Option<u64>,
}

/// Counters (since the start of the process) and gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Events that the source emitted, repeats after a rewind included.
    pub received: u64,
    /// Bytes of these events.
    pub received_bytes: u64,
    /// Events that the sink confirmed.
    pub delivered: u64,
    /// Events that a transform filtered.
    pub filtered: u64,
    /// Events in the dead letters.
    pub dead_lettered: u64,
    /// Offers that a sink did not take, and attempts that failed.
    pub retries: u64,
    /// Rewinds to the checkpoint.
    pub rewinds: u64,
    /// Checkpoints stored.
    pub checkpoints: u64,
    /// Batches emitted and not done.
    pub in_flight: usize,
    /// Bytes that these retain.
    pub in_flight_bytes: usize,
    /// Bytes that would come again after a crash.
    pub replay_bytes: usize,
}

/// The upper bounds of the latency buckets, in milliseconds.
pub const LATENCY_BUCKETS_MS: [u64; 14] =
    [1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1_000, 5_000, 30_000, 300_000];

/// How long events took from the source's socket to the sink's confirmation.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Latency {
    /// Events at or below each bound of [`LATENCY_BUCKETS_MS`], not cumulated; the last is for all above.
    pub buckets: [u64; LATENCY_BUCKETS_MS.len() + 1],
    /// The sum, in microseconds.
    pub sum_us: u64,
}

impl Latency {
    /// The bound below which `share` (0 to 1) of the events were, in milliseconds; `None` without events.
    pub fn quantile_ms(&self, share: f64) -> Option<u64> {
        let total: u64 = self.buckets.iter().sum();
        let mut left = (total as f64 * share).ceil() as u64;
        self.buckets.iter().zip(LATENCY_BUCKETS_MS.iter().chain([&u64::MAX])).find_map(|(count, bound)| {
            left = left.saturating_sub(*count);
            (left == 0 && total > 0).then_some(*bound)
        })
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut buckets = self.buckets;
        buckets.iter_mut().zip(earlier.buckets).for_each(|(now, then)| *now = now.saturating_sub(then));
        Self { buckets, sum_us: self.sum_us.saturating_sub(earlier.sum_us) }
    }
}

/// Counts while the pipeline runs. Atomics on the hot path, a lock for what changes rarely.
#[derive(Debug)]
pub(crate) struct Meter {
    started: Instant,
    received: AtomicU64,
    received_bytes: AtomicU64,
    delivered: AtomicU64,
    filtered: AtomicU64,
    dead_lettered: AtomicU64,
    retries: AtomicU64,
    rewinds: AtomicU64,
    checkpoints: AtomicU64,
    in_flight: AtomicUsize,
    in_flight_bytes: AtomicUsize,
    replay: AtomicUsize,
    latency: [AtomicU64; LATENCY_BUCKETS_MS.len() + 1],
    latency_sum_us: AtomicU64,
    /// Milliseconds after `started`, plus one; zero is never.
    last_event: AtomicU64,
    last_progress: AtomicU64,
    last_checkpoint: AtomicU64,
    rare: Mutex<Rare>,
}

#[derive(Debug, Default)]
struct Rare {
    phase: Phase,
    trouble: Option<Trouble>,
    obstacle: Option<String>,
    checkpoint: Checkpoint,
}

/// Where a pipeline's life stands, apart from how its changes flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Starting,
    Running,
    Stopped,
    Failed,
}

impl Meter {
    /// Without an event for so long, a pipeline with nothing in flight is idle.
    const IDLE_AFTER: Duration = Duration::from_secs(2);
    /// With something in flight and no confirmation for so long, it is stalled (invariant 9: within seconds).
    const STALLED_AFTER: Duration = Duration::from_secs(4);

    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            received: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            dead_lettered: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            rewinds: AtomicU64::new(0),
            checkpoints: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            in_flight_bytes: AtomicUsize::new(0),
            replay: AtomicUsize::new(0),
            latency: Default::default(),
            latency_sum_us: AtomicU64::new(0),
            last_event: AtomicU64::new(0),
            last_progress: AtomicU64::new(0),
            last_checkpoint: AtomicU64::new(0),
            rare: Mutex::default(),
        }
    }

    fn rare(&self) -> std::sync::MutexGuard<'_, Rare> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn age(&self, at: &AtomicU64) -> Option<Duration> {
        match at.load(Relaxed) {
            0 => None,
            at => Some(Duration::from_millis(self.now().saturating_sub(at))),
        }
    }

    pub(crate) fn received(&self, events: u64, bytes: u64) {
        // What waits since an idle time has not been waiting before.
        if self.in_flight.load(Relaxed) == 0 {
            self.last_progress.store(self.now(), Relaxed);
        }
        if events > 0 {
            self.received.fetch_add(events, Relaxed);
            self.received_bytes.fetch_add(bytes, Relaxed);
            self.last_event.store(self.now(), Relaxed);
        }
    }

    pub(crate) fn delivered(&self, events: u64, latency: Duration) {
        self.last_progress.store(self.now(), Relaxed);
        if events == 0 {
            return;
        }
        self.delivered.fetch_add(events, Relaxed);
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BUCKETS_MS.partition_point(|bound| bound * 1000 < us);
        self.latency[bucket].fetch_add(events, Relaxed);
        self.latency_sum_us.fetch_add(us.saturating_mul(events), Relaxed);
    }

    pub(crate) fn filtered(&self, events: u64) {
        self.filtered.fetch_add(events, Relaxed);
    }

    pub(crate) fn dead_lettered(&self, events: u64) {
        self.dead_lettered.fetch_add(events, Relaxed);
    }

    pub(crate) fn set_in_flight(&self, batches: usize, bytes: usize) {
        self.in_flight.store(batches, Relaxed);
        self.in_flight_bytes.store(bytes, Relaxed);
    }

    pub(crate) fn set_replay(&self, bytes: usize) {
        self.replay.store(bytes, Relaxed);
    }

    /// Something does not work and will be tried again.
    pub(crate) fn retry(&self, error: &Error, attempt: u32, pause: Duration) {
        self.retries.fetch_add(1, Relaxed);
        self.rare().trouble = Some(Trouble::of(error, attempt, Some(pause)));
    }

    /// What did not work works again.
    pub(crate) fn recovered(&self) {
        self.rare().trouble = None;
    }

    pub(crate) fn rewound(&self) {
        self.rewinds.fetch_add(1, Relaxed);
        self.set_in_flight(0, 0);
        self.set_replay(0);
    }

    pub(crate) fn note(&self, obstacle: Option<String>) {
        self.rare().obstacle = obstacle;
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.rare().phase = phase;
    }

    pub(crate) fn failed(&self, error: &Error) {
        let mut rare = self.rare();
        rare.phase = Phase::Failed;
        rare.trouble = Some(Trouble::of(error, 0, None));
    }

    pub(crate) fn loaded(&self, checkpoint: &Checkpoint) {
        self.rare().checkpoint = checkpoint.clone();
    }

    pub(crate) fn stored(&self, delta: &CheckpointDelta) {
        self.checkpoints.fetch_add(1, Relaxed);
        self.last_checkpoint.store(self.now(), Relaxed);
        self.rare().checkpoint.apply(delta);
    }

    /// The checkpoint as it is stored now.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        self.rare().checkpoint.clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            received: self.received.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            filtered: self.filtered.load(Relaxed),
            dead_lettered: self.dead_lettered.load(Relaxed),
            retries: self.retries.load(Relaxed),
            rewinds: self.rewinds.load(Relaxed),
            checkpoints: self.checkpoints.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            in_flight_bytes: self.in_flight_bytes.load(Relaxed),
            replay_bytes: self.replay.load(Relaxed),
        }
    }

    pub(crate) fn latency(&self) -> Latency {
        let mut latency = Latency { sum_us: self.latency_sum_us.load(Relaxed), ..Latency::default() };
        latency.buckets.iter_mut().zip(&self.latency).for_each(|(to, from)| *to = from.load(Relaxed));
        latency
    }

    pub(crate) fn status(&self) -> Status {
        let counts = self.counts();
        let rare = self.rare();
        let quiet = self.age(&self.last_event).is_none_or(|age| age > Self::IDLE_AFTER);
        let stuck = self.age(&self.last_progress).is_some_and(|age| age > Self::STALLED_AFTER);
        let mut trouble = rare.trouble.clone();
        let state = match rare.phase {
            Phase::Failed => State::Failed,
            Phase::Stopped => State::Stopped,
            Phase::Starting => State::Starting,
            Phase::Running if trouble.is_some() => State::Stalled,
            Phase::Running if counts.in_flight > 0 && stuck => {
                trouble = Some(Trouble {
                    code: "sink.no_answer".into(),
                    message: "the sink has confirmed nothing for some seconds; nothing is lost".into(),
                    hint: None,
                    attempt: 0,
                    retry_in_ms: None,
                });
                State::Stalled
            }
            // What the source sees and may not deliver yet is not idleness.
            Phase::Running if quiet && counts.in_flight == 0 && rare.obstacle.is_some() => State::Stalled,
            Phase::Running if quiet && counts.in_flight == 0 => State::Idle,
            Phase::Running => State::Flowing,
        };
        let ms = |age: Option<Duration>| age.map(|a| u64::try_from(a.as_millis()).unwrap_or(u64::MAX));
        Status {
            state,
            trouble,
            obstacle: rare.obstacle.clone(),
            counts,
            checkpoint: rare.checkpoint.positions().take(10).map(|(k, v)| format!("{k} {v}")).collect(),
            last_event_ms: ms(self.age(&self.last_event)),
            checkpoint_age_ms: ms(self.age(&self.last_checkpoint)),
        }
    }
}
