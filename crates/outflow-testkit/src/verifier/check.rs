//! Compares what arrived with what was written.

use std::path::Path;

use outflow_core::{Error, Result};

use super::delivery::{Delivery, Step, steps};
use super::history::{History, Outcome};
use super::journal::Change;
use super::report::{Finding, Problem, Report};

/// The order that was promised for the deliveries of one key, once every repeat is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// By the key's sequence, which is commit order: for writers that serialise on the key before they insert.
    Sequence,
    /// By the cursor column, without exception.
    Cursor,
    /// By the cursor among rows that were visible together: rows of transactions that overlapped in time may come in
    /// either order, those of one transaction as it wrote them, and all others in commit order. This is what writers
    /// that do not serialise can be promised. Times are those of one machine's clock; a transaction whose COMMIT nobody saw
    /// return overlaps with all that follow.
    Visible,
}

/// Takes deliveries one by one, in the order in which they arrived, and judges them.
///
/// Time is constant a delivery. Memory is that of the [`History`], and a constant amount a row and a key.
pub struct Checker {
    history: History,
    order: Order,
    seen: Vec<bool>,
    keys: Vec<KeyState>,
    report: Report,
}

/// How far the first deliveries of a key have come.
#[derive(Clone, Copy, Default)]
struct KeyState {
    highest: Option<u64>,
    latest_begin: u64,
}

impl Checker {
    /// A checker of deliveries that should be those of `history`.
    ///
    /// An uncertain transaction (see [`History::resolve`]) counts as committed once one of its rows is delivered, and
    /// as rolled back otherwise.
    pub fn new(history: History, order: Order) -> Self {
        let seen = vec![false; history.rows.len()];
        let keys = vec![KeyState::default(); history.keys.len()];
        Self { history, order, seen, keys, report: Report::default() }
    }

    /// Judges the next delivery.
    pub fn deliver(&mut self, delivery: &Delivery) {
        self.report.delivered += 1;
        let mark = &delivery.mark;
        let Some(index) = self.history.find(mark.id, delivery.change) else {
            return self
                .found(Problem::Phantom, format!("row {} of key {} was never written", mark.id, mark.key));
        };
        let (Some(row), Some(seen)) = (self.history.rows.get(index), self.seen.get_mut(index)) else {
            return;
        };
        let Some(transaction) = self.history.transactions.get(row.tx) else { return };
        if row.undone || transaction.outcome == Outcome::RolledBack {
            let what = format!("row {} of transaction {} was rolled back", row.id, transaction.name);
            return self.found(Problem::Phantom, what);
        }
        let same = self.history.keys.get(row.key) == Some(&mark.key)
            && match delivery.change {
                // What a deletion shows is the row's last version, which another transaction wrote.
                Change::Delete => true,
                Change::Write => {
                    (row.seq, Some(row.padding)) == (mark.seq, delivery.padding)
                        && (&transaction.name, transaction.writer) == (&mark.tx, mark.writer)
                }
            };
        let repeated = std::mem::replace(seen, true);
        if !same {
            let what = format!("row {} arrived with other content than was written", row.id);
            self.found(Problem::Altered, what);
        }
        if repeated {
            self.report.repeat();
        } else {
            self.check_order(index);
        }
    }

    /// Judges a first delivery.
    fn check_order(&mut self, index: usize) {
        let Some(row) = self.history.rows.get(index) else { return };
        let Some(transaction) = self.history.transactions.get(row.tx) else { return };
        let Some(state) = self.keys.get_mut(row.key) else { return };
        let in_order = match self.order {
            Order::Sequence => ascends(&mut state.highest, Some(row.seq)),
            Order::Cursor => ascends(&mut state.highest, row.cursor),
            Order::Visible => {
                // A row that arrived earlier, of a transaction that began when this one was over already.
                let overtaken =
                    matches!(transaction.outcome, Outcome::Committed(Some(at)) if at < state.latest_begin);
                let next_was_first = row.next_of_key.and_then(|i| self.seen.get(i)).is_some_and(|seen| *seen);
                state.latest_begin = state.latest_begin.max(transaction.begun);
                !overtaken && !next_was_first
            }
        };
        if !in_order {
            let key = self.history.keys.get(row.key).map_or("", String::as_str);
            let what = format!("row {} (seq {}) of key {key} came after a later one", row.id, row.seq);
            self.found(Problem::OutOfOrder, what);
        }
    }

    /// The pipeline was restarted: repeats from here on are counted apart.
    pub fn restarted(&mut self) {
        self.report.repeats.push(0);
    }

    /// Something arrived that cannot be read.
    pub fn unreadable(&mut self, why: impl Into<String>) {
        self.found(Problem::Unreadable, why.into());
    }

    /// Judges a file of JSON lines, see [`steps`].
    ///
    /// # Errors
    /// `verifier.output` when the file cannot be read.
    pub fn deliver_file(&mut self, path: &Path, restarts: &[u64]) -> Result<()> {
        let failed = |e| Error::permanent("verifier.output").message(path.display().to_string()).caused_by(e);
        for step in steps(path, restarts).map_err(failed)? {
            match step.map_err(failed)? {
                Step::Delivered(delivery) => self.deliver(&delivery),
                Step::Restarted => self.restarted(),
                Step::Unreadable(why) => self.unreadable(why),
            }
        }
        Ok(())
    }

    /// Everything that would arrive has arrived: what is missing now is lost.
    pub fn finish(mut self) -> Report {
        let history = std::mem::take(&mut self.history);
        for transaction in &history.transactions {
            let rows = || {
                let rows = history.rows.get(transaction.rows.clone()).unwrap_or_default();
                let seen = self.seen.get(transaction.rows.clone()).unwrap_or_default();
                rows.iter().zip(seen).filter(|(row, _)| !row.undone)
            };
            let uncertain = transaction.outcome == Outcome::Uncertain;
            let arrived = rows().any(|(_, seen)| *seen);
            if uncertain {
                self.report.uncertain += 1;
                self.report.uncertain_committed += u64::from(arrived);
            }
            if transaction.outcome == Outcome::RolledBack || uncertain && !arrived {
                continue;
            }
            self.report.transactions += 1;
            let mut lost = Vec::new();
            for (row, seen) in rows() {
                self.report.written += 1;
                if !seen {
                    let what = if row.change == Change::Delete { "deletion of row" } else { "row" };
                    lost.push(format!(
                        "{what} {} (seq {}) of transaction {}",
                        row.id, row.seq, transaction.name
                    ));
                }
            }
            for what in lost {
                self.found(Problem::Lost, what);
            }
        }
        self.report
    }

    fn found(&mut self, problem: Problem, what: String) {
        self.report.add(Finding { problem, what });
    }
}

/// True if `value` is greater than all before, or the row has none.
fn ascends(highest: &mut Option<u64>, value: Option<u64>) -> bool {
    let ascends = value.is_none() || value > *highest;
    *highest = value.max(*highest);
    ascends
}
