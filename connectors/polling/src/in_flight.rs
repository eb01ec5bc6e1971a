//! Rows that were read and await their mark.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use outflow_sdk::RowKeys;

use crate::table::RowKey;

/// The keys of rows that were emitted and not yet settled: they are still to be seen in the table, and must not be
/// read again.
///
/// A poll may see a row as undelivered although it has been settled in the meantime, because it began before. So
/// a key that is settled during a poll stays until that poll has ended.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    keys: HashSet<RowKey>,
    /// Settled while a poll ran.
    leaving: Vec<RowKey>,
    polls: usize,
}

impl InFlight {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a poll; it ends when the guard is dropped.
    pub(crate) fn poll(&self) -> Poll<'_> {
        self.state().polls += 1;
        Poll(self)
    }

    /// These rows have their mark.
    pub(crate) fn settled(&self, rows: &RowKeys) {
        let mut state = self.state();
        let wait = state.polls > 0;
        for key in keys(rows) {
            if wait {
                state.leaving.push(key);
            } else {
                state.keys.remove(&key);
            }
        }
    }
}

/// A poll that is under way.
#[derive(Debug)]
pub(crate) struct Poll<'a>(&'a InFlight);

impl Poll<'_> {
    /// The number of rows in flight.
    #[cfg(any(feature = "postgres", test))]
    pub(crate) fn len(&self) -> usize {
        self.0.state().keys.len()
    }

    /// True when the row is in flight.
    pub(crate) fn contains(&self, key: &RowKey) -> bool {
        self.0.state().keys.contains(key)
    }

    /// Ends the poll with the rows that it returns.
    pub(crate) fn emitted(self, rows: &RowKeys) {
        self.0.state().keys.extend(keys(rows));
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.polls -= 1;
        if state.polls == 0 {
            for key in std::mem::take(&mut state.leaving) {
                state.keys.remove(&key);
            }
        }
    }
}

fn keys(rows: &RowKeys) -> Box<dyn Iterator<Item = RowKey> + '_> {
    match rows {
        RowKeys::Integers(ids) => Box::new(ids.iter().map(|id| RowKey::Integer(*id))),
        RowKeys::Texts(texts) => Box::new(texts.iter().map(|text| RowKey::Text(text.as_str().into()))),
        // The SDK may learn of other kinds; this connector makes only these.
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_settled_during_a_poll_stays_until_the_poll_ends() {
        let in_flight = InFlight::default();
        in_flight.poll().emitted(&RowKeys::Integers(vec![1, 2]));
        let poll = in_flight.poll();
        in_flight.settled(&RowKeys::Integers(vec![1]));
        assert!(poll.contains(&RowKey::Integer(1)));
        drop(poll);
        let poll = in_flight.poll();
        assert!(!poll.contains(&RowKey::Integer(1)) && poll.contains(&RowKey::Integer(2)));
        poll.emitted(&RowKeys::Texts(vec!["a".into()]));
        in_flight.settled(&RowKeys::Texts(vec!["a".into()]));
        in_flight.settled(&RowKeys::Integers(vec![2]));
        assert_eq!(in_flight.poll().len(), 0);
    }

    #[test]
    fn a_cancelled_poll_leaves_nothing_behind() {
        let in_flight = InFlight::default();
        drop(in_flight.poll());
        in_flight.poll().emitted(&RowKeys::Integers(vec![5]));
        in_flight.settled(&RowKeys::Integers(vec![5]));
        assert_eq!(in_flight.poll().len(), 0);
    }
}
