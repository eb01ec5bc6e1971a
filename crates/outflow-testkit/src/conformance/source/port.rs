//! The runtime's side of a source, driven by a check.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use outflow_sdk::{
    ChangeBatch, Control, EmitterPort, PartitionId, Release, ReleasedPort, Result, Seq, SourcePort,
};

/// What a source said and was told. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    room: usize,
    last: u64,
    emitted: VecDeque<(Seq, ChangeBatch)>,
    releases: Vec<Release>,
    stop: bool,
    asked_for_control: bool,
    finished: bool,
    wakers: Vec<Waker>,
}

impl State {
    fn listen(&mut self, cx: &Context<'_>) {
        self.wakers.retain(|waker| !waker.will_wake(cx.waker()));
        self.wakers.push(cx.waker().clone());
    }
}

impl Script {
    /// Takes `room` batches, then none until they are taken out.
    pub(super) fn new(room: usize) -> Self {
        let script = Self::default();
        script.lock().room = room;
        script
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// Takes out what was emitted.
    pub(super) fn take(&self) -> Vec<(Seq, ChangeBatch)> {
        self.change(|state| state.emitted.drain(..).collect())
    }

    /// Whether something was emitted; if not, the task is woken when it is.
    pub(super) fn has_emitted(&self, cx: &Context<'_>) -> bool {
        let mut state = self.lock();
        let has_emitted = !state.emitted.is_empty();
        if !has_emitted {
            state.listen(cx);
        }
        has_emitted
    }

    pub(super) fn release(&self, release: Release) {
        self.change(|state| state.releases.push(release));
    }

    pub(super) fn stop(&self) {
        self.change(|state| state.stop = true);
    }

    pub(super) fn asked_for_control(&self) -> bool {
        self.lock().asked_for_control
    }

    pub(super) fn finished(&self) -> bool {
        self.lock().finished
    }

    pub(super) fn port(&self) -> Arc<dyn SourcePort> {
        Arc::new(self.clone())
    }
}

impl SourcePort for Script {
    fn emitter(&self, _: PartitionId) -> Box<dyn EmitterPort> {
        Box::new(self.clone())
    }

    fn released(&self) -> Box<dyn ReleasedPort> {
        let next = self.lock().releases.len();
        Box::new(Listener { script: self.clone(), next })
    }

    fn poll_control(&self, cx: &mut Context<'_>) -> Poll<Control> {
        let mut state = self.lock();
        state.asked_for_control = true;
        if state.stop {
            return Poll::Ready(Control::Stop);
        }
        state.listen(cx);
        Poll::Pending
    }

    fn connected(&self) {}

    fn finished(&self) {
        self.lock().finished = true;
    }

    fn note(&self, _: Option<String>) {}
}

impl EmitterPort for Script {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.lock();
        if state.emitted.len() < state.room {
            return Poll::Ready(Ok(()));
        }
        state.listen(cx);
        Poll::Pending
    }

    fn try_ready(&mut self) -> bool {
        let state = self.lock();
        state.emitted.len() < state.room
    }

    fn send(&mut self, batch: ChangeBatch) -> Seq {
        // Also from a task of the source's own: whoever waits for it is woken.
        self.change(|state| {
            state.last += 1;
            let seq = Seq(state.last);
            state.emitted.push_back((seq, batch));
            seq
        })
    }
}

struct Listener {
    script: Script,
    next: usize,
}

impl ReleasedPort for Listener {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Release> {
        let mut state = self.script.lock();
        match state.releases.get(self.next).cloned() {
            Some(release) => {
                self.next += 1;
                Poll::Ready(release)
            }
            None => {
                state.listen(cx);
                Poll::Pending
            }
        }
    }
}
