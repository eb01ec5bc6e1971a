//! What became of the batches that were offered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outflow_sdk::{Ack, AckPort, AckToken, Outcome};
use tokio::sync::Notify;
use tokio::time::timeout;

/// A sink that has not acked for so long waits for more batches or a flush.
const QUIET: Duration = Duration::from_millis(100);

/// The acks of one sink. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Acks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    resolved: Notify,
}

#[derive(Default)]
struct State {
    last: u64,
    outcomes: HashMap<u64, Outcome>,
}

impl Acks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An ack, and the number under which its outcome is found.
    pub(super) fn arm(&self) -> (u64, Ack) {
        let mut state = self.lock();
        state.last += 1;
        let token = AckToken { generation: 1, seq: state.last, attempt: 1 };
        (state.last, Ack::new(Arc::new(self.clone()), token))
    }

    /// Takes the outcome, if there is one yet.
    pub(super) fn take(&self, ack: u64) -> Option<Outcome> {
        self.lock().outcomes.remove(&ack)
    }

    /// Waits a moment for an outcome that nobody asked for; false where the sink gathers batches.
    pub(super) async fn comes_by_itself(&self, ack: u64) -> bool {
        timeout(QUIET, self.resolved(ack)).await.is_ok()
    }

    async fn resolved(&self, ack: u64) {
        loop {
            let mut resolved = std::pin::pin!(self.0.resolved.notified());
            // Listen first, then look: an outcome between the look and the wait is not missed.
            resolved.as_mut().enable();
            if self.lock().outcomes.contains_key(&ack) {
                return;
            }
            resolved.await;
        }
    }
}

impl AckPort for Acks {
    fn resolve(&self, token: AckToken, outcome: Outcome) {
        self.lock().outcomes.insert(token.seq, outcome);
        self.0.resolved.notify_waiters();
    }
}
