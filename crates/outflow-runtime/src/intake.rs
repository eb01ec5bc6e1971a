//! The intake: where sources hand over batches, bounded in bytes (invariant 7).

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use outflow_sdk::{
    ChangeBatch, Control, EmitterPort, PartitionId, Release, ReleasedPort, Result, Seq, SourcePort,
};
use tokio::sync::{Notify, futures::OwnedNotified};

use crate::ledger::Ledger;
use crate::status::Meter;

/// Batches that wait for the path. Two: one being built while one is on its way, so that a source that finds
/// no room keeps filling its batch instead of queueing small ones.
const QUEUE: usize = 2;

/// Between one attempt's source and its path.
pub(crate) struct Intake {
    ledger: Arc<Ledger>,
    meter: Arc<Meter>,
    budget: usize,
    max_replay: usize,
    queue: Mutex<VecDeque<(Seq, ChangeBatch)>>,
    /// The path has something to do.
    filled: Notify,
    /// The queue may have room. (The ledger has its own sign for the budget.)
    room: Arc<Notify>,
    /// Nothing more is taken.
    closed: AtomicBool,
    connected: Notify,
    is_connected: AtomicBool,
    finished: Notify,
    releases: Mutex<Vec<Arc<Listener>>>,
    control: Mutex<ControlState>,
}

#[derive(Debug, Default)]
struct ControlState {
    listening: bool,
    stop: bool,
    wakers: Vec<Waker>,
}

#[derive(Debug, Default)]
struct Listener {
    pending: Mutex<(VecDeque<Release>, Option<Waker>)>,
}

impl Intake {
    pub(crate) fn new(ledger: Arc<Ledger>, meter: Arc<Meter>, budget: usize, max_replay: usize) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            meter,
            budget,
            max_replay,
            queue: Mutex::default(),
            filled: Notify::new(),
            room: Arc::new(Notify::new()),
            closed: AtomicBool::new(false),
            connected: Notify::new(),
            is_connected: AtomicBool::new(false),
            finished: Notify::new(),
            releases: Mutex::default(),
            control: Mutex::default(),
        })
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<(Seq, ChangeBatch)>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        let (charged, unstored) = self.ledger.retained();
        // A single row above a limit passes alone: nothing else is in flight then.
        !self.closed.load(Ordering::Acquire)
            && charged < self.budget
            && unstored < self.max_replay
            && self.queue().len() < QUEUE
    }

    fn push(&self, mut batch: ChangeBatch) -> Seq {
        self.connect();
        self.meter.received(batch.len() as u64, batch.content_bytes() as u64);
        // The place in the ledger and the place in the queue are given together: order of emission is order of
        // delivery (invariant 3).
        let mut queue = self.queue();
        let seq = self.ledger.emit(&mut batch);
        queue.push_back((seq, batch));
        drop(queue);
        self.filled.notify_one();
        seq
    }

    /// The next batch; `None` once the intake is closed and empty. Cancel-safe.
    pub(crate) async fn next(&self) -> Option<(Seq, ChangeBatch)> {
        loop {
            if let Some(item) = self.queue().pop_front() {
                self.room.notify_waiters();
                return Some(item);
            }
            if self.closed.load(Ordering::Acquire) {
                return None;
            }
            self.filled.notified().await;
        }
    }

    /// Takes nothing more: emitters wait for ever, and the path ends once the queue is empty.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.filled.notify_one();
    }

    fn connect(&self) {
        if !self.is_connected.swap(true, Ordering::AcqRel) {
            self.connected.notify_one();
        }
    }

    /// Waits until the source has connected.
    pub(crate) async fn connected(&self) {
        self.connected.notified().await;
    }

    /// Waits until the source says that it has emitted everything.
    pub(crate) async fn finished(&self) {
        self.finished.notified().await;
    }

    /// Tells every listener. Coalesces: of each partition only the newest is kept.
    pub(crate) fn publish(&self, releases: &[Release]) {
        for listener in &*self.releases.lock().unwrap_or_else(PoisonError::into_inner) {
            let mut pending = listener.pending.lock().unwrap_or_else(PoisonError::into_inner);
            for release in releases {
                match pending.0.iter_mut().find(|r| r.partition == release.partition) {
                    Some(older) => {
                        older.seq = release.seq;
                        older.position = release.position.clone().or(older.position.take());
                    }
                    None => pending.0.push_back(release.clone()),
                }
            }
            if let Some(waker) = pending.1.take() {
                waker.wake();
            }
        }
    }

    /// Tells the source to apply its releases and return; false when it does not listen.
    pub(crate) fn stop(&self) -> bool {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        control.stop = true;
        control.wakers.drain(..).for_each(Waker::wake);
        control.listening
    }
}

/// The port that a source's context holds.
pub(crate) struct Port(pub(crate) Arc<Intake>);

impl SourcePort for Port {
    fn emitter(&self, _: PartitionId) -> Box<dyn EmitterPort> {
        Box::new(Emit { intake: Arc::clone(&self.0), waiting: None })
    }

    fn released(&self) -> Box<dyn ReleasedPort> {
        let listener = Arc::new(Listener::default());
        self.0.releases.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&listener));
        Box::new(Listen(listener))
    }

    fn poll_control(&self, cx: &mut Context<'_>) -> Poll<Control> {
        let mut control = self.0.control.lock().unwrap_or_else(PoisonError::into_inner);
        control.listening = true;
        if control.stop {
            return Poll::Ready(Control::Stop);
        }
        control.wakers.retain(|w| !w.will_wake(cx.waker()));
        control.wakers.push(cx.waker().clone());
        Poll::Pending
    }

    fn connected(&self) {
        self.0.connect();
    }

    fn finished(&self) {
        self.0.finished.notify_one();
    }

    fn note(&self, obstacle: Option<String>) {
        self.0.meter.note(obstacle);
    }
}

struct Emit {
    intake: Arc<Intake>,
    /// Signs of room that this emitter waits for: the ledger's and the queue's.
    waiting: Option<[Pin<Box<OwnedNotified>>; 2]>,
}

impl EmitterPort for Emit {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            if self.intake.has_room() {
                self.waiting = None;
                return Poll::Ready(Ok(()));
            }
            let Some(signs) = &mut self.waiting else {
                // Listen first, then look again: a sign between the look and the wait is not missed.
                let listen = |notify: &Arc<Notify>| {
                    let mut sign = Box::pin(Arc::clone(notify).notified_owned());
                    sign.as_mut().enable();
                    sign
                };
                self.waiting = Some([listen(&self.intake.ledger.room), listen(&self.intake.room)]);
                continue;
            };
            let any = signs.iter_mut().any(|sign| sign.as_mut().poll(cx).is_ready());
            if !any {
                return Poll::Pending;
            }
            self.waiting = None;
        }
    }

    fn try_ready(&mut self) -> bool {
        self.intake.has_room()
    }

    fn send(&mut self, batch: ChangeBatch) -> Seq {
        self.intake.push(batch)
    }
}

struct Listen(Arc<Listener>);

impl ReleasedPort for Listen {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Release> {
        let mut pending = self.0.pending.lock().unwrap_or_else(PoisonError::into_inner);
        match pending.0.pop_front() {
            Some(release) => Poll::Ready(release),
            None => {
                pending.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
