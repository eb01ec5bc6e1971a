//! What became of the batches that were offered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outflow_sdk::{Ack, AckPort, AckToken, Outcome};

/// The acks of one sink. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Acks(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    last: u64,
    outcomes: HashMap<u64, Outcome>,
}

impl Acks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Whether there is an outcome.
    pub(super) fn is_resolved(&self, ack: u64) -> bool {
        self.lock().outcomes.contains_key(&ack)
    }
}

impl AckPort for Acks {
    fn resolve(&self, token: AckToken, outcome: Outcome) {
        self.lock().outcomes.insert(token.seq, outcome);
    }
}
